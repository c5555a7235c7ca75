//! Throughput, latency and client CPU beside pgbench's on the same server: `cargo bench -p pgassay-load`.
//!
//! Both send the select of pgbench's `-S` over a Unix-domain socket. pgassay sends unnamed statements, so its
//! yardstick is `-M extended`; `-M prepared` is shown beside it, and spares the server parsing and planning.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark, which may stop"
)]

use nix::sys::resource::{UsageWho, getrusage};
use pgassay_load::{LoadMode, LoadOptions};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::Connect;
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_testkit::{Postgres, PostgresOptions};
use std::process::Command;
use std::time::Duration;

const SECONDS: u64 = 4;
const ROUNDS: u32 = 3;
/// pgbench at scale 1.
const ACCOUNTS: u32 = 100_000;

struct Figures {
    per_second: f64,
    latency_ms: f64,
    client_us: f64,
}

fn main() {
    if Command::new("pgbench").arg("--version").output().is_err() {
        println!("pgbench is not installed: nothing to compare with");
        return;
    }
    let server = Postgres::start(PostgresOptions::default()).expect("a PostgreSQL to measure on");
    pgbench(&server, &["-i", "-q", "-s", "1"]);
    println!("clients  driver              requests/s   mean ms   client µs/request");
    for clients in [1, 8, 32] {
        // Turn by turn, so that a neighbour's noise meets all of them.
        for _ in 0..ROUNDS {
            for mode in ["extended", "prepared"] {
                print(clients, &format!("pgbench {mode}"), &run_pgbench(&server, clients, mode));
            }
            print(clients, "pgassay unnamed", &run_pgassay(&server, clients));
        }
    }
}

fn print(clients: u32, driver: &str, figures: &Figures) {
    println!(
        "{clients:>7}  {driver:<18}  {:>10.0}  {:>8.3}  {:>18.1}",
        figures.per_second, figures.latency_ms, figures.client_us
    );
}

fn cpu_us(who: UsageWho) -> f64 {
    let usage = getrusage(who).expect("getrusage");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64)
        .sum()
}

fn pgbench(server: &Postgres, arguments: &[&str]) -> String {
    let output = Command::new("pgbench")
        .args(["-h", &server.socket_directory().display().to_string()])
        .args(["-p", &server.port().to_string(), "-U", "postgres"])
        .args(arguments)
        .arg("postgres")
        .output()
        .expect("pgbench runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run_pgbench(server: &Postgres, clients: u32, mode: &str) -> Figures {
    let before = cpu_us(UsageWho::RUSAGE_CHILDREN);
    let text = pgbench(
        server,
        &[
            "-n",
            "-S",
            "-M",
            mode,
            "-c",
            &clients.to_string(),
            "-j",
            &clients.min(2).to_string(),
            "-T",
            &SECONDS.to_string(),
        ],
    );
    let cpu = cpu_us(UsageWho::RUSAGE_CHILDREN) - before;
    let number = |start: &str| -> f64 {
        text.lines()
            .find_map(|line| line.strip_prefix(start))
            .and_then(|rest| rest.trim_start_matches([' ', '=', ':']).split([' ', '/']).next())
            .and_then(|number| number.parse().ok())
            .expect("a figure of pgbench's")
    };
    let transactions = number("number of transactions actually processed");
    Figures {
        per_second: number("tps"),
        latency_ms: number("latency average"),
        client_us: cpu / transactions,
    }
}

fn run_pgassay(server: &Postgres, clients: u32) -> Figures {
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
            queryid: None,
        }],
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    };
    let options = LoadOptions {
        target: pgassay_postgres::dsn::resolve(&server.dsn("postgres")).expect("the testkit's DSN"),
        mode: LoadMode::Closed { clients },
        connect: Connect::Reuse,
        duration: Duration::from_secs(SECONDS),
        warmup: Duration::ZERO,
        block: Duration::from_millis(250),
        seed: 1,
        server_cpu: None,
        statement_timeout: None,
    };
    let before = cpu_us(UsageWho::RUSAGE_SELF);
    let driven = pgassay_load::drive(&workload, &options, &Interrupt::default(), &|_| {})
        .expect("the load is driven");
    let cpu = cpu_us(UsageWho::RUSAGE_SELF) - before;
    let measurement = driven.measurement;
    assert_eq!(measurement.errors, 0, "{:?}", measurement.notes);
    Figures {
        per_second: measurement.throughput,
        latency_ms: measurement.latency_ms.mean,
        client_us: cpu / measurement.requests as f64,
    }
}
