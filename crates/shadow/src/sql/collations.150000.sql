SELECT NULL::pg_catalog.text AS schema, NULL::pg_catalog.text AS relation,
       pg_catalog.format('CREATE COLLATION %I.%I (PROVIDER = %s, %s, DETERMINISTIC = %s)', n.nspname, c.collname,
         CASE c.collprovider WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END,
         CASE WHEN c.collprovider = 'c'
              THEN pg_catalog.format('LC_COLLATE = %L, LC_CTYPE = %L', c.collcollate, c.collctype)
              ELSE pg_catalog.format('LOCALE = %L', coalesce(c.colliculocale, c.collcollate)) END,
         c.collisdeterministic) AS statement
  FROM pg_catalog.pg_collation c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace
 WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_collation'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY c.oid
/* pgassay */
