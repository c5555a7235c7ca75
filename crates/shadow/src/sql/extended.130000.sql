-- Extended statistics; their data as bytes in hexadecimal.
SELECT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS relation, e.stxname::pg_catalog.text AS name, false AS inherited,
       pg_catalog.encode(d.stxdndistinct::pg_catalog.bytea, 'hex') AS ndistinct,
       pg_catalog.encode(d.stxddependencies::pg_catalog.bytea, 'hex') AS dependencies,
       pg_catalog.encode(d.stxdmcv::pg_catalog.bytea, 'hex') AS mcv,
       NULL::pg_catalog.text AS expressions
  FROM pg_catalog.pg_statistic_ext e
  JOIN pg_catalog.pg_statistic_ext_data d ON d.stxoid = e.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = e.stxnamespace
  JOIN pg_catalog.pg_class c ON c.oid = e.stxrelid
/* pgassay */
