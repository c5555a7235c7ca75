-- Indexes in the order of their OIDs: the planner takes the newest first, which decides between equal costs. Then the
-- tree of partitioned ones, foreign keys and extended statistics. An invalid index is none to the planner.
WITH locked AS MATERIALIZED (
  SELECT l.relation FROM pg_catalog.pg_locks l
   WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
), relation AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND c.oid NOT IN (SELECT locked.relation FROM locked)
     AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT made.schema, made.relation, made.statement,
       -- A foreign key counts in joins with the relation that it refers to, which is lacking where the key is.
       CASE made.rank WHEN 3 THEN 'nothing' WHEN 4 THEN 'precision' ELSE 'plans' END AS need
  FROM (
    SELECT 1 AS rank, i.indexrelid AS oid, r.nspname AS schema, r.relname AS relation,
           CASE WHEN x.oid IS NULL THEN pg_catalog.pg_get_indexdef(i.indexrelid)
                ELSE pg_catalog.format('ALTER TABLE ONLY %I.%I ADD CONSTRAINT %I %s', r.nspname, r.relname, x.conname,
                       pg_catalog.pg_get_constraintdef(x.oid)) END AS statement
      FROM relation r
      JOIN pg_catalog.pg_index i ON i.indrelid = r.oid AND i.indislive
      LEFT JOIN pg_catalog.pg_constraint x ON x.conindid = i.indexrelid AND x.contype IN ('p', 'u', 'x') AND x.conrelid = i.indrelid
     WHERE (i.indisvalid OR r.relkind = 'p') AND i.indexrelid NOT IN (SELECT locked.relation FROM locked)
    UNION ALL
    SELECT 2, h.inhrelid, r.nspname, r.relname,
           pg_catalog.format('ALTER INDEX %I.%I ATTACH PARTITION %I.%I', pn.nspname, p.relname, r.nspname, c.relname)
      FROM relation r
      JOIN pg_catalog.pg_index i ON i.indrelid = r.oid AND i.indislive
      JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
      JOIN pg_catalog.pg_inherits h ON h.inhrelid = i.indexrelid
      JOIN pg_catalog.pg_class p ON p.oid = h.inhparent
      JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
     WHERE i.indisvalid OR r.relkind = 'p'
    UNION ALL
    SELECT 3, x.oid, r.nspname, r.relname,
           pg_catalog.format('ALTER TABLE %s%I.%I ADD CONSTRAINT %I %s', CASE WHEN r.relkind <> 'p' THEN 'ONLY ' END, r.nspname,
             r.relname, x.conname, pg_catalog.pg_get_constraintdef(x.oid))
      FROM relation r
      JOIN pg_catalog.pg_constraint x ON x.conrelid = r.oid AND x.contype = 'f' AND x.conparentid = 0
    UNION ALL
    SELECT 4, e.oid, r.nspname, r.relname, pg_catalog.pg_get_statisticsobjdef(e.oid)
      FROM relation r
      JOIN pg_catalog.pg_statistic_ext e ON e.stxrelid = r.oid
  ) made
 ORDER BY made.rank, made.oid
/* pgassay */
