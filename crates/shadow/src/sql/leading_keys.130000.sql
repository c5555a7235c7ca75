-- Leading keys of B-trees of which the planner looks up the ends: not partial, of the type's own order.
SELECT n.nspname::pg_catalog.text AS schema, t.relname::pg_catalog.text AS relation, made.key,
       ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = i.indrelid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              ORDER BY a.attnum) AS columns,
       -- Whether a look by any B-tree that the planner may take for it counts where nobody minds: one of them that was
       -- never scanned and enforces nothing would no longer be known for unused.
       pg_catalog.current_setting('track_counts') = 'off' OR NOT EXISTS (
         SELECT 1 FROM pg_catalog.pg_index u
          WHERE u.indrelid = i.indrelid AND u.indisvalid AND NOT u.indisunique AND NOT u.indisexclusion
            AND pg_catalog.pg_get_indexdef(u.indexrelid, 1, false) = made.key
            AND coalesce(pg_catalog.pg_stat_get_numscans(u.indexrelid), 0) = 0) AS harmless
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_am am ON am.oid = c.relam
  JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[0]
  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] AND i.indkey[0] <> 0
 CROSS JOIN LATERAL (SELECT pg_catalog.pg_get_indexdef(i.indexrelid, 1, false) AS key) made
 WHERE am.amname = 'btree' AND i.indpred IS NULL AND i.indisvalid AND t.relkind IN ('r', 'm') AND t.relpersistence <> 't'
   AND o.opcdefault AND (a.attnum IS NULL OR a.attcollation = i.indcollation[0]) AND c.relpages > 1
   AND pg_catalog.has_table_privilege(t.oid, 'SELECT')
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.relation = t.oid AND l.granted AND l.mode = 'AccessExclusiveLock')
 ORDER BY i.indrelid, i.indexrelid
/* pgassay */
