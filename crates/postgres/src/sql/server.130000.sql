SELECT pg_catalog.current_setting('server_version') AS version,
       pg_catalog.current_database()::pg_catalog.text AS database,
       CURRENT_USER::pg_catalog.text AS user,
       coalesce((SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER), false) AS superuser,
       EXISTS (SELECT 1 FROM pg_catalog.pg_roles r
                WHERE r.rolname = 'pg_monitor' AND pg_catalog.pg_has_role(r.oid, 'USAGE')) AS monitor,
       -- pg_read_all_data came with 14.
       EXISTS (SELECT 1 FROM pg_catalog.pg_roles r
                WHERE (r.rolname = 'pg_read_all_data' AND pg_catalog.pg_has_role(r.oid, 'USAGE'))
                   OR (r.rolname = CURRENT_USER AND r.rolsuper)) AS read_all_data,
       pg_catalog.pg_is_in_recovery() AS in_recovery,
       -- No row, rather than an error, without the right to see it.
       (SELECT s.setting FROM pg_catalog.pg_settings s WHERE s.name = 'data_directory') AS data_directory,
       pg_catalog.pg_database_size(d.oid) AS database_size,
       -- datlocprovider came with 15; its builtin provider, and datlocale, with 17.
       CASE pg_catalog.to_jsonb(d) ->> 'datlocprovider'
            WHEN 'i' THEN false
            WHEN 'b' THEN pg_catalog.to_jsonb(d) ->> 'datlocale' = 'C'
            ELSE d.datcollate IN ('C', 'POSIX') END AS c_collation,
       ARRAY(SELECT e.extname::pg_catalog.text FROM pg_catalog.pg_extension e ORDER BY e.oid) AS extensions,
       ARRAY(SELECT e.extversion FROM pg_catalog.pg_extension e ORDER BY e.oid) AS extension_versions,
       ARRAY(SELECT a.name::pg_catalog.text FROM pg_catalog.pg_available_extensions a) AS available_extensions,
       -- Walsenders of standbys, and slots of standbys that are away. Who may not see a walsender's name counts it.
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_replication r
          LEFT JOIN pg_catalog.pg_replication_slots l ON l.active_pid = r.pid
         WHERE l.slot_type IS DISTINCT FROM 'logical'
           AND coalesce(r.application_name, '') NOT IN ('pg_basebackup', 'pg_receivewal', 'pg_receivexlog'))
       + (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots l
           WHERE l.slot_type = 'physical' AND NOT l.active) AS standbys,
       pg_catalog.pg_backend_pid() AS backend_pid,
       SESSION_USER::pg_catalog.text AS session_user
  FROM pg_catalog.pg_database d
 WHERE d.datname = pg_catalog.current_database()
/* pgassay */
