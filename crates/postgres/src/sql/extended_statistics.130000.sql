SELECT s.stxrelid AS relation, s.stxname::pg_catalog.text AS name,
       ARRAY(SELECT a.attname::pg_catalog.text
               FROM pg_catalog.unnest(s.stxkeys::pg_catalog.int2[]) WITH ORDINALITY AS k (attnum, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = s.stxrelid AND a.attnum = k.attnum
              ORDER BY k.place) AS columns,
       -- d ndistinct, f dependencies, m mcv, e expressions (14+).
       ARRAY(SELECT k::pg_catalog.text FROM pg_catalog.unnest(s.stxkind) AS k) AS kinds
  FROM pg_catalog.pg_statistic_ext s
 ORDER BY s.stxrelid, s.stxname
/* pgassay */
