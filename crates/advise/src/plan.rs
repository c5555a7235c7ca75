//! The plan composed: levers, findings, changes in groups in the order of what they are expected to win, and
//! everything that is not proposed.

use crate::drafts::{Draft, not_proposed};
use crate::evidence::Evidence;
use crate::extended_statistics::MissingStatistics;
use crate::foreign_keys::ForeignKeyIndex;
use crate::index::{IndexAdvice, IndexOptions};
use crate::index_changes::Savings;
use crate::load::Load;
use crate::plan_gate::PlanGate;
use crate::reachable::{Lever, Levers};
use crate::rewrites::StatementRewrite;
use crate::shapes::Shapes;
use crate::{
    Input, alternatives, analyze, duplicates, extended_statistics, findings, foreign_keys, index,
    index_changes, parameters, pooling, recommendations, reindex, rewrites,
};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::plan::{self, NotProposed, Plan, PlannedChange};
use pgassay_model::units::Bytes;
use pgassay_model::what_if::WhatIf;
use pgassay_model::workload::SkippedStatement;

/// Makes the plan. Pure but for the questions asked of `what_if`; `interrupt` ends the asking, and what is known
/// by then is planned.
pub fn plan(input: &Input<'_>, what_if: &mut dyn WhatIf, interrupt: &Interrupt) -> Plan {
    let levers = Levers::of(input.measurement, input.snapshot.host.as_ref().map(|host| host.cores));
    let load = Load::of(input.measurement, input.snapshot.statements.as_deref(), input.workload);
    let shapes = Shapes::of(input.workload, input.snapshot);
    let mut draft = Proposals::default();

    let closed = levers.closed(Lever::Execution);
    let (advice, today) = match &closed {
        Some(_) => (None, PlanGate::default()),
        None => {
            let advice = search_indexes(input, what_if, interrupt);
            let today = PlanGate::new(input.workload, Vec::new(), what_if, interrupt);
            (Some(advice), today)
        }
    };
    let definitions: Vec<_> = advice
        .iter()
        .flat_map(|advice| &advice.indexes)
        .map(|index| index.definition.clone())
        .collect();
    let then = if definitions.is_empty() {
        today.clone()
    } else {
        PlanGate::new(input.workload, definitions.clone(), what_if, interrupt)
    };
    let evidence = Evidence {
        snapshot: input.snapshot,
        workload: input.workload,
        measurement: input.measurement,
        delta: input.counters_delta,
        levers: &levers,
        load: &load,
        shapes: &shapes,
        plans: &then,
        interrupt,
    };

    let keys = foreign_keys::missing(input.snapshot, &shapes, &definitions);
    let (keys, too_large) = within_budget(keys, input.options.budget, advice.as_ref());
    draft.left.extend(too_large);
    let beside = Beside {
        statistics: extended_statistics::find(input.snapshot, &shapes, today.plans(), &definitions),
        foreign_keys: keys,
        rewrites: match &closed {
            Some(_) => Vec::new(),
            None => alternatives::named(
                rewrites::find(input.snapshot, input.workload, &shapes, what_if, interrupt),
                advice.as_ref(),
            ),
        },
    };
    let saved = draft.execution(&evidence, closed, advice.as_ref(), &today, &beside);
    draft.take(parameters::decide(&evidence, what_if));
    draft.take(pooling::decide(&evidence, saved));
    draft.skipped(&input.workload.skipped);
    draft.skipped(advice.iter().flat_map(|advice| &advice.skipped));
    if interrupt.requested() {
        draft.left.push(not_proposed(
            "the rest",
            "planning was interrupted: not everything was asked of the planner",
        ));
    }
    let changes = order(draft.changes);
    Plan {
        schema: plan::SCHEMA.to_owned(),
        generated_at: input.now,
        target: input.target.clone(),
        ledger_ms: input.measurement.map(|measurement| measurement.ledger_ms),
        reachable: levers.list(input.measurement),
        findings: findings::find(&evidence, &today),
        recommendations: recommendations::recommend(&evidence, &changes, input.now)
            .into_iter()
            .chain(rewrites::recommendations(&beside.rewrites, &load))
            .chain(extended_statistics::recommendations(&beside.statistics, &load))
            .chain(foreign_keys::recommendations(&beside.foreign_keys, &load))
            .chain(reindex::recommendations(&evidence))
            .collect(),
        changes,
        not_proposed: draft.left,
        engine: advice.map_or_else(|| what_if.engine().to_owned(), |advice| advice.engine),
        // Attached by who stores the plan alone; a run holds both itself.
        measurement: None,
        workload: None,
        // Known to who chose the engine.
        engine_notes: Vec::new(),
        elsewhere: Vec::new(),
    }
}

fn search_indexes(
    input: &Input<'_>,
    what_if: &mut dyn WhatIf,
    interrupt: &Interrupt,
) -> IndexAdvice {
    let options = IndexOptions {
        budget: input.options.budget,
        max_width: input.options.max_width,
        time_limit: input.options.time_limit,
        seed: input.options.seed,
    };
    index::advise(input.snapshot, input.workload, what_if, &options, interrupt)
}

/// Indexes of foreign keys that fit into what the other indexes leave of the budget, and the rest.
fn within_budget(
    keys: Vec<ForeignKeyIndex>,
    budget: Option<Bytes>,
    advice: Option<&IndexAdvice>,
) -> (Vec<ForeignKeyIndex>, Vec<NotProposed>) {
    let Some(budget) = budget else { return (keys, Vec::new()) };
    let taken: u64 = advice.iter().flat_map(|a| &a.indexes).map(|index| index.size.0).sum();
    let mut left = budget.0.saturating_sub(taken);
    let (mut fitting, mut too_large) = (Vec::new(), Vec::new());
    for key in keys {
        match left.checked_sub(key.size.0) {
            Some(rest) => {
                left = rest;
                fitting.push(key);
            }
            None => too_large.push(not_proposed(
                &key.ddl,
                format!("{} do not fit into what is left of the budget: {}", key.size, key.reason),
            )),
        }
    }
    (fitting, too_large)
}

/// What is found beside new indexes for the workload's cost.
struct Beside {
    statistics: Vec<MissingStatistics>,
    foreign_keys: Vec<ForeignKeyIndex>,
    rewrites: Vec<StatementRewrite>,
}

/// What is proposed so far, and what is not.
#[derive(Default)]
struct Proposals {
    changes: Vec<Draft>,
    left: Vec<NotProposed>,
}

impl Proposals {
    fn take(&mut self, (changes, left): (Vec<Draft>, Vec<NotProposed>)) {
        self.changes.extend(changes);
        self.left.extend(left);
    }

    /// Statistics, indexes and duplicates; returns the share of execution that the proposed indexes save.
    fn execution(
        &mut self,
        evidence: &Evidence<'_>,
        closed: Option<String>,
        advice: Option<&IndexAdvice>,
        today: &PlanGate<'_>,
        beside: &Beside,
    ) -> f64 {
        let Some(advice) = advice else {
            self.left.push(not_proposed("indexes", closed.unwrap_or_default()));
            return 0.0;
        };
        if evidence.snapshot.server.in_recovery {
            self.left.push(not_proposed(
                "indexes",
                "the server is a standby: indexes and statistics come from its primary, plan there",
            ));
            return 0.0;
        }
        self.changes.extend(analyze::decide(evidence));
        self.changes.extend(extended_statistics::decide(&beside.statistics, evidence.load));
        let savings = Savings::of(advice, today, evidence.plans, evidence);
        let saved = match index_changes::decide(advice, &savings, evidence) {
            Ok(indexes) => {
                self.changes.extend(indexes);
                savings.total
            }
            Err(why) => {
                self.left.push(not_proposed("indexes", why));
                0.0
            }
        };
        self.left.extend(advice.rejected.iter().cloned());
        self.changes.extend(foreign_keys::decide(
            &beside.foreign_keys,
            evidence.load,
            evidence.snapshot,
        ));
        self.changes.extend(duplicates::decide(evidence));
        self.changes.extend(reindex::decide(evidence));
        saved
    }

    /// Statements that could not be used, once each.
    fn skipped<'a>(&mut self, statements: impl IntoIterator<Item = &'a SkippedStatement>) {
        for skipped in statements {
            let entry = not_proposed(one_line(&skipped.statement), skipped.reason.clone());
            if !self.left.contains(&entry) {
                self.left.push(entry);
            }
        }
    }
}

fn one_line(sql: &str) -> String {
    const WIDTH: usize = 120;
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(WIDTH) {
        Some((cut, _)) => format!("{}…", line.get(..cut).unwrap_or_default()),
        None => line,
    }
}

/// Groups in the order of what they are expected to win, statistics first of all, since every other expectation
/// of the planner rests on them; then numbers the changes.
fn order(drafts: Vec<Draft>) -> Vec<PlannedChange> {
    let mut groups: Vec<(&'static str, Vec<Draft>)> = Vec::new();
    for draft in drafts {
        match groups.iter_mut().find(|(name, _)| *name == draft.group) {
            Some((_, members)) => members.push(draft),
            None => groups.push((draft.group, vec![draft])),
        }
    }
    groups.sort_by(|(a, a_members), (b, b_members)| {
        statistics_first(a)
            .cmp(&statistics_first(b))
            .then_with(|| expected_gain(b_members).total_cmp(&expected_gain(a_members)))
    });
    groups
        .into_iter()
        .flat_map(|(_, members)| members)
        .enumerate()
        .map(|(position, draft)| draft.planned(format!("c{}", position + 1)))
        .collect()
}

fn statistics_first(group: &str) -> u8 {
    match group {
        "analyze" => 0,
        "extended statistics" => 1,
        _ => 2,
    }
}

/// Middle of the range expected of a group; 0 where no figure can be defended.
fn expected_gain(members: &[Draft]) -> f64 {
    members
        .iter()
        .filter_map(|draft| Some(-(draft.expected.low? + draft.expected.high?) / 2.0))
        .sum()
}

#[cfg(test)]
mod tests;
