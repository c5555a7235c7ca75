//! What rolling back does not take back, where the statements of a workload show it.

use pgassay_load::Writes;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::{Workload, WorkloadStatement};
use std::collections::BTreeSet;

/// Beginnings of functions' names, and what stays of a call that is rolled back (manual, sections 9.28.10 "Advisory
/// Lock Functions", 35.4 "Server-Side Functions", F.12 "dblink"). That sequences stay, each such load says.
const STAYS: [(&[&str], &str); 3] = [
    (
        &["pg_advisory_lock", "pg_try_advisory_lock"],
        "advisory locks of a session stay until it ends, through a pooler that of the pooler's server connection",
    ),
    (&["dblink"], "what dblink asks of another server is committed there"),
    (&["lo_export"], "the file that was written stays"),
];

/// Sentences for the report of a load driven with `writes`; none where nothing shows.
pub fn notes(workload: &Workload, snapshot: &Snapshot, writes: Writes) -> Vec<String> {
    match writes {
        Writes::Run => Vec::new(),
        Writes::Rollback => {
            let mut notes: Vec<String> = STAYS
                .iter()
                .filter_map(|(names, stays)| {
                    let ids = calling(workload, names)?;
                    Some(format!("rolling back does not undo all that {ids} did: {stays}"))
                })
                .collect();
            notes.extend(foreign(workload, snapshot));
            notes.extend(calling(workload, &["pg_notify"]).map(|ids| {
                format!("no notification was sent: {ids} called pg_notify in transactions that were rolled back")
            }));
            notes
        }
        Writes::Refuse => calling(workload, &["pg_notify"])
            .map(|ids| {
                format!("{ids} may have told those that listen, which is no write to the server")
            })
            .into_iter()
            .collect(),
    }
}

/// Foreign relations that are written: whether a roll-back reaches them is for their wrapper.
fn foreign(workload: &Workload, snapshot: &Snapshot) -> Option<String> {
    let written = |statement: &WorkloadStatement| {
        let shape = pgassay_sql::shape(&statement.sql, snapshot).ok()?;
        let targets = shape.relations.into_iter().filter(|relation| relation.target_of_write);
        let foreign = targets
            .map(|relation| relation.name)
            .find(|name| snapshot.relation(name).is_some_and(|relation| relation.kind == 'f'))?;
        Some(foreign.to_string())
    };
    let names: BTreeSet<String> = workload.statements.iter().filter_map(written).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} lie on another server: what was written there is rolled back only if their wrapper takes part in \
             transactions (postgres_fdw does)",
            names.into_iter().collect::<Vec<_>>().join(", ")
        )
    })
}

/// Ids of the statements that call a function whose name begins so; None where none does.
fn calling(workload: &Workload, names: &[&str]) -> Option<String> {
    let calls = |statement: &&WorkloadStatement| {
        let called = pgassay_sql::called_functions(&statement.sql).unwrap_or_default();
        called.iter().any(|name| {
            let plain = name.rsplit('.').next().unwrap_or(name);
            names.iter().any(|known| plain.starts_with(known))
        })
    };
    let ids: Vec<&str> =
        workload.statements.iter().filter(calls).map(|statement| statement.id.as_str()).collect();
    (!ids.is_empty()).then(|| ids.join(", "))
}
