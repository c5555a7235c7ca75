SELECT extract(epoch FROM d.stats_reset)::pg_catalog.float8 AS stats_reset,
       d.xact_commit AS commits, d.xact_rollback AS rollbacks, d.blks_hit AS blocks_hit, d.blks_read AS blocks_read,
       d.blk_read_time AS block_read_ms, d.temp_bytes, d.deadlocks, d.sessions AS sessions,
       a.active, a.backends, a.idle_in_transaction, a.blocked
  FROM pg_catalog.pg_stat_database d
 -- Without pg_monitor, backend_type and state of other roles' sessions are NULL. Our own is left out.
 CROSS JOIN (
   SELECT count(*) FILTER (WHERE s.state = 'active') AS active,
          count(*) AS backends,
          count(*) FILTER (WHERE s.state LIKE 'idle in transaction%') AS idle_in_transaction,
          count(*) FILTER (WHERE s.wait_event_type = 'Lock') AS blocked
     FROM pg_catalog.pg_stat_activity s
    WHERE s.pid <> pg_catalog.pg_backend_pid()
      AND (s.backend_type = 'client backend' OR (s.backend_type IS NULL AND s.datid IS NOT NULL))
 ) a
 WHERE d.datname = pg_catalog.current_database()
/* pgassay */
