//! The verdict over all metrics: one primary metric, the rest as guards.

use crate::margins::Margins;
use crate::measurements::worse;
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::units::percent;

/// The metric that was declared before, and alone can speak for a change.
const PRIMARY: &str = "latency_mean_ms";

/// The verdict on a change, with its reason in words.
///
/// The primary metric is the mean latency. Guards: p95, p99, errors, and every statement that was compared. A
/// guard that is significantly worse makes the whole a regression. p95 and p99 must also be shown not
/// to be worse by more than their margin, else nothing is proven. Statements need not: at affordable
/// numbers of blocks hardly any noisy statement could show it, and their sum is the primary metric.
/// Throughput is no guard: in a closed loop it is the mean latency again, in an open loop it is what was
/// asked for. CPU is a companion, named but no guard: a change may buy time with it.
pub fn overall(comparisons: &[Comparison], margins: &Margins) -> (Verdict, String) {
    let Some(primary) = comparisons.iter().find(|comparison| comparison.metric == PRIMARY) else {
        return (Verdict::Inconclusive, "the mean latency was not measured".to_owned());
    };
    let harmed: Vec<String> = comparisons
        .iter()
        .filter(|comparison| {
            comparison.metric != PRIMARY && is_guard(comparison) && worse(comparison)
        })
        .map(describe)
        .collect();
    if worse(primary) {
        return (Verdict::Regressed, format!("{}{}", describe(primary), seen(primary)));
    }
    if !harmed.is_empty() {
        return (
            Verdict::Regressed,
            format!("{}; but significantly worse: {}", describe(primary), harmed.join(", ")),
        );
    }
    match primary.verdict {
        Verdict::Improved => improved(primary, comparisons, margins),
        Verdict::Inconclusive => (Verdict::Inconclusive, undecided(primary, margins)),
        verdict => (
            verdict,
            format!(
                "{}, within the margin of {}{}",
                describe(primary),
                plain(margins.equivalence_mean),
                seen(primary)
            ),
        ),
    }
}

/// What so many blocks could have shown.
fn seen(primary: &Comparison) -> String {
    shown(primary, "blocks")
}

/// What so many blocks or buckets could have shown.
pub(crate) fn shown(primary: &Comparison, units: &str) -> String {
    let detectable = primary.detectable.filter(|effect| effect.is_finite());
    detectable.map_or_else(String::new, |detectable| {
        format!(
            "; {} {units} on each side of this noise show changes from about {} on",
            primary.n,
            plain(detectable)
        )
    })
}

fn improved(
    primary: &Comparison,
    comparisons: &[Comparison],
    margins: &Margins,
) -> (Verdict, String) {
    let open: Vec<String> = comparisons
        .iter()
        .filter(|comparison| match comparison.metric.as_str() {
            "latency_p95_ms" | "latency_p99_ms" => {
                comparison.ci_high.is_none_or(|high| high >= margins.equivalence_p99)
            }
            "error_share" => comparison.verdict != Verdict::Equivalent,
            _ => false,
        })
        .map(describe)
        .collect();
    if !open.is_empty() {
        return (
            Verdict::Inconclusive,
            format!(
                "{}, but it could not be shown that this does no harm: {}{}",
                describe(primary),
                open.join(", "),
                seen(primary)
            ),
        );
    }
    let mut reason = format!("{}{}", describe(primary), seen(primary));
    let dearer = comparisons
        .iter()
        .find(|comparison| comparison.metric == "server_cpu_ms_per_request" && worse(comparison));
    if let Some(cpu) = dearer {
        reason.push_str(&format!("; it costs more of the server: {}", describe(cpu)));
    }
    (Verdict::Improved, reason)
}

fn is_guard(comparison: &Comparison) -> bool {
    match comparison.metric.as_str() {
        "latency_p95_ms" | "latency_p99_ms" | "error_share" => true,
        metric => metric.starts_with("statement:"),
    }
}

fn undecided(primary: &Comparison, margins: &Margins) -> String {
    format!("{}{}{}", describe(primary), seen(primary), wanting(primary, margins))
}

/// How many more it would take to show what counts as an improvement; empty where that is not known.
pub(crate) fn wanting(primary: &Comparison, margins: &Margins) -> String {
    let needed = blocks_needed(primary, margins.improvement).filter(|needed| *needed > primary.n);
    needed.map_or_else(String::new, |needed| {
        format!(", a change of {} would take about {needed}", plain(margins.improvement))
    })
}

/// How many blocks on each side it would take to show a relative change of `effect`, from the noise of a
/// comparison; None where its noise is unknown.
pub fn blocks_needed(comparison: &Comparison, effect: f64) -> Option<u32> {
    let ratio = comparison.detectable?.ln_1p() / effect.ln_1p();
    let needed = f64::from(comparison.n) * ratio * ratio;
    needed.is_finite().then(|| needed.ceil().clamp(1.0, f64::from(u32::MAX)) as u32)
}

/// `mean latency −45.2 % [−47.0 %, −43.1 %]`.
fn describe(comparison: &Comparison) -> String {
    let name = match comparison.metric.as_str() {
        "latency_mean_ms" => "mean latency".to_owned(),
        "latency_p50_ms" => "median".to_owned(),
        "latency_p95_ms" => "p95".to_owned(),
        "latency_p99_ms" => "p99".to_owned(),
        "server_cpu_ms_per_request" => "server CPU per request".to_owned(),
        "error_share" => {
            let share = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), plain);
            return format!("errors {} → {}", share(comparison.before), share(comparison.after));
        }
        metric => metric
            .strip_prefix("statement:")
            .map_or_else(|| metric.to_owned(), |id| format!("statement {id}")),
    };
    match (comparison.change, comparison.ci_low, comparison.ci_high) {
        (Some(change), Some(low), Some(high)) => {
            format!("{name} {} [{}, {}]", percent(change), percent(low), percent(high))
        }
        (Some(change), ..) => {
            format!("{name} {} (too few blocks for an interval)", percent(change))
        }
        _ => format!("{name} not measured"),
    }
}

fn plain(share: f64) -> String {
    let value = share * 100.0;
    if value != 0.0 && value < 0.95 { format!("{value:.2} %") } else { format!("{value:.0} %") }
}
