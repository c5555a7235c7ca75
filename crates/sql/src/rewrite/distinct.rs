//! DISTINCT and UNION that look for duplicates where there can be none.

use super::Note;
use super::constants::Operand;
use super::node::{self, comparison, conjuncts, inner, integer, literal, string};
use super::scope::{Facts, Mention, Scope};
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt, SetOperation};
use std::collections::BTreeSet;

/// `SELECT DISTINCT` of a key of every relation in the FROM clause.
pub(super) fn distinct(select: &mut SelectStmt, scope: &Scope<'_>) -> Option<Note> {
    // DISTINCT ON has expressions in it.
    let everything = matches!(select.distinct_clause.as_slice(), [Node { node: None }]);
    if !everything || !select.group_clause.is_empty() || select.having_clause.is_some() {
        return None;
    }
    let keys = duplicate_free(select, scope)?;
    select.distinct_clause = Vec::new();
    Some(Note::proven(format!(
        "the rows are distinct already, since {keys} unique: sorting or hashing them finds nothing"
    )))
}

/// UNION of two sides without a row in common, and without duplicates of their own.
pub(super) fn union(select: &mut SelectStmt, scope: &Scope<'_>) -> Option<Note> {
    if select.op != SetOperation::SetopUnion as i32 || select.all {
        return None;
    }
    let (left, right) = (select.larg.as_deref()?, select.rarg.as_deref()?);
    let (left_scope, right_scope) = (
        Scope::of(&left.from_clause, None, &scope.facts),
        Scope::of(&right.from_clause, None, &scope.facts),
    );
    for (side, scope) in [(left, &left_scope), (right, &right_scope)] {
        if !node::plain(side) {
            return None;
        }
        let single = side.from_clause.is_empty()
            && side
                .target_list
                .iter()
                .all(|node| result(node).is_some_and(|v| constant(v).is_some()));
        let distinct = matches!(side.distinct_clause.as_slice(), [Node { node: None }]);
        if !single && !distinct {
            duplicate_free(side, scope)?;
        }
    }
    if left.target_list.len() != right.target_list.len() {
        return None;
    }
    let apart: Vec<Apart> = left
        .target_list
        .iter()
        .zip(&right.target_list)
        .filter_map(|(a, b)| {
            let (a, b) = (fixed_value(a, left, &left_scope)?, fixed_value(b, right, &right_scope)?);
            a.apart(&b, &scope.facts)
        })
        .collect();
    // What is proven before what has to be checked.
    let apart = apart.into_iter().min_by_key(|apart| apart.check.is_some())?;
    select.all = true;
    let reason = format!(
        "no row is on both sides ({} in the same column) and none is twice on one: there is nothing to leave out",
        apart.values
    );
    Some(Note { reason, check: apart.check })
}

/// The whole number within a cast that keeps different ones apart.
fn one_to_one<'n>(node: &'n NodeEnum, scope: &Scope<'_>) -> &'n NodeEnum {
    let NodeEnum::TypeCast(cast) = node else { return node };
    let wider =
        matches!(node::type_name(cast.type_name.as_ref()), Some("int8" | "numeric" | "text"));
    let whole = scope
        .column(inner(&cast.arg))
        .is_some_and(|found| matches!(found.type_name(), "smallint" | "integer" | "bigint"));
    match (inner(&cast.arg), wider && whole) {
        (Some(argument), true) => argument,
        _ => node,
    }
}

/// The keys that keep a SELECT's rows apart: of each relation all columns of one that is unique and never NULL. Of an
/// outer join too: a row filled with NULLs comes once for each row of the other side.
fn duplicate_free(select: &SelectStmt, scope: &Scope<'_>) -> Option<String> {
    if !scope.complete || scope.mentions.is_empty() || select.op != SetOperation::SetopNone as i32 {
        return None;
    }
    let mut returned: BTreeSet<(&str, &str)> = BTreeSet::new();
    for node in &select.target_list {
        match result(node)? {
            NodeEnum::ColumnRef(reference)
                if matches!(
                    reference.fields.last(),
                    Some(Node { node: Some(NodeEnum::AStar(_)) })
                ) =>
            {
                let of = reference.fields.iter().filter_map(string).next_back();
                for mention in &scope.mentions {
                    if of.is_none_or(|alias| alias == mention.alias) {
                        returned.extend(
                            mention
                                .relation
                                .columns
                                .iter()
                                .map(|c| (mention.alias.as_str(), c.name.as_str())),
                        );
                    }
                }
            }
            other => {
                if let Some(found) = scope.column(Some(one_to_one(other, scope))) {
                    returned.insert((&found.mention.alias, &found.column.name));
                } else if matches!(other, NodeEnum::FuncCall(_)) {
                    // It may return a set, or be an aggregate.
                    return None;
                }
            }
        }
    }
    let keys: Option<Vec<String>> =
        scope.mentions.iter().map(|mention| key(mention, &returned)).collect();
    let keys = keys?;
    let verb =
        if keys.len() == 1 && !keys.iter().any(|key| key.contains(',')) { "is" } else { "are" };
    Some(format!("{} {verb}", keys.join(" and ")))
}

/// A key of a relation that is among what is returned.
fn key(mention: &Mention<'_>, returned: &BTreeSet<(&str, &str)>) -> Option<String> {
    // A key of an inheritance parent says nothing of its children's rows.
    if mention.relation.has_children && mention.relation.kind != 'p' {
        return None;
    }
    mention.relation.indexes.iter().find_map(|index| {
        let definition = &index.definition;
        if !definition.unique || !index.valid || definition.predicate.is_some() {
            return None;
        }
        let columns: Vec<&str> =
            definition.keys.iter().map(|key| key.column.as_deref()).collect::<Option<_>>()?;
        let whole = !columns.is_empty()
            && columns.iter().all(|column| {
                returned.contains(&(mention.alias.as_str(), *column))
                    && mention.relation.column(column).is_some_and(|column| column.not_null)
            });
        whole.then(|| {
            let names: Vec<String> =
                columns.iter().map(|column| format!("{}.{column}", mention.alias)).collect();
            names.join(", ")
        })
    })
}

fn result(node: &Node) -> Option<&NodeEnum> {
    match &node.node {
        Some(NodeEnum::ResTarget(target)) => inner(&target.val),
        _ => None,
    }
}

/// A value that every row of a side has.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Integer(i32),
    Text(String),
    /// A constant that became a parameter, or a value of the application.
    Parameter(i32),
}

/// Two values that differ, in words, and what has to hold for that.
struct Apart {
    values: String,
    check: Option<String>,
}

impl Value {
    /// Whether two values keep their sides apart. Constants of different types are no evidence.
    fn apart(&self, other: &Value, facts: &Facts<'_>) -> Option<Apart> {
        let check = match (self, other) {
            (Value::Integer(a), Value::Integer(b)) => (a != b).then_some(None)?,
            (Value::Text(a), Value::Text(b)) => (a != b).then_some(None)?,
            (Value::Parameter(a), Value::Parameter(b)) if a == b => return None,
            (Value::Parameter(_), _) | (_, Value::Parameter(_)) => {
                let check = facts.never_equal(&self.operand(), &other.operand())?;
                Some(format!("{check}: where they are, every row comes twice"))
            }
            _ => return None,
        };
        Some(Apart { values: format!("{} and {}", self.text(), other.text()), check })
    }

    fn operand(&self) -> Operand {
        match self {
            Value::Integer(value) => Operand::Constant(value.to_string()),
            Value::Text(value) => Operand::Constant(value.clone()),
            Value::Parameter(number) => Operand::Parameter(*number),
        }
    }

    fn text(&self) -> String {
        match self {
            Value::Integer(value) => value.to_string(),
            Value::Text(value) => crate::quote_literal(value),
            Value::Parameter(number) => format!("${number}"),
        }
    }
}

fn constant(node: &NodeEnum) -> Option<Value> {
    if let NodeEnum::ParamRef(parameter) = node {
        return Some(Value::Parameter(parameter.number));
    }
    integer(node)
        .map(Value::Integer)
        .or_else(|| literal(node).map(|text| Value::Text(text.to_owned())))
}

/// A constant, or a column of whole numbers that the WHERE clause holds at one.
fn fixed_value(node: &Node, select: &SelectStmt, scope: &Scope<'_>) -> Option<Value> {
    let value = result(node)?;
    if let Some(constant) = constant(value) {
        return Some(constant);
    }
    let column = scope.column(Some(value))?;
    // Texts may be equal that are written differently, by their collation.
    if !matches!(column.type_name(), "smallint" | "integer" | "bigint") || column.mention.nullable {
        return None;
    }
    conjuncts(inner(&select.where_clause)).into_iter().find_map(|condition| {
        let (left, operator, right) = comparison(condition)?;
        let same = scope.column(Some(left)).is_some_and(|found| {
            found.column.name == column.column.name && found.mention.alias == column.mention.alias
        });
        let whole = |value: &Value| !matches!(value, Value::Text(_));
        (operator == "=" && same).then(|| constant(right).filter(whole))?
    })
}
