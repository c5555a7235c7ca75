//! The candidates, what is known of them, and the search among them.
//!
//! A statement's candidates are offered to the engine all at once, a few rounds, then only the narrow ones, and those of
//! them one by one that may save enough; what it picks is the pool (`rounds.rs`). Each statement is told which of them
//! can serve it (`connect.rs`) and offered those of others, then sets are sought for all budgets together (`climb.rs`):
//! the answers to one budget's questions serve the others.

use super::climb::limit;
use super::frontier::{Archive, Point};
use super::gains::Concerned;
use super::knowledge::Knowledge;
use super::quick_hash::QuickMap;
use super::statement::Asked;
use super::stop::{Phase, Stop};
use super::writes::{Kept, Writes};
use super::{FrontierPoint, name, rule, size};
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::WhatIf;
use pgassay_model::workload::WorkloadStatement;
use pgassay_sql::index_ddl;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Questions beyond those of the rounds: for each of a few statements, for each of more than so many, at least and at
/// most in all.
const QUESTIONS: u64 = 95;
const FEW_STATEMENTS: usize = 20;
const MORE_QUESTIONS: u64 = 40;
const LEAST_QUESTIONS: u64 = 400;
/// More budgets than that get more in proportion.
const FEW_BUDGETS: usize = 4;
const MOST_QUESTIONS: u64 = 20_000;

/// A set of candidates, by position.
pub(super) type Set = BTreeSet<usize>;

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

/// How many questions may be asked about so many statements for so many budgets.
fn questions(statements: usize, budgets: usize) -> u64 {
    let few = statements.min(FEW_STATEMENTS) as u64;
    let more = statements as u64 - few;
    let questions = QUESTIONS * few + MORE_QUESTIONS * more;
    let questions = questions * budgets.max(FEW_BUDGETS) as u64 / FEW_BUDGETS as u64;
    questions.clamp(LEAST_QUESTIONS, MOST_QUESTIONS)
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
    pub(super) relations: HashMap<RelationName, usize>,
    /// Names taken in each schema.
    names: HashMap<String, BTreeSet<String>>,
    /// Candidates of each statement.
    pub offered: Vec<Set>,
    /// Candidates that some plan used.
    pub pool: Set,
    /// Candidates that a plan used together, and that may be worth something only together: the two sides of a
    /// join, the alternatives of an OR.
    pub(super) together: BTreeSet<Set>,
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
    pub(super) concerned: Concerned,
    pub(super) archive: Archive,
    /// Questions that may still be asked.
    pub(super) questions: u64,
    write_costs: QuickMap<Vec<usize>, f64>,
    /// Of each relation, whether any statement writes it.
    is_written: Vec<bool>,
    /// Weighted cost of the statements today.
    before: f64,
    /// The set that is written about.
    pub chosen: Set,
    /// The same by relation, and its size.
    pub(super) chosen_groups: HashMap<usize, Vec<usize>>,
    chosen_size: u64,
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
            concerned: Concerned::default(),
            archive: Archive::default(),
            questions: 0,
            write_costs: QuickMap::default(),
            is_written: Vec::new(),
            before: asked.iter().map(Asked::weighted_before).sum(),
            chosen: Set::new(),
            chosen_groups: HashMap::new(),
            chosen_size: 0,
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
    pub(super) fn position(&mut self, statement: usize, definition: IndexDefinition) -> usize {
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
        if relation == relations {
            self.is_written.push(self.writes.any(&definition.relation));
        }
        self.candidates.push(Candidate { definition, size, share, relation, touches: Vec::new() });
        position
    }

    /// Searches the best sets for all budgets. When it is time to stop, no more questions are asked, and the choice
    /// is made among the plans that are known by then.
    pub(super) fn run(&mut self, budgets: &[Option<Bytes>]) {
        self.questions = questions(self.asked.len(), budgets.len());
        self.stop.enter(Phase::Asking);
        self.rounds();
        self.one_by_one();
        self.stop.enter(Phase::Choosing);
        self.merge();
        self.connect();
        self.others();
        self.list_moves();
        self.climb(budgets);
    }

    /// Weighted cost that candidates, all on one relation, bring to its writers.
    pub(super) fn write_cost_of_relation(&mut self, group: Vec<usize>) -> f64 {
        let known = group.iter().filter_map(|candidate| self.candidates.get(*candidate));
        let Some(first) = known.clone().next() else { return 0.0 };
        if !self.is_written.get(first.relation).is_some_and(|written| *written) {
            return 0.0;
        }
        if let Some(cost) = self.write_costs.get(&group) {
            return *cost;
        }
        let kept: Vec<Kept<'_>> =
            known.map(|known| Kept { definition: &known.definition, share: known.share }).collect();
        let relation = self.snapshot.relation(&first.definition.relation);
        let cost = relation.map_or(0.0, |relation| self.writes.added(relation, &kept));
        self.write_costs.insert(group, cost);
        cost
    }

    /// The statements that write a relation.
    pub(super) fn writers(&self, relation: &RelationName) -> &[&'a Asked<'a>] {
        self.writes.of(relation)
    }

    /// Whether indexes cost any statement anything.
    pub(super) fn anybody_writes(&self) -> bool {
        !self.writes.none()
    }

    /// What a candidate saves readers and costs writers beyond the other chosen ones, weighted, in planner units.
    pub(super) fn gain(&mut self, candidate: usize) -> (f64, f64) {
        let Some(known) = self.candidates.get(candidate) else { return (0.0, 0.0) };
        let relation = known.relation;
        let touched: Vec<usize> = known.touches.iter().map(|(statement, _)| *statement).collect();
        let mut read = 0.0;
        for statement in touched {
            let weight = self.asked.get(statement).map_or(0.0, |asked| asked.statement.weight);
            let less = self.plan(statement, None, Some(candidate)).0;
            read += weight * (less - self.plan(statement, Some(candidate), None).0);
        }
        let mut rest = self.chosen_groups.get(&relation).cloned().unwrap_or_default();
        rest.retain(|one| *one != candidate);
        let mut all = rest.clone();
        all.push(candidate);
        all.sort_unstable();
        let write = self.write_cost_of_relation(all) - self.write_cost_of_relation(rest);
        (read, write)
    }

    /// Whether a candidate that is not chosen fits into the budget beside the chosen ones.
    pub(super) fn fits(&self, candidate: usize) -> bool {
        let size = self.candidates.get(candidate).map_or(0, |known| known.size.0);
        self.chosen_size + size <= limit(self.budget)
    }

    /// Weighted cost of the statements today.
    pub(super) fn cost_before(&self) -> f64 {
        self.before
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
        self.chosen_groups.clear();
        self.chosen_size = 0;
        for candidate in &self.chosen {
            let Some(known) = self.candidates.get(*candidate) else { continue };
            self.chosen_groups.entry(known.relation).or_default().push(*candidate);
            self.chosen_size += known.size.0;
        }
    }

    /// Weighted cost of the statements with the chosen indexes.
    pub(super) fn cost_after(&mut self) -> f64 {
        let weights: Vec<f64> = self.asked.iter().map(|asked| asked.statement.weight).collect();
        let weighted = weights.iter().enumerate();
        weighted.map(|(statement, weight)| weight * self.plan(statement, None, None).0).sum()
    }

    /// The curve of size against cost.
    pub(super) fn frontier(&self) -> Vec<FrontierPoint> {
        let mut written: HashMap<usize, String> = HashMap::new();
        let mut ddl = |candidate: &usize| {
            let known = self.candidates.get(*candidate)?;
            let text = written.entry(*candidate);
            Some(text.or_insert_with(|| index_ddl(&known.definition, true)).clone())
        };
        let points = self.archive.frontier().into_iter().map(|point| FrontierPoint {
            size: Bytes(point.size),
            cost: point.objective(),
            indexes: point.set.iter().filter_map(&mut ddl).collect(),
        });
        points.collect()
    }

    pub(super) fn engine_name(&self) -> &'static str {
        self.engine.engine()
    }

    /// Whether the planner answers for a statement; else rules do.
    pub(super) fn is_planned(&mut self, statement: &WorkloadStatement) -> bool {
        self.engine.plans_indexes_for(statement)
    }

    pub(super) fn calls(&self) -> u64 {
        self.engine.calls()
    }

    /// Whether the search was stopped before it came to its end.
    pub(super) fn stopped(&self) -> bool {
        self.stop.stopped()
    }
}
