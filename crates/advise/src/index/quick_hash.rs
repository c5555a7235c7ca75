//! A hash for keys that are a few small numbers, of which the search looks up millions: no protection against keys made
//! to collide is needed.

use super::rebuild::Random;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by such keys.
pub(super) type QuickMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Quick>>;

/// Mixes number by number.
#[derive(Debug, Default)]
pub(super) struct Quick(u64);

impl Hasher for Quick {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for some in bytes.chunks(8) {
            let mut number = [0; 8];
            number.iter_mut().zip(some).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(number));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = Random(self.0 ^ number).next();
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64(number as u64);
        self.write_u64((number >> 64) as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    #[test]
    fn sets_of_few_bits_and_short_lists_hash_apart() {
        let hasher = BuildHasherDefault::<Quick>::default();
        let sets = (0..128).flat_map(|a| (0..a).map(move |b| 1u128 << a | 1u128 << b));
        let lists = (0..100usize).flat_map(|a| (0..a).map(move |b| vec![b, a]));
        // The lower bits tell them apart as well as chance would.
        let low = |hash: u64| hash % (1 << 20);
        let sets: Vec<u64> = sets.map(|set| low(hasher.hash_one(set))).collect();
        let lists: Vec<u64> = lists.map(|list| low(hasher.hash_one(list))).collect();
        for hashes in [sets, lists] {
            let distinct: HashSet<&u64> = hashes.iter().collect();
            assert!(
                distinct.len() * 100 > hashes.len() * 98,
                "{} of {}",
                distinct.len(),
                hashes.len()
            );
        }
    }
}
