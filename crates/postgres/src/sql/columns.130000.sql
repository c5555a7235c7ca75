SELECT a.attrelid AS relation, a.attname::pg_catalog.text AS name,
       pg_catalog.format_type(a.atttypid, a.atttypmod) AS type_name, a.attnotnull AS not_null,
       (a.atthasdef OR a.attidentity <> '' OR a.attgenerated <> '') AS has_default,
       -- The builtin provider, and colllocale, came with 17. The database's collation is no row here.
       (SELECT CASE l.collprovider WHEN 'c' THEN l.collcollate IN ('C', 'POSIX')
                    WHEN 'b' THEN pg_catalog.to_jsonb(l) ->> 'colllocale' = 'C'
                    ELSE false END
          FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation AND l.collprovider <> 'd') AS c_collation,
       s.attname IS NOT NULL AS analyzed,
       s.null_frac::pg_catalog.float8 AS null_fraction, s.avg_width AS average_width,
       s.n_distinct::pg_catalog.float8 AS n_distinct,
       s.most_common_vals::pg_catalog.text::pg_catalog.text[] AS most_common_values,
       s.most_common_freqs::pg_catalog.float8[] AS most_common_fractions,
       s.histogram_bounds::pg_catalog.text::pg_catalog.text[] AS histogram,
       s.correlation::pg_catalog.float8 AS correlation,
       -- Of arrays and full-text values: frequencies of elements, then of the least, the greatest and (arrays) NULL.
       s.most_common_elem_freqs::pg_catalog.float8[] AS element_fractions,
       e.count AS elements, e.width AS element_width,
       -- The last one is the mean number of distinct elements of a value.
       s.elem_count_histogram[pg_catalog.array_upper(s.elem_count_histogram, 1)]::pg_catalog.float8 AS mean_elements
  FROM pg_catalog.pg_attribute a
  JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  -- A partitioned table has statistics of the whole only; of an inheritance parent, its own rows count.
  LEFT JOIN pg_catalog.pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname
        AND s.attname = a.attname AND s.inherited = (c.relkind = 'p')
  LEFT JOIN LATERAL (
    SELECT pg_catalog.count(*) AS count,
           pg_catalog.avg(pg_catalog.octet_length(t.text))::pg_catalog.float8 AS width
      FROM pg_catalog.unnest(s.most_common_elems::pg_catalog.text::pg_catalog.text[]) AS t (text)
  ) e ON s.most_common_elems IS NOT NULL
 WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't' AND a.attnum > 0 AND NOT a.attisdropped
   AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_toast%'
 ORDER BY a.attrelid, a.attnum
/* pgassay */
