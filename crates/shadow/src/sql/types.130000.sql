-- Domains, composite types and ranges.
SELECT NULL::pg_catalog.text AS schema, NULL::pg_catalog.text AS relation, made.statement
  FROM pg_catalog.pg_type t
  JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
 CROSS JOIN LATERAL (SELECT CASE
    WHEN t.typtype = 'd' THEN
      pg_catalog.format('CREATE DOMAIN %I.%I AS %s%s%s%s', n.nspname, t.typname,
        pg_catalog.format_type(t.typbasetype, t.typtypmod),
        CASE WHEN t.typcollation <> b.typcollation
             THEN ' COLLATE ' || t.typcollation::pg_catalog.regcollation::pg_catalog.text END,
        CASE WHEN t.typnotnull THEN ' NOT NULL' END,
        (SELECT pg_catalog.string_agg(pg_catalog.format(' CONSTRAINT %I %s', x.conname,
                  pg_catalog.pg_get_constraintdef(x.oid)), '' ORDER BY x.oid)
           FROM pg_catalog.pg_constraint x WHERE x.contypid = t.oid AND x.contype = 'c'))
    WHEN t.typtype = 'c' AND c.relkind = 'c' THEN
      pg_catalog.format('CREATE TYPE %I.%I AS (%s)', n.nspname, t.typname,
        (SELECT pg_catalog.string_agg(pg_catalog.format('%I %s', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)),
                                      ', ' ORDER BY a.attnum)
           FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
    WHEN t.typtype = 'r' THEN
      (SELECT pg_catalog.format('CREATE TYPE %I.%I AS RANGE (SUBTYPE = %s, SUBTYPE_OPCLASS = %I.%I%s%s%s)', n.nspname,
                t.typname, pg_catalog.format_type(r.rngsubtype, NULL), ons.nspname, o.opcname,
                CASE WHEN r.rngcollation <> 0 THEN ', COLLATION = ' || r.rngcollation::pg_catalog.regcollation::pg_catalog.text END,
                CASE WHEN r.rngsubdiff::pg_catalog.oid <> 0 THEN ', SUBTYPE_DIFF = ' || r.rngsubdiff::pg_catalog.regproc::pg_catalog.text END,
                '')
         FROM pg_catalog.pg_range r
         JOIN pg_catalog.pg_opclass o ON o.oid = r.rngsubopc
         JOIN pg_catalog.pg_namespace ons ON ons.oid = o.opcnamespace
        WHERE r.rngtypid = t.oid)
    END AS statement) made
 WHERE made.statement IS NOT NULL AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.objid = t.oid AND d.deptype = 'e')
 ORDER BY t.oid
/* pgassay */
