-- The MCV lists of extended statistics hold enum values by their OIDs.
SELECT n.nspname::pg_catalog.text AS schema, t.typname::pg_catalog.text AS name, e.enumlabel::pg_catalog.text AS label, e.oid
  FROM pg_catalog.pg_enum e
  JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
 WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
/* pgassay */
