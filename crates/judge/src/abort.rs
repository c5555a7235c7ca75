//! When to take a change back at once, while the application is watched with it.
//!
//! The design's rules are: errors up, p99 + 25 % in two buckets in a row, memory above 90 %. pg_stat_statements does
//! not know p99: the mean index stands for it. Each figure must also be above all that was seen before the change,
//! so that what the load does by itself is no alarm.

use crate::passive::plain;
use crate::statement_mix::{FEW_ROWS, ROWS_FACTOR, index, moved, presence, typical, typical_of};
use crate::weights;
use pgassay_model::observation::{Bucket, Observation, StatementActivity};
use std::collections::BTreeMap;

/// Relative increase of the index that is too much.
const SLOWER: f64 = 0.25;
/// Or, where that is more, so many standard deviations of the buckets before (from their median absolute deviation,
/// Rousseeuw and Croux, "Alternatives to the median absolute deviation", 1993): a load that swings is no alarm.
const DEVIATIONS: f64 = 4.0;
/// Standard deviations of normal noise in a median absolute deviation.
const MAD_TO_DEVIATION: f64 = 1.4826;
/// Buckets in a row.
const IN_A_ROW: u32 = 2;
/// Share of the transactions by which rollbacks may rise.
const MORE_ROLLBACKS: f64 = 0.01;
/// Fewest rollbacks in a bucket that count: pgassay's own readings end with one.
const FEWEST_ROLLBACKS: u64 = 10;
/// Share of the host's memory.
const MEMORY: f64 = 0.9;

/// The rules, with what was usual before.
#[derive(Debug, Clone)]
pub struct AbortRules<'a> {
    weights: BTreeMap<&'a str, f64>,
    typical: BTreeMap<&'a str, f64>,
    rows: BTreeMap<&'a str, f64>,
    usual: f64,
    highest: f64,
    /// ln of the factor that is too much.
    limit: f64,
    /// ln of the last index without the change, where it is switched on and off.
    beside: f64,
    rollback_share: f64,
    deadlocks: u64,
    memory: f64,
    always_busy: bool,
    slow: u32,
    failing: u32,
    deadlocking: u32,
    silent: u32,
}

impl<'a> AbortRules<'a> {
    /// From what was observed before the change.
    pub fn new(before: &'a Observation) -> Self {
        let totals = before.totals();
        let weights: BTreeMap<&str, f64> = presence(before)
            .into_iter()
            .filter(|(_, count)| count * 2 >= before.buckets.len())
            .filter_map(|(key, _)| Some((key, totals.get(key)?.time_ms)))
            .filter(|(_, time)| *time > 0.0)
            .collect();
        let typical = typical(before, &weights);
        let rows = weights
            .keys()
            .filter_map(|key| {
                Some((*key, typical_of(before, key, StatementActivity::rows_per_call)?))
            })
            .collect();
        let indexes: Vec<f64> =
            before.buckets.iter().filter_map(|one| index(one, &weights, &typical)).collect();
        let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
        let usual = weights::median(&indexes).unwrap_or(f64::INFINITY);
        let distances: Vec<f64> = indexes.iter().map(|index| (index - usual).abs()).collect();
        let deviation = weights::median(&distances).unwrap_or(0.0) * MAD_TO_DEVIATION;
        AbortRules {
            usual,
            limit: SLOWER.ln_1p().max(DEVIATIONS * deviation),
            beside: f64::NEG_INFINITY,
            highest: indexes.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            rollback_share: largest(&mut before.buckets.iter().filter_map(Bucket::rollback_share)),
            deadlocks: before.buckets.iter().map(|bucket| bucket.deadlocks).max().unwrap_or(0),
            memory: largest(&mut before.buckets.iter().filter_map(|bucket| bucket.memory_used)),
            always_busy: before.buckets.iter().all(|bucket| bucket.calls() > 0),
            weights,
            typical,
            rows,
            slow: 0,
            failing: 0,
            deadlocking: 0,
            silent: 0,
        }
    }

    /// Takes note of a bucket without the change, where it is switched on and off: what is as bad without it is not
    /// its doing.
    pub fn note_without(&mut self, bucket: &Bucket) {
        self.rollback_share = self.rollback_share.max(bucket.rollback_share().unwrap_or(0.0));
        self.deadlocks = self.deadlocks.max(bucket.deadlocks);
        self.memory = self.memory.max(bucket.memory_used.unwrap_or(0.0));
        self.always_busy &= bucket.calls() > 0;
        if let Some(now) = self.index(bucket) {
            self.highest = self.highest.max(now);
            self.beside = now;
        }
    }

    /// Looks at the next bucket with the change in force; in words why it has to go at once.
    pub fn look(&mut self, bucket: &Bucket) -> Option<String> {
        if let Some(used) = bucket.memory_used.filter(|used| *used > MEMORY && *used > self.memory)
        {
            return Some(format!(
                "{} of the host's memory is in use, more than at any time before",
                plain(used)
            ));
        }
        let share = bucket.rollback_share().unwrap_or(0.0);
        let failing =
            bucket.rollbacks >= FEWEST_ROLLBACKS && share > self.rollback_share + MORE_ROLLBACKS;
        let deadlocking = bucket.deadlocks > self.deadlocks;
        let silent = self.always_busy && bucket.calls() == 0;
        let index = self.index(bucket);
        let usual = self.usual.max(self.beside);
        let slow = index.map(|now| now > self.highest && now > usual + self.limit);
        count(&mut self.failing, failing);
        count(&mut self.deadlocking, deadlocking);
        count(&mut self.silent, silent);
        if let Some(slow) = slow {
            count(&mut self.slow, slow);
        }
        let in_a_row = format!("in {IN_A_ROW} buckets in a row");
        if self.failing >= IN_A_ROW {
            return Some(format!(
                "{} of the transactions were rolled back, {in_a_row} more than in any before ({} at most)",
                plain(share),
                plain(self.rollback_share)
            ));
        }
        if self.deadlocking >= IN_A_ROW {
            return Some(format!(
                "{} deadlocks, {in_a_row} more than in any before ({} at most)",
                bucket.deadlocks, self.deadlocks
            ));
        }
        if self.silent >= IN_A_ROW {
            return Some(format!(
                "no statement came to its end {in_a_row}, as some did in every bucket before: either they hang, or the application stopped"
            ));
        }
        match index {
            Some(now) if self.slow >= IN_A_ROW => Some(format!(
                "the server time of the application's statements (their mean: p99 is not known from pg_stat_statements) rose by {} {in_a_row}, the limit being {}",
                plain((now - usual).exp_m1()),
                plain(self.limit.exp_m1())
            )),
            _ => None,
        }
    }

    /// ln of the bucket's index; a statement that returns another number of rows counts as it was before.
    fn index(&self, bucket: &Bucket) -> Option<f64> {
        let same_question = |key: &str, own: &StatementActivity| {
            let rows = self.rows.get(key).zip(own.rows_per_call());
            rows.is_none_or(|(usual, now)| {
                !moved(usual.max(FEW_ROWS), now.max(FEW_ROWS), ROWS_FACTOR)
            })
        };
        let statements = bucket
            .statements
            .iter()
            .filter(|(key, own)| same_question(key, own))
            .map(|(key, own)| (key.clone(), *own))
            .collect();
        index(&Bucket { statements, ..Bucket::default() }, &self.weights, &self.typical)
    }
}

fn count(strikes: &mut u32, hit: bool) {
    *strikes = if hit { *strikes + 1 } else { 0 };
}
