//! The seam to a what-if engine: what a statement would cost under other indexes or parameters.

use crate::index::IndexDefinition;
use crate::units::Bytes;
use crate::workload::WorkloadStatement;

/// A configuration that does not exist.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hypothesis {
    /// Indexes that would exist in addition.
    pub indexes: Vec<IndexDefinition>,
    /// Existing indexes that would not exist, by `(schema, name)`.
    pub hidden: Vec<(String, String)>,
    /// Parameters with other values, as `SET` would take them.
    pub parameters: Vec<(String, String)>,
}

/// A plan, as far as advice needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedCost {
    /// The planner's total cost of the top node.
    pub total_cost: f64,
    /// Shape: node types with relations and indexes, in order, for telling a flip of the plan.
    pub shape: String,
    /// Names of indexes the plan uses, hypothetical ones by the name in their definition.
    pub indexes: Vec<String>,
    /// The planner's estimate of the rows returned; None where the engine has no opinion.
    pub rows: Option<f64>,
    /// Names of relations that the plan inserts into, updates or deletes from, with the planner's estimate of the rows.
    pub written: Vec<(String, f64)>,
}

/// Why a what-if question could not be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhatIfError {
    /// The server refused to plan the statement.
    #[error("cannot plan statement {statement}: {reason}")]
    Plan {
        /// The statement's id.
        statement: String,
        /// The server's words, with SQLSTATE.
        reason: String,
    },
    /// This engine can't answer this question.
    #[error("{engine} cannot answer: {reason}")]
    Unsupported {
        /// Engine name.
        engine: &'static str,
        /// What it can't do.
        reason: String,
    },
}

/// An engine that answers what-if questions. Deterministic for an unchanged server.
pub trait WhatIf {
    /// `shadow`, `hypopg`, `explain` (parameters only) or `rule`.
    fn engine(&self) -> &'static str;

    /// Whether hypothetical indexes can be planned with.
    fn plans_indexes(&self) -> bool;

    /// The same for one statement, where several engines answer, each for some of the statements.
    fn plans_indexes_for(&mut self, _statement: &WorkloadStatement) -> bool {
        self.plans_indexes()
    }

    /// The plan of `statement` under `hypothesis`, averaged in cost over a few of its parameter sets.
    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError>;

    /// Answers several questions, in their order; an engine that can plan them at the same time does.
    fn cost_many(
        &mut self,
        questions: &[(&WorkloadStatement, Hypothesis)],
    ) -> Vec<Result<PlannedCost, WhatIfError>> {
        questions.iter().map(|(statement, hypothesis)| self.cost(statement, hypothesis)).collect()
    }

    /// Estimated size of an index; None where the engine has no opinion.
    fn index_size(&mut self, index: &IndexDefinition) -> Option<Bytes>;

    /// EXPLAINs issued so far.
    fn calls(&self) -> u64;
}
