//! Drives a workload and completes its ledger with what the server and the pooler counted meanwhile.

pub mod answered;
pub mod bench;
pub mod driving;
pub mod side_effects;

use crate::failure::{Exit, Failure, chain};
use crate::target::{Target, postgres_failure};
use pgassay_load::{LoadError, LoadMode, LoadOptions, Protocol, ServerParts, Writes};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::{Connect, Measurement, PoolWindow};
use pgassay_model::pooler::{Pool, PoolerTotals};
use pgassay_model::snapshot::StatementStatistics;
use pgassay_model::workload::Workload;
use pgassay_pgbouncer::Console;
use pgassay_postgres::Session;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Closed or open loop.
    pub mode: LoadMode,
    /// When connections are opened.
    pub connect: Connect,
    /// How statements are sent.
    pub protocol: Protocol,
    /// What becomes of what the workload writes.
    pub writes: Writes,
    /// Measured time, warm-up excluded.
    pub duration: Duration,
    /// Time driven first and not counted.
    pub warmup: Duration,
    /// Length of a block.
    pub block: Duration,
    /// Seed of every random choice.
    pub seed: u64,
    /// Postmaster's process id, where the server is on this host.
    pub postmaster: Option<u32>,
    /// Indexes whose use has to be told, by `schema.name`: backends publish their scans late.
    pub awaited_indexes: Vec<String>,
}

/// A backend that became idle within a second of its last report publishes what it counted since then this
/// much later (PGSTAT_IDLE_INTERVAL in postgres.c, 10 s), and a pooler's backends do become idle.
const SCANS_LATE: Duration = Duration::from_secs(11);
/// Without a pooler the load's backends have ended and published; before 15 by a message that takes up to half a
/// second to be read (PGSTAT_STAT_INTERVAL in pgstat.c).
const SCANS_OF_ENDED: Duration = Duration::from_secs(1);

/// Blocks of a measurement: 16, so that an A/A gate has 8 pairs, but none shorter than half a second.
pub fn block_length(duration: Duration) -> Duration {
    (duration / 16).max(Duration::from_millis(500))
}

struct Counted {
    statements: Option<Vec<StatementStatistics>>,
    index_scans: BTreeMap<String, u64>,
    pooler: Option<PoolerTotals>,
    at: Instant,
}

/// Measures `workload` on the way the application takes to `target`.
pub async fn measure(
    target: &Target,
    session: Option<&Session>,
    console: Option<&Console>,
    workload: &Workload,
    options: &Options,
) -> Result<Measurement, Failure> {
    let early = count(session, console).await?;
    let load = load_options(target, options);
    // Ends the load on an interrupt, and where nobody waits for it any more.
    let stop = Interrupt::default();
    let interrupt = stop.clone();
    let progress = target.progress.clone();
    let driven = workload.clone();
    let driving = Arc::new(Driving::default());
    let window_from =
        options.warmup.as_secs_f64() / (options.warmup + options.duration).as_secs_f64();
    let driver = tokio::task::spawn_blocking({
        let driving = Arc::clone(&driving);
        move || {
            let result = pgassay_load::drive(&driven, &load, &interrupt, &|share| {
                progress.at(share);
                driving.in_window.fetch_or(share >= window_from, Ordering::SeqCst);
            });
            driving.ended.store(true, Ordering::SeqCst);
            result
        }
    });
    let pass_on = || {
        if target.interrupt.requested() {
            stop.request();
        }
    };
    let watched = watch(session, console, &driving, early, pass_on).await;
    if watched.is_err() {
        stop.request();
    }
    let result = driver.await.map_err(|error| {
        Failure::new(Exit::Unreachable, format!("the load stopped: {error}"), "report this")
    })?;
    let Watched { before, waiting, servers } = watched?;
    let result = result.map_err(load_failure)?;
    let mut after = count(session, console).await?;
    if let Some(session) = session.filter(|_| !options.awaited_indexes.is_empty()) {
        after.index_scans =
            await_scans(target, session, &options.awaited_indexes, &before.index_scans).await?;
    }

    let mut measurement = result.measurement;
    carry_over(&mut measurement, workload);
    let mut server = ServerParts::default();
    let calls = calls_per_request(&measurement, workload);
    if let (Some(before), Some(after)) = (&before.statements, &after.statements) {
        if let Some((execute, plan)) = executed(before, after, workload) {
            let (execute, plan) = (execute * calls, plan * calls);
            server.execute_ms = Some(execute);
            server.execute_source =
                "measured by pg_stat_statements (total_exec_time ÷ calls, this workload's statements)".into();
            if plan > 0.0 {
                server.parse_plan_ms = Some(plan);
                server.parse_plan_source =
                    "measured by pg_stat_statements (total_plan_time ÷ calls)".into();
            }
        }
    } else {
        measurement.notes.push(
            "execution could not be told apart: pg_stat_statements is not readable on a direct connection to the server".into(),
        );
    }
    if server.parse_plan_ms.is_none() && session.is_some() {
        let direct = target.server.clone();
        let probed = workload.clone();
        let (protocol, seed) = (options.protocol, options.seed);
        let probe = tokio::task::spawn_blocking(move || {
            pgassay_load::probe::parse_plan(&direct, &probed, protocol, seed)
        })
        .await;
        if let Ok(Ok(probe)) = probe {
            server.parse_plan_ms = Some(probe.mean_ms * calls);
            server.parse_plan_source = format!(
                "estimated by {} probes on a direct connection after the load (Parse and Bind without Execute, less the round trip)",
                probe.n
            );
        }
    }
    if let (Some(before_totals), Some(after_totals)) = (before.pooler, after.pooler) {
        let window: PoolWindow = pgassay_pgbouncer::window(
            &before_totals,
            &after_totals,
            after.at.duration_since(before.at).as_secs_f64(),
            waiting,
            servers,
        );
        if window.transactions > 0 {
            // A script may hold several transactions.
            let (requests, source) = if measurement.scripts.is_empty() {
                (window.transactions, "measured by PgBouncer (Δ total_wait_time ÷ Δ transactions)")
            } else {
                (
                    measurement.requests,
                    "measured by PgBouncer (Δ total_wait_time ÷ runs of scripts)",
                )
            };
            server.pool_wait_ms = Some(window.wait_ms / requests.max(1) as f64);
            server.pool_wait_source = source.into();
        }
        measurement.pool = Some(window);
    } else if session.is_some_and(Session::pooled) {
        measurement.notes.push(
            "a connection pooler answers: --pgbouncer (its console) tells the wait in it, --direct (the server itself) the rest".into(),
        );
    } else if !target.pooled() {
        server.pool_wait_ms = Some(0.0);
        server.pool_wait_source = "no pooler on this way".into();
    }
    let (ledger, sources, notes) =
        pgassay_load::ledger::compose(&result.client_parts, &server, measurement.latency_ms.mean);
    if calls != 1.0 {
        measurement.notes.push(format!(
            "a request is a run of a script, with {calls:.2} of the workload's statements on average; the ledger's \
             execution and planning are theirs, and BEGIN, COMMIT and the like are within network"
        ));
    }
    measurement.ledger_ms = ledger;
    measurement.ledger_sources = sources;
    measurement.notes.extend(notes);
    measurement.index_scans = scanned(&before.index_scans, after.index_scans);
    Ok(measurement)
}

/// What the workload knows of its statements' values goes with their figures.
fn carry_over(measurement: &mut Measurement, workload: &Workload) {
    for own in &mut measurement.statements {
        let known = workload.statements.iter().find(|statement| statement.id == own.id);
        own.not_representative = known.and_then(|statement| statement.not_representative.clone());
    }
}

async fn count(session: Option<&Session>, console: Option<&Console>) -> Result<Counted, Failure> {
    let (statements, index_scans) = match session {
        Some(session) => (
            pgassay_postgres::statement_statistics(session).await.map_err(postgres_failure)?,
            pgassay_postgres::index_scans(session).await.map_err(postgres_failure)?,
        ),
        None => (None, BTreeMap::new()),
    };
    let pooler = match console {
        Some(console) => Some(console.totals().await.map_err(|error| {
            Failure::new(Exit::Unreachable, chain(&error), "check --pgbouncer")
        })?),
        None => None,
    };
    Ok(Counted { statements, index_scans, pooler, at: Instant::now() })
}

fn load_failure(error: LoadError) -> Failure {
    let exit = match &error {
        LoadError::Interrupted => Exit::Interrupted,
        LoadError::EmptyWorkload
        | LoadError::Statement { .. }
        | LoadError::Prepared { .. }
        | LoadError::NoSessions
        | LoadError::Session { .. }
        | LoadError::Options(..) => Exit::Input,
        _ => Exit::Unreachable,
    };
    Failure::new(exit, chain(&error), error.hint())
}

/// Reads the indexes' scans again until each of `awaited` was used since `before` or no report can be outstanding.
pub async fn await_scans(
    target: &Target,
    session: &Session,
    awaited: &[String],
    before: &BTreeMap<String, u64>,
) -> Result<BTreeMap<String, u64>, Failure> {
    let started = Instant::now();
    let late = if target.pooled() { SCANS_LATE } else { SCANS_OF_ENDED };
    loop {
        let scans = pgassay_postgres::index_scans(session).await.map_err(postgres_failure)?;
        let outstanding = awaited.iter().any(|name| scans.get(name) <= before.get(name));
        if !outstanding || started.elapsed() >= late {
            return Ok(scans);
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// How often each index was scanned between two readings.
pub fn scanned(
    before: &BTreeMap<String, u64>,
    after: BTreeMap<String, u64>,
) -> BTreeMap<String, u64> {
    after
        .into_iter()
        .map(|(name, scans)| {
            let earlier = before.get(&name).copied().unwrap_or(0);
            (name, scans.saturating_sub(earlier))
        })
        .collect()
}

/// Drives `workload` for one block and returns what the clients saw; neither the server's nor the pooler's own
/// figures are read, so that many short blocks can be measured in a row.
pub async fn block(
    target: &Target,
    workload: &Workload,
    options: &Options,
) -> Result<Measurement, Failure> {
    let load = LoadOptions { block: options.duration, ..load_options(target, options) };
    let (driven, interrupt) = (workload.clone(), target.interrupt.clone());
    tokio::task::spawn_blocking(move || pgassay_load::drive(&driven, &load, &interrupt, &|_| {}))
        .await
        .map_err(|error| {
            Failure::new(Exit::Unreachable, format!("the load stopped: {error}"), "report this")
        })?
        .map(|driven| driven.measurement)
        .map_err(load_failure)
}

fn load_options(target: &Target, options: &Options) -> LoadOptions {
    LoadOptions {
        target: target.application.clone(),
        mode: options.mode.clone(),
        connect: options.connect,
        duration: options.duration,
        warmup: options.warmup,
        block: options.block,
        seed: options.seed,
        server_cpu: options.postmaster,
        protocol: options.protocol,
        writes: options.writes,
        statement_timeout: None,
    }
}

/// Where the load stands.
#[derive(Default)]
struct Driving {
    in_window: AtomicBool,
    ended: AtomicBool,
}

struct Watched {
    /// What was counted when the window began.
    before: Counted,
    /// Most clients of the pooler waiting at any sample.
    waiting: u64,
    /// Most servers of the pooler open at any sample.
    servers: u64,
}

/// Counts when the window begins, since opening connections and warming up must not count, and samples SHOW
/// POOLS four times a second until the load has ended.
async fn watch(
    session: Option<&Session>,
    console: Option<&Console>,
    driving: &Driving,
    early: Counted,
    pass_on: impl Fn(),
) -> Result<Watched, Failure> {
    let mut watched = Watched { before: early, waiting: 0, servers: 0 };
    let mut counted = false;
    while !driving.ended.load(Ordering::SeqCst) {
        pass_on();
        if !counted && driving.in_window.load(Ordering::SeqCst) {
            counted = true;
            watched.before = count(session, console).await?;
        }
        if counted
            && let Some(console) = console
            && let Ok(pools) = console.pools().await
        {
            let pools: Vec<_> = pools.iter().filter(|pool| pool.database != "pgbouncer").collect();
            let open = |pool: &&Pool| pool.servers_active + pool.servers_idle + pool.servers_other;
            watched.waiting =
                watched.waiting.max(pools.iter().map(|pool| pool.clients_waiting).sum());
            watched.servers = watched.servers.max(pools.iter().map(open).sum());
        }
        tokio::time::sleep(Duration::from_millis(if counted { 250 } else { 20 })).await;
    }
    Ok(watched)
}

/// How many of the workload's statements a request holds on average: 1, or what the scripts asked.
fn calls_per_request(measurement: &Measurement, workload: &Workload) -> f64 {
    if measurement.scripts.is_empty() || measurement.requests == 0 {
        return 1.0;
    }
    let ids: HashSet<&str> = workload.statements.iter().map(|own| own.id.as_str()).collect();
    let own = measurement.statements.iter().filter(|own| ids.contains(own.id.as_str()));
    own.map(|own| own.requests).sum::<u64>() as f64 / measurement.requests as f64
}

/// Mean execution and planning time per call of the workload's statements, in milliseconds.
fn executed(
    before: &[StatementStatistics],
    after: &[StatementStatistics],
    workload: &Workload,
) -> Option<(f64, f64)> {
    let wanted: HashSet<String> = workload
        .statements
        .iter()
        .filter_map(|statement| pgassay_sql::fingerprint(&statement.sql).ok())
        .collect();
    let mut earlier: HashMap<i64, (u64, f64, f64)> = HashMap::new();
    for row in before {
        let entry = earlier.entry(row.queryid).or_default();
        entry.0 += row.calls;
        entry.1 += row.total_exec_ms;
        entry.2 += row.total_plan_ms;
    }
    let (mut calls, mut execute, mut plan) = (0u64, 0.0, 0.0);
    for row in after {
        let matches =
            pgassay_sql::fingerprint(&row.query).is_ok_and(|print| wanted.contains(&print));
        if !matches {
            continue;
        }
        let (calls_before, execute_before, plan_before) =
            earlier.get(&row.queryid).copied().unwrap_or_default();
        if row.calls > calls_before {
            calls += row.calls - calls_before;
            execute += (row.total_exec_ms - execute_before).max(0.0);
            plan += (row.total_plan_ms - plan_before).max(0.0);
        }
    }
    (calls > 0).then(|| (execute / calls as f64, plan / calls as f64))
}
