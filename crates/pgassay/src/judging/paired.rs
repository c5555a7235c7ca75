//! Pairs of blocks, one without a change and one with it, in random order, looked at after 8, 16 and 32 pairs.
//!
//! The strongest design for what can be switched on and off or stands on a copy: a drift of the machine meets
//! both sides alike.

use crate::failure::Failure;
use pgassay_judge::LOOKS;
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::Measurement;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Which side a block is measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// Without the change.
    Without,
    /// With it.
    With,
}

/// What pairs of blocks have shown.
pub struct Paired {
    /// The blocks without the change, one measurement each.
    pub without: Vec<Measurement>,
    /// Every comparison.
    pub comparison: Vec<Comparison>,
    /// The verdict over all.
    pub verdict: Verdict,
    /// Its grounds.
    pub reason: String,
}

/// How to measure pairs.
pub struct Pairing<'a> {
    /// What the design is called, for the comparisons' method.
    pub name: &'a str,
    /// Seed of the order within pairs.
    pub seed: u64,
    /// Looks, in pairs.
    pub looks: &'a [u32],
    /// Natural logarithm by which the side with the change is slower by itself, from an A/A comparison.
    pub offset: f64,
}

/// Measures pairs, one block after the other, until they tell, or the last look.
pub async fn compare(
    design: &Pairing<'_>,
    progress: impl FnMut(&str),
    mut measure: impl AsyncFnMut(Arm) -> Result<Measurement, Failure>,
) -> Result<Paired, Failure> {
    at_looks(
        design,
        progress,
        async |with_first: bool| -> Result<(Measurement, Measurement), Failure> {
            if with_first {
                let with = measure(Arm::With).await?;
                return Ok((measure(Arm::Without).await?, with));
            }
            let without = measure(Arm::Without).await?;
            Ok((without, measure(Arm::With).await?))
        },
    )
    .await
}

/// Takes pairs (without, with), told by chance which is to come first, until they tell, or the last look.
pub async fn at_looks(
    design: &Pairing<'_>,
    mut progress: impl FnMut(&str),
    mut pair: impl AsyncFnMut(bool) -> Result<(Measurement, Measurement), Failure>,
) -> Result<Paired, Failure> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(design.seed);
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut judged = None;
    for look in design.looks {
        while without.len() < *look as usize {
            let (one, other) = pair(!random.random::<bool>()).await?;
            without.push(one);
            with.push(other);
        }
        let (comparison, verdict, reason) =
            pgassay_judge::compare_pairs(design.name, design.offset, &without, &with);
        progress(&format!("after {look} pairs: {verdict}: {reason}"));
        let decided = verdict != Verdict::Inconclusive;
        judged = Some((comparison, verdict, reason));
        if decided {
            break;
        }
    }
    let (comparison, verdict, reason) = judged
        .unwrap_or_else(|| (Vec::new(), Verdict::Inconclusive, "no pair was measured".to_owned()));
    Ok(Paired { without, comparison, verdict, reason })
}

/// How much slower the second side is by itself, as a natural logarithm, from pairs without any change: 0 where
/// its interval holds 0.
pub fn offset(paired: &Paired) -> (f64, Option<&Comparison>) {
    let mean = paired.comparison.iter().find(|entry| entry.metric == "latency_mean_ms");
    let differs = mean.and_then(|mean| {
        let (low, high) = (mean.ci_low?, mean.ci_high?);
        (low > 0.0 || high < 0.0).then_some(mean.change?.ln_1p())
    });
    (differs.unwrap_or(0.0), mean)
}

/// Looks of an A/A comparison: the first only.
pub const AA_LOOKS: &[u32] = &[LOOKS[0]];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use pgassay_model::measurement::{Block, Connect, Latency, Ledger, Mode, SCHEMA};

    fn block(mean: f64) -> Measurement {
        let latency = Latency { mean, p50: mean, p90: mean, p95: mean, p99: mean, max: mean };
        Measurement {
            schema: SCHEMA.into(),
            generated_at: jiff::Timestamp::UNIX_EPOCH,
            target: String::new(),
            requests: 1000,
            errors: 0,
            duration_s: 1.0,
            throughput: 1000.0,
            mode: Mode {
                clients: Some(8),
                rate: None,
                connect: Connect::Reuse,
                protocol: Default::default(),
                speed: None,
            },
            latency_ms: latency,
            ledger_ms: Ledger::default(),
            ledger_sources: Default::default(),
            statements: Vec::new(),
            scripts: Vec::new(),
            blocks: vec![Block {
                start_s: 0.0,
                duration_s: 1.0,
                requests: 1000,
                errors: 0,
                latency_ms: latency,
                server_cpu_ms_per_request: None,
                statements: Default::default(),
            }],
            server_cpu_ms_per_request: None,
            pool: None,
            index_scans: Default::default(),
            notes: Vec::new(),
        }
    }

    /// Pairs on a machine that slows down all the time, the change multiplying latency by `effect`.
    async fn pairs(effect: f64, noise: f64, offset: f64) -> (Paired, Vec<Arm>) {
        let pairing = Pairing { name: "test", seed: 7, looks: &LOOKS, offset };
        let mut order = Vec::new();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
        let paired = compare(
            &pairing,
            |_| {},
            async |arm| {
                let drift = 10.0 * (1.0 + order.len() as f64 * 0.02);
                order.push(arm);
                let jitter = 1.0 + noise * (random.random::<f64>() - 0.5);
                Ok(block(drift * jitter * if arm == Arm::With { effect } else { 1.0 }))
            },
        )
        .await
        .unwrap_or_else(|failure| unreachable!("{}", failure.message));
        (paired, order)
    }

    #[tokio::test]
    async fn a_clear_effect_ends_at_the_first_look_in_spite_of_drift() {
        let (paired, order) = pairs(0.7, 0.02, 0.0).await;
        assert_eq!(paired.verdict, Verdict::Improved, "{}", paired.reason);
        assert_eq!(order.len(), 16);
        assert_eq!(paired.without.len(), 8);
        let (worse, _) = pairs(1.3, 0.02, 0.0).await;
        assert_eq!(worse.verdict, Verdict::Regressed);
    }

    #[tokio::test]
    async fn both_orders_occur_and_the_seed_fixes_them() {
        let (_, order) = pairs(0.7, 0.02, 0.0).await;
        let firsts: Vec<Arm> = order.iter().step_by(2).copied().collect();
        assert!(firsts.contains(&Arm::With) && firsts.contains(&Arm::Without));
        assert_eq!(order, pairs(0.7, 0.02, 0.0).await.1);
    }

    #[tokio::test]
    async fn noise_goes_on_to_the_last_look_and_is_no_improvement() {
        let (paired, order) = pairs(1.0, 0.9, 0.0).await;
        assert_eq!(paired.verdict, Verdict::Inconclusive, "{}", paired.reason);
        assert_eq!(order.len(), 64);
    }

    #[tokio::test]
    async fn what_two_copies_differ_by_themselves_is_taken_off() {
        let (same, _) = pairs(0.7, 0.02, 0.0).await;
        let (offset, _) = super::offset(&same);
        assert!((offset - 0.7_f64.ln()).abs() < 0.03, "{offset}");
        let (paired, _) = pairs(0.7, 0.02, offset).await;
        assert_ne!(paired.verdict, Verdict::Improved, "{}", paired.reason);
        let (none, _) = pairs(1.0, 0.9, 0.0).await;
        assert!(super::offset(&none).0 == 0.0);
    }
}
