//! Extend (Schlosser, Kossmann and Boissier, ICDE 2019): step by step, the new index of one column or the column put to
//! the end of a chosen index that saves most for the space it takes, as long as it saves anything worth its name.

use crate::asking::Planner;
use crate::peers::btree;
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::what_if::Hypothesis;
use pgassay_model::workload::Workload;
use pgassay_sql::shape;
use std::collections::BTreeSet;

/// A step has to make the workload that much cheaper (`min_cost_improvement` of Kossmann et al., 2020).
const IMPROVEMENT: f64 = 1.003;
/// Columns of an index, at most: the default of the same.
const WIDTH: usize = 2;

/// A set that one step leads to.
struct Step {
    /// What it saves for each byte.
    ratio: f64,
    set: Vec<IndexDefinition>,
    /// The statements whose costs it changes, with those.
    costs: Vec<(usize, f64)>,
}

/// The set for a budget; `singles` has every column that may be indexed.
pub fn choose(
    planner: &mut Planner,
    workload: &Workload,
    singles: &[IndexDefinition],
    budget: u64,
) -> Vec<IndexDefinition> {
    let mut chosen: Vec<IndexDefinition> = Vec::new();
    let named: Vec<BTreeSet<RelationName>> = workload
        .statements
        .iter()
        .map(|statement| {
            let shape = shape(&statement.sql, &planner.snapshot).unwrap();
            shape.relations.into_iter().map(|used| used.name).collect()
        })
        .collect();
    let mut cost: Vec<f64> =
        (0..named.len()).map(|one| planned(planner, workload, one, Vec::new())).collect();
    loop {
        let total: f64 = cost.iter().sum();
        let now = size(planner, &chosen);
        let mut best: Option<Step> = None;
        for (relation, trial) in trials(&chosen, singles) {
            let bytes = size(planner, &trial);
            if bytes > budget {
                continue;
            }
            // Only the statements on that relation can have another plan.
            let touched = (0..named.len()).filter(|one| named[*one].contains(&relation));
            let then: Vec<(usize, f64)> = touched
                .map(|one| {
                    let usable = trial.iter().filter(|index| named[one].contains(&index.relation));
                    (one, planned(planner, workload, one, usable.cloned().collect()))
                })
                .collect();
            let saved: f64 = then.iter().map(|(one, then)| cost[*one] - then).sum();
            let ratio = saved / bytes.saturating_sub(now).max(1) as f64;
            let enough = (total - saved) * IMPROVEMENT < total;
            if enough && best.as_ref().is_none_or(|known| ratio > known.ratio) {
                best = Some(Step { ratio, set: trial, costs: then });
            }
        }
        let Some(step) = best else { return chosen };
        chosen = step.set;
        for (one, then) in step.costs {
            cost[one] = then;
        }
    }
}

/// The sets that one step can lead to, each with the relation that it concerns.
fn trials(
    chosen: &[IndexDefinition],
    singles: &[IndexDefinition],
) -> Vec<(RelationName, Vec<IndexDefinition>)> {
    let column = |index: &IndexDefinition| index.keys[0].column.clone().unwrap_or_default();
    let mut trials = Vec::new();
    for single in singles {
        let there = chosen
            .iter()
            .any(|known| known.relation == single.relation && column(known) == column(single));
        if !there {
            let set = chosen.iter().chain([single]).cloned().collect();
            trials.push((single.relation.clone(), set));
        }
        for (place, known) in chosen.iter().enumerate() {
            let keys: Vec<&str> =
                known.keys.iter().filter_map(|key| key.column.as_deref()).collect();
            let added = column(single);
            if known.relation == single.relation
                && keys.len() < WIDTH
                && !keys.contains(&added.as_str())
            {
                let longer: Vec<&str> = keys.iter().copied().chain([added.as_str()]).collect();
                let mut set = chosen.to_vec();
                set[place] = btree(&known.relation, &longer);
                trials.push((known.relation.clone(), set));
            }
        }
    }
    trials
}

fn size(planner: &mut Planner, set: &[IndexDefinition]) -> u64 {
    set.iter().filter_map(|index| planner.engine.index_size(index)).map(|bytes| bytes.0).sum()
}

/// Weighted cost of a statement; what was asked before is not asked again.
fn planned(
    planner: &mut Planner,
    workload: &Workload,
    statement: usize,
    indexes: Vec<IndexDefinition>,
) -> f64 {
    let statement = &workload.statements[statement];
    let hypothesis = Hypothesis { indexes, ..Hypothesis::default() };
    planner.engine.cost(statement, &hypothesis).unwrap().total_cost * statement.weight
}
