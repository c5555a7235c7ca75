//! A workload captured from pg_stat_statements.

use crate::WorkloadError;
use crate::directory::Unknown;
use crate::fill::fill_parameters;
use pgassay_model::Timestamp;
use pgassay_model::snapshot::{Server, Snapshot, StatementStatistics};
use pgassay_model::workload::{SCHEMA, SkippedStatement, Workload, WorkloadStatement};
use pgassay_postgres::Session;
use pgassay_sql::{StatementKind, quote_identifier};
use std::collections::BTreeMap;

/// The comment that every statement of our own carries.
const MARKER: &str = "/* pgassay */";

/// What to capture.
#[derive(Debug, Clone)]
pub struct CaptureOptions {
    /// How many statements: those with the most execution time.
    pub limit: usize,
    /// Seed of the parameter values.
    pub seed: u64,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        CaptureOptions { limit: 100, seed: 42 }
    }
}

/// Statements of pg_stat_statements, as the snapshot holds them, with their calls as weights and parameters
/// filled. Statements that differ only in constants, white space and the length of lists are one.
pub async fn capture_statements(
    session: &Session,
    snapshot: &Snapshot,
    options: &CaptureOptions,
) -> Result<Workload, WorkloadError> {
    let statistics = snapshot.statements.as_deref().ok_or(WorkloadError::NoStatistics)?;
    let (statements, mut skipped) = select(statistics, options.limit);
    skipped.extend(of_others(&snapshot.server));
    let mut workload = Workload {
        schema: SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        source: source(session, snapshot).await?,
        statements,
        skipped,
        scripts: Vec::new(),
        sessions: Vec::new(),
    };
    fill_parameters(&mut workload, session, snapshot, options.seed).await?;
    Ok(workload)
}

/// Chooses and merges statements; pure.
fn select(
    statistics: &[StatementStatistics],
    limit: usize,
) -> (Vec<WorkloadStatement>, Vec<SkippedStatement>) {
    struct Merged<'a> {
        first: &'a StatementStatistics,
        calls: u64,
        total_exec_ms: f64,
    }
    let mut skipped = Vec::new();
    let mut merged: BTreeMap<String, Merged> = BTreeMap::new();
    for entry in statistics.iter().filter(|entry| entry.calls > 0) {
        match usable(&entry.query) {
            Ok(fingerprint) => {
                let known = merged.entry(fingerprint).or_insert(Merged {
                    first: entry,
                    calls: 0,
                    total_exec_ms: 0.0,
                });
                known.calls += entry.calls;
                known.total_exec_ms += entry.total_exec_ms;
                if entry.total_exec_ms > known.first.total_exec_ms {
                    known.first = entry;
                }
            }
            Err(reason) => {
                let entry = SkippedStatement { statement: beginning(&entry.query), reason };
                if !skipped.contains(&entry) {
                    skipped.push(entry);
                }
            }
        }
    }
    let mut merged: Vec<(String, Merged)> = merged.into_iter().collect();
    // Stable: equal times stay in order of fingerprints.
    merged.sort_by(|(_, a), (_, b)| b.total_exec_ms.total_cmp(&a.total_exec_ms));
    let time = |merged: &[(String, Merged)]| -> f64 {
        merged.iter().map(|(_, statement)| statement.total_exec_ms).sum()
    };
    let total = time(&merged);
    let rest = merged.split_off(limit.min(merged.len()));
    if !rest.is_empty() {
        skipped.push(SkippedStatement {
            statement: format!("{} statements", rest.len()),
            reason: format!(
                "not among the {limit} with the most execution time; together {:.1} % of it",
                if total > 0.0 { 100.0 * time(&rest) / total } else { 0.0 }
            ),
        });
    }
    let statements = merged
        .into_iter()
        .map(|(fingerprint, statement)| WorkloadStatement {
            id: format!("q{fingerprint}"),
            sql: statement.first.query.clone(),
            weight: statement.calls as f64,
            writes: false,
            parameters: Vec::new(),
            parameter_source: String::new(),
            queryid: Some(statement.first.queryid),
            ..WorkloadStatement::default()
        })
        .collect();
    (statements, skipped)
}

/// What a role without pg_monitor may not see: the view has no identifiers and no texts of it.
fn of_others(server: &Server) -> Option<SkippedStatement> {
    (!server.monitor).then(|| SkippedStatement {
        statement: "statements of other roles".into(),
        reason: format!(
            "hidden from role {user}, which is not a member of pg_monitor: GRANT pg_monitor TO {}",
            quote_identifier(&server.user),
            user = server.user
        ),
    })
}

/// The fingerprint of a statement that can be replayed, or why it can't.
pub(crate) fn usable(query: &str) -> Result<String, String> {
    if query.contains(MARKER) {
        return Err("a statement of pgassay itself".into());
    }
    if query == "<insufficient privilege>" {
        return Err("its text is hidden: GRANT pg_read_all_stats to this role".into());
    }
    let shape = pgassay_sql::shape(query, &Unknown).map_err(|error| error.to_string())?;
    if shape.kind == StatementKind::Utility {
        let word = query.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        return Err(format!(
            "{word} is no SELECT, VALUES, INSERT, UPDATE, DELETE or MERGE: not replayed"
        ));
    }
    if let Ok(Some(function)) = pgassay_sql::administers(query) {
        return Err(format!("{function} acts on the server, not on data: not replayed"));
    }
    let relations = &shape.unknown_relations;
    if !relations.is_empty() && relations.iter().all(|name| is_of_the_server(name)) {
        return Err("it reads the server's own catalogs and views only: a tool's (pg_dump, psql, \
                    monitoring), not the application's"
            .into());
    }
    pgassay_sql::fingerprint(query).map_err(|error| error.to_string())
}

/// Whether a relation, as a statement names it, is one of the server's own; their names begin with `pg_`.
fn is_of_the_server(name: &str) -> bool {
    match name.split_once('.') {
        Some((schema, _)) => matches!(schema, "pg_catalog" | "information_schema" | "pg_toast"),
        None => name.starts_with("pg_"),
    }
}

/// The first two words. The server does not take the constants out of statements like these, and they may be
/// secrets (CREATE ROLE … PASSWORD).
pub(crate) fn beginning(query: &str) -> String {
    let plain = |word: &&str| word.chars().all(|c| c.is_alphanumeric() || c == '_');
    let words: Vec<&str> = query.split_whitespace().take_while(plain).take(2).collect();
    let more = query.split_whitespace().count() > words.len();
    format!("{}{}", words.join(" "), if more { " …" } else { "" })
}

/// "pg_stat_statements 1.10 since 2026-01-31 …".
async fn source(session: &Session, snapshot: &Snapshot) -> Result<String, WorkloadError> {
    let version = snapshot.server.extensions.get("pg_stat_statements").cloned().unwrap_or_default();
    let source = format!("pg_stat_statements {version}").trim_end().to_owned();
    Ok(match reset(session).await? {
        Some(reset) => format!("{source} since {reset}"),
        None => source,
    })
}

/// When the statistics were reset; None before version 1.9 of the extension, which does not tell.
async fn reset(session: &Session) -> Result<Option<String>, WorkloadError> {
    let reading = session.read("reading when pg_stat_statements was reset").await?;
    let schema = reading
        .row(
            "SELECT n.nspname::pg_catalog.text FROM pg_catalog.pg_class AS c
             JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                  AND d.objid = c.oid AND d.deptype = 'e'
             WHERE c.relname = 'pg_stat_statements_info' /* pgassay */",
            &[],
        )
        .await;
    let mut reset = None;
    if let Ok(Some(row)) = &schema
        && let Ok(schema) = row.try_get::<_, String>(0)
    {
        let sql = format!(
            "SELECT pg_catalog.to_char(stats_reset AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')
             FROM {}.pg_stat_statements_info /* pgassay */",
            quote_identifier(&schema)
        );
        // Only a label: without the right to read it there is none.
        reset = reading.row(&sql, &[]).await.ok().flatten().and_then(|row| row.try_get(0).ok());
    }
    reading.end().await?;
    schema?;
    Ok(reset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(queryid: i64, query: &str, calls: u64, total_exec_ms: f64) -> StatementStatistics {
        StatementStatistics {
            queryid,
            query: query.into(),
            calls,
            total_exec_ms,
            ..StatementStatistics::default()
        }
    }

    #[test]
    fn statements_that_differ_only_in_the_length_of_a_list_are_one() {
        let (statements, skipped) = select(
            &[
                entry(1, "SELECT 1 FROM t WHERE a IN ($1, $2)", 3, 1.0),
                entry(2, "SELECT 1 FROM t WHERE a IN ($1, $2, $3)", 4, 2.0),
                entry(3, "SELECT 1 FROM u", 5, 9.0),
            ],
            10,
        );
        assert!(skipped.is_empty());
        let found: Vec<_> = statements.iter().map(|s| (s.queryid, s.weight)).collect();
        assert_eq!(found, [(Some(3), 5.0), (Some(2), 7.0)]);
        assert!(statements.iter().all(|s| s.id.len() == 17 && s.id.starts_with('q')));
    }

    #[test]
    fn statements_of_tools_on_the_catalogs_are_not_the_applications() {
        let (statements, skipped) = select(
            &[
                entry(
                    1,
                    "SELECT c.oid FROM pg_class c JOIN pg_catalog.pg_namespace n ON true",
                    3,
                    1.0,
                ),
                entry(2, "SELECT 1 FROM information_schema.columns", 3, 1.0),
                entry(3, "SELECT 1 FROM t JOIN pg_class c ON c.oid = t.a", 3, 1.0),
                entry(4, "SELECT 1 FROM shop.pg_t", 3, 1.0),
                entry(5, "SELECT now()", 3, 1.0),
            ],
            10,
        );
        let mut found: Vec<_> = statements.iter().filter_map(|s| s.queryid).collect();
        found.sort_unstable();
        assert_eq!(found, [3, 4, 5]);
        assert!(skipped.iter().all(|s| s.reason.contains("not the application's")), "{skipped:?}");
        assert!(skipped.iter().all(|s| s.reason.contains("catalogs")));
    }

    #[test]
    fn what_can_not_be_replayed_is_listed_with_its_reason() {
        let (statements, skipped) = select(
            &[
                entry(1, "BEGIN", 3, 1.0),
                entry(2, "COPY t FROM STDIN", 3, 1.0),
                entry(3, "SELECT 1 FROM t WHERE a = $1 AND (", 3, 1.0),
                entry(4, "SELECT 1 /* pgassay */", 3, 1.0),
                entry(5, "<insufficient privilege>", 3, 1.0),
                entry(6, "SELECT a FROM t", 1, 1.0),
                entry(7, "SELECT b FROM t", 1, 3.0),
                entry(8, "CREATE ROLE joe PASSWORD 'hunter2'", 1, 3.0),
                entry(9, "CREATE ROLE ann PASSWORD 'hunter2'", 1, 3.0),
                entry(10, "SET x='hunter2'", 1, 3.0),
            ],
            1,
        );
        assert_eq!(statements.len(), 1);
        assert_eq!(skipped.len(), 8);
        assert!(!format!("{skipped:?}").contains("hunter2"));
        assert!(skipped[0].reason.starts_with("BEGIN is no SELECT"));
        assert_eq!((&*skipped[0].statement, &*skipped[1].statement), ("BEGIN", "COPY t …"));
        assert!(skipped[7].reason.contains("25.0 %"), "{}", skipped[7].reason);
    }
}
