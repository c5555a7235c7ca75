-- pg_relation_size and pg_get_indexdef wait for an ACCESS EXCLUSIVE lock, so relations under one are left out.
WITH locked AS MATERIALIZED (
  SELECT l.relation FROM pg_catalog.pg_locks l
   WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
)
SELECT c.oid, n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS name,
       c.relkind::pg_catalog.text AS kind,
       c.oid IN (SELECT locked.relation FROM locked) AS locked,
       coalesce(CASE WHEN c.relkind = 'p' OR c.oid IN (SELECT locked.relation FROM locked) THEN 0
            ELSE pg_catalog.pg_relation_size(c.oid) END, 0) AS size,
       b.size AS block_size,
       -- Before 14, 0 rows on 0 pages stand for never vacuumed; from 14 on, -1 does.
       CASE WHEN c.reltuples < 0 OR (c.reltuples = 0 AND c.relpages = 0 AND s.last_vacuum IS NULL
                 AND s.last_autovacuum IS NULL AND s.last_analyze IS NULL AND s.last_autoanalyze IS NULL)
            THEN NULL ELSE c.reltuples::pg_catalog.float8 END AS rows,
       c.relhassubclass AS has_children,
       c.relallvisible::pg_catalog.int8 AS all_visible_pages,
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
         OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT') AS readable,
       coalesce(s.seq_scan, 0) AS sequential_scans, coalesce(s.seq_tup_read, 0) AS sequential_rows_read,
       coalesce(s.idx_scan, 0) AS index_scans, coalesce(s.n_tup_ins, 0) AS inserted,
       coalesce(s.n_tup_upd, 0) AS updated, coalesce(s.n_tup_hot_upd, 0) AS hot_updated,
       coalesce(s.n_tup_del, 0) AS deleted, coalesce(s.n_live_tup, 0) AS live_rows,
       coalesce(s.n_dead_tup, 0) AS dead_rows, coalesce(s.n_mod_since_analyze, 0) AS modified_since_analyze,
       extract(epoch FROM greatest(s.last_analyze, s.last_autoanalyze))::pg_catalog.float8 AS last_analyze,
       extract(epoch FROM greatest(s.last_vacuum, s.last_autovacuum))::pg_catalog.float8 AS last_vacuum
  FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN (SELECT pg_catalog.current_setting('block_size')::pg_catalog.int8 AS size) b
  LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid
 WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY n.nspname, c.relname
/* pgassay */
