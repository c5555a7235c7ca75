-- The relation, and where it is partitioned its partitions, as CREATE INDEX will scan them.
WITH RECURSIVE tree (oid) AS (
  SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = $1 AND c.relname = $2
  UNION ALL
  SELECT i.inhrelid FROM tree t
    JOIN pg_catalog.pg_class c ON c.oid = t.oid AND c.relkind = 'p'
    JOIN pg_catalog.pg_inherits i ON i.inhparent = t.oid
)
SELECT c.oid, pg_catalog.pg_relation_filepath(c.oid) AS path, c.relpages, c.reltuples, c.relallvisible,
       pg_catalog.pg_relation_size(c.oid) / 8192 AS pages
  FROM tree t
  JOIN pg_catalog.pg_class c ON c.oid = t.oid
 WHERE c.relkind = 'r'
 ORDER BY c.oid
/* pgassay */
