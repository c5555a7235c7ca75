//! The measurements of one run: always the same workload and load, so that any two of them can be compared.

use crate::failure::Failure;
use crate::judging::parts;
use crate::measure::{self, Options};
use crate::target::Target;
use pgassay_judge::{Design, LOOKS, Margins, POCOCK_ALPHA};
use pgassay_load::LoadMode;
use pgassay_model::change::Change;
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::{Connect, Measurement};
use pgassay_model::plan::{Plan, PlannedChange};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::Workload;
use pgassay_pgbouncer::Console;
use pgassay_postgres::Session;
use std::collections::BTreeMap;
use std::time::Duration;

/// Clients that find the capacity.
pub const CAPACITY_CLIENTS: u32 = 8;
/// The most requests in flight in an open loop.
pub const OPEN_LOOP_CLIENTS: u32 = 32;
/// Open-loop rate as a share of the closed-loop capacity: the gentle end of the measurement protocol's 50–70 %,
/// since the load runs on the same machine more often than not.
pub const SHARE_OF_CAPACITY: f64 = 0.5;
/// Confidence of what is looked at once.
pub const CONFIDENCE: f64 = 0.95;
/// Confidence at each of several looks, so that all of them together err no more often than [`CONFIDENCE`] allows.
const LOOK_CONFIDENCE: f64 = 1.0 - POCOCK_ALPHA;
/// Blocks of a whole measurement, as many as the last look takes, and the shortest block that holds enough.
const BLOCKS: u32 = LOOKS[LOOKS.len() - 1];
const SHORTEST_BLOCK: Duration = Duration::from_millis(500);
/// An open loop that answers less than this share of its rate is not one the server keeps up with.
const KEPT_UP: f64 = 0.9;
/// Statements measured by themselves at most, so that a run stays bounded.
const MOST_RARE: usize = 8;
/// Requests of a rare statement that each side should see: two for each of [`LOOKS`]' first blocks.
const RARE_REQUESTS: u32 = 16;

/// The parts of a measurement that stay the same over a run.
pub struct Bench<'a> {
    /// What is measured.
    pub target: &'a Target,
    /// Reads the server's own figures.
    pub session: &'a Session,
    /// Reads the pooler's.
    pub console: Option<&'a Console>,
    /// What is driven.
    pub workload: &'a Workload,
    /// How.
    pub options: Options,
    /// Statements measured by themselves too, with what they took before anything was changed (ms).
    pub rare: BTreeMap<String, f64>,
}

/// One state of the target as measured: the whole workload, and by themselves the statements that it asks too
/// rarely to be judged within it.
#[derive(Clone)]
pub struct Side {
    /// The whole workload.
    pub whole: Measurement,
    /// By statement.
    pub rare: BTreeMap<String, Measurement>,
}

impl Bench<'_> {
    /// Measures the whole workload.
    pub async fn whole(&self) -> Result<Measurement, Failure> {
        measure::measure(
            self.target,
            Some(self.session),
            self.console,
            self.workload,
            &self.options,
        )
        .await
    }

    /// Measures so many blocks of the whole workload; `part` counts the parts of one state, which ask for other
    /// values each. Recorded sessions are always driven whole.
    pub async fn blocks(&self, count: u32, part: u64) -> Result<Measurement, Failure> {
        let duration = match self.options.mode {
            LoadMode::Replay { .. } => self.options.duration,
            LoadMode::Closed { .. } | LoadMode::Open { .. } => self.options.block * count,
        };
        let seed = self.options.seed.wrapping_add(part);
        let options = Options { duration, seed, ..self.options.clone() };
        measure::measure(self.target, Some(self.session), self.console, self.workload, &options)
            .await
    }

    /// Measures so many blocks of a state, and the rare statements by themselves.
    pub async fn side(&self, blocks: u32) -> Result<Side, Failure> {
        Ok(Side { whole: self.blocks(blocks, 0).await?, rare: self.rare_ones().await? })
    }

    /// Measures more of the state that `side` was measured of, until it has so many blocks.
    pub async fn more(&self, side: &mut Side, blocks: u32) -> Result<(), Failure> {
        let there = u32::try_from(side.whole.blocks.len()).unwrap_or(u32::MAX);
        if there < blocks {
            let part = self.blocks(blocks - there, u64::from(there)).await?;
            side.whole = parts::join(side.whole.clone(), part);
        }
        Ok(())
    }

    /// How many blocks after a change to look at; recorded sessions have one look, since a part of them would be
    /// other requests than the whole.
    pub fn looks(&self) -> &'static [u32] {
        match self.options.mode {
            LoadMode::Replay { .. } => &LOOKS[..1],
            LoadMode::Closed { .. } | LoadMode::Open { .. } => &LOOKS,
        }
    }

    /// Blocks of a whole measurement.
    pub fn whole_blocks(&self) -> u32 {
        let blocks = self.options.duration.as_secs_f64() / self.options.block.as_secs_f64();
        (blocks.round() as u32).clamp(1, BLOCKS)
    }

    /// Finds the statements that changes of `plan` are meant for and that too few blocks of `before` have seen.
    pub fn find_rare(&mut self, plan: &Plan, before: &Measurement) {
        let seen = |id: &str| {
            before.blocks.iter().filter(|block| block.statements.contains_key(id)).count()
        };
        self.rare = before
            .statements
            .iter()
            .filter(|statement| seen(&statement.id) < LOOKS[0] as usize)
            .filter(|statement| {
                plan.changes.iter().any(|change| change.statements.contains(&statement.id))
            })
            .take(MOST_RARE)
            .map(|statement| (statement.id.clone(), statement.latency_ms.mean))
            .collect();
    }

    /// Measures each rare statement by itself.
    pub async fn rare_ones(&self) -> Result<BTreeMap<String, Measurement>, Failure> {
        alone(self.target, self.workload, &self.options, &self.rare).await
    }

    /// Closed loop, for the throughput that is possible.
    pub async fn capacity(&self) -> Result<Measurement, Failure> {
        let clients = match self.options.mode {
            LoadMode::Closed { clients } => clients,
            LoadMode::Open { clients, .. } | LoadMode::Replay { clients, .. } => {
                clients.min(CAPACITY_CLIENTS)
            }
        };
        let duration = (self.options.duration / 3).max(Duration::from_secs(4));
        let options = Options {
            mode: LoadMode::Closed { clients },
            duration,
            block: duration / 8,
            ..self.options.clone()
        };
        measure::measure(self.target, Some(self.session), self.console, self.workload, &options)
            .await
    }
}

/// Length of a block: as many as the last look takes, but none too short.
pub fn block_length(duration: Duration) -> Duration {
    (duration / BLOCKS).max(SHORTEST_BLOCK)
}

/// Compares two states at one of several looks; returns every comparison, the verdict over all, and its grounds.
pub fn compare(before: &Side, after: &Side) -> (Vec<Comparison>, Verdict, String) {
    let margins = Margins::default();
    let mut comparison = pgassay_judge::compare_measurements(
        &before.whole,
        &after.whole,
        Design::BeforeAfter,
        &margins,
        LOOK_CONFIDENCE,
    );
    let beneath = put_rare(&mut comparison, &before.rare, &after.rare);
    let (verdict, reason) = pgassay_judge::overall(&comparison, &margins);
    comparison.extend(beneath);
    (comparison, verdict, reason)
}

/// Measures statements by themselves, one client in a closed loop; `rare` has their mean latency so far (ms).
pub async fn alone(
    target: &Target,
    workload: &Workload,
    options: &Options,
    rare: &BTreeMap<String, f64>,
) -> Result<BTreeMap<String, Measurement>, Failure> {
    let mut measured = BTreeMap::new();
    for (id, mean_ms) in rare {
        let mut alone = workload.clone();
        alone.statements.retain(|statement| statement.id == *id);
        alone.scripts.clear();
        target
            .progress
            .step(format!("measuring {id} by itself, since the workload's blocks do not tell"));
        let wanted = Duration::from_secs_f64(mean_ms.max(1.0) / 1e3 * f64::from(RARE_REQUESTS));
        let duration = wanted.clamp(Duration::from_secs(2), Duration::from_secs(20));
        let options = Options {
            mode: LoadMode::Closed { clients: 1 },
            duration,
            warmup: Duration::from_millis(500),
            block: duration / LOOKS[0],
            ..options.clone()
        };
        // Only its latency is asked for, not where it goes.
        let one = measure::measure(target, None, None, &alone, &options).await?;
        measured.insert(id.clone(), one);
    }
    Ok(measured)
}

/// Puts what statements measured by themselves show in the place of what the workload showed of them. Returns
/// those that were too small a part of the load to be in `comparison`: guards they stay none.
pub fn put_rare(
    comparison: &mut [Comparison],
    before: &BTreeMap<String, Measurement>,
    after: &BTreeMap<String, Measurement>,
) -> Vec<Comparison> {
    let mut beneath = Vec::new();
    for (id, alone) in before {
        let metric = format!("statement:{id}");
        let Some(after) = after.get(id) else { continue };
        let found = pgassay_judge::compare_measurements(
            alone,
            after,
            Design::BeforeAfter,
            &Margins::default(),
            CONFIDENCE,
        )
        .into_iter()
        .find(|entry| entry.metric == metric);
        let Some(mut entry) = found else { continue };
        entry.method =
            format!("driven by itself, since the workload's blocks do not tell; {}", entry.method);
        match comparison.iter_mut().find(|known| known.metric == metric) {
            Some(known) => *known = entry,
            None => beneath.push(entry),
        }
    }
    beneath
}

/// Names of the indexes that changes create.
pub fn created_indexes(changes: &[&PlannedChange]) -> Vec<String> {
    changes
        .iter()
        .filter_map(|planned| match &planned.change {
            Change::CreateIndex { definition, .. } => {
                Some(format!("{}.{}", definition.relation.schema, definition.name))
            }
            _ => None,
        })
        .collect()
}

/// The requests per second that the server kept up with, where that is less than was asked for.
pub fn fell_behind(measurement: &Measurement) -> Option<f64> {
    let rate = measurement.mode.rate?;
    let answered = measurement.requests as f64 / measurement.duration_s.max(f64::MIN_POSITIVE);
    (answered < rate * KEPT_UP).then_some(answered)
}

/// Clients to drive: where they keep their connections, no more than a pool in session mode has servers for,
/// since the others would only wait until PgBouncer turns them away.
pub fn clients(target: &Target, snapshot: &Snapshot, connect: Connect, wanted: u32) -> u32 {
    let Some(pooler) = &snapshot.pooler else { return wanted };
    if connect == Connect::PerRequest || pooler.text("pool_mode") != Some("session") {
        return wanted;
    }
    pooler
        .databases
        .iter()
        .find(|database| database.name == target.application.database)
        .and_then(|database| u32::try_from(database.pool_size).ok())
        .map_or(wanted, |servers| wanted.min(servers).max(1))
}

/// The load in words.
pub fn describe(mode: &LoadMode) -> String {
    match mode {
        LoadMode::Closed { clients } => format!("{clients} clients in a closed loop"),
        LoadMode::Open { rate, .. } => format!("open loop, {rate:.0} requests/s"),
        LoadMode::Replay { speed, .. } => format!("recorded sessions at {speed}× their speed"),
    }
}
