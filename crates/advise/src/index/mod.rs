//! The index advisor: which indexes a workload calls for, what they would save, and what they would cost.
//!
//! Pure: every cost comes from the what-if engine handed in or, where that can't plan with indexes, from
//! the rules of `rule.rs`, which work on the snapshot's statistics. Never reads or changes a server.
//!
//! The steps: read each statement (`statement.rs`), list the indexes that could serve it (`candidates.rs`),
//! leave out what exists (`cover.rs`), choose (`search.rs`) against what writers would pay (`writes.rs`), and
//! say why for everything proposed or not (`account.rs`).

mod account;
mod between;
mod brin;
mod candidates;
mod climb;
mod connect;
mod considered;
pub(crate) mod cover;
mod defaults;
mod entry_cost;
mod frontier;
mod gains;
pub(crate) mod immutable;
mod inheritance;
mod knowledge;
mod merge;
mod methods;
mod moment;
pub(crate) mod name;
mod opclasses;
mod plans;
mod quick_hash;
mod rebuild;
mod rounds;
mod rule;
mod rule_path;
mod search;
mod selectivity;
mod size;
mod statement;
mod stop;
mod trial;
mod wanted;
mod writes;

use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::plan::NotProposed;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::WhatIf;
use pgassay_model::workload::{SkippedStatement, Workload};
use std::collections::BTreeSet;
use std::time::Duration;

/// The least share of the workload's weighted cost, as it stands when an index is considered, that the
/// index must save beyond what writers pay for it, where no budget is given. Below that no measurement would find
/// it: the judge's margin on the mean is 3 % (design "verification").
pub const MINIMUM_WORTH: f64 = 0.01;
/// The same where a budget says how much space may be spent: what a set saves together counts then.
pub const MINIMUM_WORTH_IN_BUDGET: f64 = 0.0005;
/// A workload on more relations than that spreads its cost, and an index of one of them can't save as large a share
/// of the whole: the least share becomes smaller in proportion.
const FEW_RELATIONS: f64 = 10.0;

/// Bounds of the search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexOptions {
    /// The most that all proposed indexes together may take on disk; None: no bound.
    pub budget: Option<Bytes>,
    /// The most keys of an index.
    pub max_width: usize,
    /// After that long the best set found so far is returned; None: no bound.
    pub time_limit: Option<Duration>,
    /// Seed of random choices; equal input gives equal advice.
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
    /// What its figures are estimates of, in words: `planner`, or the rules with what statistics they rest on.
    pub estimates: String,
    /// EXPLAINs issued for it, and for the other budgets asked about at the same time.
    pub what_if_calls: u64,
    /// Weighted cost of the statements today, in planner units: Σ weight × cost.
    pub cost_before: f64,
    /// The same with the proposed indexes; what writers pay for them is each index's `write_cost`.
    pub cost_after: f64,
    /// What is proposed, the greatest benefit first.
    pub indexes: Vec<ProposedIndex>,
    /// Statements no index is proposed for and indexes considered, with reasons.
    pub rejected: Vec<NotProposed>,
    /// Every candidate that was weighed and is not proposed, a thousand at most, with the reason.
    pub considered: Vec<Considered>,
    /// Statements that could not be read or planned.
    pub skipped: Vec<SkippedStatement>,
}

/// An index that was weighed and is not proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// `CREATE INDEX CONCURRENTLY …`, without semicolon.
    pub ddl: String,
    /// Estimated size.
    pub size: Bytes,
    /// Ids of the statements that it was a candidate of; none: it came of merging two candidates.
    pub statements: Vec<String>,
    /// Why it is not proposed.
    pub why: String,
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
    /// Whether rules from statistics say what some of them gain: no engine planned it.
    pub by_rule: bool,
    /// One sentence of evidence.
    pub reason: String,
    /// What could make it slower than the estimate says; None where nothing is known.
    pub warning: Option<String>,
}

/// What the advisor found for several budgets.
#[derive(Debug, Clone, PartialEq)]
pub struct Advices {
    /// One for each budget, in the order asked.
    pub by_budget: Vec<IndexAdvice>,
    /// The best sets found by size, the smallest first, beginning with none.
    pub frontier: Vec<FrontierPoint>,
    /// Where on the frontier more space stops paying; None where it has too few points.
    pub knee: Option<usize>,
}

/// A set of indexes that no other one found beats in both size and cost.
#[derive(Debug, Clone, PartialEq)]
pub struct FrontierPoint {
    /// Estimated size of all its indexes.
    pub size: Bytes,
    /// Weighted cost of the statements with it, and what writers pay for it.
    pub cost: f64,
    /// `CREATE INDEX CONCURRENTLY …` of each.
    pub indexes: Vec<String>,
}

/// Proposes indexes for `workload` within `options.budget`. Deterministic for a deterministic engine, apart from the time limit.
pub fn advise(
    snapshot: &Snapshot,
    workload: &Workload,
    what_if: &mut dyn WhatIf,
    options: &IndexOptions,
    interrupt: &Interrupt,
) -> IndexAdvice {
    let budgets = [options.budget];
    let advices = advise_budgets(snapshot, workload, what_if, options, &budgets, interrupt);
    let engine = what_if.engine();
    advices.by_budget.into_iter().next().unwrap_or_else(|| IndexAdvice::none(engine))
}

/// Proposes indexes for each of several budgets (None: no bound) in one search, which is hardly dearer than for one;
/// `options.budget` is not looked at. Deterministic as [`advise`] is.
pub fn advise_budgets(
    snapshot: &Snapshot,
    workload: &Workload,
    what_if: &mut dyn WhatIf,
    options: &IndexOptions,
    budgets: &[Option<Bytes>],
    interrupt: &Interrupt,
) -> Advices {
    let calls_before = what_if.calls();
    let mut rule = rule::RuleEngine::new(snapshot, what_if);
    let unplanned = rule.unplanned();
    let question = Question { snapshot, workload, options, budgets, calls_before };
    question.advise(&mut rule, &unplanned, interrupt)
}

/// What is asked.
struct Question<'a> {
    snapshot: &'a Snapshot,
    workload: &'a Workload,
    options: &'a IndexOptions,
    budgets: &'a [Option<Bytes>],
    calls_before: u64,
}

impl Question<'_> {
    fn advise(
        &self,
        engine: &mut dyn WhatIf,
        unplanned: &rule::Unplanned,
        interrupt: &Interrupt,
    ) -> Advices {
        let Question { snapshot, workload, options, budgets, calls_before } = *self;
        let stop = stop::Stop::new(options.time_limit, interrupt.clone());
        let (asked, skipped) = statement::read(snapshot, workload, engine, &stop);
        let worth = least_worth(&asked, budgets);
        let mut notes: Vec<Vec<String>> = Vec::new();
        let mut search = search::Search::new(snapshot, &asked, engine, worth, options.seed, stop);
        for (position, statement) in asked.iter().enumerate() {
            let width = options.max_width.max(1);
            let found = search.stop.own(|| candidates::candidates(snapshot, statement, width));
            notes.push(match found {
                Ok(found) => {
                    search.offer(position, found.definitions);
                    found.obstacles
                }
                Err(reason) => vec![reason],
            });
        }
        search.run(budgets);
        let frontier = search.frontier();
        let curve: Vec<(f64, f64)> =
            frontier.iter().map(|point| (point.size.0 as f64, point.cost)).collect();
        let estimates = match search.engine_name() {
            rule::ENGINE => defaults::rule(snapshot, asked.iter()),
            _ => "planner".to_owned(),
        };
        let mut by_budget = Vec::new();
        for budget in budgets {
            search.choose(*budget);
            let account = account::Account {
                snapshot,
                asked: &asked,
                notes: &notes,
                budget: *budget,
                unplanned,
            };
            let (indexes, rejected) = account.write(&mut search);
            let considered = account.considered(&mut search);
            by_budget.push(IndexAdvice {
                engine: search.engine_name().to_owned(),
                estimates: estimates.clone(),
                what_if_calls: 0,
                cost_before: search.cost_before(),
                cost_after: search.cost_after(),
                indexes,
                rejected,
                considered,
                skipped: skipped.clone(),
            });
        }
        // The questions were asked for all budgets together.
        let calls = search.calls().saturating_sub(calls_before);
        for advice in &mut by_budget {
            advice.what_if_calls = calls;
        }
        Advices { by_budget, knee: frontier::knee(&curve), frontier }
    }
}

/// The share that an index must save.
fn least_worth(asked: &[statement::Asked<'_>], budgets: &[Option<Bytes>]) -> f64 {
    let relations: BTreeSet<&RelationName> =
        asked.iter().flat_map(|asked| &asked.shape.relations).map(|used| &used.name).collect();
    let share =
        if budgets.iter().all(Option::is_none) { MINIMUM_WORTH } else { MINIMUM_WORTH_IN_BUDGET };
    share * (FEW_RELATIONS / relations.len().max(1) as f64).min(1.0)
}

impl IndexAdvice {
    /// Nothing found.
    fn none(engine: &str) -> Self {
        IndexAdvice {
            engine: engine.to_owned(),
            estimates: String::new(),
            what_if_calls: 0,
            cost_before: 0.0,
            cost_after: 0.0,
            indexes: Vec::new(),
            rejected: Vec::new(),
            considered: Vec::new(),
            skipped: Vec::new(),
        }
    }
}
