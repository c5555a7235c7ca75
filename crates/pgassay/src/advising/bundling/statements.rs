//! Statements in disguise: the constants in their texts and the values of their parameters.
//!
//! What is looked up by equality gets its column's pseudonyms, so that a list of common values still finds it; any
//! other value one of the same form; what the planner takes a number for (LIMIT, a position, a type's modifier)
//! stays. A statement whose values can't be told apart so is refused.

use super::arrays::{array, elements};
use super::values::{Disguise, Kind, kind};
use pgassay_model::index::RelationName;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::WorkloadStatement;
use pgassay_sql::{
    Constant, ConstantValue, Operator, ParameterRole, ParameterUse, StatementShape, Subject,
    constants, normalise, quote_literal, shape,
};
use std::collections::{BTreeMap, BTreeSet};

/// Words and operators before a constant that is part of what is asked, not a value: rows wanted, lengths of time,
/// keys within documents.
const CODE_AFTER: [&str; 12] = [
    "limit", "offset", "fetch", "first", "next", "interval", "escape", "zone", "->", "->>", "#>",
    "#>>",
];
/// Types of constants that are part of what is asked.
const CODE_TYPES: [&str; 4] = ["interval", "regclass", "regtype", "regconfig"];
/// Numbers below that which no column is compared with are positions, counts or days.
const SMALL: i64 = 100;

/// A statement's values in disguise.
pub struct Statements<'a> {
    /// The disguises.
    pub disguise: &'a Disguise,
    /// Types of columns.
    pub snapshot: &'a Snapshot,
    /// What relations are partitioned by, as SQL.
    pub partition_keys: &'a BTreeMap<RelationName, String>,
}

impl Statements<'_> {
    /// The statement with other values, or why it can't have any.
    pub fn disguised(&self, statement: &WorkloadStatement) -> Result<WorkloadStatement, String> {
        let words = |error: pgassay_sql::SqlError| error.to_string();
        let sql = &statement.sql;
        let found = constants(sql).map_err(words)?;
        // `date '…'` has no normal form that parses, `'…'::date` has.
        let normal = normalise(&cast_behind(sql, &found.constants)).map_err(words)?;
        let shape =
            shape(&normal, self.snapshot).or_else(|_| shape(sql, self.snapshot)).map_err(words)?;
        let mut changes: Vec<(std::ops::Range<usize>, String)> =
            found.comments.into_iter().map(|at| (at, " ".to_owned())).collect();
        for constant in &found.constants {
            if let Some(text) = self.constant(constant, &shape)? {
                changes.push((constant.at.clone(), text));
            }
        }
        changes.sort_by_key(|(at, _)| at.start);
        let (mut text, mut copied) = (String::with_capacity(sql.len()), 0);
        for (at, change) in changes {
            text.push_str(sql.get(copied..at.start).unwrap_or_default());
            text.push_str(&change);
            copied = at.end;
        }
        text.push_str(sql.get(copied..).unwrap_or_default());
        let mut parameters = statement.parameters.clone();
        for set in &mut parameters {
            for (place, value) in set.iter_mut().enumerate() {
                if let Some(known) = value {
                    *known = self.value(place + 1, known, &shape)?;
                }
            }
        }
        Ok(WorkloadStatement {
            sql: text,
            parameters,
            // It says what the greatest value is; nothing drives a bundle's workload.
            fresh: Vec::new(),
            plan: None,
            ..statement.clone()
        })
    }

    /// What stands in place of a constant; None: it stays.
    fn constant(
        &self,
        constant: &Constant,
        shape: &StatementShape,
    ) -> Result<Option<String>, String> {
        let cast = constant.cast.as_deref().unwrap_or_default();
        if CODE_AFTER.contains(&constant.before.as_str()) || CODE_TYPES.contains(&cast) {
            return Ok(None);
        }
        let (text, is_number) = match &constant.value {
            ConstantValue::Number(text) => (text, true),
            ConstantValue::Text(text) => (text, false),
            ConstantValue::Unread => {
                return Err(
                    "it holds a string in a form that is not put in disguise (E'…', B'…', U&'…')"
                        .into(),
                );
            }
        };
        let value = match constant.number {
            Some(number) => self.value(number, text, shape)?,
            None if is_number => return Ok(None),
            None => self.disguise.same_form(text),
        };
        let digits = value.bytes().all(|byte| byte.is_ascii_digit() || b".eE+".contains(&byte));
        Ok(Some(if is_number && digits { value } else { quote_literal(&value) }))
    }

    /// What stands in place of the value of `$n`.
    fn value(&self, number: usize, value: &str, shape: &StatementShape) -> Result<String, String> {
        if shape.limit_parameters.contains(&number) {
            return Ok(value.to_owned());
        }
        let Some(used) = shape.parameters.get(&number) else {
            let is_small = value.parse().is_ok_and(|number: i64| number.abs() < SMALL);
            return Ok(if is_small { value.to_owned() } else { self.disguise.same_form(value) });
        };
        let Subject::Column(column) = &used.subject else {
            return Ok(self.disguise.same_form(value));
        };
        let other = match &used.role {
            ParameterRole::AnyOf => elements(value).map(|elements| {
                let each = |element: Option<String>| Some(self.equal(used, column, &element?));
                array(&elements.into_iter().map(each).collect::<Vec<_>>())
            }),
            ParameterRole::Compared(Operator::Equal | Operator::In | Operator::NotEqual)
            | ParameterRole::Assigned
            | ParameterRole::Inserted => Some(self.equal(used, column, value)),
            ParameterRole::Compared(Operator::Range) => {
                self.kind_of(used, column).and_then(|kind| self.disguise.bound(kind, value))
            }
            ParameterRole::Compared(_) => None,
        };
        let other = other.unwrap_or_else(|| self.disguise.same_form(value));
        let is_key = self.partition_keys.get(&used.relation).is_some_and(|key| names(key, column));
        if is_key && other != value {
            return Err(format!(
                "it compares {column}, which {} is partitioned by: in disguise it would be looked for in other partitions",
                used.relation
            ));
        }
        Ok(other)
    }

    fn kind_of(&self, used: &ParameterUse, column: &str) -> Option<Kind> {
        kind(&self.snapshot.relation(&used.relation)?.column(column)?.type_name)
    }

    fn equal(&self, used: &ParameterUse, column: &str, value: &str) -> String {
        self.kind_of(used, column)
            .and_then(|kind| self.disguise.pseudonym(kind, value))
            .unwrap_or_else(|| self.disguise.same_form(value))
    }
}

/// The statement with `date '…'` and its like as `'…'::date`.
fn cast_behind(sql: &str, constants: &[Constant]) -> String {
    let (mut text, mut copied) = (String::with_capacity(sql.len()), 0);
    for constant in constants {
        let Some(before) = sql.get(copied..constant.at.start) else { continue };
        let typed = constant.cast.as_deref().filter(|cast| *cast == constant.before);
        let word = typed.and_then(|cast| {
            let trimmed = before.trim_end();
            let start = trimmed.len().checked_sub(cast.len())?;
            Some((trimmed.get(..start)?, cast))
        });
        match word {
            Some((before, cast)) => {
                let constant = sql.get(constant.at.clone()).unwrap_or_default();
                text.push_str(&format!("{before}{constant}::{cast}"));
            }
            None => text.push_str(sql.get(copied..constant.at.end).unwrap_or_default()),
        }
        copied = constant.at.end;
    }
    text.push_str(sql.get(copied..).unwrap_or_default());
    text
}

/// Whether an expression names a column.
fn names(expression: &str, column: &str) -> bool {
    expression.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word == column)
        || expression.contains(&format!("\"{}\"", column.replace('"', "\"\"")))
}

/// Columns that a statement compares by more than equality, whose lists of common values would be in no order that
/// the planner could use.
pub fn compared_by_order(sql: &str, snapshot: &Snapshot) -> BTreeSet<(RelationName, String)> {
    compared(sql, snapshot, |operator| {
        !matches!(
            operator,
            Operator::Equal
                | Operator::In
                | Operator::NotEqual
                | Operator::IsNull
                | Operator::IsNotNull
        )
    })
}

/// Columns that a statement compares by one of some operators.
pub fn compared(
    sql: &str,
    snapshot: &Snapshot,
    by: impl Fn(&Operator) -> bool,
) -> BTreeSet<(RelationName, String)> {
    let Ok(shape) = shape(sql, snapshot) else { return BTreeSet::new() };
    shape
        .predicates
        .iter()
        .filter(|predicate| by(&predicate.operator))
        .filter_map(|predicate| match &predicate.subject {
            Subject::Column(column) => {
                Some((shape.relations.get(predicate.relation)?.name.clone(), column.clone()))
            }
            Subject::Expression(_) => None,
        })
        .collect()
}
