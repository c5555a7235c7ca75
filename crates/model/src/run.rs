//! The `run`, `history` and `error` documents.

use crate::Timestamp;
use crate::comparison::{Comparison, Verdict};
use crate::measurement::Measurement;
use crate::plan::{Plan, Risk};
use serde::{Deserialize, Serialize};

/// Schema name of a run document.
pub const SCHEMA: &str = "pgassay/run/1";
/// Schema name of a history document.
pub const HISTORY_SCHEMA: &str = "pgassay/history/1";

/// All that happened in one run: what reports are made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// When the document was made.
    pub generated_at: Timestamp,
    /// Identity of the run, e.g. `20261123T164500-3f9a`.
    pub run: String,
    /// Where the run stands.
    pub state: RunState,
    /// DSN without its password.
    pub target: String,
    /// Server version, as it names itself.
    pub server_version: String,
    /// The headline: one honest sentence.
    pub headline: String,
    /// Before anything was changed.
    pub before: Option<Measurement>,
    /// With what was kept.
    pub after: Option<Measurement>,
    /// Before against after, whole workload and by statement.
    pub comparison: Vec<Comparison>,
    /// What became of each change.
    pub changes: Vec<ChangeOutcome>,
    /// Targets asked for.
    pub targets: Vec<TargetOutcome>,
    /// Risk that is left.
    pub risk: Risk,
    /// Validation tests.
    pub checks: Vec<ValidationTest>,
    /// Commands that undo what was kept.
    pub rollback: Vec<String>,
    /// The plan that was carried out.
    pub plan: Option<Plan>,
    /// Where the schema snapshot and the backups lie.
    #[serde(default)]
    pub backups: Vec<String>,
    /// What the reader must know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Still going, or its process died: `history` and `rollback` tell.
    Unfinished,
    /// Done; what helped is kept.
    Finished,
    /// Done, and all of it was rolled back.
    RolledBack,
    /// Failed, and all of it was undone.
    FailedUndone,
    /// Failed, and something could not be undone.
    FailedPartly,
    /// Interrupted, and all of it was undone.
    Interrupted,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeState {
    /// In force, not judged (yet).
    Applied,
    /// In force, since it helped.
    Kept,
    /// Taken back.
    RolledBack,
    /// Could not be applied; nothing of it is left.
    Failed,
    /// Not tried.
    Skipped,
}

/// A change and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeOutcome {
    /// As in the plan.
    pub id: String,
    /// As in the plan.
    pub kind: String,
    /// As in the plan.
    pub title: String,
    /// As in the plan.
    pub group: String,
    /// What became of it.
    pub state: ChangeState,
    /// Verdict of its group, or of its statements; None where nothing was measured.
    pub verdict: Option<Verdict>,
    /// Why it was kept, rolled back, skipped, or failed.
    pub reason: String,
    /// What was measured.
    pub comparison: Vec<Comparison>,
    /// How to take it back, as commands.
    #[serde(default)]
    pub undo: Vec<String>,
    /// Seconds it took to apply.
    #[serde(default)]
    pub elapsed_s: Option<f64>,
}

/// A target and whether it was met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TargetOutcome {
    /// As asked: `p95<100ms`, `gain>=45%`.
    pub target: String,
    /// Met, by measurement.
    pub met: bool,
    /// What was measured, with its unit or interval.
    pub value: String,
}

/// A validation test of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValidationTest {
    /// `response_time`, `pool_efficiency`, `index_effectiveness`, `settings_applied`.
    pub id: String,
    /// Outcome; None: could not be told, `detail` says why.
    pub passed: Option<bool>,
    /// Figures it rests on.
    pub detail: String,
}

/// The `history` document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Always [`HISTORY_SCHEMA`].
    pub schema: String,
    /// When the document was made.
    pub generated_at: Timestamp,
    /// Unfinished runs first, then the newest first.
    pub runs: Vec<HistoryRun>,
}

/// One run in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryRun {
    /// Identity.
    pub run: String,
    /// DSN without its password.
    pub target: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Where it stands.
    pub state: RunState,
    /// Its changes.
    pub changes: Vec<HistoryChange>,
}

/// One change in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryChange {
    /// As in the plan.
    pub id: String,
    /// As in the plan.
    pub kind: String,
    /// As in the plan.
    pub title: String,
    /// Journal state: `intended`, `applied`, `kept`, `rolling_back`, `rolled_back`, `failed`, `skipped`.
    pub state: String,
    /// What to know or to do, where something is open.
    pub note: String,
}
