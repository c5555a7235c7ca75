//! Latency and where it goes: figures of a measurement, the ledger, comparisons.

use crate::document::{Cell, Chart, Distribution, Document, Item, Section, Table, Tone};
use crate::{pool, statements, words};
use pgassay_model::comparison::Comparison;
use pgassay_model::measurement::{Connect, Latency, Ledger, Measurement, Protocol};

/// Widest bar of a text chart, in characters.
const BAR: f64 = 40.0;

/// Comparisons as a table, one row each.
pub(crate) fn comparison_table(comparisons: &[Comparison]) -> Table {
    let rows = comparisons
        .iter()
        .map(|comparison| {
            vec![
                words::metric(&comparison.metric).into(),
                words::value(&comparison.metric, comparison.before).into(),
                words::value(&comparison.metric, comparison.after).into(),
                Cell::new(words::change(comparison), Tone::Strong),
                words::interval(comparison).into(),
                words::verdict(comparison.verdict),
            ]
        })
        .collect();
    Table {
        columns: vec!["", "before", "after", "change", "interval", "verdict"],
        text_columns: vec!["verdict"],
        rows,
    }
}

/// Percentiles of one or two measurements.
pub(crate) fn percentile_table(before: &Measurement, after: Option<&Measurement>) -> Table {
    let figures = |latency: &Latency| {
        [latency.mean, latency.p50, latency.p90, latency.p95, latency.p99, latency.max]
    };
    let names = ["mean", "p50", "p90", "p95", "p99", "max"];
    let after_figures = after.map(|after| figures(&after.latency_ms));
    let rows = names
        .iter()
        .zip(figures(&before.latency_ms))
        .enumerate()
        .map(|(index, (name, value))| {
            let mut row: Vec<Cell> = vec![(*name).into(), words::ms(value).into()];
            if let Some(value) = after_figures.and_then(|figures| figures.get(index).copied()) {
                row.push(words::ms(value).into());
            }
            row
        })
        .collect();
    let columns = match after {
        Some(_) => vec!["all requests", "before", "after"],
        None => vec!["all requests", "response time"],
    };
    Table { columns, text_columns: Vec::new(), rows }
}

/// The chart of percentiles.
pub(crate) fn percentile_chart(before: &Measurement, after: Option<&Measurement>) -> Chart {
    let distribution = |measurement: &Measurement| Distribution {
        all: measurement.latency_ms,
        blocks: measurement.blocks.iter().map(|block| block.latency_ms).collect(),
    };
    Chart::Latency { before: distribution(before), after: after.map(distribution) }
}

/// The ledger as a waterfall and as a table, with the source of each part.
pub(crate) fn ledger_items(
    before: &Ledger,
    after: Option<&Ledger>,
    sources: Option<&Measurement>,
) -> Vec<Item> {
    let mut items = vec![Item::Chart(Chart::Waterfall { before: *before, after: after.copied() })];
    items.push(Item::Table(ledger_table(before, after)));
    items.push(Item::TextChart(text_waterfall(before)));
    let sources: Vec<Cell> = sources
        .map(|measurement| &measurement.ledger_sources)
        .into_iter()
        .flatten()
        .map(|(part, source)| format!("{}: {source}", words::ledger_part(part)).into())
        .collect();
    if !sources.is_empty() {
        items.push(Item::Detail(vec![
            Item::Paragraph("Where each part comes from:".into()),
            Item::List(sources),
        ]));
    }
    items
}

fn ledger_table(before: &Ledger, after: Option<&Ledger>) -> Table {
    let cell = |value: Option<f64>| match value {
        Some(value) => Cell::from(words::ms(value)),
        None => Cell::new("not told apart", Tone::Muted),
    };
    let share = |value: Option<f64>, total: f64| match value {
        Some(value) if total > 0.0 => words::share(value / total),
        _ => words::UNKNOWN.to_owned(),
    };
    let after_parts = after.map(Ledger::parts);
    let mut rows: Vec<Vec<Cell>> = before
        .parts()
        .iter()
        .enumerate()
        .map(|(index, (name, value))| {
            let mut row = vec![
                words::ledger_part(name).into(),
                cell(*value),
                share(*value, before.total).into(),
            ];
            if let (Some(parts), Some(after)) = (after_parts, after) {
                let value = parts.get(index).and_then(|(_, value)| *value);
                row.extend([cell(value), share(value, after.total).into()]);
            }
            row
        })
        .collect();
    let strong = |text: String| Cell::new(text, Tone::Strong);
    let mut total =
        vec![strong("in all".to_owned()), strong(words::ms(before.total)), strong(String::new())];
    if let Some(after) = after {
        total.extend([strong(words::ms(after.total)), strong(String::new())]);
    }
    rows.push(total);
    let columns = match after {
        Some(_) => vec!["mean per request", "before", "share", "after", "share after"],
        None => vec!["mean per request", "time", "share"],
    };
    Table { columns, text_columns: Vec::new(), rows }
}

/// Each part as a bar that starts where the one before it ends.
fn text_waterfall(ledger: &Ledger) -> Vec<String> {
    if ledger.total <= 0.0 {
        return Vec::new();
    }
    let mut start = 0.0;
    ledger
        .parts()
        .iter()
        .filter_map(|(name, value)| value.map(|value| (name, value)))
        .map(|(name, value)| {
            let scale = |value: f64| (value / ledger.total * BAR).round().clamp(0.0, BAR) as usize;
            let (from, to) = (scale(start), scale(start + value));
            start += value;
            let bar = if value > 0.0 {
                "█".repeat(to.saturating_sub(from).max(1))
            } else {
                String::new()
            };
            format!("{:<18}{}{bar}", words::ledger_part(name), " ".repeat(from))
                .trim_end()
                .to_owned()
        })
        .collect()
}

/// How a load was driven, in words.
pub(crate) fn mode(measurement: &Measurement) -> String {
    let mode = &measurement.mode;
    let load = match (mode.rate, mode.clients) {
        _ if mode.speed.is_some() => format!(
            "recorded sessions replayed at {}× their speed, at most {} at once, latency from the intended start",
            mode.speed.unwrap_or(1.0),
            mode.clients.unwrap_or_default()
        ),
        (Some(rate), Some(clients)) => format!(
            "open loop at {} intended, at most {clients} in flight, latency from the intended start",
            words::rate(rate)
        ),
        (Some(rate), None) => {
            format!("open loop at {} intended, latency from the intended start", words::rate(rate))
        }
        (None, Some(clients)) => {
            format!("closed loop of {}", words::count(clients as usize, "client"))
        }
        (None, None) => "load as given".to_owned(),
    };
    let connect = match mode.connect {
        Connect::Reuse => "connections reused",
        Connect::PerRequest => "a new connection for every request",
    };
    let protocol = match mode.protocol {
        Protocol::Simple => "simple protocol",
        Protocol::Extended => "unnamed statements",
        Protocol::Prepared => "prepared statements",
    };
    format!(
        "{load}; {connect}; {protocol}; {} in {:.1} s, {}; {}",
        words::count(usize::try_from(measurement.requests).unwrap_or(usize::MAX), "request"),
        measurement.duration_s,
        words::count(measurement.blocks.len(), "block"),
        words::count(usize::try_from(measurement.errors).unwrap_or(usize::MAX), "error"),
    )
}

/// A measurement by itself.
pub(crate) fn measurement_document(measurement: &Measurement) -> Document {
    let mut figures = percentile_table(measurement, None);
    figures.rows.push(vec!["throughput".into(), words::rate(measurement.throughput).into()]);
    if let Some(cpu) = measurement.server_cpu_ms_per_request {
        figures.rows.push(vec!["server CPU per request".into(), words::ms(cpu).into()]);
    }
    let mut sections = vec![
        Section::brief("Response time", vec![Item::Table(figures)]),
        Section::brief(
            "Where the time goes",
            ledger_items(&measurement.ledger_ms, None, Some(measurement)),
        ),
        Section::brief("Statements", statements::items(measurement, None, &[])),
    ];
    if let Some(scripts) = statements::scripts(measurement) {
        sections.insert(2, Section::brief("Scripts", vec![scripts]));
    }
    if let Some(pool) = &measurement.pool {
        sections.push(Section::brief("Pool", pool::items(pool, None)));
    }
    if !measurement.notes.is_empty() {
        let notes = measurement.notes.iter().map(|note| note.as_str().into()).collect();
        sections.push(Section::brief("Notes", vec![Item::List(notes)]));
    }
    Document {
        title: format!("Measurement of {}", measurement.target),
        subtitle: mode(measurement),
        headline: Cell::default(),
        sections,
    }
}
