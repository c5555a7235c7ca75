//! How often the verdicts are right: comparisons of a real server with itself, and with a real slow-down.
//!
//! `cargo bench -p pgassay --bench calibration -- [A/A comparisons] [comparisons for each slow-down]`
//! (default 200 and 40) prints the report that is committed as `docs/calibration.md`. Both designs are
//! calibrated: pairs of blocks in random order, and blocks before against blocks after, these also without the
//! allowance for drift. One core is disturbed at random all the while.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark ends at the first failure"
)]

use pgassay_judge::{Design, LOOKS, Margins, compare_measurements, compare_pairs, overall};
use pgassay_load::{LoadMode, LoadOptions};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::{Connect, Measurement};
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_testkit::{Postgres, PostgresOptions};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rows that the fast statement counts: about half a millisecond.
const ROWS: f64 = 4000.0;
const BLOCK: Duration = Duration::from_millis(150);
const WARMUP: Duration = Duration::from_millis(30);
const SLOW_DOWNS: [f64; 3] = [0.03, 0.10, 0.30];

fn main() {
    let numbers: Vec<usize> =
        std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let same = numbers.first().copied().unwrap_or(200);
    let slowed = numbers.get(1).copied().unwrap_or(40);
    let server =
        Postgres::start(PostgresOptions { stop_with_process: true, ..PostgresOptions::default() })
            .unwrap();
    let noise = Noise::start();
    let mut bench = Bench::new(&server);
    println!("# Calibration of the verdicts\n");
    println!(
        "Real runs on a real server (PostgreSQL {}), open loop at half of the capacity, blocks of {} ms, a core\ndisturbed at random. `cargo bench -p pgassay --bench calibration -- {same} {slowed}` makes this table.\n",
        server.version_num() / 10_000,
        BLOCK.as_millis()
    );
    let slow_downs = || [0.0].into_iter().chain(SLOW_DOWNS);
    let count = |slow_down: f64| if slow_down == 0.0 { same } else { slowed };
    heading("Pairs of blocks in random order, looks after 8, 16 and 32");
    for slow_down in slow_downs() {
        let results: Vec<Result> = (0..count(slow_down)).map(|_| bench.pairs(slow_down)).collect();
        println!("{}", row(slow_down, &results));
    }
    let sides: Vec<(f64, Vec<(Measurement, Measurement)>)> = slow_downs()
        .map(|slow_down| {
            (slow_down, (0..count(slow_down)).map(|_| bench.sides(slow_down)).collect())
        })
        .collect();
    for (name, design) in [
        ("16 blocks before against 16 after", Design::BeforeAfter),
        ("The same measurements without the allowance for drift, for comparison", Design::Halves),
    ] {
        heading(name);
        for (slow_down, sides) in &sides {
            let results: Vec<Result> = sides
                .iter()
                .map(|(before, after)| {
                    result(compare_measurements(before, after, design, &Margins::default(), 0.95))
                })
                .collect();
            println!("{}", row(*slow_down, &results));
        }
    }
    drop(noise);
}

fn heading(name: &str) {
    println!("\n## {name}\n");
    println!(
        "| slow-down | comparisons | mean: improved | regressed | equivalent | inconclusive | p95: improved | regressed | equivalent | inconclusive | found, of those with a detectable effect below it | median blocks a side |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
}

/// What one comparison said of the mean and of p95.
struct Result {
    mean: Comparison,
    p95: Comparison,
}

struct Bench<'a> {
    server: &'a Postgres,
    rate: f64,
    seed: u64,
    order: Xoshiro256PlusPlus,
}

impl<'a> Bench<'a> {
    fn new(server: &'a Postgres) -> Self {
        let mut bench =
            Bench { server, rate: 0.0, seed: 0, order: Xoshiro256PlusPlus::seed_from_u64(42) };
        let capacity = bench.drive(0.0, LoadMode::Closed { clients: 4 }, Duration::from_secs(3), 1);
        bench.rate = capacity.throughput / 2.0;
        bench
    }

    fn drive(
        &mut self,
        slow_down: f64,
        mode: LoadMode,
        duration: Duration,
        blocks: u32,
    ) -> Measurement {
        self.seed += 1;
        let statement = WorkloadStatement {
            id: "count".into(),
            sql: "SELECT pg_catalog.count(*) FROM pg_catalog.generate_series(1, $1)".into(),
            weight: 1.0,
            writes: false,
            parameters: vec![vec![Some(((ROWS * (1.0 + slow_down)).round()).to_string())]],
            parameter_source: "given".into(),
            queryid: None,
        };
        let workload = Workload {
            schema: SCHEMA.into(),
            generated_at: jiff::Timestamp::now(),
            source: "calibration".into(),
            statements: vec![statement],
            skipped: Vec::new(),
            scripts: Vec::new(),
            sessions: Vec::new(),
        };
        let options = LoadOptions {
            target: pgassay_postgres::dsn::resolve(&self.server.dsn("postgres")).unwrap(),
            mode,
            connect: Connect::Reuse,
            duration,
            warmup: WARMUP,
            block: duration / blocks,
            seed: self.seed,
            server_cpu: None,
            protocol: Default::default(),
            writes: Default::default(),
            statement_timeout: None,
        };
        pgassay_load::drive(&workload, &options, &Interrupt::default(), &|_| {})
            .unwrap()
            .measurement
    }

    fn open(&mut self, slow_down: f64, duration: Duration, blocks: u32) -> Measurement {
        let mode = LoadMode::Open { rate: self.rate, clients: 8 };
        self.drive(slow_down, mode, duration, blocks)
    }

    fn sides(&mut self, slow_down: f64) -> (Measurement, Measurement) {
        (self.open(0.0, BLOCK * 16, 16), self.open(slow_down, BLOCK * 16, 16))
    }

    fn pairs(&mut self, slow_down: f64) -> Result {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let mut last = Vec::new();
        for look in LOOKS {
            while without.len() < look as usize {
                if self.order.random::<bool>() {
                    without.push(self.open(0.0, BLOCK, 1));
                    with.push(self.open(slow_down, BLOCK, 1));
                } else {
                    with.push(self.open(slow_down, BLOCK, 1));
                    without.push(self.open(0.0, BLOCK, 1));
                }
            }
            let (comparison, ..) = compare_pairs("calibration", 0.0, &without, &with);
            let (verdict, _) = overall(&comparison, &Margins::default());
            last = comparison;
            if verdict != Verdict::Inconclusive {
                break;
            }
        }
        result(last)
    }
}

fn result(comparison: Vec<Comparison>) -> Result {
    let find = |metric: &str| {
        comparison
            .iter()
            .find(|entry| entry.metric == metric)
            .expect("it is always compared")
            .clone()
    };
    Result { mean: find("latency_mean_ms"), p95: find("latency_p95_ms") }
}

fn row(slow_down: f64, results: &[Result]) -> String {
    let count = |of: fn(&Result) -> &Comparison, verdict| {
        results.iter().filter(|result| of(result).verdict == verdict).count()
    };
    let mut cells = vec![format!("{:.0} %", slow_down * 100.0), results.len().to_string()];
    for of in [(|result| &result.mean) as fn(&Result) -> &Comparison, |result| &result.p95] {
        for verdict in
            [Verdict::Improved, Verdict::Regressed, Verdict::Equivalent, Verdict::Inconclusive]
        {
            cells.push(count(of, verdict).to_string());
        }
    }
    let able: Vec<&Result> = results
        .iter()
        .filter(|result| result.mean.detectable.is_some_and(|effect| effect < slow_down))
        .collect();
    let found = able.iter().filter(|result| result.mean.verdict == Verdict::Regressed).count();
    cells.push(if slow_down == 0.0 { "–".into() } else { format!("{found} of {}", able.len()) });
    let mut blocks: Vec<u32> = results.iter().map(|result| result.mean.n).collect();
    blocks.sort_unstable();
    cells.push(blocks.get(blocks.len() / 2).copied().unwrap_or(0).to_string());
    format!("| {} |", cells.join(" | "))
}

/// A thread that takes a core for bursts of 5 to 50 ms, about a fifth of the time.
struct Noise {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Noise {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
            while !seen.load(Ordering::Relaxed) {
                let burst = Duration::from_millis(random.random_range(5..50));
                let began = Instant::now();
                while began.elapsed() < burst {
                    std::hint::spin_loop();
                }
                std::thread::sleep(burst * random.random_range(2..6));
            }
        });
        Noise { stop, thread: Some(thread) }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
