WITH locked AS MATERIALIZED (
  SELECT l.relation FROM pg_catalog.pg_locks l
   WHERE l.locktype = 'relation' AND l.granted AND l.mode = 'AccessExclusiveLock'
     AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
)
SELECT i.indexrelid AS oid, i.indrelid AS relation, c.relname::pg_catalog.text AS name,
       am.amname::pg_catalog.text AS method, i.indisunique AS unique, i.indisprimary AS primary,
       i.indisvalid AND i.indisready AS valid,
       i.indisreplident OR (i.indisprimary AND t.relreplident = 'd') AS replica_identity,
       pg_catalog.pg_get_indexdef(i.indexrelid) AS ddl,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid, true) AS predicate,
       i.indnkeyatts::pg_catalog.int4 AS keys,
       ARRAY(SELECT a.attname::pg_catalog.text
               FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, place)
               LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum <> 0
              ORDER BY k.place) AS columns,
       ARRAY(SELECT CASE WHEN k.attnum = 0
                         THEN pg_catalog.pg_get_indexdef(i.indexrelid, k.place::pg_catalog.int4, true) END
               FROM pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, place)
              ORDER BY k.place) AS expressions,
       -- pg_index.indoption: bit 0 is DESC, bit 1 NULLS FIRST.
       i.indoption::pg_catalog.int2[] AS options,
       ARRAY(SELECT CASE WHEN o.opcdefault THEN NULL
                         WHEN pg_catalog.pg_opclass_is_visible(o.oid) THEN pg_catalog.quote_ident(o.opcname)
                         ELSE pg_catalog.quote_ident(ons.nspname) || '.' || pg_catalog.quote_ident(o.opcname) END
               FROM pg_catalog.unnest(i.indclass::pg_catalog.oid[]) WITH ORDINALITY AS k (opclass, place)
               LEFT JOIN pg_catalog.pg_opclass o ON o.oid = k.opclass
               LEFT JOIN pg_catalog.pg_namespace ons ON ons.oid = o.opcnamespace
              ORDER BY k.place) AS opclasses,
       (SELECT o.option_value::pg_catalog.int4 FROM pg_catalog.pg_options_to_table(c.reloptions) o
         WHERE o.option_name = 'pages_per_range' AND am.amname = 'brin') AS pages_per_range,
       (SELECT x.conname::pg_catalog.text FROM pg_catalog.pg_constraint x
         WHERE x.conindid = i.indexrelid AND x.contype IN ('p', 'u', 'x') LIMIT 1) AS constraint_name,
       c.relispartition AS attached,
       coalesce(CASE WHEN c.relkind = 'I' THEN 0
            WHEN i.indexrelid IN (SELECT locked.relation FROM locked)
            THEN c.relpages::pg_catalog.int8 * pg_catalog.current_setting('block_size')::pg_catalog.int8
            ELSE pg_catalog.pg_relation_size(i.indexrelid) END, 0) AS size,
       coalesce(pg_catalog.pg_stat_get_numscans(i.indexrelid), 0) AS scans
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
  JOIN pg_catalog.pg_am am ON am.oid = c.relam
 WHERE i.indrelid NOT IN (SELECT locked.relation FROM locked) AND t.relkind IN ('r', 'p', 'm') AND t.relpersistence <> 't'
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%'
 ORDER BY i.indrelid, c.relname
/* pgassay */
