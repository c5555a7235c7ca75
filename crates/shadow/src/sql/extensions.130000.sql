-- Dependencies among extensions are met by trying again; a version of its own is not asked for, because the
-- installation here need not have it.
SELECT NULL::pg_catalog.text AS schema, NULL::pg_catalog.text AS relation,
       pg_catalog.format('CREATE EXTENSION IF NOT EXISTS %I SCHEMA %I', e.extname, n.nspname) AS statement
  FROM pg_catalog.pg_extension e
  JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
 WHERE e.extname <> 'plpgsql'
 ORDER BY e.oid
/* pgassay */
