SELECT s.name, s.setting, s.unit, s.context, s.vartype, s.source, s.sourcefile, s.boot_val, s.reset_val,
       s.min_val, s.max_val, s.enumvals, s.pending_restart,
       pg_catalog.current_setting(s.name, true) AS current
  FROM pg_catalog.pg_settings s
/* pgassay */
