//! Pairs: the signed-rank test (Wilcoxon) and the Hodges–Lehmann estimate from Walsh averages with
//! the interval of the inverted test (Tukey).
//!
//! Hollander, Wolfe, Chicken, "Nonparametric Statistical Methods", 3rd edition, sections 3.1–3.3.

use crate::normal;
use crate::rank_sum::{Shift, count_within, ends};

/// Above this many pairs the normal approximation replaces the exact distribution.
const LARGEST_EXACT: usize = 60;

/// Centre of the differences; None where there are none.
pub(crate) fn centre(differences: &[f64], confidence: f64) -> Option<Shift> {
    let mut walsh: Vec<f64> = differences
        .iter()
        .enumerate()
        .flat_map(|(index, x)| differences.iter().skip(index).map(move |y| (x + y) / 2.0))
        .collect();
    walsh.sort_unstable_by(f64::total_cmp);
    let estimate = crate::weights::median_of_sorted(&walsh)?;
    let tail = tail_count(differences.len(), (1.0 - confidence) / 2.0);
    Some(Shift { estimate, interval: ends(&walsh, tail) })
}

/// Two-sided p-value of "no difference"; zero differences count half on each side.
pub(crate) fn p_value(differences: &[f64]) -> f64 {
    let n = differences.len();
    // The signed-rank statistic is the number of positive Walsh averages.
    let statistic: f64 = differences
        .iter()
        .enumerate()
        .flat_map(|(index, x)| differences.iter().skip(index).map(move |y| x + y))
        .map(|sum| {
            if sum > 0.0 {
                1.0
            } else if sum < 0.0 {
                0.0
            } else {
                0.5
            }
        })
        .sum();
    let smaller = statistic.min((n * (n + 1) / 2) as f64 - statistic);
    let tail = if n <= LARGEST_EXACT {
        distribution(n).iter().take(smaller.ceil() as usize + 1).sum()
    } else {
        let (mean, deviation) = moments(n);
        normal::cumulative((smaller + 0.5 - mean) / deviation)
    };
    f64::min(1.0, 2.0 * tail)
}

fn tail_count(n: usize, tail: f64) -> usize {
    if n <= LARGEST_EXACT {
        return count_within(&distribution(n), tail);
    }
    let (mean, deviation) = moments(n);
    (mean + 0.5 + normal::quantile(tail) * deviation).floor().max(0.0) as usize
}

fn moments(n: usize) -> (f64, f64) {
    let n = n as f64;
    (n * (n + 1.0) / 4.0, (n * (n + 1.0) * (2.0 * n + 1.0) / 24.0).sqrt())
}

/// Exact P(T = t) for t = 0 ..= n(n+1)/2: each rank is in the sum or not, with equal probability.
fn distribution(n: usize) -> Vec<f64> {
    let mut probabilities = vec![1.0];
    for rank in 1..=n {
        let mut next = vec![0.0; probabilities.len() + rank];
        for (target, probability) in next.iter_mut().zip(&probabilities) {
            *target += probability / 2.0;
        }
        for (target, probability) in next.iter_mut().skip(rank).zip(&probabilities) {
            *target += probability / 2.0;
        }
        probabilities = next;
    }
    probabilities
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::approx_constant)]
    use super::*;

    #[test]
    fn the_exact_distribution_agrees_with_published_tables() {
        // Critical values at two-sided 5 % (Wilcoxon 1945): 3 for n = 8, 8 for n = 10, none for n = 5.
        assert_eq!(tail_count(8, 0.025), 4);
        assert_eq!(tail_count(10, 0.025), 9);
        assert_eq!(tail_count(5, 0.025), 0);
    }

    #[test]
    fn the_estimate_and_its_interval_agree_with_a_published_example() {
        // Hamilton depression scale, Hollander and Wolfe, table 3.1: −0.46, 96 % interval (−0.786, −0.010), p = 0.0391.
        let before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
        let after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
        let differences: Vec<f64> = after.iter().zip(before).map(|(y, x)| y - x).collect();
        let centre = centre(&differences, 0.95).unwrap();
        let (low, high) = centre.interval.unwrap();
        assert!((centre.estimate + 0.46).abs() < 1e-3, "{}", centre.estimate);
        assert!((low + 0.786).abs() < 1e-3 && (high + 0.010).abs() < 1e-3, "{low} {high}");
        assert!((p_value(&differences) - 0.0391).abs() < 1e-4);
    }
}
