//! `id::text = '42'`, `id = 42.0` → `id = 42`: a comparison in another type than the column's, which no index on
//! the column serves, made in its own.

use super::Note;
use super::node::{self, comparison, flipped, inner, literal, text, type_name};
use super::scope::{Found, Scope};
use pg_query::NodeEnum;
use pg_query::protobuf::Node;

pub(super) fn rewrite(node: &Node, scope: &Scope<'_>) -> Option<(Node, Note)> {
    let (left, operator, right) = comparison(node.node.as_ref()?)?;
    compared(left, operator, right, scope)
        .or_else(|| compared(right, flipped(operator)?, left, scope))
}

fn compared(
    side: &NodeEnum,
    operator: &str,
    value: &NodeEnum,
    scope: &Scope<'_>,
) -> Option<(Node, Note)> {
    if let NodeEnum::TypeCast(cast) = side
        && matches!(type_name(cast.type_name.as_ref()), Some("text" | "varchar"))
        && operator == "="
    {
        let column = scope.column(inner(&cast.arg))?;
        return as_text(&column, &text(inner(&cast.arg)?)?, value);
    }
    let column = scope.column(Some(side))?;
    as_number(&column, &text(side)?, operator, value)
}

/// Whole numbers and UUIDs have one way to be written, so a constant in it is the value.
fn as_text(column: &Found<'_, '_>, name: &str, value: &NodeEnum) -> Option<(Node, Note)> {
    let kind = column.type_name();
    let reason = format!(
        "the index on {} holds values of type {kind}; as text they are compared row by row",
        column.column.name
    );
    if let Some(constant) = literal(value) {
        let written = match kind {
            "smallint" | "integer" | "bigint" => whole(kind, constant)?,
            "uuid" => format!("{}::uuid", crate::quote_literal(uuid(constant)?)),
            _ => return None,
        };
        return Some((node::expression(&format!("{name} = {written}"))?, Note::proven(reason)));
    }
    let NodeEnum::ParamRef(parameter) = value else { return None };
    let form = match kind {
        "smallint" | "integer" | "bigint" => {
            "a whole number without sign +, blanks or leading zeros"
        }
        "uuid" => "a UUID in lower case with its four dashes",
        _ => return None,
    };
    let number = parameter.number;
    Some((
        node::expression(&format!("{name} = ${number}::text::{kind}"))?,
        Note::check(
            reason,
            format!("${number} is always {form}; anything else would be an error, not no row"),
        ),
    ))
}

/// A constant in the form in which the server writes a number of that type.
fn whole(kind: &str, constant: &str) -> Option<String> {
    let number: i64 =
        constant.parse().ok().filter(|number: &i64| number.to_string() == constant)?;
    fits(kind, number).then(|| number.to_string())
}

fn fits(kind: &str, number: i64) -> bool {
    match kind {
        "smallint" => i16::try_from(number).is_ok(),
        "integer" => i32::try_from(number).is_ok(),
        _ => true,
    }
}

fn uuid(constant: &str) -> Option<&str> {
    let parts: Vec<usize> = constant.split('-').map(str::len).collect();
    let plain =
        constant.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (plain && parts == [8, 4, 4, 4, 12]).then_some(constant)
}

/// A whole number compared with one of type numeric or double precision: the column is what is cast.
fn as_number(
    column: &Found<'_, '_>,
    name: &str,
    operator: &str,
    value: &NodeEnum,
) -> Option<(Node, Note)> {
    let kind = column.type_name();
    if !matches!(kind, "smallint" | "integer" | "bigint")
        || !matches!(operator, "=" | "<" | "<=" | ">" | ">=")
    {
        return None;
    }
    let reason = format!(
        "{} is {kind}, and the value is not: the column is cast for each row, and its index is of no use",
        column.column.name
    );
    if let Some(number) = constant(value) {
        if !fits(kind, number) {
            return None;
        }
        let written = node::expression(&format!("{name} {operator} {number}"))?;
        return Some((written, Note::proven(reason)));
    }
    let NodeEnum::TypeCast(cast) = value else { return None };
    let Some(NodeEnum::ParamRef(parameter)) = inner(&cast.arg) else { return None };
    let other = type_name(cast.type_name.as_ref())
        .filter(|name| matches!(*name, "numeric" | "float8" | "float4"))?;
    let number = parameter.number;
    Some((
        node::expression(&format!("{name} {operator} ${number}::{other}::{kind}"))?,
        Note::check(reason, format!("${number} is always a whole number that {kind} holds")),
    ))
}

/// `42.0`, `42::numeric`: a whole number written as something else.
fn constant(value: &NodeEnum) -> Option<i64> {
    if let Some(digits) = node::decimal(value) {
        let (whole, fraction) = digits.split_once('.')?;
        return fraction.bytes().all(|digit| digit == b'0').then(|| whole.parse().ok())?;
    }
    let NodeEnum::TypeCast(cast) = value else { return None };
    type_name(cast.type_name.as_ref())
        .filter(|name| matches!(*name, "numeric" | "float8" | "float4"))?;
    let argument = inner(&cast.arg)?;
    // float4 holds whole numbers exactly up to 2^24, float8 up to 2^53; int4 constants are within the latter.
    node::integer(argument)
        .filter(|number| number.abs() < 1 << 24)
        .map(i64::from)
        .or_else(|| constant(argument))
}
