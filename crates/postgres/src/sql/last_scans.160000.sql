SELECT s.indexrelid AS index, extract(epoch FROM s.last_idx_scan)::pg_catalog.float8 AS last_scan
  FROM pg_catalog.pg_stat_all_indexes s
 WHERE s.last_idx_scan IS NOT NULL AND s.schemaname NOT IN ('pg_catalog', 'information_schema')
/* pgassay */
