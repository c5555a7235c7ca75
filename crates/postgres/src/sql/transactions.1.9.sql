SELECT i.dealloc AS evictions, extract(epoch FROM i.stats_reset)::pg_catalog.float8 AS reset_at,
       d.xact_commit AS commits, d.xact_rollback AS rollbacks, d.deadlocks
  FROM pg_catalog.pg_stat_database d
 CROSS JOIN {schema}.pg_stat_statements_info i
 WHERE d.datname = pg_catalog.current_database()
/* pgassay */
