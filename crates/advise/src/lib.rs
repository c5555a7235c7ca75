//! Findings and proposals from observed facts; pure.
//!
//! Takes a snapshot, a workload and, where there is one, a measurement, and returns a plan. Nothing here
//! talks to a server but through the what-if engine that is passed in, and nothing reads a clock or a file.
//!
//! What each lever could win at most is computed before anything is proposed (`reachable`), and a lever
//! that cannot win more than can be told from noise is left alone. Every parameter and setting that is
//! looked at ends up either proposed with its evidence or in `not_proposed` with the reason.

mod alternatives;
mod analyze;
mod beyond;
mod by_partition;
mod drafts;
mod drops;
mod duplicates;
mod evidence;
mod extended_statistics;
mod findings;
#[cfg(test)]
mod fixture;
mod foreign_keys;
pub mod index;
mod index_changes;
mod load;
mod parameters;
mod plan;
mod plan_gate;
mod pooling;
mod reachable;
mod recommendations;
mod reindex;
mod rewrites;
mod risk;
mod shapes;
mod words;

pub use beyond::{Beyond, beyond_indexes, beyond_of_statements};
pub use drops::{DropAdvice, DropRule};
pub use extended_statistics::MissingStatistics;
pub use foreign_keys::ForeignKeyIndex;
pub use plan::plan;
pub use pooling::erlang;
pub use reindex::{BloatedIndex, perhaps_bloated};
pub use rewrites::StatementRewrite;

use pgassay_model::Timestamp;
use pgassay_model::measurement::Measurement;
use pgassay_model::plan::PlanTarget;
use pgassay_model::snapshot::{Counters, Snapshot};
use pgassay_model::units::Bytes;
use pgassay_model::workload::Workload;
use std::time::Duration;

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct Input<'a> {
    /// The target as observed.
    pub snapshot: &'a Snapshot,
    /// What is asked of it.
    pub workload: &'a Workload,
    /// What a client felt; None where nothing was measured, so that no share of the response time is known.
    pub measurement: Option<&'a Measurement>,
    /// What the server counted while it was measured (differences, not totals); None where nothing was.
    pub counters_delta: Option<&'a Counters>,
    /// Identity of the target, for the plan.
    pub target: PlanTarget,
    /// The moment of planning: the age of statistics is counted back from it.
    pub now: Timestamp,
    /// Limits asked for.
    pub options: Options,
}

/// Limits of advice.
#[derive(Debug, Clone)]
pub struct Options {
    /// Most that new indexes may take together; None: no limit.
    pub budget: Option<Bytes>,
    /// Most keys in one index.
    pub max_width: usize,
    /// Time after which the search for indexes returns the best found so far; None: no limit.
    pub time_limit: Option<Duration>,
    /// Seed of every random choice of the search.
    pub seed: u64,
}

impl Default for Options {
    /// No budget, three keys, one minute.
    fn default() -> Self {
        Options { budget: None, max_width: 3, time_limit: Some(Duration::from_secs(60)), seed: 42 }
    }
}
