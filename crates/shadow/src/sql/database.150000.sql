SELECT pg_catalog.pg_encoding_to_char(d.encoding)::pg_catalog.text AS encoding, d.datcollate::pg_catalog.text AS collate,
       d.datctype::pg_catalog.text AS ctype, d.datlocprovider::pg_catalog.text AS provider, d.daticulocale AS locale,
       pg_catalog.current_setting('block_size')::pg_catalog.int4 AS block_size,
       pg_catalog.has_table_privilege('pg_catalog.pg_statistic', 'SELECT') AS reads_statistics,
       pg_catalog.has_table_privilege('pg_catalog.pg_statistic_ext_data', 'SELECT') AS reads_extended
  FROM pg_catalog.pg_database d
 WHERE d.datname = pg_catalog.current_database()
/* pgassay */
