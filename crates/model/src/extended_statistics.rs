//! Extended statistics: what the planner can know of several columns together.

use crate::index::RelationName;
use serde::{Deserialize, Serialize};

/// What a statistics object would be; its SQL is written by `pgassay_sql::statistics_ddl`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StatisticsDefinition {
    /// The relation.
    pub relation: RelationName,
    /// Name of the object, which lives in the relation's schema.
    pub name: String,
    /// Kinds, in the order of the manual; empty for one expression alone, which has none (14+).
    pub kinds: Vec<StatisticsKind>,
    /// Columns, in the order of the relation.
    pub columns: Vec<String>,
    /// An expression (14+), as SQL over the relation's columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
}

/// Rows of a statement that an object is meant for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatementRows {
    /// Id in the workload.
    pub statement: String,
    /// The planner's estimate without the object.
    pub estimated: f64,
    /// Rows a call, as pg_stat_statements counted.
    pub actual: f64,
}

/// Kind of extended statistics (manual, CREATE STATISTICS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatisticsKind {
    /// Distinct combinations, for GROUP BY.
    Ndistinct,
    /// Functional dependencies, for equalities on columns of which one implies the other.
    Dependencies,
    /// The most common combinations, for values that go together more or less often than by chance.
    Mcv,
}

impl StatisticsKind {
    /// As SQL.
    pub fn name(self) -> &'static str {
        match self {
            StatisticsKind::Ndistinct => "ndistinct",
            StatisticsKind::Dependencies => "dependencies",
            StatisticsKind::Mcv => "mcv",
        }
    }

    /// `pg_statistic_ext.stxkind`.
    pub fn letter(self) -> char {
        match self {
            StatisticsKind::Ndistinct => 'd',
            StatisticsKind::Dependencies => 'f',
            StatisticsKind::Mcv => 'm',
        }
    }
}
