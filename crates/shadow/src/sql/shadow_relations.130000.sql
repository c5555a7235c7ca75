SELECT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS name, c.oid,
       pg_catalog.pg_relation_filepath(c.oid) AS path,
       CASE WHEN c.relkind IN ('p', 'I') THEN 0 ELSE pg_catalog.pg_relation_size(c.oid) / 8192 END AS pages
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'm', 'i', 'I') AND c.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
/* pgassay */
