//! One metric before and after: relative change, interval, verdict.

use crate::drift::Drift;
use crate::rank_sum::{self, Shift};
use crate::{normal, signed_rank, weights};
use pgassay_model::comparison::{Comparison, Verdict};

/// How the two sets of blocks were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Design {
    /// All blocks before, then all blocks after: two independent groups, rank-sum.
    BeforeAfter,
    /// Block i before belongs to block i after (ABBA, switchback, concurrent): signed-rank.
    Paired,
    /// The halves of one measurement against each other: to find a drift, which is therefore not allowed for.
    Halves,
}

/// Which direction of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// Costs, such as latency.
    LowerIsBetter,
    /// Yields, such as throughput.
    HigherIsBetter,
}

/// Power at which [`Comparison::detectable`] is stated; with 95 % confidence the factor is the 2.8 of
/// 2.8 σ/√n.
const POWER: f64 = 0.8;

/// Blocks of one metric, on the logarithmic scale, ready for a test.
pub(crate) struct Blocks {
    before: Vec<f64>,
    after: Vec<f64>,
    left_out: usize,
    design: Design,
}

impl Blocks {
    /// Values that have no logarithm (none, zero, not finite) are left out, and counted; of a pair,
    /// both.
    pub(crate) fn new(before: &[f64], after: &[f64], design: Design) -> Self {
        let usable = |value: &f64| value.is_finite() && *value > 0.0;
        let given = match design {
            Design::BeforeAfter | Design::Halves => before.len() + after.len(),
            Design::Paired => before.len().max(after.len()) * 2,
        };
        let (before, after): (Vec<f64>, Vec<f64>) = match design {
            Design::BeforeAfter | Design::Halves => (
                before.iter().filter(|value| usable(value)).map(|value| value.ln()).collect(),
                after.iter().filter(|value| usable(value)).map(|value| value.ln()).collect(),
            ),
            Design::Paired => before
                .iter()
                .zip(after)
                .filter(|(x, y)| usable(x) && usable(y))
                .map(|(x, y)| (x.ln(), y.ln()))
                .unzip(),
        };
        let left_out = given - before.len() - after.len();
        Blocks { before, after, left_out, design }
    }

    fn differences(&self) -> Vec<f64> {
        self.after.iter().zip(&self.before).map(|(y, x)| y - x).collect()
    }

    fn shift(&self, confidence: f64) -> Option<Shift> {
        match self.design {
            Design::BeforeAfter | Design::Halves => {
                let mut shift = rank_sum::shift(&self.before, &self.after, confidence)?;
                let drift = self.drift();
                shift.interval =
                    shift.interval.map(|interval| drift.widen(shift.estimate, interval));
                Some(shift)
            }
            Design::Paired => signed_rank::centre(&self.differences(), confidence),
        }
    }

    /// What one block after the other allows for; pairs meet a drift alike on both sides.
    fn drift(&self) -> Drift {
        match self.design {
            Design::BeforeAfter => Drift::of(&self.before, &self.after),
            Design::Paired | Design::Halves => Drift::NONE,
        }
    }

    pub(crate) fn p_value(&self) -> f64 {
        match self.design {
            Design::BeforeAfter | Design::Halves => rank_sum::p_value(&self.before, &self.after),
            Design::Paired => signed_rank::p_value(&self.differences()),
        }
    }

    /// Whether the interval at a significance level leaves out "no difference".
    pub(crate) fn differs(&self, level: f64) -> bool {
        let interval = self.shift(1.0 - level).and_then(|shift| shift.interval);
        interval.is_some_and(|(low, high)| low > 0.0 || high < 0.0)
    }

    /// The relative change that these blocks would have shown with a power of 80 %.
    fn detectable(&self, confidence: f64) -> Option<f64> {
        let standard_error = match self.design {
            Design::BeforeAfter | Design::Halves => {
                let part = |values: &[f64]| Some(variance(values)? / values.len() as f64);
                (part(&self.before)? + part(&self.after)?).sqrt()
            }
            Design::Paired => {
                let differences = self.differences();
                (variance(&differences)? / differences.len() as f64).sqrt()
            }
        };
        let freedom = match self.design {
            Design::BeforeAfter | Design::Halves => self.before.len() + self.after.len() - 2,
            Design::Paired => self.before.len() - 1,
        };
        let factor = (student_quantile(0.5 + confidence / 2.0, freedom)
            + student_quantile(POWER, freedom))
            * RANK_EFFICIENCY;
        let drift = self.drift();
        Some((factor * standard_error * drift.factor + drift.allowance).exp_m1())
    }

    /// Compares at a confidence and judges by the margins ε and δ.
    pub(crate) fn compare(
        &self,
        metric: &str,
        sense: Sense,
        confidence: f64,
        equivalence: f64,
        improvement: f64,
    ) -> Comparison {
        let confidence = confidence.clamp(0.5, 0.999_999);
        let shift = self.shift(confidence);
        let change = shift.map(|shift| shift.estimate.exp_m1());
        let interval =
            shift.and_then(|shift| shift.interval).map(|(low, high)| (low.exp_m1(), high.exp_m1()));
        let verdict = match (change, interval) {
            (Some(change), Some(interval)) => {
                judge(change, interval, sense, equivalence, improvement)
            }
            _ => Verdict::Inconclusive,
        };
        let typical = |values: &[f64]| weights::median(values).map(f64::exp);
        Comparison {
            metric: metric.to_owned(),
            before: typical(&self.before),
            after: typical(&self.after),
            change,
            ci_low: interval.map(|(low, _)| low),
            ci_high: interval.map(|(_, high)| high),
            confidence,
            method: self.method(interval.is_some()),
            n: u32::try_from(self.before.len().min(self.after.len())).unwrap_or(u32::MAX),
            detectable: self.detectable(confidence),
            verdict,
        }
    }

    fn method(&self, has_interval: bool) -> String {
        let mut method = match self.design {
            Design::BeforeAfter => {
                "before/after blocks, Hodges–Lehmann on logarithms with rank-sum interval, widened by the drift within each side"
            }
            Design::Halves => {
                "first half of the blocks against the second, Hodges–Lehmann on logarithms with rank-sum interval"
            }
            Design::Paired => {
                "paired blocks, Hodges–Lehmann on logarithms with signed-rank interval"
            }
        }
        .to_owned();
        if !has_interval {
            method.push_str("; too few blocks for an interval");
        }
        if self.left_out > 0 {
            method.push_str(&format!("; {} blocks without a value left out", self.left_out));
        }
        method
    }
}

/// Compares one metric of two sets of blocks.
///
/// `confidence` of the interval (0.95); `equivalence` ε and `improvement` δ as relative changes. The
/// verdict follows the table of the measurement protocol, in the metric's own `sense` of better.
#[expect(
    clippy::too_many_arguments,
    reason = "the protocol's eight quantities, each of its own type or order"
)]
pub fn compare(
    metric: &str,
    sense: Sense,
    before: &[f64],
    after: &[f64],
    design: Design,
    confidence: f64,
    equivalence: f64,
    improvement: f64,
) -> Comparison {
    Blocks::new(before, after, design).compare(metric, sense, confidence, equivalence, improvement)
}

/// The verdict table. An effect inside the equivalence margin is none, whichever side of zero it is on.
fn judge(
    change: f64,
    interval: (f64, f64),
    sense: Sense,
    equivalence: f64,
    improvement: f64,
) -> Verdict {
    let (cost, low, high) = match sense {
        Sense::LowerIsBetter => (change, interval.0, interval.1),
        Sense::HigherIsBetter => (-change, -interval.1, -interval.0),
    };
    if high < 0.0 && cost <= -improvement {
        Verdict::Improved
    } else if low > -equivalence && high < equivalence {
        Verdict::Equivalent
    } else if low > 0.0 {
        Verdict::Regressed
    } else {
        Verdict::Inconclusive
    }
}

/// Sample variance; None below two values.
/// What rank tests need more than the t-test on normal noise: √(π ÷ 3) of the effect (Hodges and Lehmann, "The
/// efficiency of some nonparametric competitors of the t-test", 1956).
const RANK_EFFICIENCY: f64 = 1.0233;

/// Quantile of Student's t by its expansion around the normal one (Abramowitz and Stegun, 26.7.5, two terms).
fn student_quantile(p: f64, freedom: usize) -> f64 {
    let z = normal::quantile(p);
    let freedom = freedom.max(1) as f64;
    z + (z.powi(3) + z) / (4.0 * freedom)
        + (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / (96.0 * freedom * freedom)
}

fn variance(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some(squares / (values.len() - 1) as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn latency(before: &[f64], after: &[f64]) -> Comparison {
        compare(
            "latency_mean_ms",
            Sense::LowerIsBetter,
            before,
            after,
            Design::BeforeAfter,
            0.95,
            0.02,
            0.03,
        )
    }

    const QUIET: [f64; 8] = [10.0, 10.1, 9.9, 10.05, 9.95, 10.02, 9.98, 10.0];

    fn scaled(factor: f64) -> Vec<f64> {
        QUIET.iter().map(|value| value * factor).collect()
    }

    #[test]
    fn the_verdict_follows_the_table() {
        assert_eq!(latency(&QUIET, &scaled(0.5)).verdict, Verdict::Improved);
        assert_eq!(latency(&QUIET, &scaled(1.002)).verdict, Verdict::Equivalent);
        assert_eq!(latency(&QUIET, &scaled(1.3)).verdict, Verdict::Regressed);
        let wide = [2.0, 30.0, 9.0, 4.0, 17.0, 6.0, 25.0, 11.0];
        assert_eq!(latency(&wide, &scaled(0.97)).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn a_gain_below_the_margin_is_not_an_improvement() {
        let comparison = latency(&QUIET, &scaled(0.975));
        assert!(comparison.ci_high.unwrap() < 0.0);
        assert_ne!(comparison.verdict, Verdict::Improved);
    }

    #[test]
    fn more_throughput_is_better() {
        let throughput = |after: &[f64]| {
            compare(
                "throughput",
                Sense::HigherIsBetter,
                &QUIET,
                after,
                Design::BeforeAfter,
                0.95,
                0.02,
                0.03,
            )
        };
        let better = throughput(&scaled(2.0));
        assert_eq!(better.verdict, Verdict::Improved);
        assert!((better.change.unwrap() - 1.0).abs() < 0.02, "the change itself keeps its sign");
        assert_eq!(throughput(&scaled(0.7)).verdict, Verdict::Regressed);
    }

    #[test]
    fn too_few_blocks_give_no_interval_and_no_verdict() {
        let comparison = latency(&[10.0, 10.0, 10.0], &[1.0, 1.0, 1.0]);
        assert_eq!(comparison.verdict, Verdict::Inconclusive);
        assert_eq!(comparison.ci_low, None);
        assert!((comparison.change.unwrap() + 0.9).abs() < 1e-9);
        assert_eq!(latency(&[], &[1.0]).change, None);
    }

    #[test]
    fn a_half_is_reported_as_fifty_percent_less() {
        let comparison = latency(&QUIET, &scaled(0.5));
        assert!((comparison.change.unwrap() + 0.5).abs() < 0.01);
        assert_eq!(comparison.n, 8);
        assert!((comparison.before.unwrap() - 10.0).abs() < 0.1);
        assert!((comparison.after.unwrap() - 5.0).abs() < 0.1);
    }

    #[test]
    fn pairs_cancel_a_drift_that_both_sides_share() {
        let before: Vec<f64> = (1..=10).map(|i| f64::from(i) * 3.0).collect();
        let after: Vec<f64> =
            before.iter().enumerate().map(|(i, value)| value * (0.90 + 0.002 * i as f64)).collect();
        let paired =
            compare("m", Sense::LowerIsBetter, &before, &after, Design::Paired, 0.95, 0.02, 0.03);
        assert_eq!(paired.verdict, Verdict::Improved);
        assert_eq!(latency(&before, &after).verdict, Verdict::Inconclusive);
    }

    proptest! {
        #[test]
        fn no_values_make_a_comparison_panic(
            before in proptest::collection::vec(proptest::num::f64::ANY, 0..12),
            after in proptest::collection::vec(proptest::num::f64::ANY, 0..12),
            paired: bool,
        ) {
            let design = if paired { Design::Paired } else { Design::BeforeAfter };
            let _ = compare("m", Sense::LowerIsBetter, &before, &after, design, 0.95, 0.02, 0.03);
        }

        #[test]
        fn the_interval_holds_the_estimate_and_swapping_sides_mirrors_it(
            before in proptest::collection::vec(0.1f64..100.0, 8),
            after in proptest::collection::vec(0.1f64..100.0, 8),
        ) {
            let there = latency(&before, &after);
            let back = latency(&after, &before);
            let (low, change, high) =
                (there.ci_low.unwrap(), there.change.unwrap(), there.ci_high.unwrap());
            prop_assert!(low <= change && change <= high);
            let mirrored = 1.0 / (1.0 + back.ci_high.unwrap()) - 1.0;
            prop_assert!((low - mirrored).abs() < 1e-9 * (1.0 + low.abs()));
        }
    }
}
