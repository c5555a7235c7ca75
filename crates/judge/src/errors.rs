//! The guard "no new errors".

use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::Measurement;

/// Share of requests that failed, before and after; None where nothing failed on either side.
///
/// More errors than chance explains are a regression; a few that were not there before keep a verdict
/// from being "improved".
pub(crate) fn compare(
    before: &Measurement,
    after: &Measurement,
    confidence: f64,
) -> Option<Comparison> {
    if before.errors == 0 && after.errors == 0 {
        return None;
    }
    let share = |measurement: &Measurement| match measurement.requests {
        0 => 0.0,
        requests => measurement.errors as f64 / requests as f64,
    };
    let (share_before, share_after) = (share(before), share(after));
    let verdict = if share_after <= share_before {
        Verdict::Equivalent
    } else if tail(before, after) <= 1.0 - confidence {
        Verdict::Regressed
    } else {
        Verdict::Inconclusive
    };
    Some(Comparison {
        metric: "error_share".to_owned(),
        before: Some(share_before),
        after: Some(share_after),
        change: (share_before > 0.0).then(|| share_after / share_before - 1.0),
        ci_low: None,
        ci_high: None,
        confidence,
        method: "errors of all requests, conditional binomial test".to_owned(),
        n: u32::try_from(before.blocks.len().min(after.blocks.len())).unwrap_or(u32::MAX),
        detectable: None,
        verdict,
    })
}

/// P(at least as many of the errors fall on `after`) if both sides failed equally often.
fn tail(before: &Measurement, after: &Measurement) -> f64 {
    let total = before.errors + after.errors;
    let p = after.requests as f64 / (before.requests + after.requests).max(1) as f64;
    if p >= 1.0 {
        return 1.0;
    }
    if total > 1000 {
        let (mean, deviation) = (total as f64 * p, (total as f64 * p * (1.0 - p)).sqrt());
        return 1.0 - crate::normal::cumulative((after.errors as f64 - 0.5 - mean) / deviation);
    }
    let mut probability = (1.0 - p).powf(total as f64);
    let mut below = 0.0;
    for k in 0..after.errors {
        below += probability;
        probability *= (total - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
    }
    (1.0 - below).clamp(0.0, 1.0)
}
