-- Extended statistics; their data as bytes in hexadecimal.
SELECT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS relation, e.stxname::pg_catalog.text AS name, d.stxdinherit AS inherited,
       pg_catalog.encode(d.stxdndistinct::pg_catalog.bytea, 'hex') AS ndistinct,
       pg_catalog.encode(d.stxddependencies::pg_catalog.bytea, 'hex') AS dependencies,
       pg_catalog.encode(d.stxdmcv::pg_catalog.bytea, 'hex') AS mcv,
       (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('null_fraction', s.stanullfrac, 'width', s.stawidth,
                                 'distinct', s.stadistinct, 'slots', coalesce(slots.slots, '[]')) ORDER BY s.place)::pg_catalog.text
          FROM pg_catalog.unnest(d.stxdexpr) WITH ORDINALITY AS s (starelid, staattnum, stainherit, stanullfrac, stawidth,
                 stadistinct, stakind1, stakind2, stakind3, stakind4, stakind5, staop1, staop2, staop3, staop4, staop5,
                 stacoll1, stacoll2, stacoll3, stacoll4, stacoll5, stanumbers1, stanumbers2, stanumbers3, stanumbers4,
                 stanumbers5, stavalues1, stavalues2, stavalues3, stavalues4, stavalues5, place)
         CROSS JOIN LATERAL (
            SELECT pg_catalog.json_agg(pg_catalog.json_build_object('kind', k.kind, 'operator', nullif(k.op::pg_catalog.regoperator::pg_catalog.text, '0'),
                'collation', nullif(k.coll::pg_catalog.regcollation::pg_catalog.text, '-'), 'numbers', k.numbers, 'values', k.values,
                'element', pg_catalog.format_type(CASE WHEN k.kind = 6 THEN 'pg_catalog.float8'::pg_catalog.regtype::pg_catalog.oid
                  -- Of array_send's bytes the ninth to the twelfth are the element type.
                  WHEN pg_catalog.length(k.bytes) >= 12 THEN (pg_catalog.get_byte(k.bytes, 8)::pg_catalog.int8 << 24
                    | pg_catalog.get_byte(k.bytes, 9) << 16 | pg_catalog.get_byte(k.bytes, 10) << 8
                    | pg_catalog.get_byte(k.bytes, 11))::pg_catalog.oid END, NULL)) ORDER BY k.slot) AS slots
              FROM (VALUES
                 (1, s.stakind1, s.staop1, s.stacoll1, s.stanumbers1::pg_catalog.text, s.stavalues1::pg_catalog.text,
                   CASE WHEN s.stakind1 NOT IN (0, 6) THEN pg_catalog.array_send(s.stavalues1) END),
                 (2, s.stakind2, s.staop2, s.stacoll2, s.stanumbers2::pg_catalog.text, s.stavalues2::pg_catalog.text,
                   CASE WHEN s.stakind2 NOT IN (0, 6) THEN pg_catalog.array_send(s.stavalues2) END),
                 (3, s.stakind3, s.staop3, s.stacoll3, s.stanumbers3::pg_catalog.text, s.stavalues3::pg_catalog.text,
                   CASE WHEN s.stakind3 NOT IN (0, 6) THEN pg_catalog.array_send(s.stavalues3) END),
                 (4, s.stakind4, s.staop4, s.stacoll4, s.stanumbers4::pg_catalog.text, s.stavalues4::pg_catalog.text,
                   CASE WHEN s.stakind4 NOT IN (0, 6) THEN pg_catalog.array_send(s.stavalues4) END),
                 (5, s.stakind5, s.staop5, s.stacoll5, s.stanumbers5::pg_catalog.text, s.stavalues5::pg_catalog.text,
                   CASE WHEN s.stakind5 NOT IN (0, 6) THEN pg_catalog.array_send(s.stavalues5) END)
              ) AS k (slot, kind, op, coll, numbers, values, bytes)
             WHERE k.kind <> 0) AS slots) AS expressions
  FROM pg_catalog.pg_statistic_ext e
  JOIN pg_catalog.pg_statistic_ext_data d ON d.stxoid = e.oid
  JOIN pg_catalog.pg_namespace n ON n.oid = e.stxnamespace
  JOIN pg_catalog.pg_class c ON c.oid = e.stxrelid
/* pgassay */
