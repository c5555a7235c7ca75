//! A set of candidates with what it is expected to cost, kept up to date as it changes.

use super::gains::Gains;
use super::quick_hash::QuickMap;
use super::search::{Search, Set};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A set under trial.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub set: Set,
    /// The set by relation.
    pub groups: HashMap<usize, Vec<usize>>,
    /// What each relation's indexes of the set cost writers.
    write_costs: QuickMap<usize, f64>,
    /// Of each statement, the bits of the set.
    pub masks: Vec<u128>,
    /// Of each statement, its expected cost, unweighted.
    pub costs: Vec<f64>,
    pub weighed: Weighed,
    /// Relations whose indexes were looked at one by one, and nothing was changed since.
    pub settled: BTreeSet<usize>,
    /// What each move would save beside the set; None until it is asked for.
    pub gains: Option<Gains>,
}

/// What a set is expected to cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weighed {
    pub read: f64,
    pub write: f64,
    pub size: u64,
}

impl Weighed {
    pub(super) fn objective(&self) -> f64 {
        self.read + self.write
    }
}

impl Trial {
    pub(super) fn objective(&self) -> f64 {
        self.weighed.objective()
    }
}

impl Search<'_> {
    /// A set, with what it is expected to cost.
    pub(super) fn trial(&mut self, set: &Set) -> Trial {
        let costs: Vec<f64> =
            self.knowledge.iter_mut().map(|known| known.estimate(0).cost).collect();
        let mut trial = Trial {
            set: Set::new(),
            groups: HashMap::new(),
            write_costs: QuickMap::default(),
            settled: BTreeSet::new(),
            gains: None,
            masks: vec![0; costs.len()],
            weighed: Weighed { read: self.cost_before(), write: 0.0, size: 0 },
            costs,
        };
        let added: Vec<usize> = set.iter().copied().collect();
        self.change(&mut trial, &[], &added);
        trial
    }

    /// What a set would be expected to cost after a change.
    pub(super) fn weigh(&mut self, trial: &Trial, out: &[usize], into: &[usize]) -> Weighed {
        let mut weighed = trial.weighed;
        for (statement, mask) in self.masks(trial, out, into) {
            let Some(knowledge) = self.knowledge.get_mut(statement) else { continue };
            let then = knowledge.estimate(mask).cost;
            let now = trial.costs.get(statement).copied().unwrap_or(then);
            weighed.read += self.asked.get(statement).map_or(0.0, |asked| asked.statement.weight)
                * (then - now);
        }
        weighed.size = (weighed.size + self.size_of(into)).saturating_sub(self.size_of(out));
        if self.anybody_writes() {
            weighed.write += self.written(trial, out, into);
        }
        weighed
    }

    /// Bytes of candidates.
    pub(super) fn size_of(&self, candidates: &[usize]) -> u64 {
        let known = candidates.iter().filter_map(|one| self.candidates.get(*one));
        known.map(|known| known.size.0).sum()
    }

    /// What a change adds to the cost of writers.
    pub(super) fn written(&mut self, trial: &Trial, out: &[usize], into: &[usize]) -> f64 {
        let mut changed: BTreeMap<usize, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        for (candidates, is_in) in [(out, false), (into, true)] {
            for one in candidates {
                let Some(known) = self.candidates.get(*one) else { continue };
                let (out, into) = changed.entry(known.relation).or_default();
                if is_in { into.push(*one) } else { out.push(*one) }
            }
        }
        let mut added = 0.0;
        for (relation, (out, into)) in changed {
            let now = trial.groups.get(&relation).into_iter().flatten();
            let mut then: Vec<usize> = now.copied().filter(|one| !out.contains(one)).collect();
            then.extend(into);
            then.sort_unstable();
            then.dedup();
            let before = trial.write_costs.get(&relation).copied().unwrap_or(0.0);
            added += self.write_cost_of_relation(then) - before;
        }
        added
    }

    /// The statements that a change concerns, with their bits after it.
    fn masks(&self, trial: &Trial, out: &[usize], into: &[usize]) -> Vec<(usize, u128)> {
        let touches = |candidates: &[usize]| -> Vec<(usize, u128)> {
            let known = candidates.iter().filter_map(|one| self.candidates.get(*one));
            known.flat_map(|known| known.touches.iter().copied()).collect()
        };
        let mut bits: Vec<(usize, u128, u128)> = touches(out)
            .into_iter()
            .map(|(statement, bit)| (statement, bit, 0))
            .chain(touches(into).into_iter().map(|(statement, bit)| (statement, 0, bit)))
            .collect();
        bits.sort_unstable_by_key(|(statement, ..)| *statement);
        let mut masks: Vec<(usize, u128)> = Vec::with_capacity(bits.len());
        for (statement, clear, set) in bits {
            if masks.last().is_none_or(|(last, _)| *last != statement) {
                masks.push((statement, trial.masks.get(statement).copied().unwrap_or(0)));
            }
            if let Some((_, mask)) = masks.last_mut() {
                *mask = *mask & !clear | set;
            }
        }
        masks
    }

    /// Carries a change out.
    pub(super) fn change(&mut self, trial: &mut Trial, out: &[usize], into: &[usize]) {
        let weighed = self.weigh(trial, out, into);
        let masks = self.masks(trial, out, into);
        for (statement, mask) in masks.iter().copied() {
            let Some(knowledge) = self.knowledge.get_mut(statement) else { continue };
            if let (Some(known), Some(cost)) =
                (trial.masks.get_mut(statement), trial.costs.get_mut(statement))
            {
                *known = mask;
                *cost = knowledge.estimate(mask).cost;
            }
        }
        for one in out.iter().chain(into) {
            let Some(known) = self.candidates.get(*one) else { continue };
            for met in self.meets.get(known.relation).into_iter().flatten() {
                trial.settled.remove(met);
            }
            let group = trial.groups.entry(known.relation).or_default();
            group.retain(|other| other != one);
        }
        for one in out {
            trial.set.remove(one);
        }
        for one in into {
            trial.set.insert(*one);
            if let Some(known) = self.candidates.get(*one) {
                let group = trial.groups.entry(known.relation).or_default();
                group.push(*one);
                group.sort_unstable();
            }
        }
        let relation = |one: &usize| self.candidates.get(*one).map(|known| known.relation);
        let relations: BTreeSet<usize> = out.iter().chain(into).filter_map(relation).collect();
        for relation in relations.iter().copied() {
            let group = trial.groups.get(&relation).cloned().unwrap_or_default();
            trial.write_costs.insert(relation, self.write_cost_of_relation(group));
        }
        trial.weighed = weighed;
        self.reweigh_moves(trial, masks.into_iter().map(|(statement, _)| statement), relations);
    }
}
