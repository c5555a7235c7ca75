-- For each B-tree the ORDER BY that it alone serves, by the operators of its operator classes.
SELECT n.nspname::pg_catalog.text AS schema, t.relname::pg_catalog.text AS relation, c.relname::pg_catalog.text AS index,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS predicate,
       (SELECT pg_catalog.string_agg(pg_catalog.pg_get_indexdef(i.indexrelid, k.place::pg_catalog.int4, false)
                 || CASE WHEN l.oid <> 0 THEN ' COLLATE ' || l.oid::pg_catalog.regcollation::pg_catalog.text ELSE '' END
                 || pg_catalog.format(' USING OPERATOR(%I.%s)', opn.nspname, op.oprname)
                 || CASE WHEN k.option & 2 = 2 THEN ' NULLS FIRST' ELSE ' NULLS LAST' END, ', ' ORDER BY k.place)
          FROM pg_catalog.unnest(i.indoption::pg_catalog.int2[]) WITH ORDINALITY AS k (option, place)
          JOIN pg_catalog.unnest(i.indcollation::pg_catalog.oid[]) WITH ORDINALITY AS l (oid, place) USING (place)
          JOIN pg_catalog.unnest(i.indclass::pg_catalog.oid[]) WITH ORDINALITY AS q (oid, place) USING (place)
          JOIN pg_catalog.pg_opclass o ON o.oid = q.oid
          -- Strategy 1 of a B-tree's family is <, 5 is > (manual, "B-Tree Indexes"); bit 0 of indoption is DESC.
          JOIN pg_catalog.pg_amop m ON m.amopfamily = o.opcfamily AND m.amoplefttype = o.opcintype
               AND m.amoprighttype = o.opcintype AND m.amopstrategy = CASE WHEN k.option & 1 = 1 THEN 5 ELSE 1 END
          JOIN pg_catalog.pg_operator op ON op.oid = m.amopopr
          JOIN pg_catalog.pg_namespace opn ON opn.oid = op.oprnamespace) AS order_by
  FROM pg_catalog.pg_index i
  JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  JOIN pg_catalog.pg_am am ON am.oid = c.relam
  JOIN pg_catalog.pg_class t ON t.oid = i.indrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
 WHERE am.amname = 'btree' AND c.relkind = 'i' AND i.indisvalid AND t.relpersistence <> 't'
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.relation IN (t.oid, c.oid) AND l.granted AND l.mode = 'AccessExclusiveLock')
/* pgassay */
