-- Views, then rules other than a view's own. Row-level security is left out: relations where it acts are named as lacking.
SELECT made.schema, made.relation, made.statement
  FROM (
    SELECT 1 AS rank, c.oid, n.nspname AS schema, c.relname AS relation,
           pg_catalog.format('CREATE VIEW %I.%I (%s)%s AS %s', n.nspname, c.relname,
             (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(a.attname), ', ' ORDER BY a.attnum)
                FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
             ' WITH (' || nullif(pg_catalog.array_to_string(
               ARRAY(SELECT o.text FROM pg_catalog.unnest(c.reloptions) AS o (text) WHERE o.text NOT LIKE 'check\_option=%'), ', '), '') || ')',
             pg_catalog.pg_get_viewdef(c.oid)) AS statement
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'v' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 2, w.oid, n.nspname, c.relname, pg_catalog.pg_get_ruledef(w.oid)
      FROM pg_catalog.pg_rewrite w
      JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE w.rulename <> '_RETURN' AND w.ev_enabled <> 'D' AND c.relpersistence <> 't'
       AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
  ) made
 ORDER BY made.rank, made.oid
/* pgassay */
