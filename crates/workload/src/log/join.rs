//! Logs together with pg_stat_statements: its counts are complete, the log knows values and order.

use crate::directory::Unknown;
use crate::log::LogCapture;
use pgassay_model::snapshot::StatementStatistics;
use pgassay_model::workload::{Workload, WorkloadStatement};
use std::collections::{BTreeMap, BTreeSet};

/// A statement's fingerprint, as its id has it, and its relations, whose digits a fingerprint does not tell.
type Key = (String, Vec<String>);

fn key(id: &str, sql: &str) -> Key {
    let fingerprint = id.split('-').next().unwrap_or_default().to_owned();
    let relations = pgassay_sql::shape(sql, &Unknown).map(|shape| shape.unknown_relations);
    (fingerprint, relations.unwrap_or_default())
}

/// Gives the statements of a log the calls of pg_stat_statements, matched by queryid where the log has it (`%Q`)
/// and by fingerprint otherwise, and adds those that only pg_stat_statements has seen.
///
/// `statistics` are the server's, `seen` the workload that was selected from them. Statements that only the log
/// has are weighted at the log's calls times the ratio of calls of those that both have.
pub fn join_statistics(
    log: LogCapture,
    statistics: &[StatementStatistics],
    seen: Workload,
    limit: usize,
) -> LogCapture {
    let LogCapture { mut workload, mut total_ms, mut notes } = log;
    let mut by_id: BTreeMap<i64, (u64, f64)> = BTreeMap::new();
    let mut by_fingerprint: BTreeMap<Key, (u64, f64, i64)> = BTreeMap::new();
    for entry in statistics.iter().filter(|entry| entry.calls > 0) {
        let known = by_id.entry(entry.queryid).or_default();
        known.0 += entry.calls;
        known.1 += entry.total_exec_ms;
        if let Ok(fingerprint) = pgassay_sql::fingerprint(&entry.query) {
            let key = key(&format!("q{fingerprint}"), &entry.query);
            let known = by_fingerprint.entry(key).or_insert((0, 0.0, entry.queryid));
            known.0 += entry.calls;
            known.1 += entry.total_exec_ms;
        }
    }
    let mut joined = BTreeSet::new();
    let mut calls = (0.0, 0.0);
    let matches: Vec<Option<(u64, f64)>> = workload
        .statements
        .iter_mut()
        .map(|statement| {
            let found = match (
                by_fingerprint.get(&key(&statement.id, &statement.sql)),
                statement.queryid,
            ) {
                // Several queryids (a role's own, longer lists) can share one fingerprint.
                (Some((calls, ms, queryid)), _) => {
                    statement.queryid.get_or_insert(*queryid);
                    Some((*calls, *ms))
                }
                (None, Some(queryid)) => by_id.get(&queryid).copied(),
                (None, None) => None,
            }?;
            joined.insert(statement.id.clone());
            joined.extend(statement.queryid.map(|queryid| queryid.to_string()));
            calls.0 += found.0 as f64;
            calls.1 += statement.weight;
            Some(found)
        })
        .collect();
    let ratio = if calls.1 > 0.0 { calls.0 / calls.1 } else { 1.0 };
    let mut only_log = 0;
    for ((statement, found), ms) in workload.statements.iter_mut().zip(&matches).zip(&mut total_ms)
    {
        match found {
            Some((calls, total)) => (statement.weight, *ms) = (*calls as f64, *total),
            None => {
                only_log += 1;
                statement.weight *= ratio;
                *ms *= ratio;
            }
        }
    }
    let mut added: Vec<(WorkloadStatement, f64)> = seen
        .statements
        .into_iter()
        .filter(|statement| {
            let queryid = statement.queryid.map(|queryid| queryid.to_string());
            !joined.contains(&statement.id)
                && !queryid.is_some_and(|queryid| joined.contains(&queryid))
        })
        .map(|statement| {
            let ms = by_fingerprint
                .get(&key(&statement.id, &statement.sql))
                .map_or(0.0, |(_, ms, _)| *ms);
            (statement, ms)
        })
        .collect();
    added.sort_by(|a, b| b.1.total_cmp(&a.1));
    notes.push(format!(
        "{} statements of the log are also in pg_stat_statements, whose calls are their weights; {only_log} only in the log{}; {} only in pg_stat_statements",
        matches.iter().flatten().count(),
        if only_log > 0 { format!(" (weighted at {ratio:.3} times their calls there)") } else { String::new() },
        added.len()
    ));
    // Recorded requests name statements by their places, so those of the log come first and stay.
    for (statement, ms) in added {
        if workload.statements.len() >= limit {
            break;
        }
        workload.statements.push(statement);
        total_ms.push(ms);
    }
    workload.source = format!("{} and {}", workload.source, seen.source);
    // What the log has with its values is not skipped, whatever hindered pg_stat_statements' text.
    let here: BTreeSet<&str> = workload
        .statements
        .iter()
        .filter_map(|statement| statement.id.split('-').next()?.strip_prefix('q'))
        .collect();
    let skipped = seen.skipped.into_iter().filter(|skipped| {
        !pgassay_sql::fingerprint(&skipped.statement)
            .is_ok_and(|fingerprint| here.contains(fingerprint.as_str()))
    });
    workload.skipped.extend(skipped);
    LogCapture { workload, total_ms, notes }
}
