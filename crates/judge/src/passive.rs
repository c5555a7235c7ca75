//! What the application itself ran, before and after a change: an index of its statements' server time with the
//! weights of before, so that a change of mix is no change of speed.
//!
//! The index of a bucket is exp(Σ w·ln m) over the statements: m the mean server time of a statement's calls in the
//! bucket, w its share of the server time before. What can't be compared is named with its share, never guessed.

use crate::change::{Blocks, Design, Sense};
use crate::margins::Margins;
use crate::overall::{shown, wanting};
use crate::{compare, holm, rank_sum, statement_mix::Mix, weights};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::observation::{Bucket, Observation};
use pgassay_model::units::percent;
use std::collections::{BTreeMap, BTreeSet};

/// The metric that was declared before, and alone can speak for a change.
pub const PASSIVE_PRIMARY: &str = "statement_time_index";
/// Share (0–1) of transactions rolled back, a guard.
const ROLLBACKS: &str = "rollback_share";
const CONFIDENCE: f64 = 0.95;
/// Share of the server time from which on a statement is compared by itself (measurement protocol).
const SMALLEST_SHARE: f64 = 0.01;
/// Least share of the server time that the statements compared must have had, for a verdict to speak for the load.
const LEAST_COVERAGE: f64 = 0.5;
/// Change in rollbacks, as a share of the transactions, that counts.
const ROLLBACK_MARGIN: f64 = 0.01;
/// Fewest buckets that tell anything: rank tests at 95 % need four on each side (Mann and Whitney, 1947).
const FEWEST: usize = 4;

/// What two observations say.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// [`PASSIVE_PRIMARY`], then `rollback_share`, then `statement:ID` for each with at least 1 % of the time.
    pub comparison: Vec<Comparison>,
    /// The verdict over all.
    pub verdict: Verdict,
    /// Its grounds.
    pub reason: String,
    /// What was not compared, with its share; what changed besides speed.
    pub notes: Vec<String>,
    /// The names that the comparison gives to each statement id, where a role or another length of a list makes
    /// several of one.
    pub names: BTreeMap<String, Vec<String>>,
}

/// What an observation allows to be told, before anything is changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Baseline {
    /// Typical index, milliseconds.
    pub index_ms: f64,
    /// The smallest relative change that so many buckets of this noise would show; None: too few for a figure.
    pub detectable: Option<f64>,
    /// The first half of the buckets did not differ from the second beyond noise, though nothing had changed.
    pub steady: bool,
}

/// Compares the buckets before a change with those after it.
pub fn compare_observations(before: &Observation, after: &Observation) -> Judgement {
    judge(before, before, after, Design::BeforeAfter)
}

/// Compares buckets without a change with buckets with it, the i-th of the one paired with the i-th of the other;
/// `before` gives the weights.
pub fn compare_switched(
    before: &Observation,
    without: &Observation,
    with: &Observation,
) -> Judgement {
    judge(before, without, with, Design::Paired)
}

/// Whether an observation is enough to judge a change by; in words why not.
pub fn baseline(before: &Observation) -> Result<Baseline, String> {
    let buckets = before.buckets.len();
    if before.calls() == 0 {
        return Err(format!(
            "nothing ran in this database in {:.0} s, so nothing could be judged",
            before.covered_s()
        ));
    }
    if buckets < FEWEST {
        return Err(format!(
            "{buckets} buckets are too few to judge by: at least {FEWEST} are needed"
        ));
    }
    let mix = Mix::of(before, before, before);
    if mix.share < LEAST_COVERAGE {
        return Err(format!(
            "statements that run in at least half of the buckets take only {} of the server time: longer buckets would hold more of the rest",
            plain(mix.share)
        ));
    }
    let index = mix.indexes(before);
    let (first, second) = index.split_at(index.len() / 2);
    let margins = Margins::default();
    let halves = compare(
        PASSIVE_PRIMARY,
        Sense::LowerIsBetter,
        first,
        second,
        Design::Halves,
        CONFIDENCE,
        margins.equivalence_mean,
        margins.improvement,
    );
    let differs =
        halves.ci_low.is_some_and(|low| low > 0.0) || halves.ci_high.is_some_and(|high| high < 0.0);
    let known: Vec<f64> = index.into_iter().filter(|value| value.is_finite()).collect();
    Ok(Baseline {
        index_ms: weights::median(&known)
            .ok_or("no bucket holds half of the load's statements, so nothing could be judged")?,
        // A half holds half as many buckets as a side of the comparison to come: σ/√n shrinks by √2.
        detectable: halves
            .detectable
            .map(|effect| (effect.ln_1p() / std::f64::consts::SQRT_2).exp_m1()),
        steady: !differs,
    })
}

fn judge(
    pre: &Observation,
    before: &Observation,
    after: &Observation,
    design: Design,
) -> Judgement {
    let margins = Margins::default();
    let mix = Mix::of(pre, before, after);
    let mut index = compare(
        PASSIVE_PRIMARY,
        Sense::LowerIsBetter,
        &mix.indexes(before),
        &mix.indexes(after),
        design,
        CONFIDENCE,
        margins.equivalence_mean,
        margins.improvement,
    );
    index.method = format!(
        "application's own statements, mean server time weighted by the shares of time before ({} of it compared); {}",
        plain(mix.share),
        index.method
    );
    let mut comparison = vec![index];
    comparison.extend(rollbacks(before, after));
    comparison.extend(statements(&mix, pre, before, after, design, &margins));
    let (verdict, reason) = verdict(&comparison, &mix, &margins);
    Judgement { comparison, verdict, reason, notes: mix.notes(before, after), names: mix.names() }
}

/// Whether more transactions were rolled back; None where next to none were (pgassay's own readings end so).
fn rollbacks(before: &Observation, after: &Observation) -> Option<Comparison> {
    let shares = |side: &Observation| -> Vec<f64> {
        side.buckets.iter().filter_map(Bucket::rollback_share).collect()
    };
    let (shares_before, shares_after) = (shares(before), shares(after));
    let (median_before, median_after) =
        (weights::median(&shares_before)?, weights::median(&shares_after)?);
    if median_before.max(median_after) < ROLLBACK_MARGIN {
        return None;
    }
    let more = median_after - median_before > ROLLBACK_MARGIN
        && rank_sum::p_value(&shares_before, &shares_after) <= 1.0 - CONFIDENCE;
    Some(Comparison {
        metric: ROLLBACKS.to_owned(),
        before: Some(median_before),
        after: Some(median_after),
        change: (median_before > 0.0).then(|| median_after / median_before - 1.0),
        ci_low: None,
        ci_high: None,
        confidence: CONFIDENCE,
        method: "share of the database's transactions by bucket, rank-sum test".to_owned(),
        n: u32::try_from(shares_before.len().min(shares_after.len())).unwrap_or(u32::MAX),
        detectable: None,
        verdict: if more { Verdict::Regressed } else { Verdict::Equivalent },
    })
}

/// Statements with at least 1 % of the time before, or that would take as much at their speed after.
fn statements(
    mix: &Mix<'_>,
    pre: &Observation,
    before: &Observation,
    after: &Observation,
    design: Design,
    margins: &Margins,
) -> Vec<Comparison> {
    let (totals_pre, totals_after) = (pre.totals(), after.totals());
    let total: f64 = pre.total_ms();
    let large: BTreeSet<&str> = mix
        .keys()
        .filter(|key| {
            let calls = totals_pre.get(key).map_or(0, |own| own.calls) as f64;
            let mean = totals_after.get(key).and_then(|own| own.mean_ms()).unwrap_or(0.0);
            let share_before = totals_pre.get(key).map_or(0.0, |own| own.time_ms) / total;
            share_before.max(calls * mean / total) >= SMALLEST_SHARE
        })
        .collect();
    let blocks: Vec<(&str, Blocks)> = large
        .into_iter()
        .map(|key| {
            let values = |side: &Observation| -> Vec<f64> {
                let of_bucket = |bucket: &Bucket| {
                    bucket.statements.get(key).and_then(|own| own.mean_ms()).unwrap_or(f64::NAN)
                };
                side.buckets.iter().map(of_bucket).collect()
            };
            (key, Blocks::new(&values(before), &values(after), design))
        })
        .collect();
    let p_values: Vec<f64> = blocks.iter().map(|(_, blocks)| blocks.p_value()).collect();
    let differs =
        |index: usize, level: f64| blocks.get(index).is_some_and(|(_, own)| own.differs(level));
    blocks
        .iter()
        .zip(holm::levels(&p_values, 1.0 - CONFIDENCE, differs))
        .map(|((key, values), level)| {
            let mut comparison = values.compare(
                &format!("statement:{}", mix.name(key)),
                Sense::LowerIsBetter,
                1.0 - level,
                margins.equivalence_statement,
                margins.improvement,
            );
            if blocks.len() > 1 {
                comparison.method.push_str(&format!("; Holm over {} statements", blocks.len()));
            }
            comparison
        })
        .collect()
}

/// One primary metric; a guard that is significantly worse makes the whole a regression.
fn verdict(comparison: &[Comparison], mix: &Mix<'_>, margins: &Margins) -> (Verdict, String) {
    let Some(primary) = comparison.first() else {
        return (Verdict::Inconclusive, "nothing was compared".to_owned());
    };
    if primary.change.is_none() {
        let why = "no statement ran in at least half of the buckets on both sides, so nothing could be compared";
        return (Verdict::Inconclusive, why.to_owned());
    }
    let worse: Vec<String> = comparison
        .iter()
        .filter(|entry| entry.verdict == Verdict::Regressed && entry.metric != PASSIVE_PRIMARY)
        .map(describe)
        .collect();
    match (primary.verdict, worse.is_empty()) {
        (Verdict::Regressed, _) => (Verdict::Regressed, describe(primary)),
        (_, false) => (
            Verdict::Regressed,
            format!("{}; but significantly worse: {}", describe(primary), worse.join(", ")),
        ),
        (verdict @ (Verdict::Improved | Verdict::Equivalent), true) => {
            let missing = mix.too_little(LEAST_COVERAGE);
            match (missing, verdict) {
                (Some(why), _) => {
                    (Verdict::Inconclusive, format!("{}, but {why}", describe(primary)))
                }
                (None, Verdict::Equivalent) => (
                    verdict,
                    format!(
                        "{}, within the margin of {}",
                        describe(primary),
                        plain(margins.equivalence_mean)
                    ),
                ),
                (None, _) => (verdict, describe(primary)),
            }
        }
        (Verdict::Inconclusive, true) => (Verdict::Inconclusive, undecided(primary, margins)),
    }
}

fn undecided(primary: &Comparison, margins: &Margins) -> String {
    format!("{}{}{}", describe(primary), shown(primary, "buckets"), wanting(primary, margins))
}

fn describe(comparison: &Comparison) -> String {
    let name = match comparison.metric.as_str() {
        PASSIVE_PRIMARY => "server time of the application's statements".to_owned(),
        ROLLBACKS => {
            let share = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), plain);
            return format!(
                "transactions rolled back {} → {}",
                share(comparison.before),
                share(comparison.after)
            );
        }
        metric => metric.replacen("statement:", "statement ", 1),
    };
    match (comparison.change, comparison.ci_low, comparison.ci_high) {
        (Some(change), Some(low), Some(high)) => {
            format!("{name} {} [{}, {}]", percent(change), percent(low), percent(high))
        }
        (Some(change), ..) => {
            format!("{name} {} (too few buckets for an interval)", percent(change))
        }
        _ => format!("{name} not measured"),
    }
}

/// A share (0–1) as a percentage without sign.
pub(crate) fn plain(share: f64) -> String {
    let value = share * 100.0;
    if value != 0.0 && value < 0.95 { format!("{value:.2} %") } else { format!("{value:.0} %") }
}
