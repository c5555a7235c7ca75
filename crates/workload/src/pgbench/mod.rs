//! pgbench's script files (manual, pgbench, "Custom Scripts"): read and evaluated; pure, sends nothing.
//!
//! What is read: SQL with `:variables`, `\set` with the whole expression language, `\sleep`, `\if` to `\endif`,
//! `\gset` and `\aset`. What is refused by name: pipelines, `\;`, and `\shell` and `\setshell`, which run programs.
//! Variables in quotes and comments are left alone, where pgbench's simple protocol would replace them.

mod evaluate;
mod expression;
mod lexer;
mod math;
mod script;
mod simulate;
mod sql;
mod value;

pub use evaluate::{EvaluationError, Variables};
pub use expression::Expression;
pub use script::{Keep, Program, Step, parse};
pub use simulate::{give, sets};
pub use sql::{Effect, Query};
pub use value::Value;

/// The id of a script's statement, by its number from 0.
pub fn statement_id(script: &str, number: usize) -> String {
    format!("{script}.{}", number + 1)
}

/// Why a script can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ScriptError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub reason: String,
}
