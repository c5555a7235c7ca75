-- The text of a statement is that of where the server met it first; where that was our PREPARE, which asks for its
-- parameters' types, the application's follows it.
SELECT s.queryid,
       min(pg_catalog.regexp_replace(s.query, '^PREPARE /[*] pgassay [*]/ pgassay_probe AS ', '')) AS query
  FROM {schema}.pg_stat_statements(true) s
 WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
   AND s.queryid = ANY ($1)
 GROUP BY s.queryid
/* pgassay */
