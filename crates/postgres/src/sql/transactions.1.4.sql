SELECT NULL::pg_catalog.int8 AS evictions, NULL::pg_catalog.float8 AS reset_at,
       d.xact_commit AS commits, d.xact_rollback AS rollbacks, d.deadlocks
  FROM pg_catalog.pg_stat_database d
 WHERE d.datname = pg_catalog.current_database()
/* pgassay */
