//! A run as a document: readable by a manager at the top and a DBA below; and the history.

use crate::document::{Cell, Document, Item, Section, Table, Tile, Tone};
use crate::{changes, latency, plan, pool, statements, words};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::Measurement;
use pgassay_model::run::{ChangeState, History, Run, RunState};
use pgassay_model::units::Ms;

/// A run.
pub(crate) fn document(run: &Run) -> Document {
    let after = run.after.as_ref().filter(|_| !run.comparison.is_empty());
    let mut sections = vec![summary(run), tests(run)];
    if let Some(before) = &run.before {
        sections.push(Section::brief(
            "Where the time goes",
            latency::ledger_items(
                &before.ledger_ms,
                after.map(|after| &after.ledger_ms),
                Some(before),
            ),
        ));
    }
    let plan = run.plan.as_ref();
    sections.extend(plan.and_then(plan::reachable));
    sections
        .extend(plan.and_then(plan::findings).map(|section| Section { brief: false, ..section }));
    sections.push(changes_section(run));
    if let Some(before) = &run.before {
        sections.push(Section::full(
            "Response time",
            vec![
                Item::Chart(latency::percentile_chart(before, after)),
                Item::Table(latency::percentile_table(before, after)),
            ],
        ));
        sections
            .push(Section::full("Statements", statements::items(before, after, &run.comparison)));
        if let Some(window) = &before.pool {
            let later = after.and_then(|after| after.pool.as_ref());
            sections.push(Section::full("Pool", pool::items(window, later)));
        }
    }
    sections.push(risk_and_confidence(run));
    sections.push(undo(run));
    sections.extend(plan.and_then(plan::recommendations));
    sections.extend(plan.and_then(plan::not_proposed));
    sections.push(method(run, after));
    Document {
        title: "pgassay report".to_owned(),
        subtitle: format!(
            "{} · PostgreSQL {} · run {} · {}",
            run.target,
            run.server_version,
            if run.run.is_empty() { words::UNKNOWN } else { &run.run },
            run.generated_at
        ),
        headline: Cell::new(run.headline.clone(), headline_tone(run)),
        sections,
    }
}

fn headline_tone(run: &Run) -> Tone {
    match (run.state, words::primary(&run.comparison).map(|mean| mean.verdict)) {
        (RunState::FailedPartly | RunState::FailedUndone | RunState::Unfinished, _)
        | (_, Some(Verdict::Regressed)) => Tone::Bad,
        (_, Some(Verdict::Improved)) => Tone::Good,
        _ => Tone::Strong,
    }
}

fn summary(run: &Run) -> Section {
    let mut items = Vec::new();
    let tiles: Vec<Tile> = run.comparison.iter().filter_map(tile).take(5).collect();
    if !tiles.is_empty() {
        items.push(Item::Tiles(tiles));
    }
    let metrics: Vec<Comparison> = run
        .comparison
        .iter()
        .filter(|comparison| !comparison.metric.starts_with("statement:"))
        .cloned()
        .collect();
    if !metrics.is_empty() {
        items.push(Item::Table(latency::comparison_table(&metrics)));
    } else if let Some(before) = &run.before {
        items.push(Item::Table(latency::percentile_table(before, None)));
    }
    let targets: Vec<Cell> = run
        .targets
        .iter()
        .map(|target| {
            let (word, tone) =
                if target.met { ("met", Tone::Good) } else { ("NOT met", Tone::Bad) };
            Cell::new(format!("target {}: {word} ({})", target.target, target.value), tone)
        })
        .collect();
    if !targets.is_empty() {
        items.push(Item::List(targets));
    }
    if let Some((plan, elsewhere)) =
        run.plan.as_ref().and_then(|plan| Some((plan, plan::elsewhere(plan)?)))
    {
        let limit = plan::index_limit(plan).unwrap_or_default();
        items.push(Item::Paragraph(format!("Before any change: {elsewhere} {limit}").into()));
    }
    items.extend(run.before.as_ref().and_then(statements::not_representative_in_short));
    items.push(Item::Paragraph(counts(run).into()));
    if run.state != RunState::Finished {
        let state = words::run_state(run.state);
        items.push(Item::Paragraph(Cell::new(format!("The run is {}.", state.text), state.tone)));
    }
    Section::brief("Summary", items)
}

fn tile(comparison: &Comparison) -> Option<Tile> {
    if comparison.metric.starts_with("statement:") {
        return None;
    }
    let tone = words::verdict(comparison.verdict).tone;
    Some(Tile {
        label: words::metric(&comparison.metric),
        value: Cell::new(words::change(comparison), tone),
        note: format!(
            "{} → {}",
            words::value(&comparison.metric, comparison.before),
            words::value(&comparison.metric, comparison.after)
        ),
    })
}

fn counts(run: &Run) -> String {
    let count = |state| run.changes.iter().filter(|change| change.state == state).count();
    let parts: Vec<String> = [
        (ChangeState::Kept, "kept"),
        (ChangeState::Applied, "applied and not judged"),
        (ChangeState::RolledBack, "rolled back"),
        (ChangeState::Failed, "failed and undone"),
        (ChangeState::Skipped, "not tried"),
    ]
    .into_iter()
    .map(|(state, word)| (count(state), word))
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    let risk = words::risk_level(run.risk.level).text;
    match parts.is_empty() {
        true => format!("Changes: none. Risk left: {risk}."),
        false => format!("Changes: {}. Risk left: {risk}.", parts.join(", ")),
    }
}

fn tests(run: &Run) -> Section {
    let rows = run
        .checks
        .iter()
        .map(|check| {
            let outcome = match check.passed {
                Some(true) => Cell::new("passed", Tone::Good),
                Some(false) => Cell::new("FAILED", Tone::Bad),
                None => Cell::new("not applicable", Tone::Muted),
            };
            vec![words::validation_test(&check.id).into(), outcome, check.detail.as_str().into()]
        })
        .collect();
    let table = Table {
        columns: vec!["validation test", "outcome", "figures"],
        text_columns: vec!["outcome", "figures"],
        rows,
    };
    Section::brief("Validation", vec![Item::Table(table)])
}

fn changes_section(run: &Run) -> Section {
    let mut items: Vec<Item> =
        run.changes.iter().map(|change| changes::outcome(change, run.plan.as_ref())).collect();
    if items.is_empty() {
        items.push(Item::Paragraph("Nothing was changed.".into()));
    }
    Section::brief("What was changed, and what it gained", items)
}

fn risk_and_confidence(run: &Run) -> Section {
    let level = words::risk_level(run.risk.level);
    let mut items =
        vec![Item::Paragraph(Cell::new(format!("Risk left: {}.", level.text), level.tone))];
    if !run.risk.reasons.is_empty() {
        items.push(Item::List(
            run.risk.reasons.iter().map(|reason| reason.as_str().into()).collect(),
        ));
    }
    items.push(Item::Paragraph(Cell::new(
        "Rule: the highest level among the changes kept. Low: undone without a trace, no blocking lock, bounded resources. Medium: can change plans or load of other statements, or takes noticeable resources for a while. High: can refuse service to someone, or needs a restart to take back.",
        Tone::Muted,
    )));
    if let Some(mean) = words::primary(&run.comparison) {
        let detectable = mean.detectable.map_or_else(String::new, |effect| {
            format!(" Changes from about {} on would have been seen.", words::share(effect))
        });
        items.push(Item::Paragraph(
            format!(
                "Confidence: {} intervals; {}; {} on each side.{detectable}",
                words::share(mean.confidence),
                mean.method,
                words::count(mean.n as usize, "block"),
            )
            .into(),
        ));
    }
    let watched = run.comparison.iter().any(|entry| entry.metric == words::PASSIVE);
    let rule = if watched {
        "Rule: improved needs an interval wholly below zero and an estimate of at least 3 % less server time, over statements with at least half of that time; no statement with 1 % of it significantly worse; no more rollbacks. What clients wait for is not known. Anything else was rolled back, unless it was asked to be kept."
    } else {
        "Rule: improved needs an interval wholly below zero, an estimate of at least 3 % less, and p95 and p99 shown not to be worse by 5 %; no statement with 1 % of the time significantly worse; no new errors. Anything else was rolled back, unless it was asked to be kept."
    };
    items.push(Item::Paragraph(Cell::new(rule, Tone::Muted)));
    Section::full("Risk and confidence", items)
}

fn undo(run: &Run) -> Section {
    let mut items = match run.rollback.is_empty() {
        true => {
            vec![Item::Paragraph("Nothing was left changed, so there is nothing to undo.".into())]
        }
        false => vec![Item::Commands(run.rollback.clone())],
    };
    if !run.backups.is_empty() {
        items.push(Item::Paragraph("Taken before the first change:".into()));
        items.push(Item::List(run.backups.iter().map(|place| place.as_str().into()).collect()));
    }
    Section::brief("How to undo", items)
}

fn method(run: &Run, after: Option<&Measurement>) -> Section {
    let mut lines: Vec<Cell> = Vec::new();
    if let Some(before) = &run.before {
        lines.push(format!("before: {}", latency::mode(before)).into());
        lines.extend(before.notes.iter().map(|note| format!("before: {note}").into()));
        let cpu = before.server_cpu_ms_per_request;
        lines.extend(cpu.map(|cpu| format!("server CPU before: {} per request", Ms(cpu)).into()));
    }
    if let Some(after) = after {
        lines.push(format!("after: {}", latency::mode(after)).into());
        lines.extend(after.notes.iter().map(|note| format!("after: {note}").into()));
    }
    lines.extend(methods(run));
    lines.extend(run.notes.iter().map(|note| note.as_str().into()));
    Section::full("How it was measured", vec![Item::List(lines)])
}

/// How each metric was compared, metrics of one method together.
fn methods(run: &Run) -> Vec<Cell> {
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for entry in &run.comparison {
        let method = format!(
            "{}; {:.1} % interval, n = {}",
            entry.method,
            entry.confidence * 100.0,
            entry.n
        );
        let name = words::metric(&entry.metric);
        match groups.iter_mut().find(|(known, _)| *known == method) {
            Some((_, names)) => names.push(name),
            None => groups.push((method, vec![name])),
        }
    }
    let mut lines: Vec<Cell> = groups
        .into_iter()
        .map(|(method, names)| format!("{}: {method}", names.join(", ")).into())
        .collect();
    if !lines.is_empty() {
        let rest = match run.before {
            Some(_) => "; percentiles and the ledger are over all requests",
            None => "",
        };
        lines
            .push(format!("before and after of a comparison are medians over blocks{rest}").into());
    }
    lines
}

/// The history.
pub(crate) fn history_document(history: &History) -> Document {
    let sections = history
        .runs
        .iter()
        .map(|run| {
            let mut items = vec![Item::Paragraph(words::run_state(run.state))];
            let lines: Vec<Cell> = run
                .changes
                .iter()
                .map(|change| {
                    let note = match change.note.is_empty() {
                        true => String::new(),
                        false => format!(": {}", change.note),
                    };
                    format!("{} {} ({}){note}", change.id, change.title, change.state).into()
                })
                .collect();
            if !lines.is_empty() {
                items.push(Item::List(lines));
            }
            Section::brief(format!("{} · {} · {}", run.run, run.started_at, run.target), items)
        })
        .collect();
    let headline = match history.runs.len() {
        0 => Cell::from("No run is recorded."),
        number => Cell::new(words::count(number, "run"), Tone::Strong),
    };
    Document { title: String::new(), subtitle: String::new(), headline, sections }
}
