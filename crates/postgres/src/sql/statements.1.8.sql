-- One row for each queryid: a statement of several roles is one. Without the right to see them, statements
-- of other roles have no queryid. The text of a statement is that of where the server met it first; where
-- that was our PREPARE, which asks for its parameters' types, the application's follows it.
SELECT s.queryid, min(s.own_query) AS query, sum(s.calls)::pg_catalog.int8 AS calls,
       sum(s.total_exec_time)::pg_catalog.float8 AS total_exec_ms,
       sum(s.total_plan_time)::pg_catalog.float8 AS total_plan_ms, sum(s.rows)::pg_catalog.int8 AS rows,
       sum(s.shared_blks_hit)::pg_catalog.int8 AS shared_hit, sum(s.shared_blks_read)::pg_catalog.int8 AS shared_read,
       sum(s.temp_blks_written)::pg_catalog.int8 AS temp_written, sum(s.wal_bytes)::pg_catalog.int8 AS wal_bytes
  FROM (SELECT p.*, pg_catalog.regexp_replace(p.query, '^PREPARE /[*] pgassay [*]/ pgassay_probe AS ', '') AS own_query
          FROM {schema}.pg_stat_statements p) s
 WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   AND s.queryid IS NOT NULL AND s.own_query NOT LIKE '%/* pgassay */%'
 GROUP BY s.queryid
 ORDER BY total_exec_ms DESC, s.queryid
/* pgassay */
