//! The statements met so far, by the hash of their text without literals, in bounded memory.
//!
//! When their texts and values take more than [`MOST_BYTES`], the samples of values are halved first, and then the
//! plans are given up. When that does not help, or there are more than [`MOST_SHAPES`], the half with the least execution time is forgotten (as lossy
//! counting prunes: Manku and Motwani, VLDB 2002) and counted as "others". What is forgotten and comes again
//! begins at zero, so the count of a rare statement is a lower bound.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Statements kept at one time.
pub(crate) const MOST_SHAPES: usize = 10_000;
/// Bytes of their texts and values.
const MOST_BYTES: usize = 48 << 20;
/// Sets of values sampled of each statement (a reservoir: Vitter, 1985, algorithm R), at first and at least.
const MOST_SETS: usize = 200;
const LEAST_SETS: usize = 12;
/// Longer plans are not kept, since a part of one tells little.
const MOST_PLAN: usize = 64 << 10;

/// A map whose keys are hashes already.
pub(crate) type ByHash<T> = HashMap<u64, T, BuildHasherDefault<Identity>>;

/// Passes a hash on.
#[derive(Default)]
pub(crate) struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = crate::log::lexer::hash(self.0, bytes);
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// Statements that differ in literals only.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// The first that was met.
    pub text: Box<[u8]>,
    pub calls: u64,
    /// Execution time of the calls whose duration is known, microseconds.
    pub micros: u64,
    /// auto_explain's figures, used where no statement was logged.
    pub plans: u64,
    pub plan_micros: u64,
    /// How long the slowest execution took whose plan is kept, microseconds, and the plan.
    pub plan: Option<(u64, Box<[u8]>)>,
    pub query_id: Option<i64>,
    /// Sampled sets of values, as `values::encode` writes them.
    pub sets: Vec<Box<[u8]>>,
    /// Sets that the sample is from.
    pub seen: u64,
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Others {
    /// Statements, each as often as it was forgotten.
    pub shapes: u64,
    pub calls: u64,
    pub micros: u64,
}

/// All statements.
pub(crate) struct Table {
    pub shapes: ByHash<Shape>,
    pub others: Others,
    bytes: usize,
    /// Sets sampled of each statement.
    sets: usize,
    random: StdRng,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Self {
        Table {
            shapes: ByHash::default(),
            others: Others::default(),
            bytes: 0,
            sets: MOST_SETS,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// The statement of a hash, which is `text` if it is new.
    pub(crate) fn shape(&mut self, hash: u64, text: &[u8]) -> &mut Shape {
        if !self.shapes.contains_key(&hash) {
            if self.shapes.len() >= MOST_SHAPES {
                self.forget();
            }
            if self.bytes + text.len() > MOST_BYTES {
                self.shrink();
            }
            self.bytes += text.len() + size_of::<Shape>();
        }
        self.shapes.entry(hash).or_insert_with(|| Shape { text: text.into(), ..Shape::default() })
    }

    /// Whether the next set of values of a statement belongs into its sample, and in which place.
    pub(crate) fn place(&mut self, hash: u64) -> Option<usize> {
        let shape = self.shapes.get_mut(&hash)?;
        shape.seen += 1;
        if shape.sets.len() < self.sets {
            return Some(shape.sets.len());
        }
        let place = self.random.random_range(0..shape.seen) as usize;
        (place < self.sets).then_some(place)
    }

    /// Keeps a set of values in its place.
    pub(crate) fn keep(&mut self, hash: u64, place: usize, set: &[u8]) {
        let Some(shape) = self.shapes.get_mut(&hash) else { return };
        self.bytes += set.len() + size_of::<Box<[u8]>>();
        match shape.sets.get_mut(place) {
            Some(old) => {
                self.bytes -= (old.len() + size_of::<Box<[u8]>>()).min(self.bytes);
                *old = set.into();
            }
            None => shape.sets.push(set.into()),
        }
        if self.bytes > MOST_BYTES {
            self.shrink();
        }
    }

    /// Keeps the plan of an execution, if it is the slowest so far of its statement.
    pub(crate) fn explain(&mut self, hash: u64, micros: u64, plan: &[u8]) {
        let Some(shape) = self.shapes.get_mut(&hash) else { return };
        let known = shape.plan.as_ref().map_or(0, |(slowest, _)| slowest + 1);
        if plan.len() > MOST_PLAN || micros < known {
            return;
        }
        self.bytes += plan.len();
        if let Some((_, old)) = shape.plan.replace((micros, plan.into())) {
            self.bytes -= old.len().min(self.bytes);
        }
        if self.bytes > MOST_BYTES {
            self.shrink();
        }
    }

    /// Halves the samples, and if that is not enough, forgets.
    fn shrink(&mut self) {
        while self.sets > LEAST_SETS && self.bytes > MOST_BYTES / 4 * 3 {
            self.sets /= 2;
            for shape in self.shapes.values_mut() {
                // A random half of a sample is a sample.
                for place in 0..self.sets.min(shape.sets.len()) {
                    let other = self.random.random_range(place..shape.sets.len());
                    shape.sets.swap(place, other);
                }
                shape.sets.truncate(self.sets);
                shape.sets.shrink_to_fit();
            }
            self.bytes = self.shapes.values().map(bytes).sum();
        }
        if self.bytes > MOST_BYTES / 4 * 3 {
            self.shapes.values_mut().for_each(|shape| shape.plan = None);
            self.bytes = self.shapes.values().map(bytes).sum();
        }
        if self.bytes > MOST_BYTES / 4 * 3 {
            self.forget();
        }
    }

    /// Forgets the lighter half.
    fn forget(&mut self) {
        let weight = |shape: &Shape| (shape.micros.max(shape.plan_micros), shape.calls);
        let mut order: Vec<(u64, (u64, u64), usize)> =
            self.shapes.iter().map(|(hash, shape)| (*hash, weight(shape), bytes(shape))).collect();
        order.sort_by_key(|(hash, weight, _)| (std::cmp::Reverse(*weight), *hash));
        let mut kept = 0;
        for (number, (hash, _, bytes)) in order.iter().enumerate() {
            if number < MOST_SHAPES / 2 && kept + bytes <= MOST_BYTES / 2 {
                kept += bytes;
                continue;
            }
            if let Some(shape) = self.shapes.remove(hash) {
                self.others.shapes += 1;
                self.others.calls += shape.calls.max(shape.plans);
                self.others.micros += shape.micros.max(shape.plan_micros);
            }
        }
        self.bytes = kept;
    }
}

fn bytes(shape: &Shape) -> usize {
    let sets: usize = shape.sets.iter().map(|set| set.len() + size_of::<Box<[u8]>>()).sum();
    let plan = shape.plan.as_ref().map_or(0, |(_, plan)| plan.len());
    size_of::<Shape>() + shape.text.len() + sets + plan
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_heaviest_stay_and_the_rest_is_counted() {
        let mut table = Table::new(1);
        for number in 0..100_000_u64 {
            let shape = table.shape(number, b"SELECT 1");
            shape.calls += 1;
            shape.micros += 1;
            let heavy = table.shape(7, b"SELECT 7");
            heavy.calls += 1;
            heavy.micros += 5;
        }
        assert!(table.shapes.len() <= MOST_SHAPES);
        assert_eq!(table.shapes.get(&7).unwrap().calls, 100_001);
        let kept: u64 = table.shapes.values().map(|shape| shape.calls).sum();
        assert_eq!(kept + table.others.calls, 200_000);
    }

    #[test]
    fn texts_and_values_of_any_size_stay_within_their_bytes() {
        let mut table = Table::new(1);
        let text = vec![b'x'; 1 << 20];
        for number in 0..200 {
            table.shape(number, &text).calls += 1;
            table.keep(number, 0, &text);
            table.explain(number, 1, &text[..MOST_PLAN]);
            let held: usize = table.shapes.values().map(bytes).sum();
            assert!(held <= MOST_BYTES + 2 * text.len() + 4096, "{held}");
        }
    }

    #[test]
    fn a_sample_is_of_all_sets_alike() {
        let mut table = Table::new(1);
        table.shape(1, b"x");
        for number in 0..10_000_u32 {
            if let Some(place) = table.place(1) {
                table.keep(1, place, &number.to_le_bytes());
            }
        }
        let sets = &table.shapes.get(&1).unwrap().sets;
        let late =
            sets.iter().filter(|set| u32::from_le_bytes((&set[..]).try_into().unwrap()) >= 5000);
        assert_eq!(sets.len(), MOST_SETS);
        assert!((60..140).contains(&late.count()));
    }
}
