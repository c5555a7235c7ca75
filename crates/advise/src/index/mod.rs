//! The index advisor: which indexes a workload calls for, what they would save, and what they would cost.
//!
//! Pure: every cost comes from the what-if engine handed in or, where that can't plan with indexes, from
//! the rules of `rule.rs`, which work on the snapshot's statistics. Never reads or changes a server.
//!
//! The steps: read each statement (`statement.rs`), list the indexes that could serve it (`candidates.rs`),
//! leave out what exists (`cover.rs`), choose (`search.rs`) against what writers would pay (`writes.rs`), and
//! say why for everything proposed or not (`account.rs`).

mod account;
mod candidates;
mod cover;
mod immutable;
mod moment;
mod name;
mod plans;
mod rule;
mod rule_path;
mod search;
mod selectivity;
mod size;
mod statement;
mod wanted;
mod writes;

use pgassay_model::index::IndexDefinition;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::plan::NotProposed;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::WhatIf;
use pgassay_model::workload::{SkippedStatement, Workload};
use std::time::{Duration, Instant};

/// The least share of the workload's weighted cost, as it stands when an index is considered, that the
/// index must save beyond what writers pay for it. Below that no measurement would find it: the judge's
/// margin on the mean is 3 % (design "verification").
pub const MINIMUM_WORTH: f64 = 0.01;

/// Bounds of the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexOptions {
    /// The most that all proposed indexes together may take on disk; None: no bound.
    pub budget: Option<Bytes>,
    /// The most keys of an index.
    pub max_width: usize,
    /// After that long the best set found so far is returned; None: no bound.
    pub time_limit: Option<Duration>,
    /// Seed of random choices. The search makes none today; equal input gives equal advice.
    pub seed: u64,
}

impl Default for IndexOptions {
    fn default() -> Self {
        IndexOptions { budget: None, max_width: 3, time_limit: None, seed: 42 }
    }
}

/// What the advisor found.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexAdvice {
    /// `hypopg` (the planner with hypothetical indexes) or `rule` (formulas on statistics).
    pub engine: String,
    /// EXPLAINs issued for it.
    pub what_if_calls: u64,
    /// Weighted cost of the statements today, in planner units: Σ weight × cost.
    pub cost_before: f64,
    /// The same with the proposed indexes; what writers pay for them is each index's `write_cost`.
    pub cost_after: f64,
    /// What is proposed, the greatest benefit first.
    pub indexes: Vec<ProposedIndex>,
    /// Statements no index is proposed for and indexes considered, with reasons.
    pub rejected: Vec<NotProposed>,
    /// Statements that could not be read or planned.
    pub skipped: Vec<SkippedStatement>,
}

/// One proposed index.
#[derive(Debug, Clone, PartialEq)]
pub struct ProposedIndex {
    /// What it is.
    pub definition: IndexDefinition,
    /// `CREATE INDEX CONCURRENTLY …`, without semicolon.
    pub ddl: String,
    /// Estimated size.
    pub size: Bytes,
    /// Share (0–1) of the workload's weighted cost today that it saves, given the other proposed indexes.
    pub benefit: f64,
    /// What writers pay for it, as a share of the same cost.
    pub write_cost: f64,
    /// Ids of the statements that gain.
    pub statements: Vec<String>,
    /// One sentence of evidence.
    pub reason: String,
    /// What could make it slower than the estimate says; None where nothing is known.
    pub warning: Option<String>,
}

/// Proposes indexes for `workload`. Deterministic for a deterministic engine, apart from the time limit.
pub fn advise(
    snapshot: &Snapshot,
    workload: &Workload,
    what_if: &mut dyn WhatIf,
    options: &IndexOptions,
    interrupt: &Interrupt,
) -> IndexAdvice {
    let calls_before = what_if.calls();
    if what_if.plans_indexes() {
        return advise_with(snapshot, workload, what_if, options, interrupt, calls_before);
    }
    let mut rule = rule::RuleEngine::new(snapshot, what_if);
    advise_with(snapshot, workload, &mut rule, options, interrupt, calls_before)
}

fn advise_with(
    snapshot: &Snapshot,
    workload: &Workload,
    engine: &mut dyn WhatIf,
    options: &IndexOptions,
    interrupt: &Interrupt,
    calls_before: u64,
) -> IndexAdvice {
    let stop = search::Stop {
        deadline: options.time_limit.and_then(|limit| Instant::now().checked_add(limit)),
        interrupt: interrupt.clone(),
    };
    let (asked, skipped) = statement::read(snapshot, workload, engine, &stop);
    let mut notes: Vec<Vec<String>> = Vec::new();
    let mut search = search::Search::new(snapshot, &asked, engine, options.budget, stop);
    for (position, statement) in asked.iter().enumerate() {
        notes.push(match candidates::candidates(snapshot, statement, options.max_width.max(1)) {
            Ok(found) => {
                search.offer(position, found.definitions);
                found.obstacles
            }
            Err(reason) => vec![reason],
        });
    }
    search.run();
    let engine_name = search.engine_name();
    let account =
        account::Account { snapshot, asked: &asked, notes: &notes, budget: options.budget };
    let (indexes, rejected) = account.write(&mut search);
    IndexAdvice {
        engine: engine_name.to_owned(),
        what_if_calls: search.calls().saturating_sub(calls_before),
        cost_before: search.cost_before(),
        cost_after: search.cost_after(),
        indexes,
        rejected,
        skipped,
    }
}
