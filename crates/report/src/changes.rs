//! Changes: as proposed, and what became of them.

use crate::document::{Cell, Item, Tone};
use crate::words;
use pgassay_model::plan::{Expected, Plan, PlannedChange};
use pgassay_model::run::{ChangeOutcome, ChangeState};
use pgassay_model::units::percent;

/// A proposed change.
pub(crate) fn proposed(change: &PlannedChange) -> Item {
    let mut items = vec![Item::Commands(change.apply.clone())];
    items.push(labelled("expected", expected(&change.expected)));
    items.push(labelled("risk", words::risk(&change.risk)));
    if change.needs_restart {
        items.push(Item::Paragraph(restart()));
    }
    if !change.statements.is_empty() {
        items.push(labelled("for", change.statements.join(", ")));
    }
    items.push(labelled("has to move", change.mechanism.clone()));
    if !change.evidence.is_empty() {
        items.push(Item::List(change.evidence.iter().map(|line| line.as_str().into()).collect()));
    }
    items.push(Item::Paragraph("undo:".into()));
    items.push(Item::Commands(change.undo.clone()));
    Item::Entry {
        title: format!("{}: {}", change.id, change.title),
        badge: Cell::new(change.change.kind(), Tone::Muted),
        items,
    }
}

/// A change and what became of it, with its grounds from the plan.
pub(crate) fn outcome(change: &ChangeOutcome, plan: Option<&Plan>) -> Item {
    let planned = plan.and_then(|plan| plan.changes.iter().find(|planned| planned.id == change.id));
    let mut items = vec![Item::Paragraph(change.reason.as_str().into())];
    if let Some(planned) = planned {
        if !planned.apply.is_empty() {
            items.push(Item::Commands(planned.apply.clone()));
        }
        items.push(labelled("expected", expected(&planned.expected)));
    }
    if let Some(mean) = words::primary(&change.comparison) {
        items.push(labelled(
            "measured",
            format!(
                "{} {} [{}], with its group \"{}\" ({})",
                words::metric(&mean.metric),
                words::change(mean),
                words::interval(mean),
                change.group,
                mean.verdict
            ),
        ));
    }
    let statements: Vec<Cell> = change
        .comparison
        .iter()
        .filter(|entry| entry.metric.starts_with("statement:"))
        .map(|entry| {
            let tone = words::verdict(entry.verdict).tone;
            let text = format!(
                "{}: {} → {}, {} [{}], {}",
                words::metric(&entry.metric),
                words::value(&entry.metric, entry.before),
                words::value(&entry.metric, entry.after),
                words::change(entry),
                words::interval(entry),
                entry.verdict
            );
            Cell::new(text, tone)
        })
        .collect();
    if !statements.is_empty() {
        items.push(Item::List(statements));
    }
    if let Some(planned) = planned {
        let mut detail = Vec::new();
        if planned.needs_restart {
            detail.push(Item::Paragraph(restart()));
        }
        if !planned.evidence.is_empty() {
            detail.push(Item::Paragraph("Evidence:".into()));
            detail.push(Item::List(
                planned.evidence.iter().map(|line| line.as_str().into()).collect(),
            ));
        }
        detail.push(labelled("has to move", planned.mechanism.clone()));
        detail.push(labelled("risk", words::risk(&planned.risk)));
        if let Some(elapsed) = change.elapsed_s {
            detail.push(labelled("took", format!("{elapsed:.2} s to apply")));
        }
        items.push(Item::Detail(detail));
    }
    if matches!(change.state, ChangeState::Kept | ChangeState::Applied) && !change.undo.is_empty() {
        items.push(Item::Paragraph("undo:".into()));
        items.push(Item::Commands(change.undo.clone()));
    }
    Item::Entry {
        title: format!("{}: {}", change.id, change.title),
        badge: words::change_state(change.state),
        items,
    }
}

fn labelled(label: &str, text: String) -> Item {
    Item::Paragraph(format!("{label}: {text}").into())
}

fn restart() -> Cell {
    Cell::new("comes into force only by a restart, which pgassay never does", Tone::Bad)
}

fn expected(expected: &Expected) -> String {
    let figures = match (expected.low, expected.high) {
        (Some(low), Some(high)) => format!(" ({} to {})", percent(low), percent(high)),
        (Some(one), None) | (None, Some(one)) => format!(" ({})", percent(one)),
        (None, None) => String::new(),
    };
    format!("{}{figures}, {}", expected.effect, words::expected_source(expected.source))
}
