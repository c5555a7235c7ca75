-- Switches new indexes off, with those of partitions, and names them.
WITH RECURSIVE tree (oid, root) AS (
  SELECT c.oid, c.relname::pg_catalog.text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE n.nspname = $1 AND c.relname = ANY ($2::pg_catalog.name[])
  UNION ALL
  SELECT h.inhrelid, t.root FROM tree t JOIN pg_catalog.pg_inherits h ON h.inhparent = t.oid
)
UPDATE pg_catalog.pg_index i
   SET indisvalid = false
  FROM tree t
  JOIN pg_catalog.pg_class c ON c.oid = t.oid
 WHERE i.indexrelid = t.oid
RETURNING t.root, i.indexrelid AS oid, i.indrelid AS heap, c.relname::pg_catalog.text AS name,
          pg_catalog.pg_relation_filepath(c.oid) AS path
/* pgassay */
