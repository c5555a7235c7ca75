//! Means with weights fixed before a change, so that a shift in the mix of statements is no effect.

use pgassay_model::measurement::{Block, Measurement};
use std::collections::BTreeMap;

/// Share of requests without error by statement, over all blocks of a measurement; empty where blocks
/// carry no statements.
pub fn request_weights(measurement: &Measurement) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<String, f64> = BTreeMap::new();
    for block in &measurement.blocks {
        for (id, statement) in &block.statements {
            *counts.entry(id.clone()).or_default() += statement.requests as f64;
        }
    }
    let total: f64 = counts.values().sum();
    counts.retain(|_, count| *count > 0.0);
    counts.values_mut().for_each(|count| *count /= total);
    counts
}

/// Mean latency (ms) of a block with the given weights by statement, over the statements it holds;
/// None where it holds none of them.
pub fn weighted_mean(block: &Block, weights: &BTreeMap<String, f64>) -> Option<f64> {
    filled_mean(block, weights, &BTreeMap::new())
}

/// As [`weighted_mean`], a statement that the block lacks taking its value from `typical`: leaving a
/// rare, slow statement out would make the block look fast.
pub(crate) fn filled_mean(
    block: &Block,
    weights: &BTreeMap<String, f64>,
    typical: &BTreeMap<String, f64>,
) -> Option<f64> {
    let mut sum = 0.0;
    let mut weight_sum = 0.0;
    let mut present = false;
    for (id, weight) in weights {
        let own = block.statements.get(id).filter(|statement| statement.requests > 0);
        present |= own.is_some();
        let value = own.map(|statement| statement.mean_ms).or_else(|| typical.get(id).copied());
        if let Some(value) = value {
            sum += weight * value;
            weight_sum += weight;
        }
    }
    (present && weight_sum > 0.0).then(|| sum / weight_sum)
}

/// Mean latency (ms) by statement over all blocks.
pub(crate) fn statement_means(blocks: &[Block]) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for block in blocks {
        for (id, statement) in &block.statements {
            let (time, requests) = sums.entry(id.clone()).or_default();
            *time += statement.mean_ms * statement.requests as f64;
            *requests += statement.requests as f64;
        }
    }
    sums.into_iter()
        .filter(|(_, (_, requests))| *requests > 0.0)
        .map(|(id, (time, requests))| (id, time / requests))
        .collect()
}

/// Median over blocks of each statement's mean latency (ms): what a block without it is taken to have had.
/// The median, since one disturbed block must not colour all that lack the statement.
pub(crate) fn typical_means(blocks: &[Block]) -> BTreeMap<String, f64> {
    let mut values: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
    for block in blocks {
        for (id, statement) in block.statements.iter().filter(|(_, own)| own.requests > 0) {
            values.entry(id).or_default().push(statement.mean_ms);
        }
    }
    values.into_iter().filter_map(|(id, values)| Some((id.clone(), median(&values)?))).collect()
}

/// Median of values in ascending order.
pub(crate) fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    match sorted.len() % 2 {
        1 => Some(*upper),
        _ => Some((sorted.get(sorted.len() / 2 - 1)? + upper) / 2.0),
    }
}

/// Median of values in any order.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    median_of_sorted(&sorted)
}
