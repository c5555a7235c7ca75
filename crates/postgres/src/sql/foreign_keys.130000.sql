SELECT x.conrelid AS relation, x.conname::pg_catalog.text AS name,
       ARRAY(SELECT a.attname::pg_catalog.text
               FROM pg_catalog.unnest(x.conkey) WITH ORDINALITY AS k (attnum, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = x.conrelid AND a.attnum = k.attnum
              ORDER BY k.place) AS columns,
       ARRAY(SELECT a.attname::pg_catalog.text
               FROM pg_catalog.unnest(x.confkey) WITH ORDINALITY AS k (attnum, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = x.confrelid AND a.attnum = k.attnum
              ORDER BY k.place) AS referenced,
       rn.nspname::pg_catalog.text AS references_schema, r.relname::pg_catalog.text AS references_name
  FROM pg_catalog.pg_constraint x
  JOIN pg_catalog.pg_class r ON r.oid = x.confrelid
  JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
 WHERE x.contype = 'f'
 ORDER BY x.conrelid, x.conname
/* pgassay */
