//! SQL text: quoting, fingerprints, and what a statement asks for; the only user of the C parser.

mod administration;
mod constants;
mod ddl;
mod keywords;
mod quote;
mod relations;
mod rewrite;
mod shape;
mod statistics;
mod text;
mod walk;

pub use administration::{administers, called_functions};
pub use constants::{Constant, ConstantValue, Constants, constant_values, constants};
pub use ddl::{drop_index_ddl, index_ddl, is_only_index};
pub use quote::{quote_identifier, quote_literal, quote_qualified};
pub use relations::Relations;
pub use rewrite::{
    Rewrite, Rule, for_many_keys, renumbered, rewrites, rewrites_of_calls, without_order_index,
};
pub use shape::{
    Catalog, Condition, Join, Operator, OperatorJoin, OrderKey, ParameterRole, ParameterUse,
    Predicate, RelationUse, StatementKind, StatementShape, Subject, ValueKind, shape,
};
pub use statistics::{analyze_ddl, drop_statistics_ddl, is_only_statistics, statistics_ddl};
pub use text::{fingerprint, normalise, parameter_count, single_statement, with_literals};

/// Why a text could not be used as SQL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SqlError {
    /// The parser refused it.
    #[error("not SQL that PostgreSQL's parser reads: {0}")]
    Parse(String),
    /// Another number of statements than one.
    #[error("expected one statement, found {0}")]
    Count(usize),
}

impl From<pg_query::Error> for SqlError {
    fn from(error: pg_query::Error) -> Self {
        SqlError::Parse(error.to_string())
    }
}
