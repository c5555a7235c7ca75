//! The candidates, what is known of them, and the search among them.
//!
//! A statement's candidates are offered to the engine all at once, a few rounds, then only the narrow ones; what it
//! picks is the pool (design "indexes": 72 EXPLAINs instead of thousands). Then sets are sought for all budgets
//! together (`climb.rs`): the answers to one budget's questions serve the others.

use super::climb::limit;
use super::cover;
use super::frontier::{Archive, Point};
use super::knowledge::{Knowledge, MOST};
use super::merge;
use super::statement::Asked;
use super::writes::{Kept, Writes};
use super::{FrontierPoint, name, rule, size, wanted};
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::WhatIf;
use pgassay_sql::index_ddl;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

/// Rounds in which a statement's candidates are offered; each leaves out what earlier rounds picked.
const ROUNDS: usize = 3;
/// Merged candidates of one relation.
const MERGED: usize = 40;
/// Questions beyond those of the rounds: for each statement, at least and at most in all.
const QUESTIONS: u64 = 80;
const LEAST_QUESTIONS: u64 = 400;
const MOST_QUESTIONS: u64 = 20_000;

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
    /// Number of the relation.
    pub relation: usize,
    /// The statements it can serve, each with its bit there.
    pub touches: Vec<(usize, u128)>,
}

/// Candidates to add together.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub added: Vec<usize>,
    /// What they are expected to save beyond writers' cost where nothing else is chosen.
    pub alone: f64,
    pub size: u64,
}

/// The state of a search.
pub(super) struct Search<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) asked: &'a [Asked<'a>],
    pub(super) engine: &'a mut dyn WhatIf,
    writes: Writes<'a>,
    pub(super) stop: Stop,
    /// Share of the objective that an index must save.
    pub worth: f64,
    pub seed: u64,
    pub candidates: Vec<Candidate>,
    /// Position of a definition, its name left out.
    known: HashMap<IndexDefinition, usize>,
    relations: HashMap<RelationName, usize>,
    /// Names taken in each schema.
    names: HashMap<String, BTreeSet<String>>,
    /// Candidates of each statement.
    pub offered: Vec<Set>,
    /// Candidates that some plan used.
    pub pool: Set,
    /// Candidates that a plan used together, and that may be worth something only together: the two sides of a
    /// join, the alternatives of an OR.
    together: BTreeSet<Set>,
    /// Candidates the engine could not answer for, with its words.
    pub refused: BTreeMap<usize, String>,
    /// Answers of the rounds, by statement: what there was, what was used, the cost.
    pub(super) first: Vec<Vec<(Set, Set, f64)>>,
    pub(super) knowledge: Vec<Knowledge>,
    pub(super) moves: Vec<Move>,
    /// Of each relation, the moves that concern it or one it meets in a statement.
    pub(super) near: Vec<Vec<usize>>,
    /// Of each relation, those it meets in a statement, and itself.
    pub(super) meets: Vec<BTreeSet<usize>>,
    pub(super) archive: Archive,
    /// Questions that may still be asked.
    pub(super) questions: u64,
    write_costs: HashMap<Vec<usize>, f64>,
    /// The set that is written about.
    pub chosen: Set,
    pub budget: Option<Bytes>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        asked: &'a [Asked<'a>],
        engine: &'a mut dyn WhatIf,
        worth: f64,
        seed: u64,
        stop: Stop,
    ) -> Self {
        Search {
            snapshot,
            asked,
            engine,
            writes: Writes::new(snapshot, asked),
            stop,
            worth,
            seed,
            candidates: Vec::new(),
            known: HashMap::new(),
            relations: HashMap::new(),
            names: HashMap::new(),
            offered: vec![Set::new(); asked.len()],
            pool: Set::new(),
            together: BTreeSet::new(),
            refused: BTreeMap::new(),
            first: vec![Vec::new(); asked.len()],
            knowledge: Vec::new(),
            moves: Vec::new(),
            near: Vec::new(),
            meets: Vec::new(),
            archive: Archive::default(),
            questions: (QUESTIONS * asked.len() as u64).clamp(LEAST_QUESTIONS, MOST_QUESTIONS),
            write_costs: HashMap::new(),
            chosen: Set::new(),
            budget: None,
        }
    }

    /// Adds a statement's candidates.
    pub(super) fn offer(&mut self, statement: usize, definitions: Vec<IndexDefinition>) {
        for definition in definitions {
            let position = self.position(statement, definition);
            if let Some(offered) = self.offered.get_mut(statement) {
                offered.insert(position);
            }
        }
    }

    /// The position of a candidate, new or known.
    fn position(&mut self, statement: usize, definition: IndexDefinition) -> usize {
        let nameless = IndexDefinition { name: String::new(), ..definition };
        if let Some(position) = self.known.get(&nameless) {
            return *position;
        }
        let position = self.candidates.len();
        self.known.insert(nameless.clone(), position);
        let snapshot = self.snapshot;
        let schema = &nameless.relation.schema;
        let taken =
            self.names.entry(schema.clone()).or_insert_with(|| name::taken(snapshot, schema));
        let definition = IndexDefinition { name: name::choose(&nameless, taken), ..nameless };
        taken.insert(definition.name.clone());
        let share = self.asked.get(statement).map_or(1.0, |asked| {
            rule::predicate_share(snapshot, asked.statement, &asked.shape, &definition)
        });
        let size = self.engine.index_size(&definition).unwrap_or_else(|| {
            snapshot
                .relation(&definition.relation)
                .map_or(Bytes(0), |relation| size::bytes(relation, &definition, share))
        });
        let relations = self.relations.len();
        let relation = *self.relations.entry(definition.relation.clone()).or_insert(relations);
        self.candidates.push(Candidate { definition, size, share, relation, touches: Vec::new() });
        position
    }

    /// Searches the best sets for all budgets. When it is time to stop, no more questions are asked, and the choice
    /// is made among the plans that are known by then.
    pub(super) fn run(&mut self, budgets: &[Option<Bytes>]) {
        for statement in 0..self.asked.len() {
            self.rounds(statement);
        }
        self.merge();
        self.connect();
        self.list_moves();
        self.climb(budgets);
    }

    /// Offers a statement's candidates: all, then those without INCLUDE, then those with a single key.
    fn rounds(&mut self, statement: usize) {
        let offered = self.offered.get(statement).cloned().unwrap_or_default();
        let narrow = |search: &Self, keys: usize| -> Set {
            let fits = |candidate: &usize| {
                search.candidates.get(*candidate).is_some_and(|known| {
                    known.definition.include.is_empty() && known.definition.keys.len() <= keys
                })
            };
            offered.iter().copied().filter(fits).collect()
        };
        let classes = [offered.clone(), narrow(self, usize::MAX), narrow(self, 1)];
        let mut seen: BTreeSet<Set> = BTreeSet::new();
        for class in classes {
            let mut open = class;
            for _ in 0..ROUNDS {
                open.retain(|candidate| !self.refused.contains_key(candidate));
                if open.is_empty() || !seen.insert(open.clone()) || self.stop.requested() {
                    break;
                }
                let Some(used) = self.round(statement, &mut open) else { break };
                open.retain(|candidate| !used.contains(candidate));
                self.pool.extend(used.iter().copied());
                self.together.insert(used);
            }
        }
    }

    /// Candidates that can serve either of two statements' needs in one index.
    fn merge(&mut self) {
        let mut by_relation: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for candidate in &self.pool {
            if let Some(known) = self.candidates.get(*candidate) {
                by_relation.entry(known.relation).or_default().push(*candidate);
            }
        }
        for group in by_relation.into_values() {
            let mut made = 0;
            for (place, a) in group.iter().enumerate() {
                for b in group.iter().skip(place + 1) {
                    let both = self.candidates.get(*a).zip(self.candidates.get(*b));
                    let merged =
                        both.and_then(|(a, b)| merge::merged(&a.definition, &b.definition));
                    if let Some(definition) = merged.filter(|_| made < MERGED) {
                        // Plain indexes hold all rows, whatever the statement.
                        let statement = usize::MAX;
                        let position = self.position(statement, definition);
                        made += usize::from(self.pool.insert(position));
                    }
                }
            }
        }
    }

    /// Tells every statement which candidates of the pool can serve it, and what the rounds taught about them.
    fn connect(&mut self) {
        let mut by_relation: HashMap<&RelationName, Vec<usize>> = HashMap::new();
        for candidate in &self.pool {
            if let Some(known) = self.candidates.get(*candidate) {
                by_relation.entry(&known.definition.relation).or_default().push(*candidate);
            }
        }
        for (statement, asked) in self.asked.iter().enumerate() {
            let own = self.offered.get(statement);
            let named: BTreeSet<&RelationName> =
                asked.shape.relations.iter().map(|used| &used.name).collect();
            let mut local: Vec<usize> = named
                .into_iter()
                .filter_map(|name| by_relation.get(name))
                .flatten()
                .copied()
                .filter(|candidate| {
                    own.is_some_and(|own| own.contains(candidate))
                        || self
                            .candidates
                            .get(*candidate)
                            .is_some_and(|known| wanted::can_serve(asked, &known.definition))
                })
                .collect();
            local.sort_by_key(|candidate| {
                (!own.is_some_and(|own| own.contains(candidate)), *candidate)
            });
            local.truncate(MOST);
            if asked.before.is_none() {
                local.clear();
            }
            let pair = |a: usize, b: usize| self.candidates.get(a).zip(self.candidates.get(b));
            let covers = |a, b| {
                a != b
                    && pair(a, b).is_some_and(|(a, b)| cover::covers(&a.definition, &b.definition))
            };
            let same = |a, b| pair(a, b).is_some_and(|(a, b)| a.relation == b.relation);
            let before = asked.before.as_ref().map_or(0.0, |plan| plan.total_cost);
            let mut knowledge = Knowledge::new(before, local, covers, same);
            for (offered, used, cost) in self.first.get(statement).into_iter().flatten() {
                knowledge.learn(super::knowledge::Planned {
                    offered: knowledge.set(offered),
                    used: knowledge.set(used),
                    cost: *cost,
                });
            }
            self.knowledge.push(knowledge);
        }
        for (statement, knowledge) in self.knowledge.iter().enumerate() {
            for (bit, candidate) in knowledge.local.iter().enumerate() {
                if let Some(known) = self.candidates.get_mut(*candidate) {
                    known.touches.push((statement, 1 << bit));
                }
            }
        }
    }

    /// Every candidate of the pool alone, and those that plans used together.
    fn list_moves(&mut self) {
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

    /// Weighted cost that candidates, all on one relation, bring to its writers.
    pub(super) fn write_cost_of_relation(&mut self, group: Vec<usize>) -> f64 {
        let known = group.iter().filter_map(|candidate| self.candidates.get(*candidate));
        let Some(name) = known.clone().next().map(|known| &known.definition.relation) else {
            return 0.0;
        };
        if !self.writes.any(name) {
            return 0.0;
        }
        if let Some(cost) = self.write_costs.get(&group) {
            return *cost;
        }
        let kept: Vec<Kept<'_>> =
            known.map(|known| Kept { definition: &known.definition, share: known.share }).collect();
        let relation = self.snapshot.relation(name);
        let cost = relation.map_or(0.0, |relation| self.writes.added(relation, &kept));
        self.write_costs.insert(group, cost);
        cost
    }

    /// Whether indexes cost any statement anything.
    pub(super) fn anybody_writes(&self) -> bool {
        !self.writes.none()
    }

    pub(super) fn size(&self, set: &Set) -> u64 {
        set.iter()
            .filter_map(|position| self.candidates.get(*position))
            .map(|known| known.size.0)
            .sum()
    }

    /// What candidates save readers and cost writers beyond the other chosen ones, weighted, in planner units.
    pub(super) fn gain(&mut self, added: &Set) -> (f64, f64) {
        let chosen = std::mem::take(&mut self.chosen);
        let missing: Vec<usize> = added.difference(&chosen).copied().collect();
        let mut with = chosen;
        with.extend(&missing);
        let (none, mut touched, mut relations) = (Set::new(), Set::new(), Set::new());
        for known in added.iter().filter_map(|candidate| self.candidates.get(*candidate)) {
            relations.insert(known.relation);
            touched.extend(known.touches.iter().map(|(statement, _)| *statement));
        }
        let mut read = 0.0;
        for statement in touched {
            let weight = self.asked.get(statement).map_or(0.0, |asked| asked.statement.weight);
            let less = self.plan(statement, &with, added).0 - self.plan(statement, &with, &none).0;
            read += weight * less;
        }
        let mut write = 0.0;
        for relation in relations {
            let on = |one: &&usize| {
                self.candidates.get(**one).is_some_and(|known| known.relation == relation)
            };
            let all: Vec<usize> = with.iter().filter(on).copied().collect();
            let rest: Vec<usize> = all.iter().copied().filter(|one| !added.contains(one)).collect();
            write += self.write_cost_of_relation(all) - self.write_cost_of_relation(rest);
        }
        for one in missing {
            with.remove(&one);
        }
        self.chosen = with;
        (read, write)
    }

    /// Whether candidates fit into the budget beside the chosen ones.
    pub(super) fn fits(&self, added: &Set) -> bool {
        let set: Set = self.chosen.union(added).copied().collect();
        self.size(&set) <= limit(self.budget)
    }

    /// Weighted cost of the statements today.
    pub(super) fn cost_before(&self) -> f64 {
        self.asked.iter().map(Asked::weighted_before).sum()
    }

    /// The objective with a penalty for each index: one that does not save `worth` is not worth its name.
    pub(super) fn penalised(&self, objective: f64, indexes: usize) -> f64 {
        objective.max(f64::MIN_POSITIVE).ln() + self.worth * indexes as f64
    }

    /// The best set of at most so many bytes.
    pub(super) fn best(&self, limit: u64) -> Option<Point> {
        self.archive.best(limit, |objective, indexes| self.penalised(objective, indexes)).cloned()
    }

    /// Makes the best set for a budget the chosen one.
    pub(super) fn choose(&mut self, budget: Option<Bytes>) {
        self.chosen = self.best(limit(budget)).map(|point| point.set).unwrap_or_default();
        self.budget = budget;
    }

    /// Weighted cost of the statements with the chosen indexes.
    pub(super) fn cost_after(&mut self) -> f64 {
        let (chosen, none) = (self.chosen.clone(), Set::new());
        (0..self.asked.len())
            .map(|statement| {
                let weight = self.asked.get(statement).map_or(0.0, |asked| asked.statement.weight);
                weight * self.plan(statement, &chosen, &none).0
            })
            .sum()
    }

    /// The curve of size against cost.
    pub(super) fn frontier(&self) -> Vec<FrontierPoint> {
        let ddl =
            |candidate: &usize| Some(index_ddl(&self.candidates.get(*candidate)?.definition, true));
        let points = self.archive.frontier().into_iter().map(|point| FrontierPoint {
            size: Bytes(point.size),
            cost: point.objective(),
            indexes: point.set.iter().filter_map(ddl).collect(),
        });
        points.collect()
    }

    pub(super) fn engine_name(&self) -> &'static str {
        self.engine.engine()
    }

    pub(super) fn calls(&self) -> u64 {
        self.engine.calls()
    }

    /// Whether the search was stopped before it came to its end.
    pub(super) fn stopped(&self) -> bool {
        self.stop.requested()
    }
}
