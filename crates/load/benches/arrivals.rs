//! How near to their intended times requests start, and whether statements come as often as their weights say:
//! `cargo bench -p pgassay-load --bench arrivals`.
//!
//! An open loop and a replay of 2,000 requests per second on a server of their own. Late is the time from the
//! intended start to the real one; the part of it in which a client was free is this host's own, its lag.
//! Neighbours' work on the same cores shows here, so the machine has to be quiet.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark, which may stop"
)]

use pgassay_load::{LoadMode, LoadOptions, Protocol};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::Connect;
use pgassay_model::workload::{
    RecordedRequest, RecordedSession, SCHEMA, Workload, WorkloadStatement,
};
use pgassay_testkit::{Postgres, PostgresOptions};
use std::time::Duration;

const RATE: u32 = 2000;
const SECONDS: u32 = 20;
const ROUNDS: usize = 3;
/// 99 of 100 requests start within this, and each statement's share within that of its weight.
const LATE_MS: f64 = 1.0;
const SHARE: f64 = 0.02;
const WEIGHTS: [f64; 3] = [5.0, 3.0, 2.0];
/// Sessions of the replay, each with every `SESSIONS`th request.
const SESSIONS: u32 = 20;

fn main() {
    let server = Postgres::start(PostgresOptions::default()).expect("a PostgreSQL to measure on");
    server.execute("postgres", "CREATE ROLE bench LOGIN PASSWORD 'bench'").expect("a role for TCP");
    let (unix, tcp) = (server.dsn("postgres"), server.tcp_dsn("bench", "bench", "postgres"));
    let open = |clients| LoadMode::Open { rate: f64::from(RATE), clients };
    let replay = LoadMode::Replay { speed: 1.0, clients: SESSIONS };
    println!(
        "{RATE} requests/s for {SECONDS} s; load average {}\n\
         mode                        late p50     p99       max   lag p50     p99       max  ms   largest share off",
        load_average()
    );
    let (mut late, mut off): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for (name, dsn, mode) in [
        ("open loop, 8 clients", &unix, open(8)),
        ("open loop, 32 clients", &unix, open(32)),
        ("open loop, 32, tcp", &tcp, open(32)),
        ("replay, 20 sessions", &unix, replay),
    ] {
        let mut all: Vec<Figures> = (0..ROUNDS).map(|_| run(dsn, mode.clone())).collect();
        for own in &all {
            let ([p50, p99, max], [lag_p50, lag_p99, lag_max]) = (own.late, own.lag);
            println!(
                "{name:<24}  {p50:>10.3}  {p99:>6.3}  {max:>8.3}  {lag_p50:>8.3}  {lag_p99:>6.3}  {lag_max:>8.3}  {:>19.2} %",
                own.share * 1e2
            );
        }
        all.sort_by(|one, other| one.late[1].total_cmp(&other.late[1]));
        late.extend(all.get(ROUNDS / 2).map(|own| own.late[1]));
        off.extend(all.iter().map(|own| own.share));
    }
    println!("load average {}", load_average());
    let worst = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
    for (holds, what) in [
        (
            worst(&late) <= LATE_MS,
            format!(
                "99 of 100 requests start within 1 ms (median of {ROUNDS} rounds, worst mode {:.3})",
                worst(&late)
            ),
        ),
        (
            worst(&off) <= SHARE,
            format!("shares within 2 % of the weights (worst {:.2} %)", worst(&off) * 1e2),
        ),
    ] {
        println!("{}: {what}", if holds { "met" } else { "not met" });
    }
}

struct Figures {
    /// p50, p99 and maximum, milliseconds.
    late: [f64; 3],
    lag: [f64; 3],
    /// Most that a statement's share of the requests is off that of its weight, relative to that.
    share: f64,
}

fn run(dsn: &str, mode: LoadMode) -> Figures {
    let workload = workload();
    let options = LoadOptions {
        target: pgassay_postgres::dsn::resolve(dsn).expect("the testkit's DSN"),
        mode,
        connect: Connect::Reuse,
        duration: Duration::from_secs(u64::from(SECONDS)),
        warmup: Duration::from_millis(500),
        block: Duration::from_millis(500),
        seed: 1,
        server_cpu: None,
        statement_timeout: None,
        protocol: Protocol::Prepared,
        writes: Default::default(),
    };
    let driven = pgassay_load::drive(&workload, &options, &Interrupt::default(), &|_| {})
        .expect("the load is driven");
    let measurement = driven.measurement;
    assert_eq!(measurement.errors, 0, "{:?}", measurement.notes);
    let [late, lag] = [driven.late_ms, driven.lag_ms].map(|latency| {
        let latency = latency.expect("requests have times");
        [latency.p50, latency.p99, latency.max]
    });
    let total: f64 = WEIGHTS.iter().sum();
    let off = measurement.statements.iter().zip(WEIGHTS).map(|(own, weight)| {
        let share = own.requests as f64 / measurement.requests as f64;
        (share / (weight / total) - 1.0).abs()
    });
    Figures { late, lag, share: off.fold(0.0, f64::max) }
}

/// Three statements, and as a recording their turn-taking by weight in sessions.
fn workload() -> Workload {
    let statements = WEIGHTS.iter().enumerate().map(|(number, weight)| WorkloadStatement {
        id: format!("s{number}"),
        sql: format!("SELECT {number} FROM pg_catalog.pg_class WHERE oid = $1::oid"),
        weight: *weight,
        parameters: vec![vec![Some("1259".into())]],
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    });
    let sessions = (0..SESSIONS).map(|session| RecordedSession {
        id: session.to_string(),
        requests: (0..RATE * SECONDS / SESSIONS)
            .map(|turn| RecordedRequest {
                at_us: u64::from(turn * SESSIONS + session) * 1_000_000 / u64::from(RATE),
                statement: [0, 1, 0, 2, 0, 1, 0, 2, 0, 1][(turn % 10) as usize],
                parameters: 0,
                took_us: None,
                transaction: 0,
                rolled_back: false,
            })
            .collect(),
    });
    Workload {
        schema: SCHEMA.into(),
        generated_at: pgassay_model::Timestamp::UNIX_EPOCH,
        source: "test".into(),
        statements: statements.collect(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: sessions.collect(),
    }
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}
