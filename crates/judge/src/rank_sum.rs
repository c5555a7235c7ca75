//! Two independent groups: the rank-sum test (Wilcoxon; Mann and Whitney) and the Hodges–Lehmann
//! estimate of the shift with the interval of the inverted test.
//!
//! Hollander, Wolfe, Chicken, "Nonparametric Statistical Methods", 3rd edition, sections 4.1–4.3.

use crate::normal;

/// Above this many values in all, the normal approximation replaces the exact distribution: its error
/// at the 2.5 % point is then below one rank.
const LARGEST_EXACT: usize = 80;

/// A shift with its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shift {
    /// Hodges–Lehmann estimate.
    pub(crate) estimate: f64,
    /// Interval; None where so few values can't give the confidence asked for.
    pub(crate) interval: Option<(f64, f64)>,
}

/// How much larger `after` is than `before`; None where either is empty.
pub(crate) fn shift(before: &[f64], after: &[f64], confidence: f64) -> Option<Shift> {
    let mut differences: Vec<f64> =
        after.iter().flat_map(|y| before.iter().map(move |x| y - x)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    let estimate = crate::weights::median_of_sorted(&differences)?;
    let tail = tail_count(before.len(), after.len(), (1.0 - confidence) / 2.0);
    Some(Shift { estimate, interval: ends(&differences, tail) })
}

/// The `count`-th smallest and the `count`-th largest of sorted values.
pub(crate) fn ends(sorted: &[f64], count: usize) -> Option<(f64, f64)> {
    let low = sorted.get(count.checked_sub(1)?)?;
    let high = sorted.get(sorted.len().checked_sub(count)?)?;
    Some((*low, *high))
}

/// The largest c with P(U < c) ≤ `tail`; 0 where there is none.
fn tail_count(n: usize, m: usize, tail: f64) -> usize {
    if n + m <= LARGEST_EXACT {
        return count_within(&distribution(n, m), tail);
    }
    let (mean, deviation) = moments(n, m);
    (mean + 0.5 + normal::quantile(tail) * deviation).floor().max(0.0) as usize
}

/// How many values, from the smallest on, a distribution holds within a lower tail.
pub(crate) fn count_within(probabilities: &[f64], tail: f64) -> usize {
    probabilities
        .iter()
        .scan(0.0, |sum, probability| {
            *sum += probability;
            Some(*sum)
        })
        .take_while(|sum| *sum <= tail)
        .count()
}

/// Two-sided p-value of "no shift"; ties count half.
pub(crate) fn p_value(before: &[f64], after: &[f64]) -> f64 {
    let (n, m) = (before.len(), after.len());
    if n == 0 || m == 0 {
        return 1.0;
    }
    let u: f64 = after
        .iter()
        .flat_map(|y| before.iter().map(move |x| y.total_cmp(x)))
        .map(|order| match order {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
        .sum();
    let smaller = u.min((n * m) as f64 - u);
    let tail = if n + m <= LARGEST_EXACT {
        distribution(n, m).iter().take(smaller.ceil() as usize + 1).sum()
    } else {
        let (mean, deviation) = moments(n, m);
        normal::cumulative((smaller + 0.5 - mean) / deviation)
    };
    f64::min(1.0, 2.0 * tail)
}

fn moments(n: usize, m: usize) -> (f64, f64) {
    let (n, m) = (n as f64, m as f64);
    (n * m / 2.0, (n * m * (n + m + 1.0) / 12.0).sqrt())
}

/// Exact P(U = u) for u = 0 ..= n·m without ties.
///
/// `counts[k][u]` is the number of ways to give k of the ranks seen so far to the first group with
/// statistic u; rank i as the k-th of the group adds i − k.
fn distribution(n: usize, m: usize) -> Vec<f64> {
    let width = n * m + 1;
    let mut counts = vec![vec![0.0f64; width]; n + 1];
    if let Some(start) = counts.first_mut().and_then(|row| row.first_mut()) {
        *start = 1.0;
    }
    for rank in 1..=n + m {
        for k in (1..=n.min(rank)).rev() {
            let added = rank - k;
            if added > m {
                continue;
            }
            let (fewer, more) = counts.split_at_mut(k);
            if let (Some(from), Some(to)) = (fewer.last(), more.first_mut()) {
                for (target, source) in to.iter_mut().skip(added).zip(from) {
                    *target += source;
                }
            }
        }
    }
    let mut probabilities = counts.pop().unwrap_or_default();
    let total: f64 = probabilities.iter().sum();
    probabilities.iter_mut().for_each(|probability| *probability /= total);
    probabilities
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_exact_distribution_agrees_with_published_tables() {
        // Critical values of U at two-sided 5 % (Mann and Whitney 1947): 13 for n = m = 8, 23 for 10, 0 for 4.
        assert_eq!(tail_count(8, 8, 0.025), 14);
        assert_eq!(tail_count(10, 10, 0.025), 24);
        assert_eq!(tail_count(4, 4, 0.025), 1);
        assert_eq!(tail_count(3, 3, 0.025), 0);
        let small = distribution(2, 2);
        assert_eq!(
            small.iter().map(|p| (p * 6.0).round()).collect::<Vec<_>>(),
            [1.0, 1.0, 2.0, 1.0, 1.0]
        );
    }

    #[test]
    fn the_normal_approximation_meets_the_exact_distribution_where_it_takes_over() {
        let exact = count_within(&distribution(40, 40), 0.025);
        let (mean, deviation) = moments(40, 40);
        let approximate = (mean + 0.5 + normal::quantile(0.025) * deviation).floor() as usize;
        assert!(exact.abs_diff(approximate) <= 1, "{exact} {approximate}");
    }

    #[test]
    fn the_estimate_is_the_median_of_differences_and_the_interval_excludes_zero_with_the_test() {
        let before = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46];
        let after = [1.15, 0.88, 0.90, 0.74, 1.21];
        // Hollander and Wolfe, table 4.1: estimate −0.305, 95 % interval (−0.76, 0.15), p = 0.2544.
        let shift = shift(&before, &after, 0.95).unwrap();
        assert!((shift.estimate + 0.305).abs() < 1e-9);
        let (low, high) = shift.interval.unwrap();
        assert!((low + 0.76).abs() < 1e-9 && (high - 0.15).abs() < 1e-9, "{low} {high}");
        assert!((p_value(&before, &after) - 0.2544).abs() < 1e-4);
    }
}
