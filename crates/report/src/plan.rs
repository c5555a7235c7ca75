//! The plan: what could be won, what was found, what is proposed, what is not.

use crate::document::{Cell, Document, Item, Section, Table, Tone};
use crate::{changes, latency, words};
use pgassay_model::plan::{Plan, Reachable};

/// A plan by itself.
pub(crate) fn document(plan: &Plan) -> Document {
    let mut sections = Vec::new();
    if let Some(ledger) = &plan.ledger_ms {
        sections
            .push(Section::brief("Where the time goes", latency::ledger_items(ledger, None, None)));
    }
    sections.extend(reachable(plan));
    sections.extend(findings(plan));
    let proposals = match plan.changes.is_empty() {
        true => vec![Item::Paragraph("No change is worth trying.".into())],
        false => plan.changes.iter().map(changes::proposed).collect(),
    };
    sections.push(Section::brief("What is proposed", proposals));
    sections.extend(answered(plan));
    sections.extend(not_proposed(plan).map(|section| Section { brief: true, ..section }));
    sections.extend(recommendations(plan).map(|section| Section { brief: true, ..section }));
    Document {
        title: format!("Plan for {}", plan.target.display),
        subtitle: format!("made {}, index costs by engine {}", plan.generated_at, plan.engine),
        headline: Cell::new(
            format!(
                "{} proposed, {} considered and not proposed; nothing has been touched",
                words::count(plan.changes.len(), "change"),
                plan.not_proposed.len()
            ),
            Tone::Strong,
        ),
        sections,
    }
}

/// Whose estimates the index costs are, where they are not all the plan's engine's or lack something.
fn answered(plan: &Plan) -> Option<Section> {
    let mut items: Vec<Item> =
        plan.engine_notes.iter().map(|note| Item::Paragraph(note.as_str().into())).collect();
    items.extend(plan.elsewhere.iter().map(|one| {
        let who = match one.engine.as_str() {
            "none" => "nothing answered",
            "rule" => "answered by rules",
            "hypopg" => "answered by HypoPG",
            other => other,
        };
        Item::Paragraph(format!("{}: {who} ({})", one.statement, one.reason).into())
    }));
    (!items.is_empty()).then(|| Section::brief("Who answered for index costs", items))
}

/// The most each lever can win.
pub(crate) fn reachable(plan: &Plan) -> Option<Section> {
    let mut levers: Vec<&Reachable> = plan.reachable.iter().collect();
    levers.sort_by(|a, b| b.at_most_share.total_cmp(&a.at_most_share));
    let rows: Vec<Vec<Cell>> = levers
        .iter()
        .map(|lever| {
            vec![
                words::lever(&lever.lever).into(),
                Cell::new(words::share(lever.at_most_share), Tone::Strong),
                lever.reason.as_str().into(),
            ]
        })
        .collect();
    let mut items = vec![
        Item::Paragraph(
            "Computed from where the time goes, before anything was proposed: no change to a part can win more than the part.".into(),
        ),
        Item::Table(Table { columns: vec!["lever", "at most", "because"], text_columns: vec!["because"], rows }),
    ];
    items.extend(index_limit(plan).map(|limit| Item::Paragraph(Cell::new(limit, Tone::Strong))));
    (!levers.is_empty()).then(|| Section::brief("What each lever can win at most", items))
}

/// What no index can exceed.
pub(crate) fn index_limit(plan: &Plan) -> Option<String> {
    let execution = plan.reachable.iter().find(|lever| lever.lever == "execution")?;
    Some(format!(
        "No index can win more than {} of the response time, which is what execution takes and what waits behind it.",
        words::share(execution.at_most_share)
    ))
}

/// The lever that can win most, in words; None where that is execution, or nothing is known.
pub(crate) fn elsewhere(plan: &Plan) -> Option<String> {
    let largest =
        plan.reachable.iter().max_by(|a, b| a.at_most_share.total_cmp(&b.at_most_share))?;
    (largest.lever != "execution").then(|| {
        format!(
            "Most of the time is in {}: {}.",
            words::lever(&largest.lever),
            words::share(largest.at_most_share)
        )
    })
}

/// What was found.
pub(crate) fn findings(plan: &Plan) -> Option<Section> {
    let entries: Vec<Item> = plan
        .findings
        .iter()
        .map(|finding| Item::Entry {
            title: finding.title.clone(),
            badge: finding
                .share
                // A title that says it need not be told again.
                .filter(|_| !finding.title.contains("of the response time"))
                .map(|share| {
                    Cell::new(format!("{} of the response time", words::share(share)), Tone::Strong)
                })
                .unwrap_or_default(),
            items: match finding.evidence.is_empty() {
                true => Vec::new(),
                false => {
                    vec![Item::List(
                        finding.evidence.iter().map(|line| line.as_str().into()).collect(),
                    )]
                }
            },
        })
        .collect();
    (!entries.is_empty()).then(|| Section::brief("What was found", entries))
}

/// What was considered and not proposed.
pub(crate) fn not_proposed(plan: &Plan) -> Option<Section> {
    let lines: Vec<Cell> = plan
        .not_proposed
        .iter()
        .map(|entry| format!("{}: {}", entry.what, entry.why).into())
        .collect();
    (!lines.is_empty())
        .then(|| Section::full("Considered and not proposed", vec![Item::List(lines)]))
}

/// Advice to people.
pub(crate) fn recommendations(plan: &Plan) -> Option<Section> {
    let entries: Vec<Item> = plan
        .recommendations
        .iter()
        .map(|advice| Item::Entry {
            title: advice.title.clone(),
            badge: Cell::default(),
            items: vec![
                Item::Paragraph(advice.text.as_str().into()),
                Item::Paragraph(Cell::new(
                    format!("expected: {} (estimate; {})", advice.expected, advice.source),
                    Tone::Muted,
                )),
            ],
        })
        .collect();
    (!entries.is_empty()).then(|| Section::full("What to watch and do next", entries))
}
