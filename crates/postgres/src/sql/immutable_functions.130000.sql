-- Every overload of a name has to be immutable, since what an expression calls is not told by its text. A name without
-- schema stands for what search_path finds, and calls no function of pg_catalog by chance.
WITH functions AS (
  SELECT p.proname AS name, n.nspname AS schema, p.oid,
         p.provolatile = 'i' AND p.prokind = 'f' AND NOT p.proretset AS immutable
    FROM pg_catalog.pg_proc p
    JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
   WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_%'
)
SELECT pg_catalog.format('%I.%I', f.schema, f.name) AS name
  FROM functions f
 GROUP BY f.schema, f.name
HAVING pg_catalog.bool_and(f.immutable)
 UNION ALL
SELECT pg_catalog.format('%I', f.name)
  FROM functions f
 WHERE f.schema = ANY (pg_catalog.current_schemas(false))
   AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_proc b
                    WHERE b.proname = f.name AND b.pronamespace = 'pg_catalog'::pg_catalog.regnamespace)
 GROUP BY f.name
HAVING pg_catalog.bool_and(f.immutable)
 ORDER BY 1
/* pgassay */
