//! `quantity + 10 > $1` → `quantity > $1 - 10`: arithmetic moved from the column to the value.

use super::Note;
use super::node::{self, comparison, fixed, flipped, inner, text};
use super::scope::Scope;
use pg_query::NodeEnum;
use pg_query::protobuf::Node;

pub(super) fn rewrite(node: &Node, scope: &Scope<'_>) -> Option<(Node, Note)> {
    let (left, operator, right) = comparison(node.node.as_ref()?)?;
    moved(left, operator, right, scope).or_else(|| moved(right, flipped(operator)?, left, scope))
}

fn moved(
    side: &NodeEnum,
    operator: &str,
    value: &NodeEnum,
    scope: &Scope<'_>,
) -> Option<(Node, Note)> {
    if !matches!(operator, "=" | "<" | "<=" | ">" | ">=") || !fixed(value) {
        return None;
    }
    let (base, sign, step) = comparison(side)?;
    let back = match sign {
        "+" => "-",
        "-" => "+",
        _ => return None,
    };
    let column = scope.column(Some(base))?;
    let (name, step_text, value_text) = (text(base)?, text(step)?, text(value)?);
    let reason = format!("an index on {} serves the column, not a sum with it", column.column.name);
    let (written, check) = match column.type_name() {
        kind @ ("smallint" | "integer" | "bigint") => {
            // A difference of smallints is computed as the constants were: in integers.
            let cast = if kind == "smallint" { "integer" } else { kind };
            let mut checks = vec![format!(
                "{name} {sign} {step_text} never leaves the range of {kind}, which is an error today"
            )];
            let mut whole = |node: &NodeEnum| match node {
                NodeEnum::ParamRef(parameter) => {
                    checks.push(scope.facts.whole_number(parameter.number)?);
                    Some(format!("${}::{cast}", parameter.number))
                }
                // Anything else may be of a type that counts in fractions.
                constant => node::integer(constant).map(|number| number.to_string()),
            };
            let (value, step) = (whole(value)?, whole(step)?);
            (format!("{name} {operator} {value} {back} {step}"), checks.join("; "))
        }
        "timestamp without time zone" | "timestamp with time zone" => {
            let interval = matches!(step, NodeEnum::TypeCast(cast)
                if node::type_name(cast.type_name.as_ref()) == Some("interval") && inner(&cast.arg).is_some_and(fixed));
            if !interval {
                return None;
            }
            // A constant, or a parameter, without a type takes that of the sum.
            let value = match value {
                NodeEnum::AConst(_) | NodeEnum::ParamRef(_) => {
                    format!("{value_text}::{}", column.type_name())
                }
                _ => value_text,
            };
            (
                format!("{name} {operator} {value} {back} {step_text}"),
                "months of different lengths and clock changes make no difference: the calendar is counted from the other end".to_owned(),
            )
        }
        _ => return None,
    };
    Some((node::expression(&written)?, Note::check(reason, check)))
}
