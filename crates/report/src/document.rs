//! The format-independent document: sections of paragraphs, tables, commands and charts.

use pgassay_model::comparison::Comparison;
use pgassay_model::measurement::{Latency, Ledger, PoolWindow};

/// How a text is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Strong,
    Good,
    Bad,
    /// Of less weight, or undecided.
    Muted,
}

/// A text with its tone.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Cell { text: text.into(), tone }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell { text, tone: Tone::Plain }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A table; the first column is text, the others are figures unless named in `text_columns`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<&'static str>,
    pub(crate) text_columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Whether the column of that index holds text.
    pub(crate) fn is_text(&self, index: usize) -> bool {
        index == 0 || self.columns.get(index).is_some_and(|name| self.text_columns.contains(name))
    }
}

/// A headline figure, drawn only where there is room for it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tile {
    pub(crate) label: String,
    pub(crate) value: Cell,
    pub(crate) note: String,
}

/// A chart, with the figures it draws.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Chart {
    /// Percentiles of all requests as lines, of each block as dots.
    Latency { before: Distribution, after: Option<Distribution> },
    /// The ledger as a waterfall.
    Waterfall { before: Ledger, after: Option<Ledger> },
    /// Relative change with its interval, by statement.
    Statements(Vec<Comparison>),
    /// Waiting against working.
    Pool { before: PoolWindow, after: Option<PoolWindow> },
}

/// A latency distribution with that of each block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) all: Latency,
    pub(crate) blocks: Vec<Latency>,
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    Paragraph(Cell),
    List(Vec<Cell>),
    Table(Table),
    /// Commands or SQL to copy.
    Commands(Vec<String>),
    /// Headline figures (HTML only; a table says the same elsewhere).
    Tiles(Vec<Tile>),
    /// A drawing (HTML only; a table or text chart says the same elsewhere).
    Chart(Chart),
    /// A drawing in characters (not in HTML).
    TextChart(Vec<String>),
    /// A part with its own title and outcome.
    Entry {
        title: String,
        badge: Cell,
        items: Vec<Item>,
    },
    /// Left out in the terminal.
    Detail(Vec<Item>),
}

/// A titled part of a document.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Section {
    pub(crate) title: String,
    /// Shown in the terminal too.
    pub(crate) brief: bool,
    pub(crate) items: Vec<Item>,
}

impl Section {
    pub(crate) fn brief(title: impl Into<String>, items: Vec<Item>) -> Self {
        Section { title: title.into(), brief: true, items }
    }

    pub(crate) fn full(title: impl Into<String>, items: Vec<Item>) -> Self {
        Section { title: title.into(), brief: false, items }
    }
}

/// A document.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Document {
    pub(crate) title: String,
    /// Target, version, time.
    pub(crate) subtitle: String,
    /// The one sentence to read.
    pub(crate) headline: Cell,
    pub(crate) sections: Vec<Section>,
}
