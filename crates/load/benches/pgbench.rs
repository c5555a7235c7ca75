//! Throughput, latency and client CPU beside pgbench's on the same server: `cargo bench -p pgassay-load`.
//!
//! Both send the select of pgbench's `-S` as prepared statements (`-M prepared`, `-j 2`), over a Unix-domain
//! socket and over TCP, turn by turn in changing order, so that a neighbour's noise meets both; medians of the
//! rounds are compared. Latency percentiles are compared in rounds of their own, where pgbench logs every
//! transaction, which costs it time that must not count in the others. `-- unix 8` restricts it to one way and
//! number of clients.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark, which may stop"
)]

use nix::sys::resource::{UsageWho, getrusage};
use pgassay_load::{LoadMode, LoadOptions, Protocol};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::{Connect, Latency};
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_testkit::{Postgres, PostgresOptions};
use std::process::Command;
use std::time::Duration;

const SECONDS: u64 = 3;
const ROUNDS: usize = 5;
/// Rounds in which latencies are compared.
const LOGGED: usize = 3;
/// pgbench at scale 1.
const ACCOUNTS: u32 = 100_000;
/// Owner of the tables, and its own password.
const ROLE: &str = "bench";

#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    /// User and system time of the client, microseconds per request.
    client: (f64, f64),
    latency: Latency,
}

#[derive(Clone, Copy)]
enum Way {
    Unix,
    Tcp,
}

fn main() {
    if Command::new("pgbench").arg("--version").output().is_err() {
        println!("pgbench is not installed: nothing to compare with");
        return;
    }
    let server = Postgres::start(PostgresOptions::default()).expect("a PostgreSQL to measure on");
    server
        .execute("postgres", "CREATE ROLE bench SUPERUSER LOGIN PASSWORD 'bench'")
        .expect("a role for both");
    pgbench(&server, Way::Unix, &["-i", "-q", "-s", "1"]);
    println!(
        "medians of {ROUNDS} rounds of {SECONDS} s\n\
         way   clients  driver      requests/s  client µs/request  of it user   p50 ms   p95 ms   p99 ms"
    );
    let only: Vec<String> = std::env::args().skip(1).filter(|own| !own.starts_with('-')).collect();
    let wanted = |which: &str, index: usize| only.get(index).is_none_or(|own| own == which);
    for (way, name) in [(Way::Unix, "unix"), (Way::Tcp, "tcp")] {
        for clients in [1, 8, 32] {
            if !(wanted(name, 0) && wanted(&clients.to_string(), 1)) {
                continue;
            }
            let (theirs, ours) = alternate(ROUNDS, |pgassay| match pgassay {
                false => run_pgbench(&server, way, clients, false),
                true => run_pgassay(&server, way, clients),
            });
            let (logged, driven) = alternate(LOGGED, |pgassay| match pgassay {
                false => run_pgbench(&server, way, clients, true),
                true => run_pgassay(&server, way, clients),
            });
            for (driver, speed, latency) in
                [("pgbench", &theirs, &logged), ("pgassay", &ours, &driven)]
            {
                println!(
                    "{name:<4}  {clients:>7}  {driver:<8}  {:>12.0}  {:>17.2}  {:>10.2}  {:>7.3}  {:>7.3}  {:>7.3}",
                    median(speed, |run| run.per_second),
                    median(speed, |run| run.client.0 + run.client.1),
                    median(speed, |run| run.client.0),
                    median(latency, |run| run.latency.p50),
                    median(latency, |run| run.latency.p95),
                    median(latency, |run| run.latency.p99),
                );
            }
        }
    }
}

/// Runs both, each first in every other round.
fn alternate(rounds: usize, run: impl Fn(bool) -> Figures) -> (Vec<Figures>, Vec<Figures>) {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        for pgassay in [round % 2 == 1, round % 2 == 0] {
            if pgassay { &mut ours } else { &mut theirs }.push(run(pgassay));
        }
    }
    (theirs, ours)
}

fn median(runs: &[Figures], figure: impl Fn(&Figures) -> f64) -> f64 {
    let mut all: Vec<f64> = runs.iter().map(figure).collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn cpu_us(who: UsageWho) -> (f64, f64) {
    let usage = getrusage(who).expect("getrusage");
    let [user, system] = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64);
    (user, system)
}

fn spent(before: (f64, f64), after: (f64, f64), requests: f64) -> (f64, f64) {
    ((after.0 - before.0) / requests, (after.1 - before.1) / requests)
}

fn pgbench(server: &Postgres, way: Way, arguments: &[&str]) -> String {
    let host = match way {
        Way::Unix => server.socket_directory().display().to_string(),
        Way::Tcp => "127.0.0.1".to_owned(),
    };
    let output = Command::new("pgbench")
        .args(["-h", &host, "-p", &server.port().to_string(), "-U", ROLE])
        .args(arguments)
        .arg("postgres")
        .env("PGPASSWORD", ROLE)
        .output()
        .expect("pgbench runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run_pgbench(server: &Postgres, way: Way, clients: u32, log: bool) -> Figures {
    let directory = std::env::temp_dir().join(format!("pgassay-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for pgbench's logs");
    let prefix = directory.join("log").display().to_string();
    let (clients, seconds) = (clients.to_string(), SECONDS.to_string());
    let threads = if clients == "1" { "1" } else { "2" };
    let mut arguments =
        vec!["-n", "-S", "-M", "prepared", "-c", &clients, "-j", threads, "-T", &seconds];
    if log {
        arguments.extend(["-l", "--log-prefix", &prefix]);
    }
    let before = cpu_us(UsageWho::RUSAGE_CHILDREN);
    let text = pgbench(server, way, &arguments);
    let after = cpu_us(UsageWho::RUSAGE_CHILDREN);
    let number = |start: &str| -> f64 {
        text.lines()
            .find_map(|line| line.strip_prefix(start))
            .and_then(|rest| rest.trim_start_matches([' ', '=', ':']).split([' ', '/']).next())
            .and_then(|number| number.parse().ok())
            .expect("a figure of pgbench's")
    };
    let transactions = number("number of transactions actually processed");
    let latency = if log { logged(&directory) } else { Latency::default() };
    std::fs::remove_dir_all(&directory).expect("pgbench's logs are removed");
    Figures { per_second: number("tps"), client: spent(before, after, transactions), latency }
}

/// Percentiles of pgbench's logs: a line is `client transaction µs script …` (manual, pgbench).
fn logged(directory: &std::path::Path) -> Latency {
    let mut times = Vec::new();
    for entry in std::fs::read_dir(directory).expect("pgbench's logs") {
        let text = std::fs::read_to_string(entry.expect("a log").path()).expect("a log");
        let micros = |line: &str| line.split(' ').nth(2)?.parse::<f64>().ok();
        times.extend(text.lines().filter_map(micros));
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize] / 1e3;
    Latency { p50: at(0.50), p95: at(0.95), p99: at(0.99), ..Latency::default() }
}

fn run_pgassay(server: &Postgres, way: Way, clients: u32) -> Figures {
    let sets = (0..1000).map(|number| vec![Some((number * 97 % ACCOUNTS + 1).to_string())]);
    let workload = Workload {
        schema: SCHEMA.into(),
        generated_at: pgassay_model::Timestamp::UNIX_EPOCH,
        source: "pgbench -S".into(),
        statements: vec![WorkloadStatement {
            id: "select".into(),
            sql: "SELECT abalance FROM pgbench_accounts WHERE aid = $1".into(),
            weight: 1.0,
            writes: false,
            parameters: sets.collect(),
            parameter_source: "given".into(),
            ..WorkloadStatement::default()
        }],
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    };
    let dsn = match way {
        Way::Unix => server.dsn("postgres"),
        Way::Tcp => server.tcp_dsn(ROLE, ROLE, "postgres"),
    };
    let options = LoadOptions {
        target: pgassay_postgres::dsn::resolve(&dsn).expect("the testkit's DSN"),
        mode: LoadMode::Closed { clients },
        connect: Connect::Reuse,
        duration: Duration::from_secs(SECONDS),
        warmup: Duration::ZERO,
        block: Duration::from_millis(250),
        seed: 1,
        server_cpu: None,
        statement_timeout: None,
        protocol: Protocol::Prepared,
        writes: Default::default(),
    };
    let before = cpu_us(UsageWho::RUSAGE_SELF);
    let driven = pgassay_load::drive(&workload, &options, &Interrupt::default(), &|_| {})
        .expect("the load is driven");
    let after = cpu_us(UsageWho::RUSAGE_SELF);
    let measurement = driven.measurement;
    assert_eq!(measurement.errors, 0, "{:?}", measurement.notes);
    Figures {
        per_second: measurement.throughput,
        client: spent(before, after, measurement.requests as f64),
        latency: measurement.latency_ms,
    }
}
