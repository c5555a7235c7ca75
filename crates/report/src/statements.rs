//! Statements: latency and change of each.

use crate::document::{Cell, Chart, Item, Table, Tone};
use crate::words;
use pgassay_model::comparison::Comparison;
use pgassay_model::measurement::{Measurement, StatementMeasurement};
use pgassay_model::units::Ms;

/// Statements by the time they take in all, the most first, with their change where it was judged.
pub(crate) fn items(
    before: &Measurement,
    after: Option<&Measurement>,
    comparisons: &[Comparison],
) -> Vec<Item> {
    let mut statements: Vec<&StatementMeasurement> = before.statements.iter().collect();
    let time =
        |statement: &StatementMeasurement| statement.requests as f64 * statement.latency_ms.mean;
    statements.sort_by(|a, b| time(b).total_cmp(&time(a)));
    let find = |id: &str| {
        comparisons.iter().find(|entry| entry.metric.strip_prefix("statement:") == Some(id))
    };
    let mut items = Vec::new();
    let judged: Vec<Comparison> =
        statements.iter().filter_map(|statement| find(&statement.id)).cloned().collect();
    if !judged.is_empty() {
        items.push(Item::Chart(Chart::Statements(judged)));
    }
    items.push(Item::Table(match after {
        Some(after) => compared(&statements, after, find),
        None => alone(&statements),
    }));
    if after.is_some() && statements.iter().any(|statement| find(&statement.id).is_none()) {
        items.push(Item::Paragraph(Cell::new(
            "Statements with less than 1 % of the response time are not judged by themselves.",
            Tone::Muted,
        )));
    }
    let errors: Vec<Cell> = [Some(before), after]
        .into_iter()
        .flatten()
        .flat_map(|measurement| &measurement.statements)
        .filter_map(|statement| {
            let error = statement.first_error.as_ref()?;
            Some(Cell::new(
                format!("{}: {} failed, first with: {error}", statement.id, statement.errors),
                Tone::Bad,
            ))
        })
        .collect();
    if !errors.is_empty() {
        items.push(Item::List(errors));
    }
    items.extend(not_representative(before));
    let texts: Vec<Item> = statements
        .iter()
        .map(|statement| {
            Item::Commands(vec![format!("-- {}\n{}", statement.id, statement.sql.trim())])
        })
        .collect();
    if !texts.is_empty() {
        items.push(Item::Detail(texts));
    }
    items
}

/// Statements whose values ask the server for something else than the application's do, and why.
fn not_representative(measurement: &Measurement) -> Vec<Item> {
    let marked: Vec<Cell> = measurement
        .statements
        .iter()
        .filter_map(|statement| {
            let why = statement.not_representative.as_ref()?;
            Some(Cell::new(format!("{}: {why}", statement.id), Tone::Bad))
        })
        .collect();
    if marked.is_empty() {
        return Vec::new();
    }
    let heading = "Not representative: the values of these statements ask the server for something else than the application's do, so its response time may differ:";
    vec![Item::Paragraph(heading.into()), Item::List(marked)]
}

/// The same in a sentence; None where there are none.
pub(crate) fn not_representative_in_short(measurement: &Measurement) -> Option<Item> {
    let marked: Vec<&str> = measurement
        .statements
        .iter()
        .filter(|statement| statement.not_representative.is_some())
        .map(|statement| statement.id.as_str())
        .collect();
    (!marked.is_empty()).then(|| {
        let text = format!(
            "Not representative: the values of {} ask the server for something else than the application's do (see Statements).",
            marked.join(", ")
        );
        Item::Paragraph(Cell::new(text, Tone::Bad))
    })
}

/// Transaction scripts, where these were the requests.
pub(crate) fn scripts(measurement: &Measurement) -> Option<Item> {
    if measurement.scripts.is_empty() {
        return None;
    }
    let rows = measurement
        .scripts
        .iter()
        .map(|script| {
            vec![
                script.id.as_str().into(),
                script.requests.to_string().into(),
                script.errors.to_string().into(),
                figure(script, script.latency_ms.mean).into(),
                figure(script, script.latency_ms.p95).into(),
                figure(script, script.latency_ms.p99).into(),
                Cell::new(script.first_error.as_deref().unwrap_or_default(), Tone::Bad),
            ]
        })
        .collect();
    Some(Item::Table(Table {
        columns: vec!["script", "runs", "errors", "mean", "p95", "p99", "first error"],
        text_columns: vec!["first error"],
        rows,
    }))
}

/// A latency, unless no request was answered without an error: then there is none.
fn figure(statement: &StatementMeasurement, ms: f64) -> String {
    if statement.requests > statement.errors {
        Ms(ms).to_string()
    } else {
        words::UNKNOWN.to_owned()
    }
}

fn alone(statements: &[&StatementMeasurement]) -> Table {
    let rows = statements
        .iter()
        .map(|statement| {
            vec![
                statement.id.as_str().into(),
                statement.requests.to_string().into(),
                statement.errors.to_string().into(),
                figure(statement, statement.latency_ms.mean).into(),
                figure(statement, statement.latency_ms.p95).into(),
                figure(statement, statement.latency_ms.p99).into(),
                Cell::new(words::one_line(&statement.sql, 48), Tone::Muted),
            ]
        })
        .collect();
    Table {
        columns: vec!["statement", "requests", "errors", "mean", "p95", "p99", "text"],
        text_columns: vec!["text"],
        rows,
    }
}

fn compared<'a>(
    statements: &[&StatementMeasurement],
    after: &Measurement,
    find: impl Fn(&str) -> Option<&'a Comparison>,
) -> Table {
    let rows = statements
        .iter()
        .map(|statement| {
            let later = after.statements.iter().find(|other| other.id == statement.id);
            let after = |of: fn(&StatementMeasurement) -> f64| {
                later.map_or_else(|| words::UNKNOWN.to_owned(), |later| figure(later, of(later)))
            };
            let comparison = find(&statement.id);
            vec![
                statement.id.as_str().into(),
                figure(statement, statement.latency_ms.mean).into(),
                after(|later| later.latency_ms.mean).into(),
                figure(statement, statement.latency_ms.p95).into(),
                after(|later| later.latency_ms.p95).into(),
                Cell::new(comparison.map_or_else(String::new, words::change), Tone::Strong),
                comparison.map_or_else(String::new, words::interval).into(),
                comparison.map_or_else(
                    || Cell::new("not judged", Tone::Muted),
                    |entry| words::verdict(entry.verdict),
                ),
            ]
        })
        .collect();
    Table {
        columns: vec![
            "statement",
            "mean",
            "mean after",
            "p95",
            "p95 after",
            "change",
            "interval",
            "verdict",
        ],
        text_columns: vec!["verdict"],
        rows,
    }
}
