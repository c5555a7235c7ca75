//! The `plan` document: what could be won, what is proposed, and what is not.

use crate::Timestamp;
use crate::change::Change;
use crate::measurement::{Ledger, Measurement};
use crate::workload::Workload;
use serde::{Deserialize, Serialize};

/// Schema name of a plan document.
pub const SCHEMA: &str = "pgassay/plan/1";

/// Proposed changes with their grounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// When it was made.
    pub generated_at: Timestamp,
    /// The server it was made for; another is refused.
    pub target: PlanTarget,
    /// Where the time goes, when the plan rests on a measurement.
    pub ledger_ms: Option<Ledger>,
    /// The most that each lever could still win, computed before anything was proposed.
    pub reachable: Vec<Reachable>,
    /// What was found, worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What is proposed, in the order to apply it.
    pub changes: Vec<PlannedChange>,
    /// What was considered and is not proposed.
    pub not_proposed: Vec<NotProposed>,
    /// What is for people to do: the application, the schema, caching, monitoring, partitioning.
    #[serde(default)]
    pub recommendations: Vec<Recommendation>,
    /// The what-if engine used: `shadow`, `hypopg`, or `rule`.
    #[serde(default)]
    pub engine: String,
    /// Why it is not a better one, and what its answers lack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engine_notes: Vec<String>,
    /// Statements that another engine answered for; `engine` answered for the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<AnsweredElsewhere>,
    /// The measurement that the plan rests on: what an applied plan is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measurement: Option<Measurement>,
    /// The workload that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
}

/// A statement that another engine than the plan's answered for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredElsewhere {
    /// Its id.
    pub statement: String,
    /// `hypopg`, `rule`, or `none`: nothing answered.
    pub engine: String,
    /// Why not the plan's own.
    pub reason: String,
}

/// Identity of the server that a plan was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanTarget {
    /// `pg_control_system().system_identifier`; None where it could not be read.
    pub system_identifier: Option<i64>,
    /// Database.
    pub database: String,
    /// `server_version_num`.
    pub version_num: u32,
    /// DSN without its password.
    pub display: String,
}

/// The most that a lever could win.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reachable {
    /// `connections`, `pool`, `planning`, `execution` (indexes, parameters, caching), `network`.
    pub lever: String,
    /// Share (0–1) of the mean response time; winning it all is the most that is possible.
    pub at_most_share: f64,
    /// From what it is computed.
    pub reason: String,
}

/// One proposed change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedChange {
    /// `c1`, `c2` …, unique in the plan.
    pub id: String,
    /// What changes.
    #[serde(flatten)]
    pub change: Change,
    /// One line for people.
    pub title: String,
    /// Changes of one group are applied together and judged together.
    pub group: String,
    /// What will be run, for people to read.
    pub apply: Vec<String>,
    /// What would take it back.
    pub undo: Vec<String>,
    /// Comes into force only by a restart, which pgassay never does.
    pub needs_restart: bool,
    /// Effect expected.
    pub expected: Expected,
    /// Risk by the rule documented in `docs/risk.md`.
    pub risk: Risk,
    /// What speaks for it.
    pub evidence: Vec<String>,
    /// Ids of statements it is meant to help; empty: all.
    #[serde(default)]
    pub statements: Vec<String>,
    /// The counter that has to move if the reasoning is right.
    pub mechanism: String,
}

/// An effect expected, on the mean latency of the whole workload unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// In words.
    pub effect: String,
    /// Relative change at best (−0.6 is 60 % less); None where no figure can be defended.
    pub low: Option<f64>,
    /// Relative change at least.
    pub high: Option<f64>,
    /// Where the figure comes from.
    pub source: ExpectedSource,
}

/// Where an expectation comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExpectedSource {
    /// The planner's cost of hypothetical indexes or parameters.
    WhatIf,
    /// A rule, from statistics.
    Rule,
    /// Measured on a copy.
    Rehearsed,
    /// A model, such as Erlang C or the ledger.
    Model,
}

/// A level with the reasons that set it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Risk {
    /// Level.
    pub level: RiskLevel,
    /// Each reason says what it rests on.
    pub reasons: Vec<String>,
}

/// Risk levels, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiskLevel {
    /// Undone without a trace, no blocking lock, bounded resources.
    Low,
    /// Can change plans or load of other statements, or takes noticeable resources for a while.
    Medium,
    /// Can refuse service to someone, or needs a restart to take back.
    High,
}

/// Something considered and not proposed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotProposed {
    /// A parameter, a PgBouncer setting, an index, a statement.
    pub what: String,
    /// Why not, with the figures it rests on.
    pub why: String,
}

/// Something found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// One sentence.
    pub title: String,
    /// Facts it rests on.
    pub evidence: Vec<String>,
    /// Share (0–1) of the response time it accounts for, where the ledger or the statistics tell.
    pub share: Option<f64>,
}

/// Advice to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// What to do.
    pub title: String,
    /// How and why.
    pub text: String,
    /// Effect expected, labelled an estimate.
    pub expected: String,
    /// What the expectation rests on.
    pub source: String,
}
