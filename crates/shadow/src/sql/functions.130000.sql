-- Functions, procedures, aggregates, operators and casts of the user's. Those in C come with an extension or not at all;
-- those of a range type come with the type.
SELECT NULL::pg_catalog.text AS schema, NULL::pg_catalog.text AS relation, made.statement
  FROM (
    SELECT 1 AS rank, p.oid, pg_catalog.pg_get_functiondef(p.oid) AS statement
      FROM pg_catalog.pg_proc p
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
      JOIN pg_catalog.pg_language l ON l.oid = p.prolang
     WHERE p.prokind <> 'a' AND l.lanname <> 'c' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
    UNION ALL
    SELECT 2, p.oid,
           pg_catalog.format('CREATE AGGREGATE %I.%I (%s) (SFUNC = %s, STYPE = %s%s%s%s%s%s)', n.nspname, p.proname,
             CASE WHEN p.pronargs = 0 THEN '*' ELSE pg_catalog.pg_get_function_arguments(p.oid) END,
             a.aggtransfn::pg_catalog.regproc, pg_catalog.format_type(a.aggtranstype, NULL),
             CASE WHEN a.aggfinalfn::pg_catalog.oid <> 0 THEN ', FINALFUNC = ' || a.aggfinalfn::pg_catalog.regproc::pg_catalog.text END,
             CASE WHEN a.aggcombinefn::pg_catalog.oid <> 0 THEN ', COMBINEFUNC = ' || a.aggcombinefn::pg_catalog.regproc::pg_catalog.text END,
             CASE WHEN a.aggtransspace <> 0 THEN ', SSPACE = ' || a.aggtransspace END,
             CASE WHEN a.agginitval IS NOT NULL THEN ', INITCOND = ' || pg_catalog.quote_literal(a.agginitval) END,
             CASE p.proparallel WHEN 's' THEN ', PARALLEL = SAFE' WHEN 'r' THEN ', PARALLEL = RESTRICTED' END)
      FROM pg_catalog.pg_aggregate a
      JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid::pg_catalog.oid
      JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
     WHERE a.aggkind = 'n' AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 3, o.oid,
           pg_catalog.format('CREATE OPERATOR %I.%s (FUNCTION = %s%s, RIGHTARG = %s%s%s%s%s%s%s)', n.nspname, o.oprname,
             o.oprcode::pg_catalog.regproc,
             CASE WHEN o.oprleft <> 0 THEN ', LEFTARG = ' || pg_catalog.format_type(o.oprleft, NULL) END,
             pg_catalog.format_type(o.oprright, NULL),
             (SELECT pg_catalog.format(', COMMUTATOR = OPERATOR(%I.%s)', cn.nspname, c.oprname)
                FROM pg_catalog.pg_operator c JOIN pg_catalog.pg_namespace cn ON cn.oid = c.oprnamespace WHERE c.oid = o.oprcom),
             (SELECT pg_catalog.format(', NEGATOR = OPERATOR(%I.%s)', cn.nspname, c.oprname)
                FROM pg_catalog.pg_operator c JOIN pg_catalog.pg_namespace cn ON cn.oid = c.oprnamespace WHERE c.oid = o.oprnegate),
             CASE WHEN o.oprrest::pg_catalog.oid <> 0 THEN ', RESTRICT = ' || o.oprrest::pg_catalog.regproc::pg_catalog.text END,
             CASE WHEN o.oprjoin::pg_catalog.oid <> 0 THEN ', JOIN = ' || o.oprjoin::pg_catalog.regproc::pg_catalog.text END,
             CASE WHEN o.oprcanhash THEN ', HASHES' END, CASE WHEN o.oprcanmerge THEN ', MERGES' END)
      FROM pg_catalog.pg_operator o
      JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
     WHERE o.oprcode::pg_catalog.oid <> 0 AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND d.objid = o.oid AND d.deptype = 'e')
    UNION ALL
    SELECT 4, k.oid,
           pg_catalog.format('CREATE CAST (%s AS %s) %s%s', pg_catalog.format_type(k.castsource, NULL),
             pg_catalog.format_type(k.casttarget, NULL),
             CASE k.castmethod WHEN 'f' THEN 'WITH FUNCTION ' || k.castfunc::pg_catalog.regprocedure::pg_catalog.text
                               WHEN 'i' THEN 'WITH INOUT' ELSE 'WITHOUT FUNCTION' END,
             CASE k.castcontext WHEN 'i' THEN ' AS IMPLICIT' WHEN 'a' THEN ' AS ASSIGNMENT' END)
      FROM pg_catalog.pg_cast k
     -- Those of initdb have OIDs below FirstNormalObjectId.
     WHERE k.oid >= 16384
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d
                        WHERE d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND d.objid = k.oid AND d.deptype IN ('e', 'i'))
  ) made
 ORDER BY made.rank, made.oid
/* pgassay */
