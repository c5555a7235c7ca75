//! The rule engine: what a statement would cost under other indexes, where no engine can plan with them.
//!
//! Only ratios of its formulas are used where the server plans the statement as it is: the estimate is the
//! planner's cost today × (formula with the indexes ÷ formula without). The same for single access methods that
//! an engine can't plan with, as HypoPG can't with GIN and GiST: the engine's cost with the others × that ratio.

use super::rule_path::{Costs, Path, Reading, Sizes};
use super::selectivity;
use super::statement::limit;
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::WorkloadStatement;
use pgassay_sql::{StatementKind, StatementShape, shape};
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

pub(super) const ENGINE: &str = "rule";

/// A what-if engine made of formulas and the planner's costs of what exists.
pub(super) struct RuleEngine<'a> {
    snapshot: &'a Snapshot,
    relations: HashMap<&'a RelationName, &'a Relation>,
    planner: &'a mut dyn WhatIf,
    costs: Costs,
    sizes: Sizes,
    known: HashMap<String, Rc<Known>>,
    unplanned: Unplanned,
}

/// Access methods that the engine was found to have no plans with, shared with whoever writes about the plans.
pub(super) type Unplanned = Rc<RefCell<BTreeSet<String>>>;

/// A statement with its cost today.
struct Known {
    shape: StatementShape,
    today: PlannedCost,
    formula: f64,
}

impl<'a> RuleEngine<'a> {
    /// Rules for the target of `snapshot`; `planner` answers for what exists.
    pub(super) fn new(snapshot: &'a Snapshot, planner: &'a mut dyn WhatIf) -> Self {
        RuleEngine {
            snapshot,
            relations: snapshot.relations.iter().map(|known| (&known.name, known)).collect(),
            planner,
            costs: Costs::of(snapshot),
            sizes: Sizes::default(),
            known: HashMap::new(),
            unplanned: Unplanned::default(),
        }
    }

    /// The access methods that it answers for in the planner's place.
    pub(super) fn unplanned(&self) -> Unplanned {
        Rc::clone(&self.unplanned)
    }

    /// The planner's answer, with rules for the access methods that it can't plan with.
    fn blended(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        let unplanned = self.unplanned();
        let planned = |index: &&IndexDefinition| !unplanned.borrow().contains(&index.method);
        let (able, unable): (Vec<&IndexDefinition>, Vec<&IndexDefinition>) =
            hypothesis.indexes.iter().partition(planned);
        let question = Hypothesis {
            indexes: able.into_iter().cloned().collect(),
            hidden: hypothesis.hidden.clone(),
            parameters: hypothesis.parameters.clone(),
        };
        let plan = match self.planner.cost(statement, &question) {
            Err(WhatIfError::Unsupported { engine, reason }) => {
                // Found out once: a method whose index alone is refused as well.
                let mut found = false;
                let methods: BTreeSet<&str> = question
                    .indexes
                    .iter()
                    .map(|index| index.method.as_str())
                    .filter(|method| *method != "btree")
                    .collect();
                for method in methods {
                    let of_method = question.indexes.iter().find(|index| index.method == method);
                    let alone = Hypothesis {
                        indexes: of_method.into_iter().cloned().collect(),
                        ..Hypothesis::default()
                    };
                    if let Err(WhatIfError::Unsupported { .. }) =
                        self.planner.cost(statement, &alone)
                    {
                        found |= unplanned.borrow_mut().insert(method.to_owned());
                    }
                }
                return match found {
                    true => self.blended(statement, hypothesis),
                    false => Err(WhatIfError::Unsupported { engine, reason }),
                };
            }
            answer => answer?,
        };
        if unable.is_empty() {
            return Ok(plan);
        }
        let known = self.known(statement)?;
        let (without, _) = self.formula(statement, &known.shape, &question.indexes);
        let (with, used) = self.formula(statement, &known.shape, &hypothesis.indexes);
        let names: Vec<String> = used
            .into_iter()
            .filter(|name| unable.iter().any(|index| index.name == *name))
            .collect();
        if names.is_empty() || with >= without {
            return Ok(plan);
        }
        Ok(PlannedCost {
            total_cost: plan.total_cost * (with / without.max(f64::MIN_POSITIVE)),
            shape: plan.shape,
            indexes: plan.indexes.into_iter().chain(names).collect(),
            rows: plan.rows,
            written: plan.written,
        })
    }

    fn known(&mut self, statement: &WorkloadStatement) -> Result<Rc<Known>, WhatIfError> {
        if let Some(known) = self.known.get(&statement.id) {
            return Ok(Rc::clone(known));
        }
        let shape = shape(&statement.sql, self.snapshot).map_err(|error| WhatIfError::Plan {
            statement: statement.id.clone(),
            reason: error.to_string(),
        })?;
        let (formula, used) = self.formula(statement, &shape, &[]);
        let today = match self.planner.cost(statement, &Hypothesis::default()) {
            Ok(plan) => plan,
            Err(error) if shape.relations.is_empty() || !shape.unknown_relations.is_empty() => {
                return Err(error);
            }
            Err(_) => PlannedCost {
                total_cost: formula,
                shape: ENGINE.into(),
                indexes: used,
                rows: None,
                written: Vec::new(),
            },
        };
        let known = Rc::new(Known { shape, today, formula });
        self.known.insert(statement.id.clone(), Rc::clone(&known));
        Ok(known)
    }

    /// Cost by formula with the valid indexes that exist and `added`, and the indexes used.
    fn formula(
        &self,
        statement: &WorkloadStatement,
        shape: &StatementShape,
        added: &[IndexDefinition],
    ) -> (f64, Vec<String>) {
        let mut open: Vec<usize> = (0..shape.relations.len())
            .filter(|mention| {
                shape.kind != StatementKind::Insert
                    || shape.relations.get(*mention).is_some_and(|used| !used.target_of_write)
            })
            .collect();
        let reached = |mention: usize, bound: &[&str]| -> Option<Vec<Path>> {
            let relation = *self.relations.get(&shape.relations.get(mention)?.name)?;
            let existing =
                relation.indexes.iter().filter(|index| index.valid).map(|index| &index.definition);
            let proposed = added.iter().filter(|index| index.relation == relation.name);
            let indexes: Vec<&IndexDefinition> = existing.chain(proposed).collect();
            Some(
                Reading {
                    costs: &self.costs,
                    sizes: &self.sizes,
                    relation,
                    statement,
                    shape,
                    mention,
                    bound,
                }
                .paths(&indexes),
            )
        };
        let rows_of = |mention: usize| {
            reached(mention, &[]).and_then(|paths| Some(paths.first()?.rows)).unwrap_or(1.0)
        };
        open.sort_by(|a, b| rows_of(*a).total_cmp(&rows_of(*b)));
        let limit = shape.limit.then(|| limit(statement, shape));
        // The mention whose columns alone the order is of.
        let sorts = shape
            .order
            .first()
            .map(|key| key.relation)
            .filter(|mention| shape.order.iter().all(|key| key.relation == *mention));
        let mut sorted = shape.order.is_empty();
        let mut total = self.costs.tuple;
        let mut used = Vec::new();
        let mut joined: Vec<usize> = Vec::new();
        let mut outer: f64 = 1.0;
        while !open.is_empty() {
            // The next relation is one that joins those already read, if there is one.
            let joins = |mention: &usize| {
                shape.joins.iter().any(|join| {
                    (join.left.0 == *mention && joined.contains(&join.right.0))
                        || (join.right.0 == *mention && joined.contains(&join.left.0))
                })
            };
            let next = open.iter().position(joins).unwrap_or(0);
            let mention = open.remove(next);
            let columns: Vec<&str> = shape
                .joins
                .iter()
                .flat_map(|join| [(&join.left, &join.right), (&join.right, &join.left)])
                .filter(|(own, other)| own.0 == mention && joined.contains(&other.0))
                .map(|(own, _)| own.1.as_str())
                .collect();
            let Some(alone) = reached(mention, &[]) else { continue };
            let (cost, path) = if columns.is_empty() {
                // Where the order is of other mentions too, all rows are read before it is known which to keep.
                let own_order = sorts == Some(mention);
                let limit = limit.filter(|_| own_order || shape.order.is_empty());
                let finished =
                    alone.into_iter().map(|path| (self.finished(&path, own_order, limit), path));
                let Some((cost, path)) = finished.min_by(|a, b| a.0.total_cmp(&b.0)) else {
                    continue;
                };
                let rows = limit.map_or(path.rows, |limit| path.rows.min(limit));
                outer = outer.max(rows);
                sorted |= own_order;
                (cost, path)
            } else {
                // A hash join reads it once; a nested loop looks it up for each row of the other side.
                let hashed = alone.into_iter().map(|path| {
                    (path.cost + (outer + path.rows) * self.costs.operator * 2.0, path)
                });
                let looked_up = reached(mention, &columns)
                    .unwrap_or_default()
                    .into_iter()
                    .map(|path| (outer * path.cost, path));
                let each = looked_up.clone().map(|(_, path)| path.rows).next().unwrap_or(1.0);
                let best = hashed.chain(looked_up).min_by(|a, b| a.0.total_cmp(&b.0));
                let Some((cost, path)) = best else { continue };
                outer = (outer * each).max(1.0);
                (cost, path)
            };
            total += cost;
            used.extend(path.indexes);
            joined.push(mention);
        }
        if !sorted {
            total += self.costs.sort(outer, limit);
        }
        used.sort();
        used.dedup();
        (total, used)
    }

    /// A path with what it takes to sort and limit its rows; `sorts`: the order wanted is of this mention alone.
    fn finished(&self, path: &Path, sorts: bool, limit: Option<f64>) -> f64 {
        if sorts && !path.ordered {
            return path.cost + self.costs.sort(path.rows, limit);
        }
        // LIMIT stops early: the share of the rows that is wanted (`adjust_limit_rows_costs`).
        path.cost * limit.map_or(1.0, |limit| (limit / path.rows).min(1.0))
    }
}

impl WhatIf for RuleEngine<'_> {
    fn engine(&self) -> &'static str {
        if self.planner.plans_indexes() { self.planner.engine() } else { ENGINE }
    }

    fn plans_indexes(&self) -> bool {
        true
    }

    /// Whether the planner answers; else rules do.
    fn plans_indexes_for(&mut self, statement: &WorkloadStatement) -> bool {
        self.planner.plans_indexes_for(statement)
    }

    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        if self.planner.plans_indexes_for(statement) {
            return self.blended(statement, hypothesis);
        }
        if !hypothesis.parameters.is_empty() || !hypothesis.hidden.is_empty() {
            return self.planner.cost(statement, hypothesis);
        }
        let known = self.known(statement)?;
        if hypothesis.indexes.is_empty() {
            return Ok(known.today.clone());
        }
        let (formula, indexes) = self.formula(statement, &known.shape, &hypothesis.indexes);
        let ratio = (formula / known.formula.max(f64::MIN_POSITIVE)).min(1.0);
        Ok(PlannedCost {
            total_cost: known.today.total_cost * ratio,
            shape: ENGINE.into(),
            indexes,
            rows: known.today.rows,
            written: known.today.written.clone(),
        })
    }

    /// What only the planner answers, it may answer at the same time.
    fn cost_many(
        &mut self,
        questions: &[(&WorkloadStatement, Hypothesis)],
    ) -> Vec<Result<PlannedCost, WhatIfError>> {
        let ruled = !self.unplanned.borrow().is_empty();
        let direct: Vec<bool> = questions
            .iter()
            .map(|(statement, _)| !ruled && self.planner.plans_indexes_for(statement))
            .collect();
        let both = questions.iter().zip(&direct);
        let together: Vec<(&WorkloadStatement, Hypothesis)> =
            both.filter(|(_, direct)| **direct).map(|(question, _)| question.clone()).collect();
        let mut answers = self.planner.cost_many(&together).into_iter();
        let mut all = Vec::with_capacity(questions.len());
        for ((statement, hypothesis), direct) in questions.iter().zip(direct) {
            all.push(match direct.then(|| answers.next()).flatten() {
                // Perhaps there are rules for what it can't plan with.
                Some(Err(WhatIfError::Unsupported { .. })) | None => {
                    self.cost(statement, hypothesis)
                }
                Some(answer) => answer,
            });
        }
        all
    }

    fn index_size(&mut self, index: &IndexDefinition) -> Option<Bytes> {
        self.planner.index_size(index)
    }

    fn calls(&self) -> u64 {
        self.planner.calls()
    }
}

/// Share of a relation's rows that satisfy a predicate made of constant conditions of a statement.
pub(super) fn predicate_share(
    snapshot: &Snapshot,
    statement: &WorkloadStatement,
    shape: &StatementShape,
    index: &IndexDefinition,
) -> f64 {
    let Some(predicate) = &index.predicate else { return 1.0 };
    let Some(relation) = snapshot.relation(&index.relation) else { return 1.0 };
    let conditions: Vec<&str> = predicate.split(" AND ").collect();
    selectivity::together(
        relation,
        statement,
        shape.predicates.iter().filter(|predicate| {
            shape.relations.get(predicate.relation).is_some_and(|used| used.name == index.relation)
                && super::wanted::constant_condition(predicate, relation)
                    .is_some_and(|known| conditions.contains(&known.as_str()))
        }),
    )
}
