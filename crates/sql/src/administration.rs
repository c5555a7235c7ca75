//! Functions that act on the server itself and not on an application's data: statements that call one are no load.

use crate::SqlError;

/// Beginnings of such functions' names (manual, sections 9.28 "System Administration Functions" and 28.2.24
/// "Statistics Functions"; `pg_stat_statements`). Advisory locks and notifications are an application's own.
const ADMINISTRATION: [&str; 22] = [
    "pg_backup_",
    "pg_cancel_backend",
    "pg_copy_logical_replication_slot",
    "pg_copy_physical_replication_slot",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_create_restore_point",
    "pg_drop_replication_slot",
    "pg_file_",
    "pg_log_backend_memory_contexts",
    "pg_logical_emit_message",
    "pg_promote",
    "pg_reload_conf",
    "pg_replication_slot_advance",
    "pg_rotate_logfile",
    "pg_start_backup",
    "pg_stat_reset",
    "pg_stat_statements_reset",
    "pg_stop_backup",
    "pg_switch_wal",
    "pg_terminate_backend",
    "pg_wal_replay_",
];

/// The functions that a statement calls by name, as it writes them.
pub fn called_functions(sql: &str) -> Result<Vec<String>, SqlError> {
    Ok(pg_query::parse(sql, 0)?.call_functions())
}

/// The first function that a statement calls and that acts on the server; None where it calls none by name.
pub fn administers(sql: &str) -> Result<Option<String>, SqlError> {
    // All of them begin so, and most statements need not be parsed for it; names may be written with escapes, too.
    let text = sql.to_ascii_lowercase();
    if !text.contains("pg_") && !text.contains("u&\"") {
        return Ok(None);
    }
    Ok(called_functions(sql)?.into_iter().find(|name| {
        let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
        // pg_stat_statements may be installed in any schema.
        let plain = name.rsplit('.').next().unwrap_or(name);
        ADMINISTRATION.iter().any(|known| plain.starts_with(known))
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_acts_on_the_server_is_told_from_what_acts_on_data() {
        let name = |sql: &str| administers(sql).unwrap();
        assert_eq!(
            name("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_stat_activity").unwrap(),
            "pg_catalog.pg_terminate_backend"
        );
        assert_eq!(
            name("SELECT 1 WHERE (SELECT extensions.pg_stat_statements_reset() IS NOT NULL)")
                .unwrap(),
            "extensions.pg_stat_statements_reset"
        );
        for harmless in [
            "SELECT pg_advisory_xact_lock($1)",
            "SELECT pg_notify('changed', $1)",
            "SELECT lower(pg_switch_wal) FROM t",
            "SELECT pg_sleep(0)",
        ] {
            assert_eq!(name(harmless), None, "{harmless}");
        }
    }
}
