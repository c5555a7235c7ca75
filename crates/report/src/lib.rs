//! Reports: terminal, Markdown, HTML with inline SVG, JSON.
//!
//! A run, a plan or a measurement is first written as a format-independent [`document`], then drawn in one
//! of the formats, so that all say the same. Never computes a figure that a decision rests on: those
//! are in the documents it is given.

mod changes;
mod document;
mod html;
mod latency;
mod markdown;
mod plan;
mod pool;
mod run;
mod statements;
mod terminal;
mod words;

use document::{Document, Item, Section};
use pgassay_model::comparison::Comparison;
use pgassay_model::measurement::Measurement;
use pgassay_model::plan::Plan;
use pgassay_model::run::{History, Run};

/// A run for the terminal: its summary, what became of each change, how to undo it.
pub fn terminal(run: &Run, color: bool) -> String {
    terminal::render(&run::document(run), color)
}

/// A run in Markdown, all of it.
pub fn markdown(run: &Run) -> String {
    markdown::render(&run::document(run))
}

/// A run as one HTML page without outside references: style and charts are inside, scripts there are none.
pub fn html(run: &Run) -> String {
    html::render(&run::document(run))
}

/// A run as its JSON document, indented.
pub fn json(run: &Run) -> String {
    serde_json::to_string_pretty(run).unwrap_or_else(|error| {
        // Only a map with keys that are no strings could fail, and a run has none.
        serde_json::json!({
            "schema": "pgassay/error/1",
            "error": format!("cannot write the run as JSON: {error}"),
            "hint": "report this",
            "exit": 2,
        })
        .to_string()
    })
}

/// A measurement for the terminal: latency, where it goes, statements, the pool.
pub fn measurement_terminal(measurement: &Measurement, color: bool) -> String {
    terminal::render(&latency::measurement_document(measurement), color)
}

/// Comparisons for the terminal, as a table.
pub fn comparison_terminal(comparisons: &[Comparison], color: bool) -> String {
    let section = Section::brief("", vec![Item::Table(latency::comparison_table(comparisons))]);
    terminal::render(&Document { sections: vec![section], ..Document::default() }, color)
}

/// A plan for the terminal: what could be won, what is proposed, what is not.
pub fn plan_terminal(plan: &Plan, color: bool) -> String {
    terminal::render(&plan::document(plan), color)
}

/// The history for the terminal, unfinished runs first as the document has them.
pub fn history_terminal(history: &History, color: bool) -> String {
    terminal::render(&run::history_document(history), color)
}
