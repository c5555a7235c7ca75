//! The A/A gate: does a measurement differ from itself?

use crate::change::{Design, Sense, compare};
use crate::margins::Margins;
use crate::weights;
use pgassay_model::comparison::Comparison;
use pgassay_model::measurement::Block;
use std::collections::BTreeMap;

/// The first half of the blocks against the second, with nothing changed in between.
#[derive(Debug, Clone, PartialEq)]
pub struct AaGate {
    /// Mean latency, first half as before and second as after.
    pub comparison: Comparison,
    /// No difference was found: the interval holds 0, or there were too few blocks for one.
    pub passed: bool,
    /// The smallest relative change that so many blocks of this noise would show on each side of a
    /// before/after comparison.
    pub detectable: Option<f64>,
}

/// Compares the first half of the blocks with the second at 95 %, each statement's share of requests fixed
/// over both; a middle block left over is not used.
pub fn aa_gate(blocks: &[Block]) -> AaGate {
    let half = blocks.len() / 2;
    let first: Vec<&Block> = blocks.iter().take(half).collect();
    let second: Vec<&Block> = blocks.iter().skip(blocks.len() - half).collect();
    let mut requests: BTreeMap<String, f64> = BTreeMap::new();
    for block in blocks {
        for (id, statement) in &block.statements {
            *requests.entry(id.clone()).or_default() += statement.requests as f64;
        }
    }
    let typical = weights::typical_means(blocks);
    let values = |half: &[&Block]| -> Vec<f64> {
        half.iter()
            .filter_map(|block| {
                if requests.is_empty() {
                    Some(block.latency_ms.mean)
                } else {
                    weights::filled_mean(block, &requests, &typical)
                }
            })
            .collect()
    };
    let margins = Margins::default();
    let comparison = compare(
        "latency_mean_ms",
        Sense::LowerIsBetter,
        &values(&first),
        &values(&second),
        Design::Halves,
        0.95,
        margins.equivalence_mean,
        margins.improvement,
    );
    let excludes_zero = comparison.ci_low.is_some_and(|low| low > 0.0)
        || comparison.ci_high.is_some_and(|high| high < 0.0);
    // The halves hold half as many blocks as a side of the comparison to come: σ/√n shrinks by √2.
    let detectable =
        comparison.detectable.map(|effect| (effect.ln_1p() / std::f64::consts::SQRT_2).exp_m1());
    AaGate { comparison, passed: !excludes_zero, detectable }
}
