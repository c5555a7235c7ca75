-- Relations of whose columns pg_stats shows nothing to this role, or not all, and those of whose indexes' expressions it
-- does not: an index has no privileges of its own to be granted, and ranges are shown from 17 on. Without statistics of
-- any column nothing can be estimated.
SELECT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS relation, made.what, made.grave,
       -- Whether SELECT on the relation suffices; for the others it takes pg_statistic itself.
       made.selectable
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (
   SELECT 'statistics of its columns' || CASE WHEN u.some THEN ' ' || u.names ELSE '' END AS what, NOT u.some AS grave, true AS selectable
     FROM (SELECT pg_catalog.string_agg(a.attname, ', ' ORDER BY a.attnum) FILTER (WHERE NOT p.readable) AS names,
                  pg_catalog.bool_or(p.readable) AS some
             FROM pg_catalog.pg_attribute a
            CROSS JOIN LATERAL (SELECT pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') AS readable) p
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) u
    WHERE u.names IS NOT NULL
    UNION ALL
   SELECT 'statistics of its indexes'' expressions', false, false
    WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_index i
                   WHERE i.indrelid = c.oid AND i.indexprs IS NOT NULL
                     AND NOT pg_catalog.has_column_privilege(i.indexrelid, 1::pg_catalog.int2, 'SELECT'))
    UNION ALL
   SELECT 'statistics of its ranges, which pg_stats shows from 17 on', false, false
    WHERE pg_catalog.current_setting('server_version_num')::pg_catalog.int4 < 170000
      AND EXISTS (SELECT 1 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND t.typtype IN ('r', 'm'))) made
 WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
/* pgassay */
