//! Tells every statement which candidates of the pool can serve it, and lists the moves that sets are built of.

use super::knowledge::{Knowledge, MOST, Planned};
use super::search::{Move, Search, Set};
use super::{cover, wanted};
use std::collections::{BTreeSet, HashSet};

impl Search<'_> {
    /// Tells every statement which candidates of the pool can serve it, and what the rounds taught about them.
    pub(super) fn connect(&mut self) {
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); self.relations.len()];
        for candidate in &self.pool {
            let known = self.candidates.get(*candidate);
            if let Some(group) = known.and_then(|known| groups.get_mut(known.relation)) {
                group.push(*candidate);
            }
        }
        let covered = self.covered(&groups);
        let relation =
            |one: usize| self.candidates.get(one).map_or(usize::MAX, |known| known.relation);
        let mut all: Vec<Knowledge> = Vec::with_capacity(self.asked.len());
        for (statement, asked) in self.asked.iter().enumerate() {
            let local =
                if asked.before.is_some() { self.local(statement, &groups) } else { Vec::new() };
            let before = asked.before.as_ref().map_or(0.0, |plan| plan.total_cost);
            let covered_by = |one: usize| covered.get(one).map_or(&[][..], Vec::as_slice);
            let mut knowledge = Knowledge::new(before, local, covered_by, relation);
            for (offered, used, cost) in self.first.get(statement).into_iter().flatten() {
                knowledge.learn(Planned {
                    offered: knowledge.set(offered),
                    used: knowledge.set(used),
                    cost: *cost,
                });
            }
            all.push(knowledge);
        }
        self.knowledge = all;
        for (statement, knowledge) in self.knowledge.iter().enumerate() {
            for (bit, candidate) in knowledge.local.iter().enumerate() {
                if let Some(known) = self.candidates.get_mut(*candidate) {
                    known.touches.push((statement, 1 << bit));
                }
            }
        }
    }

    /// Of each candidate of the pool, the others there that it serves as well as they do.
    fn covered(&self, groups: &[Vec<usize>]) -> Vec<Vec<usize>> {
        let mut covered: Vec<Vec<usize>> = vec![Vec::new(); self.candidates.len()];
        for group in groups {
            for a in group {
                let Some(index) = self.candidates.get(*a) else { continue };
                let others = group.iter().copied().filter(|b| {
                    let other = self.candidates.get(*b).filter(|_| a != b);
                    other.is_some_and(|other| cover::covers(&index.definition, &other.definition))
                });
                if let Some(covered) = covered.get_mut(*a) {
                    covered.extend(others);
                }
            }
        }
        covered
    }

    /// The candidates that can serve a statement, those made for it first.
    fn local(&self, statement: usize, groups: &[Vec<usize>]) -> Vec<usize> {
        let Some(asked) = self.asked.get(statement) else { return Vec::new() };
        let own = self.offered.get(statement);
        let is_own = |candidate: &usize| own.is_some_and(|own| own.contains(candidate));
        let named: BTreeSet<usize> = asked
            .shape
            .relations
            .iter()
            .filter_map(|used| self.relations.get(&used.name).copied())
            .collect();
        let mut local: Vec<usize> = named
            .into_iter()
            .filter_map(|relation| groups.get(relation))
            .flatten()
            .copied()
            .filter(|candidate| {
                let known = self.candidates.get(*candidate);
                is_own(candidate)
                    || known.is_some_and(|known| wanted::can_serve(asked, &known.definition))
            })
            .collect();
        local.sort_by_key(|candidate| (!is_own(candidate), *candidate));
        local.truncate(MOST);
        local
    }

    /// Every candidate of the pool alone, and those that plans used together.
    pub(super) fn list_moves(&mut self) {
        let alone = self.pool.iter().map(|candidate| Set::from([*candidate]));
        let sets: BTreeSet<Set> = alone.chain(self.together.iter().cloned()).collect();
        self.add_moves(sets);
    }

    /// Adds moves that are not there yet.
    pub(super) fn add_moves(&mut self, sets: BTreeSet<Set>) {
        let known: HashSet<Vec<usize>> =
            self.moves.iter().map(|known| known.added.clone()).collect();
        let empty = self.trial(&Set::new());
        for set in sets {
            let added: Vec<usize> = set.into_iter().collect();
            if added.is_empty() || known.contains(&added) {
                continue;
            }
            let weighed = self.weigh(&empty, &[], &added);
            let alone = empty.objective() - weighed.objective();
            self.moves.push(Move { added, alone, size: weighed.size });
        }
        // What is worth most alone is tried first; equals in the order of the candidates.
        self.moves.sort_by(|a, b| b.alone.total_cmp(&a.alone).then_with(|| a.added.cmp(&b.added)));
        if self.meets.is_empty() {
            self.meets = self.list_meets();
        }
        self.near = self.list_near();
        self.list_concerned();
    }

    fn list_meets(&self) -> Vec<BTreeSet<usize>> {
        let relation = |one: &usize| self.candidates.get(*one).map(|known| known.relation);
        let mut meets: Vec<BTreeSet<usize>> =
            (0..self.relations.len()).map(|relation| BTreeSet::from([relation])).collect();
        for knowledge in &self.knowledge {
            let together: BTreeSet<usize> = knowledge.local.iter().filter_map(relation).collect();
            for one in &together {
                if let Some(met) = meets.get_mut(*one) {
                    met.extend(&together);
                }
            }
        }
        meets
    }

    fn list_near(&self) -> Vec<Vec<usize>> {
        let relation = |one: &usize| self.candidates.get(*one).map(|known| known.relation);
        let mut near: Vec<Vec<usize>> = vec![Vec::new(); self.meets.len()];
        for (place, known) in self.moves.iter().enumerate() {
            let concerned: BTreeSet<usize> = known
                .added
                .iter()
                .filter_map(relation)
                .filter_map(|relation| self.meets.get(relation))
                .flatten()
                .copied()
                .collect();
            for relation in concerned {
                if let Some(near) = near.get_mut(relation) {
                    near.push(place);
                }
            }
        }
        near
    }
}
