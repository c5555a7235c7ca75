//! pgbench's random distributions, hashes and permutations, by the formulas of its manual.

use super::EvaluationError;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

type Result<T> = std::result::Result<T, EvaluationError>;

fn refuse<T>(reason: &str) -> Result<T> {
    Err(EvaluationError::new(reason))
}

/// Number of integers from `least` to `most`.
fn size(least: i64, most: i64) -> Result<f64> {
    if least > most {
        return refuse("a random number's lower bound is above its upper bound");
    }
    match most.checked_sub(least).and_then(|size| size.checked_add(1)) {
        Some(size) => Ok(size as f64),
        None => refuse("a random number's range is too large"),
    }
}

/// `least` and a share (0 to below 1) of the integers from there to `most`.
fn at_share(least: i64, most: i64, size: f64, share: f64) -> i64 {
    // Within the range also where a double can't tell neighbours apart.
    least.saturating_add((size * share) as i64).clamp(least, most)
}

/// All alike.
pub(crate) fn uniform(random: &mut Xoshiro256PlusPlus, least: i64, most: i64) -> Result<i64> {
    size(least, most)?;
    Ok(random.random_range(least..=most))
}

/// A truncated exponential distribution (manual, pgbench: `f(x) = exp(-p·(x − min)/(max − min + 1))/(1 − exp(-p))`),
/// by inversion.
pub(crate) fn exponential(
    random: &mut Xoshiro256PlusPlus,
    least: i64,
    most: i64,
    parameter: f64,
) -> Result<i64> {
    let size = size(least, most)?;
    if !(parameter > 0.0 && parameter.is_finite()) {
        return refuse("random_exponential's parameter must be above 0");
    }
    let cut = (-parameter).exp();
    // Above 0, so that the logarithm is finite; at most 1.
    let point = 1.0 - random.random::<f64>();
    let share = -(cut + (1.0 - cut) * point).ln() / parameter;
    Ok(at_share(least, most, size, share))
}

/// A normal distribution whose mean is in the middle, cut off `parameter` standard deviations from it.
pub(crate) fn gaussian(
    random: &mut Xoshiro256PlusPlus,
    least: i64,
    most: i64,
    parameter: f64,
) -> Result<i64> {
    let size = size(least, most)?;
    if !(parameter >= 2.0 && parameter.is_finite()) {
        return refuse("random_gaussian's parameter must be 2.0 or more");
    }
    loop {
        // Box and Muller, Ann. Math. Statist. 29 (1958); beyond two deviations lies 1 of 22.
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        let deviation = radius * (std::f64::consts::TAU * random.random::<f64>()).sin();
        if (-parameter..parameter).contains(&deviation) {
            let share = (deviation + parameter) / (2.0 * parameter);
            return Ok(at_share(least, most, size, share));
        }
    }
}

/// Zipf's distribution, by rejection: Devroye, "Non-Uniform Random Variate Generation" (1986), p. 550, to which
/// pgbench's manual refers.
pub(crate) fn zipfian(
    random: &mut Xoshiro256PlusPlus,
    least: i64,
    most: i64,
    parameter: f64,
) -> Result<i64> {
    let size = size(least, most)?;
    if !(1.001..=1000.0).contains(&parameter) {
        return refuse("random_zipfian's parameter must be from 1.001 to 1000");
    }
    if least == most {
        return Ok(least);
    }
    let b = 2f64.powf(parameter - 1.0);
    loop {
        let u = 1.0 - random.random::<f64>();
        let v = random.random::<f64>();
        let x = u.powf(-1.0 / (parameter - 1.0)).floor();
        let t = (1.0 + 1.0 / x).powf(parameter - 1.0);
        if x <= size && v * x * (t - 1.0) / (b - 1.0) <= t / b {
            return Ok(least.saturating_add(x as i64 - 1).clamp(least, most));
        }
    }
}

/// FNV-1a over the eight bytes of a number, lowest first (Fowler, Noll, Vo).
pub(crate) fn fnv1a(value: i64, seed: i64) -> i64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = value
        .to_le_bytes()
        .iter()
        .fold(BASIS ^ seed as u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    hash as i64
}

/// MurmurHash64A (Appleby) of a number.
pub(crate) fn murmur2(value: i64, seed: i64) -> i64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    let mix = |number: u64| number ^ (number >> 47);
    let key = mix((value as u64).wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    let hash = (seed as u64) ^ 8u64.wrapping_mul(MULTIPLIER);
    let hash = (hash ^ key).wrapping_mul(MULTIPLIER);
    mix(mix(hash).wrapping_mul(MULTIPLIER)) as i64
}

/// A permutation of 0 to below `size`, applied to `value` modulo `size`. A permutation of its own, not pgbench's:
/// a Feistel network over the next even number of bits, walked until within the range (Black and Rogaway,
/// "Ciphers with Arbitrary Finite Domains", 2002).
pub(crate) fn permute(value: i64, size: i64, seed: i64) -> Result<i64> {
    const ROUNDS: i64 = 4;
    if size <= 0 {
        return refuse("permute's size must be above 0");
    }
    let size = size as u64;
    let half = (64 - size.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1u64 << half) - 1;
    let mut at = value.rem_euclid(size as i64) as u64;
    loop {
        let (mut left, mut right) = (at >> half, at & mask);
        for round in 0..ROUNDS {
            let mixed = murmur2(right as i64, seed.wrapping_add(round)) as u64 & mask;
            (left, right) = (right, left ^ mixed);
        }
        at = left << half | right;
        if at < size {
            return Ok(at as i64);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    fn random() -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(3)
    }

    #[test]
    fn hashes_are_those_of_pgbench_s_own_tests() {
        // src/bin/pgbench/t/001_pgbench_with_server.pl: hash_murmur2(10, 5432), hash_fnv1a(10, 5432).
        assert_eq!(murmur2(10, 5432), -5_817_877_081_768_721_676);
        assert_eq!(fnv1a(10, 5432), -7_793_829_335_365_542_153);
    }

    #[test]
    fn distributions_have_the_shape_that_the_manual_says() {
        let mut random = random();
        let n = 40_000;
        let mut share =
            |within: &dyn Fn(i64) -> bool,
             draw: &dyn Fn(&mut Xoshiro256PlusPlus) -> Result<i64>| {
                let hits = (0..n).filter(|_| within(draw(&mut random).unwrap())).count();
                hits as f64 / f64::from(n)
            };
        // "values drawn more frequently … 67 % within the middle 1/parameter of the interval" (manual).
        let middle = share(&|x| (401..=600).contains(&x), &|r| gaussian(r, 1, 1000, 5.0));
        assert!((middle - 0.683).abs() < 0.02, "{middle}");
        // The most frequent 1 %, 1 − exp(−p/100) of it: "parameter % of the time" (manual).
        let first = share(&|x| x <= 10, &|r| exponential(r, 1, 1000, 5.0));
        assert!((first - 0.049).abs() < 0.006, "{first}");
        // "1 is drawn (k+1)/k)^s times more often than 2" (manual).
        let ones = share(&|x| x == 1, &|r| zipfian(r, 1, 1000, 2.5));
        let twos = share(&|x| x == 2, &|r| zipfian(r, 1, 1000, 2.5));
        assert!((ones / twos / 2f64.powf(2.5) - 1.0).abs() < 0.1, "{ones} {twos}");
    }

    proptest! {
        #[test]
        fn random_numbers_stay_within_their_bounds(
            least: i64,
            most: i64,
            parameter in 0.0..2000.0f64,
            seed: u64,
        ) {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            let drawn = [
                uniform(&mut random, least, most),
                exponential(&mut random, least, most, parameter),
                gaussian(&mut random, least, most, parameter),
                zipfian(&mut random, least, most, parameter),
            ];
            for number in drawn.into_iter().flatten() {
                prop_assert!((least..=most).contains(&number));
            }
        }

        #[test]
        fn a_permutation_meets_every_number_once(size in 1i64..300, seed: i64) {
            let mut all: Vec<i64> =
                (0..size).map(|value| permute(value, size, seed).unwrap()).collect();
            all.sort_unstable();
            prop_assert!(all.iter().copied().eq(0..size));
        }

        #[test]
        fn a_permutation_of_any_size_stays_within_it(value: i64, size in 1i64.., seed: i64) {
            prop_assert!((0..size).contains(&permute(value, size, seed).unwrap()));
        }
    }
}
