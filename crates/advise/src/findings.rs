//! What was found, worst first: facts with the share of the response time they account for.

use crate::evidence::Evidence;
use crate::plan_gate::PlanGate;
use crate::pooling::{self, PoolEvidence};
use crate::reachable::{Lever, NEGLIGIBLE};
use crate::{analyze, drops, words};
use pgassay_model::measurement::Connect;
use pgassay_model::plan::Finding;
use pgassay_model::units::{Bytes, Ms};

/// Share of the load from which a statement is named.
const LARGE_STATEMENT: f64 = 0.10;
/// Share of the page requests found in shared_buffers below which it is a finding (check cache-hit-ratio).
const GOOD_HIT_SHARE: f64 = 0.98;
/// Rows read by each sequential scan from which scans are a finding (check low-index-use: 10k rows).
const MANY_ROWS: f64 = 10_000.0;
/// Scans below this number are those of loading and building indexes.
const MANY_SCANS: u64 = 100;

/// Everything found. `today` are the plans without any proposed index.
pub(crate) fn find(evidence: &Evidence<'_>, today: &PlanGate<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(connecting(evidence));
    found.extend(waiting(evidence));
    found.extend(statements(evidence, today));
    found.extend(statistics(evidence));
    found.extend(backends(evidence));
    found.extend(pooler(evidence));
    found.extend(server(evidence));
    found.extend(scans(evidence));
    found.extend(drops::findings(evidence.snapshot));
    // A stable sort: those without a share stay in the order above, behind those with one.
    found.sort_by(|a, b| b.share.unwrap_or(-1.0).total_cmp(&a.share.unwrap_or(-1.0)));
    found
}

fn fact(title: impl Into<String>, evidence: Vec<String>) -> Finding {
    Finding { title: title.into(), evidence, share: None }
}

fn connecting(evidence: &Evidence<'_>) -> Option<Finding> {
    let measurement = evidence.measurement?;
    let part = evidence.levers.part(Lever::Connections).filter(|part| *part >= NEGLIGIBLE)?;
    let share = evidence.levers.at_most(Lever::Connections)?;
    let ledger = &measurement.ledger_ms;
    let parts = [("socket", ledger.connect), ("TLS", ledger.tls), ("log-in", ledger.auth)];
    let how = match measurement.mode.connect {
        Connect::PerRequest => "a connection is opened for every request",
        Connect::Reuse => "connections are reused, yet opening them shows",
    };
    Some(Finding {
        title: format!(
            "opening connections takes {} of the response time, and at most {} with what waits behind it",
            words::share(part),
            words::share(share)
        ),
        evidence: std::iter::once(how.to_owned())
            .chain(parts.iter().filter_map(|(name, ms)| Some(format!("{name}: {}", Ms((*ms)?)))))
            .collect(),
        share: Some(share),
    })
}

fn waiting(evidence: &Evidence<'_>) -> Option<Finding> {
    let share = evidence.levers.part(Lever::Pool).filter(|share| *share >= NEGLIGIBLE)?;
    let window = evidence.measurement?.pool;
    Some(Finding {
        title: format!(
            "waiting for a connection of the pool takes {} of the response time",
            words::share(share)
        ),
        evidence: window.map_or_else(
            || vec!["no PgBouncer console was given, so this is the client's own view".to_owned()],
            |window| {
                let counted = evidence.server_wait().unwrap_or_default();
                vec![
                    format!(
                        "{counted} a transaction are waiting for a server by PgBouncer's own count; the rest is for the client's own connections"
                    ),
                    format!(
                        "pool efficiency {} (1 − Δwait ÷ Δxact_time)",
                        words::share(window.efficiency())
                    ),
                    format!(
                        "{:.2} servers busy on average, at most {} open, at most {} waiting",
                        window.busy_servers(),
                        window.max_servers,
                        words::count(window.max_waiting, "client")
                    ),
                ]
            },
        ),
        share: Some(share),
    })
}

fn statements(evidence: &Evidence<'_>, today: &PlanGate<'_>) -> Vec<Finding> {
    let execution = evidence.levers.part(Lever::Execution);
    if execution.is_some_and(|part| part < LARGE_STATEMENT) {
        return Vec::new();
    }
    let (what, of) = match execution {
        Some(_) => ("latency", "the response time"),
        None => ("execution", "the execution time (pg_stat_statements)"),
    };
    evidence
        .load
        .largest_first()
        .into_iter()
        .filter(|(_, load)| load.share >= LARGE_STATEMENT)
        .map(|(id, load)| {
            let mut facts =
                vec![format!("{} requests, mean {what} {}", load.requests, Ms(load.mean_ms))];
            if execution.is_some() {
                facts.push(format!(
                    "about {} of the execution time (estimate from its latency)",
                    words::share(load.of_execution)
                ));
            }
            let plan = today.plans().find(|(statement, _)| statement.id == id);
            facts.extend(plan.map(|(_, planned)| {
                format!(
                    "planned as {}, cost {:.1} (estimate of the planner)",
                    planned.shape, planned.total_cost
                )
            }));
            Finding {
                title: format!("{id} is {} of {of}", words::share(load.share)),
                evidence: facts,
                share: execution.map(|_| load.share),
            }
        })
        .collect()
}

fn statistics(evidence: &Evidence<'_>) -> Option<Finding> {
    let facts: Vec<String> = evidence
        .snapshot
        .relations
        .iter()
        .filter(|relation| !evidence.shapes.naming(&relation.name).is_empty())
        .filter_map(|relation| analyze::stale(evidence, relation))
        .collect();
    (!facts.is_empty()).then(|| fact("the planner's statistics are missing or stale", facts))
}

fn backends(evidence: &Evidence<'_>) -> Vec<Finding> {
    let counters = &evidence.snapshot.counters;
    let mut found = Vec::new();
    if counters.backends_blocked > 0 {
        found.push(fact(
            format!(
                "{} waited for a lock when looked at",
                words::count(counters.backends_blocked, "backend")
            ),
            vec!["pg_stat_activity.wait_event_type = Lock".to_owned()],
        ));
    }
    if counters.backends_idle_in_transaction > 0 {
        found.push(fact(
            format!(
                "{} idle in transaction when looked at: each holds a server of the pool and keeps VACUUM from removing rows",
                words::count(counters.backends_idle_in_transaction, "backend")
            ),
            vec![format!("of {} client backends", counters.backends)],
        ));
    }
    if let Some(delta) = evidence.delta.filter(|delta| delta.deadlocks > 0) {
        found.push(fact(
            format!("{} {}", words::count(delta.deadlocks, "deadlock"), evidence.counted_when()),
            vec!["pg_stat_database.deadlocks".to_owned()],
        ));
    }
    found
}

fn pooler(evidence: &Evidence<'_>) -> Vec<Finding> {
    let Some(pooler) = evidence.pooler() else { return Vec::new() };
    let pool = PoolEvidence::new(evidence, pooler, 0.0);
    let mut found = Vec::new();
    let plain = pooling::plain_users(pooler);
    if !plain.is_empty() {
        let login = evidence.measurement.map(|measurement| measurement.ledger_ms.share(&["auth"]));
        found.push(Finding {
            title: format!("passwords of {} stand in plain text in PgBouncer's userlist", words::list(&plain)),
            evidence: vec!["with auth_type scram-sha-256 every log-in derives a key: 6.1 ms against 0.2 ms with the server's SCRAM secret (PgBouncer 1.18, this project's own trial)".to_owned()],
            share: login.filter(|share| *share >= NEGLIGIBLE),
        });
    }
    if let (Some(usable), most) = (evidence.usable_connections(), pool.most_servers())
        && most > usable
    {
        found.push(fact(
            "the pools may open more servers than PostgreSQL accepts",
            vec![format!("pool sizes and reserves sum to {most}, max_connections less what is reserved is {usable}")],
        ));
    }
    let query_timeout = pooler.number("query_timeout").unwrap_or(0.0);
    if query_timeout > 0.0 && evidence.number("statement_timeout") == Some(0.0) {
        found.push(fact(
            "query_timeout without statement_timeout leaves orphaned statements running",
            vec![format!("query_timeout = {query_timeout} s closes the client's connection, not the statement; statement_timeout = 0")],
        ));
    }
    if let (Some(most), Some(backlog)) = (pooler.somaxconn, pooler.number("listen_backlog"))
        && backlog > most as f64
    {
        found.push(fact(
            "listen_backlog is larger than the kernel allows",
            vec![format!("listen_backlog = {backlog}, net.core.somaxconn = {most}: the kernel takes the smaller")],
        ));
    }
    let needed = pooling::descriptors_needed(&pool);
    if let Some(limit) = pooler.open_files_limit.filter(|limit| *limit < needed) {
        found.push(fact(
            "PgBouncer may open fewer files than max_client_conn and the pools need",
            vec![format!("{needed} needed at most, limit {limit}")],
        ));
    }
    found
}

fn server(evidence: &Evidence<'_>) -> Vec<Finding> {
    let when = evidence.counted_when();
    let mut found = Vec::new();
    let reads = evidence.page_reads();
    if reads.read > 0 && reads.hit_share() < GOOD_HIT_SHARE {
        let mut facts =
            vec![format!("{} of {} page requests {when}", reads.hit, reads.hit + reads.read)];
        facts.extend(reads.read_ms.map(|ms| format!("a page read from outside took {}", Ms(ms))));
        found.push(fact(
            format!(
                "{} of the page requests were found in shared_buffers",
                words::share(reads.hit_share())
            ),
            facts,
        ));
    }
    if let Some(delta) = evidence.delta.filter(|delta| delta.temp_bytes > 0) {
        found.push(fact(
            format!("{} of temporary files were written {when}", Bytes(delta.temp_bytes)),
            evidence.spills().map(|spills| spills.description).into_iter().collect(),
        ));
    }
    let requested = evidence.delta.and_then(|delta| delta.checkpoints_requested).unwrap_or(0);
    if requested > 0 {
        found.push(fact(
            format!("{} requested {when}", words::count(requested, "checkpoint")),
            vec!["WAL filled max_wal_size, or someone asked for a checkpoint".to_owned()],
        ));
    }
    found
}

/// Relations that are scanned in whole, over and over.
fn scans(evidence: &Evidence<'_>) -> Vec<Finding> {
    evidence
        .snapshot
        .relations
        .iter()
        .filter(|relation| !evidence.shapes.naming(&relation.name).is_empty())
        .filter_map(|relation| {
            let activity = &relation.activity;
            let scans = activity.sequential_scans;
            let rows = activity.sequential_rows_read as f64 / scans.max(1) as f64;
            (scans >= MANY_SCANS && scans > activity.index_scans && rows >= MANY_ROWS).then(|| {
                fact(
                    format!("{} is read by sequential scans more often than by index", relation.name),
                    vec![format!(
                        "{scans} sequential scans of {rows:.0} rows each, {} by index, since the statistics were reset",
                        activity.index_scans
                    )],
                )
            })
        })
        .collect()
}
