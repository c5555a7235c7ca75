-- Cumulative counters of the statements of this database, without their texts: those lie in a file that would be
-- read anew each time. Statements that the role may not see have no queryid; statements within functions count
-- for the statement that called the function. stats_since tells an entry that was evicted and came back.
SELECT s.userid::pg_catalog.int8 AS userid, s.queryid, s.calls, s.total_exec_time + s.total_plan_time AS time_ms,
       s.rows, s.shared_blks_hit + s.shared_blks_read AS blocks, s.wal_bytes::pg_catalog.int8 AS wal_bytes,
       extract(epoch FROM s.stats_since)::pg_catalog.float8 AS since
  FROM {schema}.pg_stat_statements(false) s
 WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   AND s.queryid IS NOT NULL AND s.toplevel
/* pgassay */
