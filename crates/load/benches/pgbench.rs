//! Throughput, client CPU and latency beside pgbench's on the same server: `cargo bench -p pgassay-load --bench
//! pgbench`.
//!
//! Both send the select of pgbench's `-S` as prepared statements (`-M prepared`) from as many threads (`-j`),
//! over a Unix-domain socket and over TCP. A round is a run of each, one after the other and in changing order,
//! so that a neighbour's noise meets both; what is compared is the ratio within a round, ours ÷ pgbench's, as
//! median [least, largest] of the rounds.
//!
//! Latency percentiles come from rounds of their own. pgbench logs every transaction in them (`--log`,
//! microseconds), which costs it time that must not count in the others. And the server has a core, or all but
//! one, and who drives it another: where they share them, the scheduler may put one backend beside the driver and
//! serve it over and over. Of 8 clients of pgbench, one was seen to have half of all transactions with a median of
//! 15 µs, the others 107 to 148 µs, and the next round was different: then pgbench does not agree with itself.
//!
//! In a closed loop the time of a round trip is on average clients ÷ throughput (Little's law), so where one of
//! them drives more requests its latencies are lower by as much. Agreement is judged at equal throughput, by
//! percentiles × throughput, which stand below the plain ones; and below these how far pgbench agrees with itself,
//! one logged round with the next. `-- unix 8` restricts it to one way and number of clients.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark, which may stop"
)]

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use pgassay_load::{LoadMode, LoadOptions, Protocol};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::{Connect, Latency};
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_testkit::{Postgres, PostgresOptions};
use std::process::Command;
use std::time::Duration;

const SECONDS: u64 = 3;
/// Of throughput and CPU, and as many of latency.
const ROUNDS: usize = 5;
/// What percentiles may differ by.
const AGREEMENT: f64 = 0.05;
/// pgbench at scale 1.
const ACCOUNTS: u32 = 100_000;
/// Owner of the tables, and its own password.
const ROLE: &str = "bench";

#[derive(Clone, Copy)]
struct Figures {
    per_second: f64,
    /// User and system time of the client per request.
    client_us: f64,
    latency: Latency,
}

/// How many cores there are, before any were taken from us.
static CORES: std::sync::OnceLock<usize> = std::sync::OnceLock::new();

/// One of them.
type Figure = fn(&Figures) -> f64;

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
        "ours ÷ pgbench's, {ROUNDS} + {ROUNDS} rounds of {SECONDS} s each, median [least, largest]; load average {}\n\
         way  clients  throughput         client CPU         p50                p95                p99",
        load_average()
    );
    let only: Vec<String> = std::env::args().skip(1).filter(|own| !own.starts_with('-')).collect();
    let wanted = |which: &str, index: usize| only.get(index).is_none_or(|own| own == which);
    let mut requirements = [
        Requirement::new("throughput at least pgbench's", |ratio| ratio >= 1.0),
        Requirement::new("client CPU per request at most pgbench's", |ratio| ratio <= 1.0),
        Requirement::new(
            "latency percentiles within 5 % of pgbench's at equal throughput",
            |ratio| (ratio - 1.0).abs() <= AGREEMENT,
        ),
    ];
    for (way, name) in [(Way::Unix, "unix"), (Way::Tcp, "tcp")] {
        for clients in [1, 8, 32] {
            if wanted(name, 0) && wanted(&clients.to_string(), 1) {
                compare(&server, way, name, clients, &mut requirements);
            }
        }
    }
    println!("load average {}", load_average());
    for requirement in requirements {
        println!("{}", requirement.outcome());
    }
}

/// Compares one way and number of clients, and prints it.
fn compare(
    server: &Postgres,
    way: Way,
    name: &str,
    clients: u32,
    [throughput, cpu, agreement]: &mut [Requirement; 3],
) {
    let rounds = |log| {
        put_on_cores(server, log);
        alternate(|pgassay| match pgassay {
            false => run_pgbench(server, way, clients, log),
            true => run_pgassay(server, way, clients),
        })
    };
    let (speed, latency) = (rounds(false), rounds(true));
    let place = format!("{name}, {clients} clients");
    let ratios = |figure: Figure| Ratios::within(&speed, figure);
    let percentiles: [(&str, Figure, Figure); 3] = [
        ("p50", |run| run.latency.p50, |run| run.latency.p50 * run.per_second),
        ("p95", |run| run.latency.p95, |run| run.latency.p95 * run.per_second),
        ("p99", |run| run.latency.p99, |run| run.latency.p99 * run.per_second),
    ];
    let mut row = vec![
        throughput.judge(&place, ratios(|run| run.per_second)),
        cpu.judge(&place, ratios(|run| run.client_us)),
    ];
    let (mut by_throughput, mut itself) = (vec![String::new(); 2], vec![String::new(); 2]);
    for (percentile, figure, product) in percentiles {
        let ratios = Ratios::within(&latency, figure);
        row.push(ratios.to_string());
        let equal = Ratios::within(&latency, product);
        by_throughput.push(agreement.judge(&format!("{percentile} {place}"), equal));
        itself.push(Ratios::of_pgbench(&latency, figure).to_string());
    }
    print_row(&format!("{name:<4} {clients:>7}"), &row);
    print_row("  × throughput", &by_throughput);
    print_row("pgbench÷itself", &itself);
    let medians = |pgassay: bool, figure: Figure, rounds: &[Round]| {
        median(rounds.iter().map(|round| figure(if pgassay { &round.ours } else { &round.theirs })))
    };
    for (pgassay, driver) in [(true, "  pgassay"), (false, "  pgbench")] {
        let of = |figure| medians(pgassay, figure, &latency);
        let cells = [
            format!("{:.0}/s", medians(pgassay, |run| run.per_second, &speed)),
            format!("{:.2} µs", medians(pgassay, |run| run.client_us, &speed)),
            format!("{:.3} ms", of(percentiles[0].1)),
            format!("{:.3} ms", of(percentiles[1].1)),
            format!("{:.3} ms", of(percentiles[2].1)),
        ];
        print_row(driver, &cells);
    }
}

/// Puts the server and those that drive it on a core each, or both on all of them.
fn put_on_cores(server: &Postgres, apart: bool) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cores = *CORES.get_or_init(|| cores);
    let set = |which: &[usize]| {
        let mut set = CpuSet::new();
        which.iter().for_each(|core| set.set(*core).expect("a core's number"));
        set
    };
    let all: Vec<usize> = (0..cores).collect();
    let (ours, theirs) =
        if apart && cores > 1 { (set(&all[..1]), set(&all[1..])) } else { (set(&all), set(&all)) };
    let postmaster = i32::try_from(server.postmaster_pid().expect("its pid file")).expect("a pid");
    sched_setaffinity(Pid::from_raw(postmaster), &theirs).expect("the server's cores");
    sched_setaffinity(Pid::from_raw(0), &ours).expect("our cores");
}

fn print_row(title: &str, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:<17}")).collect();
    println!("{}", format!("{title:<14} {}", cells.join("  ")).trim_end());
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// A run of each, one right after the other.
struct Round {
    ours: Figures,
    theirs: Figures,
}

/// Runs both, each first in every other round.
fn alternate(run: impl Fn(bool) -> Figures) -> Vec<Round> {
    let round = |number: usize| {
        if number.is_multiple_of(2) {
            let ours = run(true);
            Round { ours, theirs: run(false) }
        } else {
            let theirs = run(false);
            Round { ours: run(true), theirs }
        }
    };
    (0..ROUNDS).map(round).collect()
}

fn median(all: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = all.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// Ratios of rounds, sorted.
struct Ratios(Vec<f64>);

impl Ratios {
    fn new(ratios: impl Iterator<Item = f64>) -> Self {
        let mut ratios: Vec<f64> = ratios.collect();
        ratios.sort_by(f64::total_cmp);
        Ratios(ratios)
    }

    /// Ours ÷ pgbench's, round by round.
    fn within(rounds: &[Round], figure: Figure) -> Self {
        Ratios::new(rounds.iter().map(|round| figure(&round.ours) / figure(&round.theirs)))
    }

    /// pgbench's in one round ÷ pgbench's in the round before.
    fn of_pgbench(rounds: &[Round], figure: Figure) -> Self {
        let ratio = |pair: &[Round]| figure(&pair[1].theirs) / figure(&pair[0].theirs);
        Ratios::new(rounds.windows(2).map(ratio))
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

impl std::fmt::Display for Ratios {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (least, largest) = (self.0[0], self.0[self.0.len() - 1]);
        write!(f, "{:.2} [{least:.2}, {largest:.2}]", self.median())
    }
}

/// What has to hold everywhere, and where it does not.
struct Requirement {
    what: &'static str,
    holds: fn(f64) -> bool,
    not_met: Vec<String>,
}

impl Requirement {
    fn new(what: &'static str, holds: fn(f64) -> bool) -> Self {
        Requirement { what, holds, not_met: Vec::new() }
    }

    /// Judges the median of ratios, and puts them into words.
    fn judge(&mut self, place: &str, ratios: Ratios) -> String {
        if !(self.holds)(ratios.median()) {
            self.not_met.push(format!("{place} ({:.2})", ratios.median()));
        }
        ratios.to_string()
    }

    fn outcome(&self) -> String {
        match self.not_met.as_slice() {
            [] => format!("met: {}", self.what),
            places => format!("not met: {}: {}", self.what, places.join("; ")),
        }
    }
}

/// User and system time.
fn cpu_us(who: UsageWho) -> f64 {
    let usage = getrusage(who).expect("getrusage");
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64);
    micros[0] + micros[1]
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
    // In memory, so that no write to a disk holds it up.
    let memory = std::path::Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = place.join(format!("pgassay-bench-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for pgbench's logs");
    let prefix = directory.join("log").display().to_string();
    let (clients, seconds) = (clients.to_string(), SECONDS.to_string());
    let threads = if clients == "1" || log { "1" } else { "2" };
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
    Figures { per_second: number("tps"), client_us: (after - before) / transactions, latency }
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
        client_us: (after - before) / measurement.requests as f64,
        latency: measurement.latency_ms,
    }
}
