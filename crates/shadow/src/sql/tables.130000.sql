-- Tables in the order of their OIDs, which is the order in which the planner takes heirs. Each stands alone, with
-- placeholders for dropped columns, because statistics name columns by number; a materialized view becomes a table.
WITH locked AS MATERIALIZED (
  SELECT l.relation FROM pg_catalog.pg_locks l
   WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
), relation AS (
  SELECT c.oid, n.nspname, c.relname, c.relkind, c.reloptions
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND c.oid NOT IN (SELECT locked.relation FROM locked)
     AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
     AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
)
SELECT made.schema, made.relation, made.statement,
       -- What an INSERT evaluates: no plan of another statement depends on it.
       CASE WHEN made.rank = 6 THEN 'nothing' WHEN made.rank = 4 THEN 'precision' ELSE 'plans' END AS need
  FROM (
    SELECT 1 AS rank, c.oid, 0 AS place, NULL::pg_catalog.text AS schema, NULL::pg_catalog.text AS relation,
           pg_catalog.format('CREATE SEQUENCE %I.%I AS %s', n.nspname, c.relname, pg_catalog.format_type(s.seqtypid, NULL)) AS statement
      FROM pg_catalog.pg_sequence s
      JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i'))
    UNION ALL
    SELECT 2, r.oid, 0, r.nspname, r.relname,
           pg_catalog.format('CREATE TABLE %I.%I (%s)%s%s', r.nspname, r.relname,
             (SELECT pg_catalog.string_agg(
                       CASE WHEN a.attisdropped THEN pg_catalog.format('%I pg_catalog.int4', a.attname)
                       ELSE pg_catalog.format('%I %s%s%s%s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
                         CASE WHEN a.attcollation <> t.typcollation
                              THEN ' COLLATE ' || a.attcollation::pg_catalog.regcollation::pg_catalog.text END,
                         CASE WHEN a.attgenerated <> '' THEN pg_catalog.format(' GENERATED ALWAYS AS (%s) %s',
                                pg_catalog.pg_get_expr(x.adbin, x.adrelid), CASE a.attgenerated WHEN 'v' THEN 'VIRTUAL' ELSE 'STORED' END) END,
                         CASE WHEN a.attnotnull THEN ' NOT NULL' END) END, ', ' ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a
                LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                LEFT JOIN pg_catalog.pg_attrdef x ON x.adrelid = a.attrelid AND x.adnum = a.attnum
               WHERE a.attrelid = r.oid AND a.attnum > 0),
             CASE WHEN r.relkind = 'p' THEN ' PARTITION BY ' || pg_catalog.pg_get_partkeydef(r.oid) END,
             -- Of the storage parameters only these two reach the planner.
             (SELECT ' WITH (' || pg_catalog.string_agg(o.text, ', ') || ')' FROM pg_catalog.unnest(r.reloptions) AS o (text)
               WHERE o.text ~ '^(fillfactor|parallel_workers)='))
      FROM relation r
    UNION ALL
    SELECT 3, r.oid, a.attnum, r.nspname, r.relname,
           pg_catalog.format('ALTER TABLE ONLY %I.%I DROP COLUMN %I', r.nspname, r.relname, a.attname)
      FROM relation r
      JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND a.attisdropped
    UNION ALL
    SELECT 4, x.oid, 0, r.nspname, r.relname,
           pg_catalog.format('ALTER TABLE ONLY %I.%I ADD CONSTRAINT %I %s', r.nspname, r.relname, x.conname,
             pg_catalog.pg_get_constraintdef(x.oid))
      FROM relation r
      JOIN pg_catalog.pg_constraint x ON x.conrelid = r.oid AND x.contype = 'c'
    UNION ALL
    -- A parent without one of its heirs is lacking; an heir without its parent is not.
    SELECT 5, r.oid, i.inhseqno, p.nspname, p.relname,
           CASE WHEN c.relispartition
                THEN pg_catalog.format('ALTER TABLE ONLY %I.%I ATTACH PARTITION %I.%I %s', p.nspname, p.relname, r.nspname,
                       r.relname, pg_catalog.pg_get_expr(c.relpartbound, c.oid))
                ELSE pg_catalog.format('ALTER TABLE ONLY %I.%I INHERIT %I.%I', r.nspname, r.relname, p.nspname, p.relname) END
      FROM relation r
      JOIN pg_catalog.pg_class c ON c.oid = r.oid
      JOIN pg_catalog.pg_inherits i ON i.inhrelid = r.oid
      JOIN relation p ON p.oid = i.inhparent
    UNION ALL
    SELECT 6, r.oid, a.attnum, r.nspname, r.relname,
           CASE WHEN a.attidentity <> ''
                THEN pg_catalog.format('ALTER TABLE %I.%I ALTER COLUMN %I ADD GENERATED %s AS IDENTITY', r.nspname, r.relname,
                       a.attname, CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END)
                ELSE pg_catalog.format('ALTER TABLE ONLY %I.%I ALTER COLUMN %I SET DEFAULT %s', r.nspname, r.relname, a.attname,
                       pg_catalog.pg_get_expr(x.adbin, x.adrelid)) END
      FROM relation r
      JOIN pg_catalog.pg_class c ON c.oid = r.oid
      JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
      LEFT JOIN pg_catalog.pg_attrdef x ON x.adrelid = a.attrelid AND x.adnum = a.attnum
     WHERE (a.attidentity <> '' AND NOT c.relispartition) OR (a.attidentity = '' AND x.oid IS NOT NULL)
  ) made
 ORDER BY made.rank, made.oid, made.place
/* pgassay */
