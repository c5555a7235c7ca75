-- What pg_stats shows, as slots of pg_statistic. Operators are the types' own, found where the slots are put.
SELECT n.nspname::pg_catalog.text AS schema, c.relname::pg_catalog.text AS relation, a.attname::pg_catalog.text AS column,
       CASE WHEN c.relkind IN ('i', 'I') THEN a.attnum END AS number, s.inherited,
       s.null_frac AS null_fraction, s.avg_width AS width, s.n_distinct AS distinct, slots.slots::pg_catalog.text AS slots
  FROM pg_catalog.pg_stats s
  JOIN pg_catalog.pg_namespace n ON n.nspname = s.schemaname
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attname = s.attname
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
 CROSS JOIN LATERAL (
    SELECT pg_catalog.json_agg(pg_catalog.json_build_object('kind', k.kind, 'operator', NULL,
                'collation', CASE WHEN k.kind NOT IN (6, 7) AND a.attcollation <> 0 THEN a.attcollation::pg_catalog.regcollation::pg_catalog.text END,
                'numbers', k.numbers, 'values', k.values, 'element', k.element) ORDER BY k.slot) AS slots
      FROM (VALUES
         (1, 1, s.most_common_freqs::pg_catalog.text, s.most_common_vals::pg_catalog.text, NULL),
         (2, 2, NULL, s.histogram_bounds::pg_catalog.text, NULL),
         (3, 3, ARRAY[s.correlation]::pg_catalog.float4[]::pg_catalog.text, NULL, NULL),
         (4, 4, s.most_common_elem_freqs::pg_catalog.text, s.most_common_elems::pg_catalog.text,
             CASE WHEN b.typname = 'tsvector' THEN 'text' ELSE pg_catalog.format_type(nullif(b.typelem, 0), NULL) END),
         (5, 5, s.elem_count_histogram::pg_catalog.text, NULL, NULL),
         (6, 6, ARRAY[s.range_empty_frac]::pg_catalog.float4[]::pg_catalog.text, s.range_length_histogram::pg_catalog.text, 'double precision'),
         (7, 7, NULL, s.range_bounds_histogram::pg_catalog.text,
             (SELECT pg_catalog.format_type(g.rngtypid, NULL) FROM pg_catalog.pg_range g WHERE b.oid IN (g.rngtypid, g.rngmultitypid)))
      ) AS k (slot, kind, numbers, values, element)
     WHERE k.values IS NOT NULL OR (k.kind = 3 AND s.correlation IS NOT NULL) OR (k.kind = 5 AND s.elem_count_histogram IS NOT NULL) OR (k.kind = 6 AND s.range_length_histogram IS NOT NULL)) AS slots
 WHERE s.schemaname <> 'information_schema' AND s.schemaname NOT LIKE 'pg\_%' AND c.relpersistence <> 't'
/* pgassay */
