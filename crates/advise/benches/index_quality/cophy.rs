//! CoPhy (Dash, Polyzotis and Ailamaki, PVLDB 4(6), 2011) as Kossmann et al. (PVLDB 13(11), 2020) run it: every
//! permutation of up to two of the columns that a statement reads of a relation is a candidate, every statement is
//! planned with every candidate that it could use, one at a time, and an integer program chooses among them.
//!
//! The program is that of facility location under a budget: a statement has the best of what is chosen. It is solved by
//! Lagrangian relaxation, which bounds what any choice could reach, and local search; the gap between the two is
//! reported. Two readings of "one index at a time" are solved, since the literature has both: a statement profits from
//! one index in all, or from one for each relation, their savings added. The better set counts.

use crate::asking::Planner;
use crate::peers::btree;
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::what_if::Hypothesis;
use pgassay_model::workload::Workload;
use pgassay_sql::shape;
use std::collections::{BTreeMap, BTreeSet};

/// Steps of the subgradient method, and after how many of them a set is made of the multipliers.
const STEPS: usize = 600;
const ROUND_EVERY: usize = 15;
/// Types that no B-tree is for.
const NOT_ORDERED: &[&str] = &["json", "jsonb"];

/// What CoPhy knows: the costs that it asked for.
pub struct Questions {
    pub candidates: Vec<IndexDefinition>,
    pub sizes: Vec<u64>,
    /// Relation of each candidate.
    relations: Vec<usize>,
    /// Of each statement, what a candidate saves.
    savings: Vec<Vec<(usize, f64)>>,
    /// Statements planned.
    pub explains: u64,
}

/// Plans every statement with every candidate alone.
pub fn ask(planner: &mut Planner, workload: &Workload) -> Questions {
    let mut read: Vec<BTreeMap<RelationName, BTreeSet<String>>> = Vec::new();
    let mut candidates: BTreeSet<IndexDefinition> = BTreeSet::new();
    for statement in &workload.statements {
        let columns = columns_read(planner, &statement.sql);
        for (relation, columns) in &columns {
            for column in columns {
                candidates.insert(btree(relation, &[column]));
                let others = columns.iter().filter(|other| *other != column);
                candidates.extend(others.map(|other| btree(relation, &[column, other])));
            }
        }
        read.push(columns);
    }
    let candidates: Vec<IndexDefinition> = candidates.into_iter().collect();
    let mut explains = 0;
    let mut cost = |statement: usize, indexes: Vec<IndexDefinition>| {
        explains += 1;
        let hypothesis = Hypothesis { indexes, ..Hypothesis::default() };
        let statement = &workload.statements[statement];
        let planned = planner.engine.cost(statement, &hypothesis).unwrap();
        planned.total_cost * statement.weight
    };
    let before: Vec<f64> = (0..read.len()).map(|statement| cost(statement, Vec::new())).collect();
    let mut savings: Vec<Vec<(usize, f64)>> = vec![Vec::new(); read.len()];
    // One candidate after the other, so that each is made once.
    for (place, candidate) in candidates.iter().enumerate() {
        let leading = candidate.keys[0].column.as_deref().unwrap_or_default();
        for (statement, read) in read.iter().enumerate() {
            let usable =
                read.get(&candidate.relation).is_some_and(|columns| columns.contains(leading));
            if usable {
                let saved = before[statement] - cost(statement, vec![candidate.clone()]);
                if saved > 1e-6 * before[statement] {
                    savings[statement].push((place, saved));
                }
            }
        }
    }
    let mut names: Vec<&RelationName> = candidates.iter().map(|known| &known.relation).collect();
    names.dedup();
    let relation = |known: &IndexDefinition| names.iter().position(|name| **name == known.relation);
    let relations = candidates.iter().map(|known| relation(known).unwrap()).collect();
    Questions { sizes: Vec::new(), relations, savings, explains, candidates }
}

/// An index for each column that any statement reads.
pub fn singles(planner: &Planner, workload: &Workload) -> Vec<IndexDefinition> {
    let mut singles: BTreeSet<IndexDefinition> = BTreeSet::new();
    for statement in &workload.statements {
        for (relation, columns) in columns_read(planner, &statement.sql) {
            singles.extend(columns.iter().map(|column| btree(&relation, &[column])));
        }
    }
    singles.into_iter().collect()
}

/// Sizes as the advisor itself estimates them: those of HypoPG would be no match.
pub fn sizes(planner: &mut Planner, questions: &mut Questions) {
    let size = |index| planner.engine.index_size(index).map_or(u64::MAX, |bytes| bytes.0);
    questions.sizes = questions.candidates.iter().map(size).collect();
}

/// Columns of relations that can be indexed and that a statement reads.
fn columns_read(planner: &Planner, sql: &str) -> BTreeMap<RelationName, BTreeSet<String>> {
    let shape = shape(sql, &planner.snapshot).unwrap();
    let mut read: BTreeMap<RelationName, BTreeSet<String>> = BTreeMap::new();
    let joined = shape.joins.iter().flat_map(|join| [&join.left, &join.right]);
    for (mention, column) in shape.columns_read.iter().chain(joined) {
        let name = &shape.relations[*mention].name;
        let known = planner.snapshot.relation(name).and_then(|known| known.column(column));
        if known.is_some_and(|known| !NOT_ORDERED.contains(&known.type_name.as_str())) {
            read.entry(name.clone()).or_default().insert(column.clone());
        }
    }
    read
}

/// A set that the program chose.
pub struct Choice {
    pub indexes: Vec<usize>,
    /// What the program takes it to save.
    pub saved: f64,
    /// The most that any set could save, by the same reckoning.
    pub bound: f64,
}

/// The best set for a budget; `by_relation`: savings on different relations add up.
pub fn choose(questions: &Questions, budget: u64, by_relation: bool) -> Choice {
    let mut clients: Vec<Vec<(usize, f64)>> = Vec::new();
    for savings in &questions.savings {
        let mut parts: BTreeMap<usize, Vec<(usize, f64)>> = BTreeMap::new();
        for (candidate, saved) in savings {
            let part = if by_relation { questions.relations[*candidate] } else { 0 };
            parts.entry(part).or_default().push((*candidate, *saved));
        }
        clients.extend(parts.into_values());
    }
    let mut program = Program::new(&questions.sizes, clients, budget);
    program.solve()
}

struct Program<'a> {
    sizes: &'a [u64],
    clients: Vec<Vec<(usize, f64)>>,
    /// Of each candidate, whom it serves and what that saves.
    served: Vec<Vec<(usize, f64)>>,
    budget: u64,
}

impl<'a> Program<'a> {
    fn new(sizes: &'a [u64], clients: Vec<Vec<(usize, f64)>>, budget: u64) -> Self {
        let mut served = vec![Vec::new(); sizes.len()];
        for (client, savings) in clients.iter().enumerate() {
            for (candidate, saved) in savings {
                served[*candidate].push((client, *saved));
            }
        }
        Program { sizes, clients, served, budget }
    }

    fn solve(&mut self) -> Choice {
        let mut best: (f64, Vec<usize>) = (0.0, Vec::new());
        for gravity in [1.0, 0.75, 0.5, 0.25, 0.0] {
            self.keep(&mut best, self.greedy(gravity));
        }
        let mut bound = f64::INFINITY;
        // One multiplier for each client: what it must pay before a candidate earns anything by it.
        let mut paid: Vec<f64> = self
            .clients
            .iter()
            .map(|savings| savings.iter().map(|(_, saved)| *saved).fold(0.0, f64::max) / 2.0)
            .collect();
        let mut pace = 1.0;
        let mut since = 0;
        for step in 0..STEPS {
            let worth: Vec<f64> = self
                .served
                .iter()
                .map(|served| {
                    served.iter().map(|(client, saved)| (saved - paid[*client]).max(0.0)).sum()
                })
                .collect();
            let (knapsack, taken) = self.knapsack(&worth);
            let value = paid.iter().sum::<f64>() + knapsack;
            if value < bound - 1e-9 * bound.abs().min(1e300) {
                (bound, since) = (value, 0);
            } else {
                since += 1;
                if since > 20 {
                    (pace, since) = (pace / 2.0, 0);
                }
            }
            if step % ROUND_EVERY == 0 {
                let whole = taken.iter().filter(|(_, part)| *part >= 1.0).map(|(one, _)| *one);
                self.keep(&mut best, whole.collect());
            }
            // How often each client would be served, less the once that is allowed.
            let mut slope = vec![1.0; paid.len()];
            for (candidate, part) in &taken {
                for (client, saved) in &self.served[*candidate] {
                    if *saved > paid[*client] {
                        slope[*client] -= part;
                    }
                }
            }
            let length: f64 = slope.iter().map(|slope| slope * slope).sum();
            if length < 1e-12 {
                break;
            }
            let stride = pace * (value - best.0).max(0.0) / length;
            for (paid, slope) in paid.iter_mut().zip(&slope) {
                *paid = (*paid - stride * slope).max(0.0);
            }
        }
        Choice { saved: best.0, indexes: best.1, bound: bound.max(best.0) }
    }

    /// The linear knapsack: what it holds, the last of it in part.
    fn knapsack(&self, worth: &[f64]) -> (f64, Vec<(usize, f64)>) {
        let mut order: Vec<usize> = (0..worth.len())
            .filter(|one| worth[*one] > 0.0 && self.sizes[*one] <= self.budget)
            .collect();
        let density = |one: &usize| worth[*one] / self.sizes[*one] as f64;
        order.sort_by(|a, b| density(b).total_cmp(&density(a)));
        let (mut left, mut value, mut taken) = (self.budget as f64, 0.0, Vec::new());
        for one in order {
            let part = (left / self.sizes[one] as f64).min(1.0);
            value += part * worth[one];
            left -= part * self.sizes[one] as f64;
            taken.push((one, part));
            if part < 1.0 {
                break;
            }
        }
        (value, taken)
    }

    fn keep(&self, best: &mut (f64, Vec<usize>), set: Vec<usize>) {
        let improved = self.improve(set);
        let saved = self.saved(&improved);
        if saved > best.0 {
            *best = (saved, improved);
        }
    }

    fn size(&self, set: &[usize]) -> u64 {
        set.iter().map(|one| self.sizes[*one]).sum()
    }

    fn saved(&self, set: &[usize]) -> f64 {
        self.standing(set).iter().map(|(first, ..)| first).sum()
    }

    /// Of each client the best saving, by whom, and the second best.
    fn standing(&self, set: &[usize]) -> Vec<(f64, usize, f64)> {
        let mut standing = vec![(0.0, usize::MAX, 0.0); self.clients.len()];
        for one in set {
            for (client, saved) in &self.served[*one] {
                let known = &mut standing[*client];
                if *saved > known.0 {
                    *known = (*saved, *one, known.0);
                } else {
                    known.2 = f64::max(known.2, *saved);
                }
            }
        }
        standing
    }

    fn greedy(&self, gravity: f64) -> Vec<usize> {
        let mut set = Vec::new();
        loop {
            let standing = self.standing(&set);
            let left = self.budget - self.size(&set);
            let gain = |one: usize| -> f64 {
                self.served[one]
                    .iter()
                    .map(|(client, saved)| (saved - standing[*client].0).max(0.0))
                    .sum()
            };
            let best = (0..self.sizes.len())
                .filter(|one| self.sizes[*one] <= left)
                .map(|one| (gain(one) / (self.sizes[one] as f64).powf(gravity), one))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            match best {
                Some((worth, one)) if worth > 0.0 => set.push(one),
                _ => return set,
            }
        }
    }

    /// Additions, and exchanges of one for one, while they help.
    fn improve(&self, mut set: Vec<usize>) -> Vec<usize> {
        loop {
            let standing = self.standing(&set);
            let left = self.budget - self.size(&set);
            let mut best: (f64, Option<usize>, usize) = (1e-6, None, usize::MAX);
            for out in set.iter().copied().map(Some).chain([None]) {
                let space = left + out.map_or(0, |out| self.sizes[out]);
                // What remains to each client without it.
                let rest = |client: usize| -> f64 {
                    let (first, by, second) = standing[client];
                    if Some(by) == out { second } else { first }
                };
                let lost: f64 = out.map_or(0.0, |out| {
                    self.served[out]
                        .iter()
                        .map(|(client, _)| standing[*client].0 - rest(*client))
                        .sum()
                });
                for one in 0..self.sizes.len() {
                    if self.sizes[one] > space || set.contains(&one) {
                        continue;
                    }
                    let won: f64 = self.served[one]
                        .iter()
                        .map(|(client, saved)| (saved - rest(*client)).max(0.0))
                        .sum();
                    if won - lost > best.0 {
                        best = (won - lost, out, one);
                    }
                }
            }
            let (_, out, one) = best;
            if one == usize::MAX {
                return set;
            }
            set.retain(|known| Some(*known) != out);
            set.push(one);
        }
    }
}
