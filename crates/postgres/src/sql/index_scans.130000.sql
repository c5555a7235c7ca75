SELECT s.schemaname::pg_catalog.text || '.' || s.indexrelname::pg_catalog.text AS name, s.idx_scan AS scans
  FROM pg_catalog.pg_stat_user_indexes s
/* pgassay */
