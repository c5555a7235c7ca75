//! Chooses among candidates: greedy by worth per byte, then swaps, then what became needless is dropped.
//!
//! A statement's candidates are offered to the engine all at once, a few rounds; only what it picks is searched
//! further (design "indexes": 72 EXPLAINs instead of thousands).

use super::plans::Planned;
use super::statement::Asked;
use super::writes::{Kept, Writes};
use super::{MINIMUM_WORTH, cover, name, rule, size, wanted};
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::WhatIf;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Rounds in which a statement's candidates are offered; each leaves out what earlier rounds picked.
const ROUNDS: usize = 3;
/// Rounds of swaps.
const SWAPS: usize = 3;

/// A set of candidates, by position.
pub(super) type Set = BTreeSet<usize>;

/// When to stop with the best set so far.
#[derive(Debug, Clone)]
pub(super) struct Stop {
    pub deadline: Option<Instant>,
    pub interrupt: Interrupt,
}

impl Stop {
    /// Whether it is time.
    pub(super) fn requested(&self) -> bool {
        self.interrupt.requested()
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// An index that could be.
#[derive(Debug)]
pub(super) struct Candidate {
    pub definition: IndexDefinition,
    pub size: Bytes,
    /// Share of the relation's rows that it holds.
    pub share: f64,
}

/// The state of a search.
pub(super) struct Search<'a> {
    snapshot: &'a Snapshot,
    pub(super) asked: &'a [Asked<'a>],
    pub(super) engine: &'a mut dyn WhatIf,
    writes: Writes<'a>,
    budget: Option<Bytes>,
    pub(super) stop: Stop,
    pub candidates: Vec<Candidate>,
    /// Candidates of each statement.
    pub offered: Vec<Set>,
    /// Candidates that some plan used.
    pub pool: Set,
    /// Candidates that a plan used together, and that may be worth something only together: the two sides of a
    /// join, the alternatives of an OR.
    together: BTreeSet<Set>,
    /// What each candidate of the pool is worth alone.
    alone: BTreeMap<usize, f64>,
    pub chosen: Set,
    /// Candidates the engine could not answer for, with its words.
    pub refused: Vec<(usize, String)>,
    pub(super) plans: Vec<Vec<Planned>>,
    /// Of each statement, the candidates that could serve it.
    pub(super) matters: Vec<Set>,
}

/// Candidates to add together, with the last known worth beyond writers' cost.
struct Move {
    added: Set,
    net: f64,
    size: u64,
    /// Whether `net` was computed for the set chosen now.
    fresh: bool,
}

impl Move {
    fn score(&self) -> f64 {
        self.net / self.size.max(1) as f64
    }
}

impl<'a> Search<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        asked: &'a [Asked<'a>],
        engine: &'a mut dyn WhatIf,
        budget: Option<Bytes>,
        stop: Stop,
    ) -> Self {
        Search {
            snapshot,
            asked,
            engine,
            writes: Writes::new(snapshot, asked),
            budget,
            stop,
            candidates: Vec::new(),
            offered: vec![Set::new(); asked.len()],
            pool: Set::new(),
            together: BTreeSet::new(),
            alone: BTreeMap::new(),
            chosen: Set::new(),
            refused: Vec::new(),
            plans: vec![Vec::new(); asked.len()],
            matters: vec![Set::new(); asked.len()],
        }
    }

    /// Adds a statement's candidates.
    pub(super) fn offer(&mut self, statement: usize, definitions: Vec<IndexDefinition>) {
        let Some(asked) = self.asked.get(statement) else { return };
        for mut definition in definitions {
            let same = |known: &Candidate| {
                let name = definition.name.clone();
                IndexDefinition { name, ..known.definition.clone() } == definition
            };
            let position = match self.candidates.iter().position(same) {
                Some(position) => position,
                None => {
                    let mut taken = name::taken(self.snapshot, &definition.relation.schema);
                    taken.extend(self.candidates.iter().map(|known| known.definition.name.clone()));
                    definition.name = name::choose(&definition, &taken);
                    let share = rule::predicate_share(
                        self.snapshot,
                        asked.statement,
                        &asked.shape,
                        &definition,
                    );
                    let size = self.engine.index_size(&definition).unwrap_or_else(|| {
                        self.snapshot
                            .relation(&definition.relation)
                            .map_or(Bytes(0), |relation| size::bytes(relation, &definition, share))
                    });
                    self.candidates.push(Candidate { definition, size, share });
                    self.candidates.len() - 1
                }
            };
            if let Some(offered) = self.offered.get_mut(statement) {
                offered.insert(position);
            }
        }
    }

    /// Searches. When it is time to stop, no more questions are asked, and the choice is made among the plans that
    /// are known by then.
    pub(super) fn run(&mut self) {
        for ((asked, offered), matters) in
            self.asked.iter().zip(&self.offered).zip(&mut self.matters)
        {
            let serving = self.candidates.iter().enumerate().filter(|(position, candidate)| {
                offered.contains(position) || wanted::can_serve(asked, &candidate.definition)
            });
            *matters = serving.map(|(position, _)| position).collect();
        }
        self.preselect();
        self.greedy();
        self.drop_needless();
        for _ in 0..SWAPS {
            if self.stop.requested() || !self.swap() {
                break;
            }
            self.drop_needless();
        }
    }

    fn preselect(&mut self) {
        for statement in 0..self.asked.len() {
            let mut open = self.offered.get(statement).cloned().unwrap_or_default();
            for _ in 0..ROUNDS {
                if open.is_empty() || self.stop.requested() {
                    break;
                }
                let (_, used) = self.plan(statement, &open);
                if used.is_empty() {
                    break;
                }
                open.retain(|candidate| !used.contains(candidate));
                self.pool.extend(used.iter().copied());
                self.together.insert(used);
            }
        }
    }

    /// Adds what is worth most for its size, until nothing is worth adding. Lazily: what a candidate is worth hardly
    /// ever grows as others are chosen, so only the seemingly best one is asked for again (Minoux's accelerated
    /// greedy algorithm, 1978).
    fn greedy(&mut self) {
        let mut moves = self.moves();
        self.alone = moves
            .iter()
            .filter_map(|known| match known.added.iter().collect::<Vec<_>>().as_slice() {
                [one] => Some((**one, known.net)),
                _ => None,
            })
            .collect();
        loop {
            let least = MINIMUM_WORTH * self.objective(&self.chosen.clone());
            // The first among equals, so that the order of the candidates decides and nothing else.
            let best = moves
                .iter()
                .enumerate()
                .filter(|(_, known)| {
                    known.net > 0.0 && known.net >= least && self.fits(&known.added, None)
                })
                .rev()
                .max_by(|a, b| a.1.score().total_cmp(&b.1.score()))
                .map(|(position, known)| (position, known.fresh));
            match best {
                Some((position, true)) => {
                    self.chosen.extend(moves.remove(position).added);
                    for known in &mut moves {
                        known.fresh = false;
                    }
                }
                Some((position, false)) => {
                    let stale = moves.remove(position);
                    if let Some(again) = self.weigh(&stale.added) {
                        moves.insert(position, again);
                    }
                }
                // Now and then something did grow: once updates have lost HOT, the next index costs them less.
                None if moves.iter().any(|known| !known.fresh) => {
                    let stale = std::mem::take(&mut moves);
                    moves = stale.iter().filter_map(|known| self.weigh(&known.added)).collect();
                }
                None => return,
            }
        }
    }

    /// Every candidate of the pool alone, and those that plans used together, weighed.
    fn moves(&mut self) -> Vec<Move> {
        let alone = self.pool.iter().map(|candidate| Set::from([*candidate]));
        let sets: BTreeSet<Set> = alone.chain(self.together.iter().cloned()).collect();
        let mut moves = Vec::new();
        for added in sets {
            moves.extend(self.weigh(&added));
        }
        moves
    }

    /// What candidates are worth beside the chosen ones; None when there is nothing left to add.
    fn weigh(&mut self, added: &Set) -> Option<Move> {
        let added: Set = added
            .iter()
            .copied()
            .filter(|one| !self.chosen.contains(one) && !self.is_covered(*one))
            .collect();
        if added.is_empty() {
            return None;
        }
        let (read, write) = self.gain(&added);
        Some(Move { net: read - write, size: self.size(&added), added, fresh: true })
    }

    /// Drops chosen indexes without which nothing is lost, the least worth first.
    fn drop_needless(&mut self) {
        loop {
            let total = self.objective(&self.chosen.clone());
            let mut least: Option<(f64, usize)> = None;
            for candidate in self.chosen.clone() {
                let mut without = self.chosen.clone();
                without.remove(&candidate);
                let loss = self.objective(&without) - total;
                if loss < MINIMUM_WORTH * total && least.is_none_or(|(known, _)| loss < known) {
                    least = Some((loss, candidate));
                }
            }
            match least {
                Some((_, candidate)) => self.chosen.remove(&candidate),
                None => return,
            };
        }
    }

    /// Replaces one chosen index by another of the same relation, where that is worth it.
    fn swap(&mut self) -> bool {
        let total = self.objective(&self.chosen.clone());
        let least = MINIMUM_WORTH * total;
        let mut best: Option<(f64, usize, usize)> = None;
        for out in self.chosen.clone() {
            let mut without = self.chosen.clone();
            without.remove(&out);
            let loss = self.objective(&without) - total;
            for into in self.pool.clone() {
                if self.stop.requested() {
                    return false;
                }
                // Beside others it is hardly ever worth more than alone.
                let promising = self.alone.get(&into).is_none_or(|alone| alone - loss >= least);
                let same_relation = self.relation_of(out) == self.relation_of(into);
                if !promising
                    || !same_relation
                    || self.chosen.contains(&into)
                    || !self.fits(&Set::from([into]), Some(out))
                {
                    continue;
                }
                let mut set = without.clone();
                set.insert(into);
                let gain = total - self.objective(&set);
                if gain > 0.0 && gain >= least && best.is_none_or(|(known, ..)| gain > known) {
                    best = Some((gain, out, into));
                }
            }
        }
        if let Some((_, out, into)) = best {
            self.chosen.remove(&out);
            self.chosen.insert(into);
        }
        best.is_some()
    }

    /// What candidates save readers and cost writers beyond the other chosen ones, weighted, in planner units.
    pub(super) fn gain(&mut self, added: &Set) -> (f64, f64) {
        let without: Set = self.chosen.difference(added).copied().collect();
        let with: Set = self.chosen.union(added).copied().collect();
        let read = self.read_cost(&without) - self.read_cost(&with);
        let write = self.write_cost(&with) - self.write_cost(&without);
        (read, write)
    }

    /// Weighted cost of all statements and of maintaining a set.
    pub(super) fn objective(&mut self, set: &Set) -> f64 {
        self.read_cost(set) + self.write_cost(set)
    }

    fn read_cost(&mut self, set: &Set) -> f64 {
        (0..self.asked.len())
            .map(|statement| {
                let weight = self.asked.get(statement).map_or(0.0, |asked| asked.statement.weight);
                weight * self.plan(statement, set).0
            })
            .sum()
    }

    fn write_cost(&self, set: &Set) -> f64 {
        let relations: BTreeSet<&RelationName> = set
            .iter()
            .filter_map(|candidate| Some(&self.candidates.get(*candidate)?.definition.relation))
            .collect();
        relations
            .into_iter()
            .filter_map(|name| {
                let kept: Vec<Kept<'_>> = set
                    .iter()
                    .filter_map(|candidate| self.candidates.get(*candidate))
                    .filter(|candidate| candidate.definition.relation == *name)
                    .map(|candidate| Kept {
                        definition: &candidate.definition,
                        share: candidate.share,
                    })
                    .collect();
                Some(self.writes.added(self.snapshot.relation(name)?, &kept))
            })
            .sum()
    }

    fn relation_of(&self, candidate: usize) -> Option<&RelationName> {
        Some(&self.candidates.get(candidate)?.definition.relation)
    }

    fn is_covered(&self, candidate: usize) -> bool {
        self.candidates.get(candidate).is_some_and(|candidate| {
            self.chosen
                .iter()
                .filter_map(|chosen| self.candidates.get(*chosen))
                .any(|chosen| cover::covers(&chosen.definition, &candidate.definition))
        })
    }

    fn size(&self, set: &Set) -> u64 {
        set.iter()
            .filter_map(|position| self.candidates.get(*position))
            .map(|known| known.size.0)
            .sum()
    }

    /// Whether candidates fit into the budget beside the chosen ones, without `out`.
    pub(super) fn fits(&self, added: &Set, out: Option<usize>) -> bool {
        let mut set: Set = self.chosen.union(added).copied().collect();
        if let Some(out) = out {
            set.remove(&out);
        }
        self.budget.is_none_or(|budget| self.size(&set) <= budget.0)
    }

    /// Weighted cost of the statements today.
    pub(super) fn cost_before(&self) -> f64 {
        self.asked.iter().map(Asked::weighted_before).sum()
    }

    /// Weighted cost of the statements with the chosen indexes.
    pub(super) fn cost_after(&mut self) -> f64 {
        let chosen = self.chosen.clone();
        self.read_cost(&chosen)
    }

    pub(super) fn engine_name(&self) -> &'static str {
        self.engine.engine()
    }

    pub(super) fn calls(&self) -> u64 {
        self.engine.calls()
    }

    /// Whether the search came to its end.
    pub(super) fn stopped(&self) -> bool {
        self.stop.requested()
    }
}
