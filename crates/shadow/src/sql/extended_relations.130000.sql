SELECT DISTINCT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS relation
  FROM pg_catalog.pg_statistic_ext e
  JOIN pg_catalog.pg_class c ON c.oid = e.stxrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
/* pgassay */
