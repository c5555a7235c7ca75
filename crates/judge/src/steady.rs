//! When does a warm-up end, and is what follows steady?

/// Values per batch of MSER-5.
const BATCH: usize = 5;
/// Significance level of the change point.
const CHANGE_POINT_ALPHA: f64 = 0.05;

/// How many values from the start belong to the warm-up, a multiple of 5 and at most half of them:
/// the truncation that minimises the standard error of the mean of the rest, over batches of five
/// (White, "An effective truncation heuristic for bias reduction in simulation output", 1997).
pub fn mser5(values: &[f64]) -> usize {
    let batches: Vec<f64> =
        values.chunks_exact(BATCH).map(|batch| batch.iter().sum::<f64>() / BATCH as f64).collect();
    let score = |from: usize| -> f64 {
        let rest = batches.get(from..).unwrap_or_default();
        let count = rest.len() as f64;
        let mean = rest.iter().sum::<f64>() / count;
        rest.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count * count)
    };
    (0..=batches.len() / 2)
        .filter(|from| *from < batches.len())
        .min_by(|a, b| score(*a).total_cmp(&score(*b)))
        .map_or(0, |from| from * BATCH)
}

/// Whether values in order of time are steady once their warm-up, at most half of them, is cut off: the
/// rest shows no change point (Pettitt, "A non-parametric approach to the change-point
/// problem", 1979). Below 10 values nothing can be told, which counts as not steady.
pub fn steady(values: &[f64]) -> bool {
    if values.len() < 2 * BATCH || values.iter().any(|value| !value.is_finite()) {
        return false;
    }
    let cut = mser5(values);
    change_point_p_value(values.get(cut..).unwrap_or_default()) >= CHANGE_POINT_ALPHA
}

fn change_point_p_value(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mut largest: f64 = 0.0;
    let mut sum = 0.0;
    for value in values {
        sum += values.iter().map(|other| sign(value - other)).sum::<f64>();
        largest = largest.max(sum.abs());
    }
    (2.0 * (-6.0 * largest * largest / (count.powi(3) + count.powi(2))).exp()).min(1.0)
}

fn sign(value: f64) -> f64 {
    if value > 0.0 {
        1.0
    } else if value < 0.0 {
        -1.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wobble(i: u32) -> f64 {
        f64::from(i * 7919 % 13) / 13.0
    }

    #[test]
    fn a_warm_up_is_cut_where_it_ends() {
        let values: Vec<f64> =
            (0..60).map(|i| if i < 15 { 100.0 - f64::from(i) } else { 10.0 + wobble(i) }).collect();
        assert!((15..=30).contains(&mser5(&values)));
        assert!(steady(&values));
    }

    #[test]
    fn a_steady_series_loses_little() {
        let values: Vec<f64> = (0..60).map(|i| 10.0 + wobble(i)).collect();
        assert!(mser5(&values) <= 25);
        assert!(steady(&values));
    }

    #[test]
    fn a_trend_or_a_step_is_not_steady() {
        let trend: Vec<f64> = (0..60).map(|i| 10.0 + f64::from(i) + wobble(i)).collect();
        assert!(!steady(&trend));
        let step: Vec<f64> =
            (0..60).map(|i| if i < 42 { 10.0 } else { 20.0 } + wobble(i)).collect();
        assert!(!steady(&step));
        assert!(!steady(&[1.0, 1.0]));
    }
}
