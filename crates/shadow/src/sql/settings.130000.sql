-- What the planner reads, or what the meaning of a text depends on. The schemas of search_path are those that exist
-- for this role, "$user" resolved, as a list of identifiers.
SELECT s.name, s.setting
  FROM pg_catalog.pg_settings s
 WHERE s.name LIKE 'enable\_%'
    OR s.name IN ('seq_page_cost', 'random_page_cost', 'cpu_tuple_cost', 'cpu_index_tuple_cost', 'cpu_operator_cost',
         'parallel_setup_cost', 'parallel_tuple_cost', 'min_parallel_table_scan_size', 'min_parallel_index_scan_size',
         'effective_cache_size', 'jit', 'jit_above_cost', 'jit_inline_above_cost', 'jit_optimize_above_cost', 'geqo',
         'geqo_threshold', 'geqo_effort', 'geqo_pool_size', 'geqo_generations', 'geqo_selection_bias', 'geqo_seed',
         'default_statistics_target', 'constraint_exclusion', 'cursor_tuple_fraction', 'from_collapse_limit',
         'join_collapse_limit', 'plan_cache_mode', 'recursive_worktable_factor', 'force_parallel_mode',
         'debug_parallel_query', 'parallel_leader_participation', 'max_parallel_workers_per_gather',
         'max_parallel_workers', 'work_mem', 'hash_mem_multiplier', 'effective_io_concurrency', 'TimeZone', 'DateStyle',
         'IntervalStyle', 'default_text_search_config', 'bytea_output', 'xmlbinary', 'xmloption', 'extra_float_digits',
         'transform_null_equals', 'array_nulls', 'standard_conforming_strings', 'backslash_quote', 'quote_all_identifiers')
UNION ALL
SELECT 'search_path', (SELECT coalesce(pg_catalog.string_agg(pg_catalog.quote_ident(p.schema), ', '), '''''')
                         FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) AS p (schema))
 ORDER BY 1
/* pgassay */
