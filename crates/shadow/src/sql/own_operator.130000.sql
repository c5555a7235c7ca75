CREATE FUNCTION pg_temp.own_operator(value_type pg_catalog.oid, kind pg_catalog.int4) RETURNS pg_catalog.oid LANGUAGE sql STABLE STRICT AS $$
  WITH RECURSIVE base AS (
    SELECT t.oid, t.typtype, t.typcategory, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = value_type
    UNION ALL
    SELECT t.oid, t.typtype, t.typcategory, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype
     WHERE b.typtype = 'd'
  )
  SELECT m.amopopr
    FROM base b
    JOIN pg_catalog.pg_opclass o ON o.opcdefault AND o.opcintype IN (b.oid,
           CASE WHEN b.typtype = 'e' THEN 'pg_catalog.anyenum'::pg_catalog.regtype::pg_catalog.oid
                WHEN b.typtype = 'r' THEN 'pg_catalog.anyrange'::pg_catalog.regtype::pg_catalog.oid
                WHEN b.typtype = 'm' THEN pg_catalog.to_regtype('pg_catalog.anymultirange')::pg_catalog.oid
                WHEN b.typtype = 'c' THEN 'pg_catalog.record'::pg_catalog.regtype::pg_catalog.oid
                WHEN b.typcategory = 'A' THEN 'pg_catalog.anyarray'::pg_catalog.regtype::pg_catalog.oid
                WHEN b.oid = 'pg_catalog.varchar'::pg_catalog.regtype THEN 'pg_catalog.text'::pg_catalog.regtype::pg_catalog.oid END)
    JOIN pg_catalog.pg_am am ON am.oid = o.opcmethod AND am.amname = 'btree'
    -- 1 is <, 3 is = (manual, "B-Tree Indexes"); kinds as in pg_statistic.h, of 7 the operator is 0.
    JOIN pg_catalog.pg_amop m ON m.amopfamily = o.opcfamily AND m.amoplefttype = o.opcintype AND m.amoprighttype = o.opcintype
         AND m.amopstrategy = CASE WHEN kind IN (1, 4, 5) THEN 3 WHEN kind IN (2, 3, 6) THEN 1 END
   ORDER BY o.opcintype <> b.oid
   LIMIT 1
$$
