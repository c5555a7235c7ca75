-- pg_statistic as text: its values are of any type.
SELECT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS relation, a.attname::pg_catalog.text AS column,
       CASE WHEN c.relkind IN ('i', 'I') THEN a.attnum END AS number, s.stainherit AS inherited,
       s.stanullfrac AS null_fraction, s.stawidth AS width, s.stadistinct AS distinct, slots.slots::pg_catalog.text AS slots
  FROM pg_catalog.pg_statistic s
  JOIN pg_catalog.pg_class c ON c.oid = s.starelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = s.starelid AND a.attnum = s.staattnum AND NOT a.attisdropped
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
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
           CASE WHEN s.stakind1 NOT IN (0, 6) AND (s.stakind1 NOT IN (1, 2) OR t.typsend::pg_catalog.oid <> 0) THEN pg_catalog.array_send(s.stavalues1) END),
         (2, s.stakind2, s.staop2, s.stacoll2, s.stanumbers2::pg_catalog.text, s.stavalues2::pg_catalog.text,
           CASE WHEN s.stakind2 NOT IN (0, 6) AND (s.stakind2 NOT IN (1, 2) OR t.typsend::pg_catalog.oid <> 0) THEN pg_catalog.array_send(s.stavalues2) END),
         (3, s.stakind3, s.staop3, s.stacoll3, s.stanumbers3::pg_catalog.text, s.stavalues3::pg_catalog.text,
           CASE WHEN s.stakind3 NOT IN (0, 6) AND (s.stakind3 NOT IN (1, 2) OR t.typsend::pg_catalog.oid <> 0) THEN pg_catalog.array_send(s.stavalues3) END),
         (4, s.stakind4, s.staop4, s.stacoll4, s.stanumbers4::pg_catalog.text, s.stavalues4::pg_catalog.text,
           CASE WHEN s.stakind4 NOT IN (0, 6) AND (s.stakind4 NOT IN (1, 2) OR t.typsend::pg_catalog.oid <> 0) THEN pg_catalog.array_send(s.stavalues4) END),
         (5, s.stakind5, s.staop5, s.stacoll5, s.stanumbers5::pg_catalog.text, s.stavalues5::pg_catalog.text,
           CASE WHEN s.stakind5 NOT IN (0, 6) AND (s.stakind5 NOT IN (1, 2) OR t.typsend::pg_catalog.oid <> 0) THEN pg_catalog.array_send(s.stavalues5) END)
      ) AS k (slot, kind, op, coll, numbers, values, bytes)
     WHERE k.kind <> 0) AS slots
 WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%' AND c.relpersistence <> 't'
/* pgassay */
