//! What is known of one statement's cost under sets of indexes, and what may be expected of sets not asked about.
//!
//! A plan that used U under configuration C is the plan under every C' with U ⊆ C' ⊆ C. Of any other set the plans
//! known give an upper bound (a plan whose indexes are all there is possible) and a lower one (what a larger set
//! costs, since more indexes only help); between them lies an expectation that steers the search, and that is
//! never reported. Where answers disappoint it, less is expected of that statement.

use super::gains::{Addition, Row};
use super::quick_hash::QuickMap;
use std::rc::Rc;

/// Indexes that a statement can use, by bit; at most that many are looked at.
pub(super) const MOST: usize = 128;

/// However much disappointed: with less, sets that are worth asking about would not be looked at.
const LEAST_TRUST: f64 = 0.5;

/// A plan that is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    /// The indexes there were.
    pub offered: u128,
    /// Those that the plan used.
    pub used: u128,
    /// The planner's cost.
    pub cost: f64,
}

/// The cost of a statement under a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub cost: f64,
    /// Whether the planner said so; else it is an expectation.
    pub exact: bool,
}

/// One statement.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// Cost today; 0 where it can't be planned.
    before: f64,
    /// The candidate of each bit.
    pub local: Vec<usize>,
    /// The bit of each candidate, in their order.
    bits: Vec<(usize, u8)>,
    /// Of each bit, those of candidates that it serves as well as they do.
    covered: Vec<u128>,
    /// Of each bit, all on its relation.
    siblings: Vec<u128>,
    /// The cheapest first.
    plans: Vec<Planned>,
    /// Of those that save something, the indexes used, all on the relations of those, and the saving; the most first.
    savings: Vec<(u128, u128, f64)>,
    /// How much of what was expected beyond plans known to be possible came true, 0–1: where savings don't add up, less
    /// is expected the next time.
    trust: f64,
    /// Indexes that a plan which saves something used.
    useful: u128,
    memo: QuickMap<u128, Estimate>,
    /// How many answers are known.
    pub version: u64,
    /// What moves would save beside a set, by the set's bits, as far as is known now.
    pub rows: QuickMap<u128, Rc<Row>>,
}

impl Knowledge {
    /// `covered`: of a candidate, those that it serves as well as they do; `relation`: its number.
    pub(super) fn new<'c>(
        before: f64,
        local: Vec<usize>,
        covered: impl Fn(usize) -> &'c [usize],
        relation: impl Fn(usize) -> usize,
    ) -> Self {
        let mut bits: Vec<(usize, u8)> =
            local.iter().zip(0..).map(|(candidate, bit)| (*candidate, bit)).collect();
        bits.sort_unstable();
        let relations: Vec<usize> = local.iter().map(|candidate| relation(*candidate)).collect();
        let on_same = |own: &usize| {
            let all = relations.iter().enumerate().filter(|(_, other)| *other == own);
            all.fold(0u128, |mask, (bit, _)| mask | 1 << bit)
        };
        let siblings = relations.iter().map(on_same).collect();
        let mut knowledge =
            Knowledge { before, local, bits, siblings, trust: 1.0, ..Knowledge::default() };
        let masks = knowledge.local.iter().map(|candidate| knowledge.set(covered(*candidate)));
        knowledge.covered = masks.collect();
        knowledge
    }

    /// Adds an answer of the planner.
    pub(super) fn learn(&mut self, plan: Planned) {
        let (hoped, possible) = (self.estimate(plan.offered), self.possible(plan.offered).0);
        if !hoped.exact && hoped.cost < possible {
            let came_true = self.trust * (possible - plan.cost) / (possible - hoped.cost);
            self.trust = ((self.trust + came_true.clamp(0.0, 1.0)) / 2.0).max(LEAST_TRUST);
        }
        self.memo.clear();
        self.rows.clear();
        self.version += 1;
        // The same plan with more indexes to choose from says all that it says with fewer.
        let same = |known: &Planned| known.used == plan.used && known.cost == plan.cost;
        if self.plans.iter().any(|known| same(known) && plan.offered & !known.offered == 0) {
            return;
        }
        self.plans.retain(|known| !(same(known) && known.offered & !plan.offered == 0));
        let place = self.plans.partition_point(|known| known.cost <= plan.cost);
        self.plans.insert(place, plan);
        if plan.used != 0 && plan.cost < self.before {
            let saving = self.before - plan.cost;
            if self.savings.iter().any(|(used, _, known)| *used == plan.used && *known >= saving) {
                return;
            }
            self.savings.retain(|(used, ..)| *used != plan.used);
            let siblings = ones(plan.used).fold(0, |all, bit| all | self.siblings_of(bit));
            let place = self.savings.partition_point(|(.., known)| *known >= saving);
            self.savings.insert(place, (plan.used, siblings, saving));
            self.useful |= plan.used;
        }
    }

    /// The plan that is known to be possible under a set, and the cheapest.
    pub(super) fn possible(&self, set: u128) -> (f64, u128) {
        match self.plans.iter().find(|plan| plan.used & !set == 0) {
            Some(plan) if plan.cost < self.before => (plan.cost, plan.used),
            _ => (self.before, 0),
        }
    }

    /// The cost under a set.
    pub(super) fn estimate(&mut self, set: u128) -> Estimate {
        if set == 0 {
            return Estimate { cost: self.before, exact: true };
        }
        if let Some(known) = self.memo.get(&set) {
            return *known;
        }
        let estimate = self.compute(set);
        self.memo.insert(set, estimate);
        estimate
    }

    /// The costs expected under a set with each of several additions, as [`Knowledge::estimate`] has them where some plan
    /// known speaks for the addition, else that of the set: what does not depend on the addition is looked at once.
    pub(super) fn expect_each(&mut self, set: u128, additions: &[Addition]) -> Vec<f64> {
        let now = self.estimate(set).cost;
        let (possible, _) = self.possible(set);
        let cheaper: Vec<(u128, f64)> = self
            .plans
            .iter()
            .filter(|plan| plan.cost < possible && plan.used & !set != 0)
            .map(|plan| (plan.used & !set, plan.cost))
            .collect();
        let around: Vec<&Planned> =
            self.plans.iter().filter(|plan| set & !plan.offered == 0).collect();
        let open = self.open(set);
        let expect = |addition: &Addition| {
            let new = addition.bits & !set;
            let with = addition.open | open;
            // No plan known speaks for it, nor for what it covers.
            if with & !open & self.useful == 0 {
                return now;
            }
            let most = cheaper.iter().find(|(needed, _)| needed & !new == 0);
            let most = most.map_or(possible, |(_, cost)| *cost);
            let mut least = 0.0_f64;
            for plan in &around {
                if new & !plan.offered == 0 {
                    if plan.used & !(set | new) == 0 {
                        return most;
                    }
                    least = least.max(plan.cost);
                }
            }
            if least >= most { most } else { self.hope(with, most).max(least) }
        };
        additions.iter().map(expect).collect()
    }

    fn compute(&self, set: u128) -> Estimate {
        let (mut most, mut least, mut exact) = (self.before, 0.0_f64, false);
        for plan in &self.plans {
            let within = set & !plan.offered == 0;
            if plan.used & !set == 0 {
                most = most.min(plan.cost);
                exact |= within;
            } else if within {
                least = least.max(plan.cost);
            }
        }
        if exact || least >= most {
            return Estimate { cost: most, exact: true };
        }
        Estimate { cost: self.hope(self.open(set), most).max(least), exact: false }
    }

    /// What is expected of indexes open to a plan, where so much is certain.
    fn hope(&self, open: u128, possible: f64) -> f64 {
        possible - self.trust * (possible - self.added_up(open)).max(0.0)
    }

    /// What single plans save adds up where they are on different relations.
    fn added_up(&self, mut open: u128) -> f64 {
        let mut expected = self.before;
        for (used, siblings, saving) in &self.savings {
            if used & !open == 0 {
                expected -= saving;
                open &= !siblings;
            }
        }
        expected
    }

    /// A set, with all that its indexes cover: an index saves what those save.
    pub(super) fn open(&self, set: u128) -> u128 {
        ones(set).fold(set, |all, bit| all | self.covered_by(bit))
    }

    fn covered_by(&self, bit: usize) -> u128 {
        self.covered.get(bit).copied().unwrap_or(0)
    }

    fn siblings_of(&self, bit: usize) -> u128 {
        self.siblings.get(bit).copied().unwrap_or(0)
    }

    /// The candidates of a set.
    pub(super) fn candidates(&self, set: u128) -> Vec<usize> {
        ones(set).filter_map(|bit| self.local.get(bit).copied()).collect()
    }

    /// The bits of candidates; those that can't serve the statement have none.
    pub(super) fn set<'c>(&self, candidates: impl IntoIterator<Item = &'c usize>) -> u128 {
        candidates.into_iter().fold(0, |set, candidate| set | self.bit(*candidate).unwrap_or(0))
    }

    fn bit(&self, candidate: usize) -> Option<u128> {
        let place = self.bits.binary_search_by_key(&candidate, |(known, _)| *known).ok()?;
        self.bits.get(place).map(|(_, bit)| 1 << bit)
    }
}

/// The numbers of the bits of a set.
fn ones(set: u128) -> impl Iterator<Item = usize> {
    let mut rest = set;
    std::iter::from_fn(move || {
        if rest == 0 {
            return None;
        }
        let bit = rest.trailing_zeros() as usize;
        rest &= rest - 1;
        Some(bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two indexes on one relation, of which the second covers the first, and one on another.
    fn knowledge() -> Knowledge {
        let covered = |one: usize| if one == 11 { &[10][..] } else { &[] };
        Knowledge::new(100.0, vec![10, 11, 12], covered, |one| usize::from(one < 12))
    }

    #[test]
    fn a_plan_holds_for_every_set_between_what_it_used_and_what_there_was() {
        let mut known = knowledge();
        known.learn(Planned { offered: 0b111, used: 0b001, cost: 40.0 });
        for set in [0b001, 0b011, 0b101, 0b111] {
            assert_eq!(known.estimate(set), Estimate { cost: 40.0, exact: true });
        }
        assert_eq!(known.possible(0b001), (40.0, 0b001));
        assert_eq!(known.possible(0b110), (100.0, 0));
        // The others alone cannot be better than all three.
        assert!(!known.estimate(0b110).exact && known.estimate(0b110).cost >= 40.0);
    }

    #[test]
    fn what_an_index_covers_is_expected_of_it_and_savings_on_different_relations_add_up() {
        let mut known = knowledge();
        known.learn(Planned { offered: 0b001, used: 0b001, cost: 70.0 });
        known.learn(Planned { offered: 0b100, used: 0b100, cost: 80.0 });
        assert_eq!(known.estimate(0b010), Estimate { cost: 70.0, exact: false });
        assert_eq!(known.estimate(0b101), Estimate { cost: 50.0, exact: false });
        assert_eq!(known.estimate(0b011), Estimate { cost: 70.0, exact: false });
    }

    #[test]
    fn hope_that_was_disappointed_is_smaller_the_next_time() {
        let mut known = knowledge();
        known.learn(Planned { offered: 0b001, used: 0b001, cost: 70.0 });
        known.learn(Planned { offered: 0b100, used: 0b100, cost: 80.0 });
        assert_eq!(known.estimate(0b110), Estimate { cost: 50.0, exact: false });
        // Of 20 hoped for beyond the better one nothing came.
        known.learn(Planned { offered: 0b101, used: 0b001, cost: 70.0 });
        assert_eq!(known.estimate(0b101), Estimate { cost: 70.0, exact: true });
        assert_eq!(known.estimate(0b110), Estimate { cost: 65.0, exact: false });
    }

    #[test]
    fn what_is_expected_of_many_additions_at_once_is_what_is_expected_of_each() {
        let mut random = super::super::rebuild::Random(7);
        for _ in 0..50 {
            let covered = |one: usize| if one > 12 { &[10, 11][..] } else { &[] };
            let mut known = Knowledge::new(100.0, (10..20).collect(), covered, |one| one / 4);
            // As a planner would answer: the more there is, the less it costs.
            let worth: Vec<u64> = (0..10).map(|_| random.below(15)).collect();
            for _ in 0..random.below(30) {
                let offered = u128::from(random.below(1 << 10));
                let used = ones(offered).filter(|bit| worth[*bit] > 5).take(3);
                let used = used.fold(0, |all, bit| all | 1 << bit);
                let saved: u64 = ones(used).map(|bit| worth[bit]).sum();
                known.learn(Planned { offered, used, cost: 100.0 - saved as f64 });
            }
            let set = u128::from(random.below(1 << 10));
            let mut addition = || {
                let bits = u128::from(random.below(1 << 10));
                Addition { bits, open: known.open(bits), moves: Vec::new() }
            };
            let additions: Vec<Addition> = (0..20).map(|_| addition()).collect();
            let together = known.expect_each(set, &additions);
            for (Addition { bits: added, .. }, together) in additions.into_iter().zip(together) {
                let new = known.open(added & !set) & !known.open(set);
                if new & known.useful == 0 {
                    assert_eq!(known.estimate(set).cost, together);
                    continue;
                }
                assert_eq!(
                    known.estimate(set | added).cost,
                    together,
                    "{set:b} {added:b} {known:?}"
                );
            }
        }
    }
}
