//! Holm's step-down procedure: the significance level at which each of several tests is read.

/// The level for each p-value so that all together err at most with probability `alpha`
/// (Holm, "A simple sequentially rejective multiple test procedure", 1979).
///
/// The k-th smallest of m is read at α/(m − k + 1); from the first that is not significant on, all
/// are read at that one's level. `significant` tells whether the test of a number is so at a level: a test whose
/// interval allows for more than chance is not by its p-value alone.
pub(crate) fn levels(
    p_values: &[f64],
    alpha: f64,
    significant: impl Fn(usize, f64) -> bool,
) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    let p = |index: usize| p_values.get(index).copied().unwrap_or(1.0);
    order.sort_by(|a, b| p(*a).total_cmp(&p(*b)));
    let mut levels = vec![alpha; p_values.len()];
    let mut stopped_at = None;
    for (step, index) in order.into_iter().enumerate() {
        let level = stopped_at.unwrap_or(alpha / (p_values.len() - step) as f64);
        if stopped_at.is_none() && !significant(index, level) {
            stopped_at = Some(level);
        }
        if let Some(slot) = levels.get_mut(index) {
            *slot = level;
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(p_values: &[f64], alpha: f64) -> Vec<f64> {
        levels(p_values, alpha, |index, level| p_values[index] <= level)
    }

    #[test]
    fn levels_relax_step_by_step_until_one_is_not_significant() {
        assert_eq!(of(&[0.04, 0.001, 0.03, 0.01], 0.05), [0.025, 0.0125, 0.025, 0.05 / 3.0]);
    }

    #[test]
    fn a_single_test_keeps_its_level() {
        assert_eq!(of(&[0.5], 0.05), [0.05]);
        assert!(of(&[], 0.05).is_empty());
    }

    #[test]
    fn a_small_p_value_that_is_not_significant_for_other_reasons_relaxes_nothing() {
        assert_eq!(levels(&[0.001, 0.03], 0.05, |_, _| false), [0.025, 0.025]);
    }
}
