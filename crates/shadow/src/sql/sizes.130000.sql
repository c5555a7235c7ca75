-- What the planner takes from pg_class and from the files. A relation under an ACCESS EXCLUSIVE lock is not waited for.
WITH locked AS MATERIALIZED (
  SELECT l.relation FROM pg_catalog.pg_locks l
   WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
)
SELECT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS name, c.relkind::pg_catalog.text AS kind,
       am.amname::pg_catalog.text AS method, t.relname::pg_catalog.text AS of_relation,
       c.relpages, c.reltuples, c.relallvisible,
       CASE WHEN c.relkind IN ('p', 'I') THEN 0
            ELSE coalesce(pg_catalog.pg_relation_size(c.oid), 0)
                 / pg_catalog.current_setting('block_size')::pg_catalog.int8 END AS pages,
       -- Whether another plan would come out for this role than for a superuser.
       coalesce(pg_catalog.row_security_active(CASE WHEN c.relkind IN ('r', 'p') THEN c.oid END), false) AS row_security,
       coalesce(ts.spcoptions::pg_catalog.text ~ 'page_cost', false) AS page_costs
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam
  LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid
  LEFT JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
  LEFT JOIN pg_catalog.pg_tablespace ts
         ON ts.oid = coalesce(nullif(c.reltablespace, 0), (SELECT d.dattablespace FROM pg_catalog.pg_database d
                                                            WHERE d.datname = pg_catalog.current_database()))
 WHERE c.relkind IN ('r', 'p', 'm', 'f', 'i', 'I') AND c.relpersistence <> 't'
   AND c.oid NOT IN (SELECT locked.relation FROM locked) AND coalesce(i.indrelid, 0) NOT IN (SELECT locked.relation FROM locked)
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
 ORDER BY c.oid
/* pgassay */
