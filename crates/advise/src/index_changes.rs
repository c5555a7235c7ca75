//! Indexes that the search found, as changes with an expectation on the response time.
//!
//! The expectation is documented in docs/risk.md: the share of its cost that each statement saves, weighted
//! by the share of the execution time that was measured for it, times what execution takes of the response
//! time. A planner's cost is no time, so a range is given, from 0.5 × to 1.2 ×.

use crate::drafts::Draft;
use crate::evidence::Evidence;
use crate::index::{IndexAdvice, ProposedIndex};
use crate::plan_gate::PlanGate;
use crate::reachable::{Lever, NEGLIGIBLE};
use crate::risk::{self, NewIndex};
use crate::words;
use pgassay_model::change::Change;
use pgassay_model::plan::{Expected, ExpectedSource};
use pgassay_model::units::{Bytes, percent};
use pgassay_sql::drop_index_ddl;
use std::collections::BTreeMap;

/// The range in which the share saved is expected to lie, relative to the planner's (docs/risk.md).
const LEAST: f64 = 0.5;
const MOST: f64 = 1.2;

/// Share (0–1) of the execution that each statement and each index is expected to save.
#[derive(Debug, Clone, Default)]
pub(crate) struct Savings {
    by_statement: BTreeMap<String, f64>,
    /// All indexes together.
    pub(crate) total: f64,
}

impl Savings {
    /// From plans today and plans with the indexes; where the engine cannot plan with indexes, from the
    /// search's own costs.
    pub(crate) fn of(
        advice: &IndexAdvice,
        today: &PlanGate<'_>,
        then: &PlanGate<'_>,
        evidence: &Evidence<'_>,
    ) -> Savings {
        let before: BTreeMap<&str, f64> = today
            .plans()
            .map(|(statement, plan)| (statement.id.as_str(), plan.total_cost))
            .collect();
        let by_statement: BTreeMap<String, f64> = then
            .plans()
            .filter_map(|(statement, plan)| {
                let before = before.get(statement.id.as_str()).filter(|cost| **cost > 0.0)?;
                let saved = (1.0 - plan.total_cost / before).clamp(0.0, 1.0);
                let load = evidence.load.get(&statement.id)?;
                Some((statement.id.clone(), saved * load.of_execution))
            })
            .collect();
        let planned: f64 = by_statement.values().sum();
        if planned > 0.0 {
            return Savings { by_statement, total: planned.min(1.0) };
        }
        let total = if advice.cost_before > 0.0 {
            (1.0 - advice.cost_after / advice.cost_before).clamp(0.0, 1.0)
        } else {
            0.0
        };
        Savings { by_statement: BTreeMap::new(), total }
    }

    /// One index's part: what its statements save, shared among the indexes meant for the same statement.
    fn of_index(&self, index: &ProposedIndex, all: &[ProposedIndex]) -> f64 {
        if self.by_statement.is_empty() {
            return index.benefit.clamp(0.0, 1.0);
        }
        index
            .statements
            .iter()
            .filter_map(|id| {
                let sharing = all.iter().filter(|other| other.statements.contains(id)).count();
                Some(self.by_statement.get(id)? / sharing.max(1) as f64)
            })
            .sum()
    }
}

/// Changes for the indexes, or why the whole set is not worth a trial.
pub(crate) fn decide(
    advice: &IndexAdvice,
    savings: &Savings,
    evidence: &Evidence<'_>,
) -> Result<Vec<Draft>, String> {
    if advice.indexes.is_empty() {
        return Err(format!(
            "no index was found that saves enough ({} by engine {}, workload cost {:.1})",
            words::count(advice.what_if_calls, "what-if question"),
            advice.engine,
            advice.cost_before
        ));
    }
    let execution = evidence.levers.part(Lever::Execution);
    if let Some(execution) = execution {
        let most = (savings.total * MOST).min(1.0) * with_waiting(execution, evidence);
        if most < NEGLIGIBLE {
            return Err(format!(
                "the best set found ({}) would save at most {} of the response time: less than the {} that can be told from noise",
                words::list(
                    &advice.indexes.iter().map(|index| &index.definition.name).collect::<Vec<_>>()
                ),
                words::share(most),
                words::share(NEGLIGIBLE)
            ));
        }
    }
    Ok(advice
        .indexes
        .iter()
        .map(|index| draft(index, advice, savings, execution, evidence))
        .collect())
}

/// What shorter execution can win at most: itself, and what waits behind it.
fn with_waiting(execution: f64, evidence: &Evidence<'_>) -> f64 {
    evidence.levers.at_most(Lever::Execution).unwrap_or(execution)
}

fn draft(
    index: &ProposedIndex,
    advice: &IndexAdvice,
    savings: &Savings,
    execution: Option<f64>,
    evidence: &Evidence<'_>,
) -> Draft {
    let definition = &index.definition;
    let keys = keys(index);
    let relation = evidence.snapshot.relation(&definition.relation);
    let saved = savings.of_index(index, &advice.indexes);
    let risk = risk::create_index(&NewIndex {
        size: index.size,
        relation: relation.map_or(Bytes(0), |relation| relation.size),
        write_cost: index.write_cost,
        engine: if index.by_rule { "rule" } else { &advice.engine },
        load: evidence.load.share(index.statements.iter().map(String::as_str)),
        warning: index.warning.clone(),
    });
    Draft {
        title: format!("index {} {keys}", definition.relation),
        group: "indexes",
        apply: vec![index.ddl.clone()],
        undo: vec![drop_index_ddl(&definition.relation.schema, &definition.name, true)],
        needs_restart: false,
        expected: expected(index, (saved, savings.total), execution, evidence),
        risk,
        evidence: vec![
            index.reason.clone(),
            format!(
                "about {}; it saves {} of the workload's cost and costs writers {}",
                index.size,
                words::share(index.benefit),
                words::share(index.write_cost)
            ),
        ],
        statements: index.statements.clone(),
        mechanism: format!(
            "pg_stat_user_indexes.idx_scan of {}, seq_tup_read of {}",
            definition.name, definition.relation
        ),
        change: Change::CreateIndex { definition: definition.clone(), estimated_size: index.size },
    }
}

fn expected(
    index: &ProposedIndex,
    (saved, all): (f64, f64),
    execution: Option<f64>,
    evidence: &Evidence<'_>,
) -> Expected {
    let source = if index.by_rule { ExpectedSource::Rule } else { ExpectedSource::WhatIf };
    let who = if source == ExpectedSource::Rule { "rule" } else { "planner" };
    let statements = words::list(&index.statements);
    match execution {
        Some(execution) => Expected {
            effect: format!(
                "{statements}: {} of the execution by the {who}, which is {} of the response time",
                percent(-saved),
                words::share(execution)
            ),
            low: Some(
                -saved * MOST.min(1.0 / all.max(f64::EPSILON)) * with_waiting(execution, evidence),
            ),
            high: Some(-saved * LEAST * execution),
            source,
        },
        None => Expected {
            effect: format!(
                "{statements}: {} of the workload's cost by the {who}; nothing was measured, so the effect on the response time is unknown",
                percent(-index.benefit)
            ),
            low: None,
            high: None,
            source,
        },
    }
}

/// `(a, b DESC) INCLUDE (c) WHERE …` for a title.
fn keys(index: &ProposedIndex) -> String {
    let definition = &index.definition;
    let keys: Vec<String> = definition
        .keys
        .iter()
        .map(|key| {
            let name = key.column.clone().or_else(|| key.expression.clone()).unwrap_or_default();
            if key.descending { format!("{name} DESC") } else { name }
        })
        .collect();
    let mut text = format!("({})", keys.join(", "));
    if !definition.include.is_empty() {
        text.push_str(&format!(" INCLUDE ({})", definition.include.join(", ")));
    }
    if let Some(predicate) = &definition.predicate {
        text.push_str(&format!(" WHERE {predicate}"));
    }
    if definition.method != "btree" {
        text.push_str(&format!(" USING {}", definition.method));
    }
    text
}
