//! Statements that ask for the same in a way the planner serves better, found in their parse trees.
//!
//! One rule a file. A rule rewrites only what it can prove to return the same rows from what the snapshot knows
//! (types, NOT NULL, unique keys); where something else has to hold, the rewrite says what to check. Whether the
//! other form is cheaper is not decided here: that is the planner's.

mod alternatives;
mod arithmetic;
mod block;
mod cast_on_column;
mod constants;
mod count;
mod distinct;
mod function_on_column;
mod node;
mod not_in;
mod offset;
mod renumber;
mod scope;
mod single_key;

pub use renumber::renumbered;
pub use single_key::{for_many_keys, without_order_index};

use crate::{Relations, SqlError};
use block::{Pass, Touch};
use pgassay_model::snapshot::Snapshot;
use scope::Facts;

/// What a rewrite does; [`Rule::name`] is what documents and people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// `date(x) = d` → a range of x.
    FunctionOnColumn,
    /// `x::text = '1'`, `x = 1.0` → a comparison in the column's own type.
    CastOnColumn,
    /// `x + 1 > 5` → `x > 5 - 1`.
    ArithmeticOnColumn,
    /// `NOT IN (SELECT …)` → `NOT EXISTS`.
    NotIn,
    /// `(SELECT count(*) …) > 0` → `EXISTS`.
    CountForExistence,
    /// OR across relations → UNION ALL of its arms.
    OrAcrossRelations,
    /// DISTINCT of rows that are distinct already.
    DistinctOnUnique,
    /// UNION of sides that have no row in common, and none twice.
    UnionOfDisjoint,
    /// LIMIT … OFFSET → the page after a key.
    OffsetPages,
    /// ORDER BY … LIMIT that walks the index of the order.
    OrderByLimit,
    /// The same look-up for one key after the other → one for all.
    OneByOne,
    /// A pattern that begins with a wildcard.
    LeadingWildcard,
    /// `SELECT *` where an index could answer alone.
    SelectStar,
}

impl Rule {
    /// The rule's name in documents.
    pub fn name(self) -> &'static str {
        match self {
            Rule::FunctionOnColumn => "function-on-column",
            Rule::CastOnColumn => "cast-on-column",
            Rule::ArithmeticOnColumn => "arithmetic-on-column",
            Rule::NotIn => "not-in",
            Rule::CountForExistence => "count-for-existence",
            Rule::OrAcrossRelations => "or-across-relations",
            Rule::DistinctOnUnique => "distinct-on-unique",
            Rule::UnionOfDisjoint => "union-of-disjoint",
            Rule::OffsetPages => "offset-pages",
            Rule::OrderByLimit => "order-by-limit",
            Rule::OneByOne => "one-by-one",
            Rule::LeadingWildcard => "leading-wildcard",
            Rule::SelectStar => "select-star",
        }
    }

    /// Whether the rewrite is for an index to be used, whether or not it exists yet: the planner's cost then says
    /// little before there is one.
    pub fn lets_an_index_serve(self) -> bool {
        matches!(self, Rule::FunctionOnColumn | Rule::CastOnColumn | Rule::ArithmeticOnColumn)
    }
}

/// A statement in another form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// Which rule.
    pub rule: Rule,
    /// The statement rewritten.
    pub after: String,
    /// What has to hold for both to return the same rows; None: nothing else, it is proven.
    pub check: Option<String>,
    /// Why.
    pub reason: String,
}

/// Why a part of a statement was rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    reason: String,
    check: Option<String>,
}

impl Note {
    fn proven(reason: impl Into<String>) -> Note {
        Note { reason: reason.into(), check: None }
    }

    fn check(reason: impl Into<String>, check: impl Into<String>) -> Note {
        Note { reason: reason.into(), check: Some(check.into()) }
    }
}

const RULES: &[(Rule, Touch)] = &[
    (Rule::FunctionOnColumn, Touch::Condition(function_on_column::rewrite)),
    (Rule::CastOnColumn, Touch::Condition(cast_on_column::rewrite)),
    (Rule::ArithmeticOnColumn, Touch::Condition(arithmetic::rewrite)),
    (Rule::NotIn, Touch::Expression(not_in::rewrite)),
    (Rule::CountForExistence, Touch::Expression(count::compared)),
    (Rule::CountForExistence, Touch::Select(count::selected)),
    (Rule::OrAcrossRelations, Touch::Select(alternatives::rewrite)),
    (Rule::DistinctOnUnique, Touch::Select(distinct::distinct)),
    (Rule::UnionOfDisjoint, Touch::Select(distinct::union)),
    (Rule::OffsetPages, Touch::Outermost(offset::rewrite)),
];

/// Every rule that applies to a statement, each with all its places rewritten. Parameters keep their numbers;
/// new ones (OFFSET pages) follow the last.
pub fn rewrites(sql: &str, snapshot: &Snapshot) -> Result<Vec<Rewrite>, SqlError> {
    rewrites_of_calls(sql, &Relations::of(snapshot), &[])
}

/// As [`rewrites`], of a statement of which calls were seen. `calls`: the values of its parameters in each of them.
/// Where a rule rests on a constant that has become a parameter (pg_stat_statements shows statements so), calls tell
/// whether it can: one that contradicts rules it out, and the check says what has to hold for the others.
pub fn rewrites_of_calls(
    sql: &str,
    relations: &Relations<'_>,
    calls: &[Vec<Option<String>>],
) -> Result<Vec<Rewrite>, SqlError> {
    let parsed = pg_query::parse(sql, 0)?;
    let facts = Facts {
        relations,
        named: parsed.cte_names.clone(),
        parameters: crate::parameter_count(sql)?,
        calls,
    };
    let [statement] = parsed.protobuf.stmts.as_slice() else {
        return Err(SqlError::Count(parsed.protobuf.stmts.len()));
    };
    let Some(root) = statement.stmt.as_ref().and_then(|statement| statement.node.as_ref()) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for (rule, touch) in RULES {
        let mut tree = root.clone();
        let mut pass = Pass { facts: &facts, touch: *touch, notes: Vec::new(), restricting: false };
        pass.statement(&mut tree);
        if pass.notes.is_empty() {
            continue;
        }
        let after = tree.deparse(Default::default())?;
        // What the deparser writes has to be SQL again; anything else is its fault, and no advice.
        if crate::single_statement(&after).is_err() {
            continue;
        }
        found.push(Rewrite {
            rule: *rule,
            after,
            check: joined(pass.notes.iter().filter_map(|note| note.check.as_deref())),
            reason: joined(pass.notes.iter().map(|note| note.reason.as_str())).unwrap_or_default(),
        });
    }
    Ok(found)
}

/// Each different sentence once; None without any.
fn joined<'n>(sentences: impl Iterator<Item = &'n str>) -> Option<String> {
    let mut all: Vec<&str> = Vec::new();
    for sentence in sentences {
        if !all.contains(&sentence) {
            all.push(sentence);
        }
    }
    (!all.is_empty()).then(|| all.join("; "))
}
