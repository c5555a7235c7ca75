//! Takes the blocks: a real server driven with nothing changed, and with real slow-downs, on a disturbed machine.

use pgassay_judge::LOOKS;
use pgassay_load::{LoadMode, LoadOptions};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::{Connect, Measurement};
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_testkit::Postgres;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rounds of the loop by which a function burns CPU: about a third of a millisecond.
const ROUNDS: f64 = 60_000.0;
/// The loop is about two thirds of a request's time, so this much more of it makes the mean slower by 1.
const OF_LOOP: f64 = 1.5;
/// Rows of the relation that is looked up, small enough that reading it all is a slow-down of some ten percent.
const ITEMS: u32 = 2500;
/// Blocks on each side: as many as the last look takes, so that every metric can be judged to its end.
const MOST: u32 = LOOKS[LOOKS.len() - 1];
const WARMUP: Duration = Duration::from_millis(20);
/// The rate as a share of the capacity; low, so that little is due to queues of the load itself.
pub const SHARE_OF_CAPACITY: f64 = 0.2;

/// What differs between the two sides of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Case {
    /// Nothing.
    Same,
    /// The function burns more CPU, so that the mean is slower by about so many percent.
    Cpu(u32),
    /// The index of the looked-up column is dropped.
    IndexDropped,
}

/// How the sides were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Taken {
    /// Pairs in random order.
    Pairs,
    /// First one side, then the other.
    Sides,
}

/// The blocks of one comparison.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Blocks {
    /// What differs.
    pub case: Case,
    /// How they were taken.
    pub taken: Taken,
    /// One measurement for each block without the slow-down, in the order of time.
    pub before: Vec<Measurement>,
    /// And with it.
    pub after: Vec<Measurement>,
}

/// What takes blocks.
pub struct Bench<'a> {
    server: &'a Postgres,
    /// Length of a block.
    block: Duration,
    rate: f64,
    seed: u64,
    order: Xoshiro256PlusPlus,
    index: bool,
}

impl<'a> Bench<'a> {
    /// Makes the relation and finds the rate.
    pub fn new(server: &'a Postgres, block: Duration) -> Self {
        let sql = format!(
            "CREATE TABLE item AS SELECT number AS id, number AS code FROM pg_catalog.generate_series(1, {ITEMS}) AS number; ANALYZE item; CREATE INDEX item_code ON item (code); CREATE FUNCTION burn(rounds int) RETURNS int LANGUAGE plpgsql AS 'BEGIN FOR round IN 1..rounds LOOP NULL; END LOOP; RETURN rounds; END'"
        );
        server.execute("postgres", &sql).unwrap();
        let order = Xoshiro256PlusPlus::seed_from_u64(42);
        let mut bench = Bench { server, block, rate: 0.0, seed: 0, order, index: true };
        let capacity =
            bench.drive(Case::Same, LoadMode::Closed { clients: 4 }, Duration::from_secs(3));
        bench.rate = capacity.throughput * SHARE_OF_CAPACITY;
        bench
    }

    /// A server compared with itself, which serves both designs, since all of its blocks are the same: as pairs,
    /// and the earlier half of the time against the later.
    pub fn same(&mut self) -> [Blocks; 2] {
        let (mut without, mut with, mut in_time) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..MOST {
            let blocks = [self.block(Case::Same), self.block(Case::Same)];
            in_time.extend(blocks.clone());
            let [first, second] = blocks;
            let (one, other) = if self.order.random() { (first, second) } else { (second, first) };
            without.push(one);
            with.push(other);
        }
        let later = in_time.split_off(MOST as usize);
        [
            Blocks { case: Case::Same, taken: Taken::Pairs, before: without, after: with },
            Blocks { case: Case::Same, taken: Taken::Sides, before: in_time, after: later },
        ]
    }

    /// Goes on from blocks without a slow-down with blocks that have it.
    pub fn sides(&mut self, case: Case, before: Vec<Measurement>) -> Blocks {
        let after = (0..MOST).map(|_| self.block(case)).collect();
        Blocks { case, taken: Taken::Sides, before, after }
    }

    /// Pairs of blocks without and with a slow-down.
    pub fn pairs(&mut self, case: Case) -> Blocks {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for _ in 0..MOST {
            if self.order.random() {
                before.push(self.block(Case::Same));
                after.push(self.block(case));
            } else {
                after.push(self.block(case));
                before.push(self.block(Case::Same));
            }
        }
        Blocks { case, taken: Taken::Pairs, before, after }
    }

    fn block(&mut self, case: Case) -> Measurement {
        let index = case != Case::IndexDropped;
        if index != self.index {
            let sql = if index {
                "CREATE INDEX item_code ON item (code)"
            } else {
                "DROP INDEX item_code"
            };
            self.server.execute("postgres", sql).unwrap();
            self.index = index;
        }
        let mode = LoadMode::Open { rate: self.rate, clients: 4 };
        let mut measurement = self.drive(case, mode, self.block);
        // Only the block is of use, and there will be tens of thousands.
        measurement.statements.clear();
        measurement.notes.clear();
        measurement
    }

    fn drive(&mut self, case: Case, mode: LoadMode, duration: Duration) -> Measurement {
        self.seed += 1;
        let options = LoadOptions {
            target: pgassay_postgres::dsn::resolve(&self.server.dsn("postgres")).unwrap(),
            mode,
            connect: Connect::Reuse,
            duration,
            warmup: WARMUP,
            block: duration,
            seed: self.seed,
            server_cpu: None,
            protocol: Default::default(),
            writes: Default::default(),
            statement_timeout: None,
        };
        pgassay_load::drive(&workload(case), &options, &Interrupt::default(), &|_| {})
            .unwrap()
            .measurement
    }
}

fn workload(case: Case) -> Workload {
    let rounds = match case {
        Case::Cpu(percent) => ROUNDS * (1.0 + OF_LOOP * f64::from(percent) / 100.0),
        Case::Same | Case::IndexDropped => ROUNDS,
    };
    let statement = |id: &str, sql: &str, weight, parameters| WorkloadStatement {
        id: id.into(),
        sql: sql.into(),
        weight,
        writes: false,
        parameters,
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    };
    let codes = (1..=ITEMS).step_by(97).map(|code| vec![Some(code.to_string())]).collect();
    Workload {
        schema: SCHEMA.into(),
        generated_at: jiff::Timestamp::now(),
        source: "calibration".into(),
        statements: vec![
            statement("burn", "SELECT burn($1)", 4.0, vec![vec![Some(rounds.round().to_string())]]),
            statement("look_up", "SELECT id FROM item WHERE code = $1", 1.0, codes),
        ],
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

/// One measurement of all blocks of a side.
pub fn whole(parts: &[Measurement]) -> Measurement {
    let mut whole = parts.first().unwrap().clone();
    whole.blocks = parts.iter().flat_map(|part| part.blocks.clone()).collect();
    whole.requests = parts.iter().map(|part| part.requests).sum();
    whole.errors = parts.iter().map(|part| part.errors).sum();
    whole
}

/// A thread that takes a core for bursts of 5 to 50 ms, about a fifth of the time.
pub struct Noise {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Noise {
    /// Starts it.
    pub fn start() -> Self {
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
