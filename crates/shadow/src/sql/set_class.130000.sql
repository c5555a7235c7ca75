UPDATE pg_catalog.pg_class c
   SET relpages = u.pages, reltuples = u.rows, relallvisible = u.visible,
       relfilenode = CASE WHEN u.node <> 0 THEN u.node ELSE c.relfilenode END
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.oid[]), pg_catalog.unnest($2::pg_catalog.int4[]), pg_catalog.unnest($3::pg_catalog.float4[]), pg_catalog.unnest($4::pg_catalog.int4[]), pg_catalog.unnest($5::pg_catalog.oid[])) AS u (oid, pages, rows, visible, node)
 WHERE c.oid = u.oid
/* pgassay */
