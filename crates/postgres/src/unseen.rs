//! What a snapshot could not see, and the GRANT or setting that would show it.

use pgassay_model::index::RelationName;
use pgassay_model::snapshot::{Snapshot, Unseen};
use pgassay_sql::quote_identifier;

pub(crate) struct Observed<'a> {
    pub snapshot: &'a Snapshot,
    /// Relations that the role may not SELECT from.
    pub unreadable: usize,
    /// Relations under an ACCESS EXCLUSIVE lock, left out.
    pub locked: &'a [RelationName],
    /// Columns whose values in the statistics are not UTF-8.
    pub no_utf8: &'a [String],
    /// The session is a pooler's.
    pub pooled: bool,
    /// Why pg_stat_statements could not be read.
    pub no_statements: Option<&'a str>,
    /// Parameters that guard our own session could not be seen as others have them.
    pub guards_unseen: bool,
}

pub(crate) fn list(observed: &Observed<'_>) -> Vec<Unseen> {
    [
        pooled(observed),
        other_sessions(observed),
        column_statistics(observed),
        locked(observed),
        no_utf8(observed),
        statements(observed),
        data_directory(observed),
        host(observed),
        guards(observed),
        switched_off(
            observed,
            "track_io_timing",
            "time spent reading and writing blocks",
            "ALTER SYSTEM SET track_io_timing = on; SELECT pg_reload_conf(); (measure its cost with pg_test_timing first)",
        ),
        switched_off(
            observed,
            "track_counts",
            "activity of relations and indexes",
            "ALTER SYSTEM SET track_counts = on; SELECT pg_reload_conf();",
        ),
        switched_off(
            observed,
            "track_activities",
            "what sessions do",
            "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf();",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn pooled(observed: &Observed<'_>) -> Option<Unseen> {
    observed.pooled.then(|| Unseen {
        what: "plans with hypothetical indexes".into(),
        why: "a connection pooler answers, and a hypothetical index would stay in its backend"
            .into(),
        remedy: "give the DSN of the server itself, and the pooler's as the application's".into(),
    })
}

fn other_sessions(observed: &Observed<'_>) -> Option<Unseen> {
    let server = &observed.snapshot.server;
    (!server.monitor).then(|| Unseen {
        what: "sessions and statements of other roles".into(),
        why: format!("role {} is not a member of pg_monitor", server.user),
        remedy: format!("GRANT pg_monitor TO {};", quote_identifier(&server.user)),
    })
}

fn column_statistics(observed: &Observed<'_>) -> Option<Unseen> {
    let server = &observed.snapshot.server;
    let user = quote_identifier(&server.user);
    (observed.unreadable > 0).then(|| Unseen {
        what: format!(
            "column statistics of {} of {} relations",
            observed.unreadable,
            observed.snapshot.relations.len()
        ),
        why: format!("pg_stats shows only what role {} may SELECT", server.user),
        // pg_read_all_data came with 14.
        remedy: if server.version_num >= 140_000 {
            format!("GRANT pg_read_all_data TO {user};")
        } else {
            format!("GRANT SELECT ON ALL TABLES IN SCHEMA … TO {user};")
        },
    })
}

fn locked(observed: &Observed<'_>) -> Option<Unseen> {
    let names: Vec<String> = observed.locked.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| Unseen {
        what: format!("relations {}", names.join(", ")),
        why: "another session holds an ACCESS EXCLUSIVE lock on them".into(),
        remedy: "run again when that session has ended its transaction".into(),
    })
}

fn no_utf8(observed: &Observed<'_>) -> Option<Unseen> {
    (!observed.no_utf8.is_empty()).then(|| Unseen {
        what: format!("values in the statistics of {}", observed.no_utf8.join(", ")),
        why: "they are not UTF-8, and the database's encoding is SQL_ASCII, which tells no other"
            .into(),
        remedy:
            "nothing is needed: these columns are judged without their values; a database with \
                 an encoding has them all"
                .into(),
    })
}

fn statements(observed: &Observed<'_>) -> Option<Unseen> {
    let snapshot = observed.snapshot;
    let why = observed.no_statements?;
    let preloaded = snapshot
        .parameter("shared_preload_libraries")
        .is_some_and(|libraries| libraries.setting.contains("pg_stat_statements"));
    let installed = snapshot.server.extensions.contains_key("pg_stat_statements");
    let mut steps = Vec::new();
    if !installed && !snapshot.server.available_extensions.contains("pg_stat_statements") {
        steps.push("install PostgreSQL's contrib package");
    }
    // A view that refuses only for want of rights is loaded, though the role may not see the parameter.
    let refused = installed && why.contains("permission");
    if !(preloaded || refused) {
        steps.push("add pg_stat_statements to shared_preload_libraries and restart the server");
    }
    if !installed {
        steps.push("CREATE EXTENSION pg_stat_statements; in this database");
    }
    if steps.is_empty() {
        steps.push("GRANT SELECT ON pg_stat_statements, or pg_read_all_stats, to the role");
    }
    Some(Unseen {
        what: "statements and their times (pg_stat_statements)".into(),
        why: why.to_owned(),
        remedy: steps.join("; "),
    })
}

fn data_directory(observed: &Observed<'_>) -> Option<Unseen> {
    let server = &observed.snapshot.server;
    server.data_directory.is_none().then(|| Unseen {
        what: "data_directory and other protected parameters".into(),
        why: format!("role {} is not a member of pg_read_all_settings", server.user),
        remedy: format!(
            "GRANT pg_read_all_settings TO {}; (pg_monitor includes it)",
            quote_identifier(&server.user)
        ),
    })
}

fn host(observed: &Observed<'_>) -> Option<Unseen> {
    observed.snapshot.host.is_none().then(|| Unseen {
        what: "memory, cores and disks of the server's host".into(),
        why: "the server's processes are not seen on this host".into(),
        remedy:
            "run pgassay on the server's host (in its container), or state the memory where asked"
                .into(),
    })
}

fn guards(observed: &Observed<'_>) -> Option<Unseen> {
    observed.guards_unseen.then(|| Unseen {
        what: "statement_timeout, lock_timeout and idle_in_transaction_session_timeout of the application".into(),
        why: "our own session sets them, and a second connection was refused".into(),
        remedy: "leave one more connection free".into(),
    })
}

fn switched_off(
    observed: &Observed<'_>,
    parameter: &str,
    what: &str,
    remedy: &str,
) -> Option<Unseen> {
    let parameter = observed.snapshot.parameter(parameter)?;
    (parameter.setting == "off").then(|| Unseen {
        what: what.to_owned(),
        why: format!("{} is off", parameter.name),
        remedy: remedy.to_owned(),
    })
}
