//! What is known of one statement's cost under sets of indexes, and what may be expected of sets not asked about.
//!
//! A plan that used U under configuration C is the plan under every C' with U ⊆ C' ⊆ C. Of any other set the plans
//! known give an upper bound (a plan whose indexes are all there is possible) and a lower one (what a larger set
//! costs, since more indexes only help); between them lies an expectation that steers the search, and that is
//! never reported.

use super::quick_hash::QuickMap;

/// Indexes that a statement can use, by bit; at most that many are looked at.
pub(super) const MOST: usize = 128;

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
    memo: QuickMap<u128, Estimate>,
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
        let mut knowledge = Knowledge { before, local, bits, siblings, ..Knowledge::default() };
        let masks = knowledge.local.iter().map(|candidate| knowledge.set(covered(*candidate)));
        knowledge.covered = masks.collect();
        knowledge
    }

    /// Adds an answer of the planner.
    pub(super) fn learn(&mut self, plan: Planned) {
        let place = self.plans.partition_point(|known| known.cost <= plan.cost);
        self.plans.insert(place, plan);
        self.memo.clear();
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
        // What single plans save adds up where they are on different relations; an index saves what those save
        // that it covers.
        let mut open = ones(set).fold(set, |all, bit| all | self.covered_by(bit));
        let mut expected = self.before;
        for plan in &self.plans {
            if plan.used != 0 && plan.used & !open == 0 && plan.cost < self.before {
                expected -= self.before - plan.cost;
                open &= !ones(plan.used).fold(0, |all, bit| all | self.siblings_of(bit));
            }
        }
        Estimate { cost: expected.min(most).max(least), exact: false }
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
}
