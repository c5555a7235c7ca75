//! How much blocks that follow each other differ by themselves: what a comparison of before with after must allow.
//!
//! The rank-sum interval takes blocks for independent, and they are not: a neighbour on the machine slows many in
//! a row, and the machine's speed wanders. What the allowance below does to real comparisons of a server with
//! itself, and what it costs in power, is in `docs/calibration.md`.

use crate::LOOKS;
use crate::weights::median;

/// Fewest blocks on a side that tell anything of its drift.
const FEWEST: usize = 4;
/// Blocks of a stretch whose median is compared with that of others: as many as the first look takes, so that what
/// a look compares has been seen to differ by itself, or not.
const STRETCH: usize = LOOKS[0] as usize;
/// Largest autocorrelation that is allowed for: beyond it a handful of blocks holds no information.
const LARGEST_CORRELATION: f64 = 0.9;

/// What an interval of logarithms is widened by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drift {
    /// Factor on the distance of each end from the estimate.
    pub factor: f64,
    /// Added to each end outwards.
    pub allowance: f64,
}

impl Drift {
    /// Nothing to allow for.
    pub(crate) const NONE: Drift = Drift { factor: 1.0, allowance: 0.0 };

    /// From the logarithms of both sides' blocks, each in the order of time.
    ///
    /// The factor is √((1 + ρ) ÷ (1 − ρ)), by which correlation ρ of neighbours shrinks the effective number of
    /// blocks (von Storch and Zwiers, *Statistical Analysis in Climate Research*, 1999, section 6.6.8), ρ pooled
    /// over the sides and corrected for its bias in short series (Kendall, Biometrika 41, 1954). The allowance is
    /// the largest difference between stretches of a side: what changed within one side by itself can have changed
    /// between the sides as well. Halves alone were not enough at three looks: of 93 comparisons of a busy server
    /// with itself, 7 were called different by the mean with halves and 4 with stretches (`docs/calibration.md`).
    pub(crate) fn of(before: &[f64], after: &[f64]) -> Drift {
        let sides = [before, after];
        if sides.iter().any(|side| side.len() < FEWEST) {
            return Drift::NONE;
        }
        let (products, squares) = sides
            .iter()
            .map(|side| correlation_parts(side))
            .fold((0.0, 0.0), |sum, part| (sum.0 + part.0, sum.1 + part.1));
        let blocks = before.len().min(after.len()) as f64;
        let raw = if squares > 0.0 { products / squares } else { 0.0 };
        let correlation = (raw + (1.0 + 3.0 * raw) / blocks).clamp(0.0, LARGEST_CORRELATION);
        let allowance = sides.iter().map(|side| stretches_apart(side)).fold(0.0, f64::max);
        Drift { factor: ((1.0 + correlation) / (1.0 - correlation)).sqrt(), allowance }
    }

    /// An interval around `estimate`, widened.
    pub(crate) fn widen(self, estimate: f64, (low, high): (f64, f64)) -> (f64, f64) {
        (
            estimate - (estimate - low) * self.factor - self.allowance,
            estimate + (high - estimate) * self.factor + self.allowance,
        )
    }
}

/// Sum of the products of neighbours, and of the squares, both of deviations from the side's mean.
fn correlation_parts(side: &[f64]) -> (f64, f64) {
    let mean = side.iter().sum::<f64>() / side.len() as f64;
    let products =
        side.iter().zip(side.iter().skip(1)).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    (products, side.iter().map(|value| (value - mean).powi(2)).sum())
}

/// The largest distance between medians of a side's stretches, four where it is long; of its halves, where it holds no
/// two stretches.
fn stretches_apart(side: &[f64]) -> f64 {
    let length = STRETCH.max(side.len().div_ceil(4)).min(side.len() / 2).max(1);
    let medians: Vec<f64> = side.chunks_exact(length).filter_map(median).collect();
    let largest = medians.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = medians.iter().copied().fold(f64::INFINITY, f64::min);
    (largest - smallest).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn alternating_blocks_widen_nothing_and_a_step_within_a_side_widens_by_itself() {
        let quiet = [0.0, 0.1, 0.0, 0.1, 0.0, 0.1, 0.0, 0.1];
        let drift = Drift::of(&quiet, &quiet);
        assert_eq!(drift.factor, 1.0);
        assert!(drift.allowance < 1e-12);
        let step = [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.5, 0.5];
        let drift = Drift::of(&quiet, &step);
        assert!((drift.allowance - 0.5).abs() < 1e-12);
        assert!(drift.factor > 1.5, "{drift:?}");
    }

    #[test]
    fn what_one_stretch_of_a_side_did_by_itself_is_allowed_for() {
        let mut side = vec![0.0; 32];
        side.iter_mut().skip(8).take(8).for_each(|value| *value = 0.3);
        assert!((stretches_apart(&side) - 0.3).abs() < 1e-12, "its halves have the same median");
    }

    #[test]
    fn too_few_blocks_tell_nothing() {
        assert_eq!(Drift::of(&[1.0, 2.0, 3.0], &[1.0; 8]), Drift::NONE);
    }

    proptest! {
        #[test]
        fn widening_never_narrows(
            before in proptest::collection::vec(-5.0f64..5.0, 0..20),
            after in proptest::collection::vec(-5.0f64..5.0, 0..20),
        ) {
            let (low, high) = Drift::of(&before, &after).widen(0.1, (0.0, 0.3));
            prop_assert!(low <= 1e-12 && high >= 0.3 - 1e-12);
        }
    }
}
