//! Pairs of blocks, one with a change and one without, as one comparison.

use crate::change::Design;
use crate::margins::Margins;
use crate::{POCOCK_ALPHA, compare_measurements, overall};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::Measurement;

/// Compares pairs of measurements, each of one block without a change and one with it, at one of the [`crate::LOOKS`];
/// returns every comparison, the verdict over all, and its grounds. `name` is what the design is called;
/// `offset` is the natural logarithm by which the side with the change is slower by itself, from an A/A
/// comparison, and is taken off. The level of each look is [`POCOCK_ALPHA`].
pub fn compare_pairs(
    name: &str,
    offset: f64,
    without: &[Measurement],
    with: &[Measurement],
) -> (Vec<Comparison>, Verdict, String) {
    let margins = Margins::default();
    let (Some(before), Some(mut after)) = (assemble(without), assemble(with)) else {
        return (Vec::new(), Verdict::Inconclusive, "no pair was measured".to_owned());
    };
    let factor = (-offset).exp();
    for block in &mut after.blocks {
        let latency = &mut block.latency_ms;
        for value in [
            &mut latency.mean,
            &mut latency.p50,
            &mut latency.p90,
            &mut latency.p95,
            &mut latency.p99,
            &mut latency.max,
        ] {
            *value *= factor;
        }
        block.statements.values_mut().for_each(|statement| statement.mean_ms *= factor);
    }
    let mut comparison =
        compare_measurements(&before, &after, Design::Paired, &margins, 1.0 - POCOCK_ALPHA);
    for entry in &mut comparison {
        entry.method = format!("{}; {}", name, entry.method);
    }
    let (verdict, reason) = overall(&comparison, &margins);
    (comparison, verdict, reason)
}

/// One measurement whose blocks are those of `parts` in their order. Its quantiles over all are not known, so
/// only what sums up is filled in; comparisons rest on the blocks.
fn assemble(parts: &[Measurement]) -> Option<Measurement> {
    let mut whole = parts.first()?.clone();
    whole.blocks.clear();
    (whole.requests, whole.errors, whole.duration_s) = (0, 0, 0.0);
    for part in parts {
        whole.requests += part.requests;
        whole.errors += part.errors;
        for block in &part.blocks {
            let mut block = block.clone();
            block.start_s += whole.duration_s;
            whole.blocks.push(block);
        }
        whole.duration_s += part.duration_s;
    }
    Some(whole)
}
