//! Two measurements compared, metric by metric and statement by statement.

use crate::change::{Blocks, Design, Sense};
use crate::margins::Margins;
use crate::{errors, holm, weights};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::{Block, Measurement};
use std::collections::BTreeMap;

/// Share of the response time from which on a statement is compared by itself (measurement protocol).
const SMALLEST_SHARE: f64 = 0.01;

/// Compares two measurements of the same workload.
///
/// First `latency_mean_ms` (the primary metric, with each statement's share of requests fixed as before),
/// `latency_p50_ms`, `latency_p95_ms`, `latency_p99_ms`, `throughput` and `server_cpu_ms_per_request`, always; then
/// `error_share` where anything failed; then `statement:ID` for every statement with at least
/// 1 % of the response time. p95, p99 and the statements are guards, which together call a harmless change harmful
/// no more often than `confidence` says (Holm).
pub fn compare_measurements(
    before: &Measurement,
    after: &Measurement,
    design: Design,
    margins: &Margins,
    confidence: f64,
) -> Vec<Comparison> {
    let quantile = |value: fn(&Block) -> f64| {
        let values = |side: &Measurement| side.blocks.iter().map(value).collect::<Vec<f64>>();
        Blocks::new(&values(before), &values(after), design)
    };
    let median = quantile(|block| block.latency_ms.p50).compare(
        "latency_p50_ms",
        Sense::LowerIsBetter,
        confidence,
        margins.equivalence_mean,
        margins.improvement,
    );
    let tail = |metric: &str, value| Guard {
        metric: metric.to_owned(),
        blocks: quantile(value),
        equivalence: margins.equivalence_p99,
        of_all: true,
    };
    let mut guards = vec![
        tail("latency_p95_ms", |block: &Block| block.latency_ms.p95),
        tail("latency_p99_ms", |block: &Block| block.latency_ms.p99),
    ];
    guards.extend(statements(before, after, design, margins));
    let mut guarded = judge_guards(&guards, margins, confidence);
    let held = requests_in_a_block(before).min(requests_in_a_block(after));
    for (guard, tail) in guarded.iter_mut().zip([0.05, 0.01]) {
        // Fewer than one request lies beyond the quantile.
        if (held as f64) * tail < 1.0 {
            guard.method.push_str(&format!(
                "; a block holds {held} requests, so this is about its slowest"
            ));
        }
    }
    let of_statements = guarded.split_off(2);
    let mut comparisons = vec![mean(before, after, design, margins, confidence), median];
    comparisons.extend(guarded);
    comparisons.push(throughput(before, after, design, margins, confidence));
    comparisons.push(server_cpu(before, after, design, margins, confidence));
    comparisons.extend(errors::compare(before, after, confidence));
    comparisons.extend(of_statements);
    comparisons
}

/// How many requests the middle block of a measurement holds.
fn requests_in_a_block(measurement: &Measurement) -> u64 {
    let mut held: Vec<u64> = measurement.blocks.iter().map(|block| block.requests).collect();
    held.sort_unstable();
    held.get(held.len() / 2).copied().unwrap_or(0)
}

/// What must not become worse.
struct Guard {
    metric: String,
    blocks: Blocks,
    equivalence: f64,
    /// Of all requests, and not of one statement: it must be shown to do no harm, for which all of them have to
    /// hold, so that its interval needs no correction; only calling it worse does.
    of_all: bool,
}

fn judge_guards(guards: &[Guard], margins: &Margins, confidence: f64) -> Vec<Comparison> {
    let compare = |guard: &Guard, confidence: f64| {
        guard.blocks.compare(
            &guard.metric,
            Sense::LowerIsBetter,
            confidence,
            guard.equivalence,
            margins.improvement,
        )
    };
    let differs =
        |index: usize, level: f64| guards.get(index).is_some_and(|own| own.blocks.differs(level));
    let p_values: Vec<f64> = guards.iter().map(|guard| guard.blocks.p_value()).collect();
    let levels = holm::levels(&p_values, 1.0 - confidence, differs);
    let family = format!("Holm over {} guards", guards.len());
    guards
        .iter()
        .zip(levels)
        .map(|(guard, level)| {
            let mut strict = compare(guard, 1.0 - level);
            if !guard.of_all {
                strict.method.push_str(&format!("; {family}"));
                return strict;
            }
            let mut own = compare(guard, confidence);
            own.detectable = strict.detectable;
            if worse(&own) && !worse(&strict) {
                own.verdict = Verdict::Inconclusive;
                own.method.push_str(&format!("; worse by itself, and not with {family}"));
            }
            own
        })
        .collect()
}

fn mean(
    before: &Measurement,
    after: &Measurement,
    design: Design,
    margins: &Margins,
    confidence: f64,
) -> Comparison {
    let mut weights = weights::request_weights(before);
    let typical_before = weights::typical_means(&before.blocks);
    let typical_after = weights::typical_means(&after.blocks);
    let known = weights.len();
    weights.retain(|id, _| typical_after.contains_key(id));
    let values = |measurement: &Measurement, typical: &BTreeMap<String, f64>| -> Vec<f64> {
        measurement
            .blocks
            .iter()
            .filter_map(|block| {
                if weights.is_empty() {
                    Some(block.latency_ms.mean)
                } else {
                    weights::filled_mean(block, &weights, typical)
                }
            })
            .collect()
    };
    let blocks =
        Blocks::new(&values(before, &typical_before), &values(after, &typical_after), design);
    let mut comparison = blocks.compare(
        "latency_mean_ms",
        Sense::LowerIsBetter,
        confidence,
        margins.equivalence_mean,
        margins.improvement,
    );
    if known > weights.len() {
        comparison.method.push_str(&format!(
            "; {} statements without an answer afterwards left out",
            known - weights.len()
        ));
    }
    comparison
}

fn throughput(
    before: &Measurement,
    after: &Measurement,
    design: Design,
    margins: &Margins,
    confidence: f64,
) -> Comparison {
    // A block without an answer is a stall, not a missing value: half a request keeps its logarithm.
    let values = |measurement: &Measurement| -> Vec<f64> {
        measurement
            .blocks
            .iter()
            .filter(|block| block.duration_s > 0.0)
            .map(|block| {
                (block.requests.saturating_sub(block.errors) as f64).max(0.5) / block.duration_s
            })
            .collect()
    };
    Blocks::new(&values(before), &values(after), design).compare(
        "throughput",
        Sense::HigherIsBetter,
        confidence,
        margins.equivalence_mean,
        margins.improvement,
    )
}

fn server_cpu(
    before: &Measurement,
    after: &Measurement,
    design: Design,
    margins: &Margins,
    confidence: f64,
) -> Comparison {
    let values = |measurement: &Measurement| -> Vec<f64> {
        measurement.blocks.iter().filter_map(|block| block.server_cpu_ms_per_request).collect()
    };
    let mut comparison = Blocks::new(&values(before), &values(after), design).compare(
        "server_cpu_ms_per_request",
        Sense::LowerIsBetter,
        confidence,
        margins.equivalence_mean,
        margins.improvement,
    );
    comparison.before = comparison.before.or(before.server_cpu_ms_per_request);
    comparison.after = comparison.after.or(after.server_cpu_ms_per_request);
    comparison
}

fn statements(
    before: &Measurement,
    after: &Measurement,
    design: Design,
    margins: &Margins,
) -> Vec<Guard> {
    compared_statements(&before.blocks, &after.blocks)
        .into_iter()
        .map(|id| {
            let values = |measurement: &Measurement| -> Vec<f64> {
                let of_block = |block: &Block| {
                    let own = block.statements.get(&id).filter(|own| own.requests > 0);
                    own.map_or(f64::NAN, |own| own.mean_ms)
                };
                measurement.blocks.iter().map(of_block).collect()
            };
            Guard {
                metric: format!("statement:{id}"),
                blocks: Blocks::new(&values(before), &values(after), design),
                equivalence: margins.equivalence_statement,
                of_all: false,
            }
        })
        .collect()
}

/// Statements on both sides that take at least [`SMALLEST_SHARE`] of the response time before, or
/// would take as much of it at their latency after: a statement that became slow counts, one that
/// only looks larger because the others became fast does not.
fn compared_statements(before: &[Block], after: &[Block]) -> Vec<String> {
    let mut requests: BTreeMap<&String, f64> = BTreeMap::new();
    for block in before {
        for (id, statement) in &block.statements {
            *requests.entry(id).or_default() += statement.requests as f64;
        }
    }
    let (means_before, means_after) =
        (weights::statement_means(before), weights::statement_means(after));
    let time = |id: &String, means: &BTreeMap<String, f64>| {
        means.get(id).zip(requests.get(id)).map(|(mean, requests)| mean * requests)
    };
    let total: f64 = means_before.keys().filter_map(|id| time(id, &means_before)).sum();
    means_before
        .keys()
        .filter(|id| match (time(id, &means_before), time(id, &means_after)) {
            (Some(before), Some(after)) => before.max(after) >= SMALLEST_SHARE * total,
            _ => false,
        })
        .cloned()
        .collect()
}

/// Whether a verdict speaks against keeping a change.
pub(crate) fn worse(comparison: &Comparison) -> bool {
    comparison.verdict == Verdict::Regressed
}
