//! `date(created) = $1` → `created >= $1::date AND created < $1::date + 1`: a function of time taken off its column,
//! so that an index on the column serves.

use super::Note;
use super::node::{self, fixed, function_name, has_parameter, inner, literal, text, type_name};
use super::scope::{Found, Scope};
use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, Node};

/// Midnights of `timestamp with time zone` are those of the session's time zone.
const CLOCKS: &str = "no clock change of the session's time zone goes back over midnight or over the start of the unit (an hour that comes twice)";

/// What of a column is compared.
enum Part {
    Date,
    /// `date_trunc` to this unit, and the interval that it lasts.
    Unit(&'static str, &'static str),
    Year,
}

pub(super) fn rewrite(node: &Node, scope: &Scope<'_>) -> Option<(Node, Note)> {
    let NodeEnum::AExpr(expression) = node.node.as_ref()? else { return None };
    let (left, right) = (inner(&expression.lexpr)?, inner(&expression.rexpr)?);
    let between = expression.kind == AExprKind::AexprBetween as i32;
    if !between && expression.kind != AExprKind::AexprOp as i32 {
        return None;
    }
    let operator = node::operator(expression)?;
    let ((column, part, assumed), operator, value) = match part_of_column(left, scope) {
        Some(found) => (found, operator, right),
        None if !between => (part_of_column(right, scope)?, node::flipped(operator)?, left),
        None => return None,
    };
    let name = text(match part_of_column(left, scope) {
        Some(_) => column_node(left)?,
        None => column_node(right)?,
    })?;
    let mut checks: Vec<String> = assumed.into_iter().collect();
    let written = match (&part, between) {
        (Part::Date, true) => {
            let NodeEnum::List(list) = value else { return None };
            let [low, high] = list.items.as_slice() else { return None };
            let (low, high) = (day(low.node.as_ref()?)?, day(high.node.as_ref()?)?);
            format!("{name} >= {low} AND {name} < {high} + 1")
        }
        (Part::Date, false) => {
            let value = day(value)?;
            match operator {
                "=" => format!("{name} >= {value} AND {name} < {value} + 1"),
                "<" => format!("{name} < {value}"),
                ">=" => format!("{name} >= {value}"),
                "<=" => format!("{name} < {value} + 1"),
                ">" => format!("{name} >= {value} + 1"),
                _ => return None,
            }
        }
        (Part::Unit(unit, interval), false) if operator == "=" && fixed(value) => {
            let kind = column.type_name();
            let value = format!("({})::{kind}", text(value)?);
            format!(
                "{name} >= {value} AND {name} < {value} + interval '{interval}' AND date_trunc('{unit}', {value}) = {value}"
            )
        }
        (Part::Year, false) if operator == "=" => match value {
            NodeEnum::ParamRef(parameter) => {
                let year = parameter.number;
                checks.push(scope.facts.whole_number(year)?);
                checks.push(format!("${year} is a year from 1 to 9998"));
                format!(
                    "{name} >= make_date(${year}::integer, 1, 1) AND {name} < make_date(${year}::integer + 1, 1, 1)"
                )
            }
            value => {
                let year = node::integer(value).filter(|year| (1..=9998).contains(year))?;
                format!(
                    "{name} >= make_date({year}, 1, 1) AND {name} < make_date({}, 1, 1)",
                    year + 1
                )
            }
        },
        _ => return None,
    };
    let reason =
        format!("an index on {} serves a range of it, not a function of it", column.column.name);
    let strict = matches!(part, Part::Date) && matches!(operator, "<" | ">=") && !between;
    if column.type_name() == "timestamp with time zone" {
        checks.push(CLOCKS.to_owned());
    }
    if !strict && !matches!(part, Part::Year) && !finite(value) {
        checks.push("the value is never infinity".to_owned());
    }
    let note = match checks.is_empty() {
        true => Note::proven(reason),
        false => Note::check(reason, checks.join("; ")),
    };
    Some((node::expression(&written)?, note))
}

/// A column of time within a function that keeps its order, and what has to hold where the function's unit is a
/// parameter.
fn part_of_column<'s, 'a>(
    node: &NodeEnum,
    scope: &'s Scope<'a>,
) -> Option<(Found<'s, 'a>, Part, Option<String>)> {
    let mut assumed = None;
    let part = match node {
        NodeEnum::TypeCast(cast) if type_name(cast.type_name.as_ref()) == Some("date") => {
            Part::Date
        }
        NodeEnum::FuncCall(call) => {
            let first = match call.args.first().and_then(|node| node.node.as_ref()) {
                Some(NodeEnum::ParamRef(parameter)) => {
                    // Which unit it is, only calls tell.
                    let unit = scope.facts.always(parameter.number);
                    assumed = unit.and_then(|unit| scope.facts.stands_for(parameter.number, unit));
                    unit
                }
                other => other.and_then(literal),
            };
            match (function_name(call)?, call.args.len(), first) {
                ("date", 1, _) => Part::Date,
                ("date_trunc", 2, Some(unit)) => unit_of(unit)?,
                ("extract" | "date_part", 2, Some("year")) => Part::Year,
                _ => return None,
            }
        }
        _ => return None,
    };
    let column = scope.column(column_node(node))?;
    let time = match part {
        Part::Year => matches!(
            column.type_name(),
            "timestamp without time zone" | "timestamp with time zone" | "date"
        ),
        _ => {
            matches!(column.type_name(), "timestamp without time zone" | "timestamp with time zone")
        }
    };
    time.then_some((column, part, assumed))
}

fn column_node(node: &NodeEnum) -> Option<&NodeEnum> {
    match node {
        NodeEnum::TypeCast(cast) => inner(&cast.arg),
        NodeEnum::FuncCall(call) => call.args.last()?.node.as_ref(),
        _ => None,
    }
}

fn unit_of(unit: &str) -> Option<Part> {
    Some(match unit {
        "hour" => Part::Unit("hour", "1 hour"),
        "day" => Part::Unit("day", "1 day"),
        "week" => Part::Unit("week", "7 days"),
        "month" => Part::Unit("month", "1 month"),
        "quarter" => Part::Unit("quarter", "3 months"),
        "year" => Part::Unit("year", "1 year"),
        _ => return None,
    })
}

/// A value as a date.
fn day(value: &NodeEnum) -> Option<String> {
    if !fixed(value) {
        return None;
    }
    let written = text(value)?;
    let date = match value {
        NodeEnum::TypeCast(cast) => type_name(cast.type_name.as_ref()) == Some("date"),
        NodeEnum::SqlvalueFunction(_) => written.eq_ignore_ascii_case("current_date"),
        _ => false,
    };
    // Of a moment, date() would have been compared with the moment itself.
    let moment = !date
        && !matches!(value, NodeEnum::ParamRef(_))
        && literal(value).is_none()
        && !matches!(value, NodeEnum::AExpr(_) | NodeEnum::FuncCall(_));
    if moment
        || (!date && matches!(value, NodeEnum::AExpr(_) | NodeEnum::FuncCall(_)) && !is_date(value))
    {
        return None;
    }
    Some(if date { written } else { format!("({written})::date") })
}

/// `current_date - 7`, `date(…)`, `make_date(…)`.
fn is_date(node: &NodeEnum) -> bool {
    match node {
        NodeEnum::TypeCast(cast) => type_name(cast.type_name.as_ref()) == Some("date"),
        NodeEnum::SqlvalueFunction(_) => {
            text(node).is_some_and(|written| written.eq_ignore_ascii_case("current_date"))
        }
        NodeEnum::FuncCall(call) => matches!(function_name(call), Some("date" | "make_date")),
        NodeEnum::AExpr(expression) => {
            matches!(node::operator(expression), Some("+" | "-"))
                && inner(&expression.lexpr).is_some_and(is_date)
                && inner(&expression.rexpr).is_some_and(|right| node::integer(right).is_some())
        }
        _ => false,
    }
}

/// Whether a value can't be ±infinity.
fn finite(value: &NodeEnum) -> bool {
    match value {
        NodeEnum::List(list) => list.items.iter().filter_map(|node| node.node.as_ref()).all(finite),
        NodeEnum::TypeCast(cast) => inner(&cast.arg).is_some_and(finite),
        _ => match literal(value) {
            Some(text) => !text.to_ascii_lowercase().contains("inf"),
            None => !has_parameter(value),
        },
    }
}
