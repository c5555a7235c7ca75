//! Asks the advisor about a workload on a server, and counts what that took.

use pgassay_advise::index::{Advices, IndexOptions, advise_budgets};
use pgassay_model::Timestamp;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::WhatIf;
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_postgres::{Session, SessionOptions, snapshot, what_if};
use pgassay_shadow::{BuildOptions, ReadOptions, Shadow};
use pgassay_testkit::Postgres;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Statements as a workload document.
pub fn workload(source: &str, statements: Vec<WorkloadStatement>) -> Workload {
    Workload {
        schema: SCHEMA.into(),
        generated_at: Timestamp::UNIX_EPOCH,
        source: source.into(),
        statements,
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

/// A target, and an engine that answers for it.
pub struct Planner {
    /// The target observed.
    pub snapshot: Snapshot,
    /// `shadow` or HypoPG.
    pub engine: Box<dyn WhatIf>,
    /// Of the server that plans.
    data_directory: String,
    /// Reading the target, and building the shadow.
    pub prepared: Duration,
}

impl Planner {
    /// Reads a database and makes the engine of that name.
    pub fn new(runtime: &Runtime, server: &Postgres, database: &str, engine: &str) -> Planner {
        let settings = pgassay_postgres::dsn::resolve(&server.dsn(database)).unwrap();
        let began = Instant::now();
        let connect =
            || runtime.block_on(Session::connect(&settings, SessionOptions::default())).unwrap();
        let session = connect();
        let snapshot = runtime.block_on(snapshot(&session)).unwrap();
        let (engine, planning): (Box<dyn WhatIf>, Session) = match engine {
            "shadow" => {
                let blueprint = runtime
                    .block_on(pgassay_shadow::read(&session, &ReadOptions::default()))
                    .unwrap();
                let built =
                    runtime.block_on(Shadow::build(&blueprint, &BuildOptions::default())).unwrap();
                assert!(built.lacking().is_empty(), "{:?}", built.lacking());
                let shadow = Arc::new(built);
                let planning = runtime.block_on(shadow.session()).unwrap();
                let engine = shadow.engine(runtime.handle().clone(), &snapshot);
                (runtime.block_on(engine).unwrap(), planning)
            }
            _ => (what_if(runtime.handle().clone(), session, &snapshot), connect()),
        };
        let data_directory: String = runtime
            .block_on(planning.client().query_one("SELECT current_setting('data_directory')", &[]))
            .unwrap()
            .get(0);
        Planner { snapshot, engine, data_directory, prepared: began.elapsed() }
    }

    /// Advice for several budgets in one search.
    pub fn advise(&mut self, workload: &Workload, budgets: &[Option<Bytes>]) -> (Advices, Effort) {
        let before = self.effort();
        let advices = advise_budgets(
            &self.snapshot,
            workload,
            self.engine.as_mut(),
            &IndexOptions::default(),
            budgets,
            &Interrupt::default(),
        );
        let effort = self.effort().since(&before);
        (advices, effort)
    }

    /// What was used until now.
    pub fn effort(&self) -> Effort {
        Effort {
            at: Instant::now(),
            wall: Duration::ZERO,
            client: cpu("self"),
            server: cpu_of_server(&self.data_directory),
            explains: self.engine.calls(),
        }
    }
}

/// What something took.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    at: Instant,
    /// By the clock.
    pub wall: Duration,
    /// CPU seconds of this process.
    pub client: f64,
    /// CPU seconds of the server that planned.
    pub server: f64,
    /// EXPLAINs.
    pub explains: u64,
}

impl Effort {
    /// The difference to an earlier moment.
    pub fn since(&self, earlier: &Effort) -> Effort {
        Effort {
            at: self.at,
            wall: self.at.duration_since(earlier.at),
            client: self.client - earlier.client,
            server: self.server - earlier.server,
            explains: self.explains - earlier.explains,
        }
    }

    /// CPU seconds of both.
    pub fn cpu(&self) -> f64 {
        self.client + self.server
    }
}

/// CPU seconds of all processes that a postmaster has started and that still run.
fn cpu_of_server(data_directory: &str) -> f64 {
    let file = std::fs::read_to_string(format!("{data_directory}/postmaster.pid")).unwrap();
    let postmaster = file.lines().next().unwrap().trim().to_owned();
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let process = entry.file_name().into_string().ok()?;
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let parent = text.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
        (parent == postmaster).then(|| cpu(&process))
    });
    children.sum()
}

/// CPU seconds that a process has used: `utime` and `stime` of proc(5), in hundredths (`sysconf(_SC_CLK_TCK)`).
fn cpu(process: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok());
    ticks(11).zip(ticks(12)).map_or(0.0, |(user, system)| (user + system) / 100.0)
}
