-- Partitioned and inherited-from relations above those given, and views on any of them.
WITH RECURSIVE standing (oid, below) AS (
  SELECT c.oid, pg_catalog.format('%s.%s', n.nspname, c.relname)
    FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[])) AS u (schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname = u.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = u.name
  UNION
  SELECT above.oid, s.below
    FROM standing s
   CROSS JOIN LATERAL (
     SELECT i.inhparent AS oid FROM pg_catalog.pg_inherits i WHERE i.inhrelid = s.oid
     UNION ALL
     SELECT w.ev_class FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite w ON w.oid = d.objid
      WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
        AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = s.oid AND w.ev_class <> s.oid) above
)
SELECT DISTINCT ON (s.oid) n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS relation, s.below AS on_relation
  FROM standing s
  JOIN pg_catalog.pg_class c ON c.oid = s.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 ORDER BY s.oid, s.below
/* pgassay */
