-- Schemas, and enum types, whose labels get the source's OIDs before any expression holds one.
SELECT NULL::pg_catalog.text AS schema, NULL::pg_catalog.text AS relation, made.statement
  FROM (
    SELECT 1 AS rank, n.oid, pg_catalog.format('CREATE SCHEMA IF NOT EXISTS %I', n.nspname) AS statement
      FROM pg_catalog.pg_namespace n
     WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
    UNION ALL
    SELECT 2, t.oid, pg_catalog.format('CREATE TYPE %I.%I AS ENUM (%s)', n.nspname, t.typname,
             (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid))
      FROM pg_catalog.pg_type t
      JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
     WHERE t.typtype = 'e' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e')
  ) made
 ORDER BY made.rank, made.oid
/* pgassay */
