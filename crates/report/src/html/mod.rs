//! A document as one HTML page: style and charts inside, no script, nothing fetched.

mod bars;
mod percentiles;
mod waterfall;

use crate::document::{Cell, Chart, Document, Item, Table, Tone};
use maud::{DOCTYPE, Markup, html};

const STYLE: &str = include_str!("style.css");

/// Draws the whole document.
pub(crate) fn render(document: &Document) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (document.title) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { (document.title) }
                    p.muted { (document.subtitle) }
                    @if !document.headline.text.is_empty() {
                        p class=(format!("headline {}", tone(document.headline.tone))) { (document.headline.text) }
                    }
                    nav {
                        @for (index, section) in document.sections.iter().enumerate() {
                            a href=(format!("#s{index}")) { (section.title) }
                        }
                    }
                }
                main {
                    @for (index, section) in document.sections.iter().enumerate() {
                        section id=(format!("s{index}")) {
                            h2 { (section.title) }
                            (items(&section.items))
                        }
                    }
                }
            }
        }
    };
    page.into_string()
}

fn items(parts: &[Item]) -> Markup {
    html! {
        @for item in parts {
            @match item {
                Item::Paragraph(cell) => p class=(tone(cell.tone)) { (cell.text) },
                Item::List(cells) => ul {
                    @for cell in cells { li class=(tone(cell.tone)) { (cell.text) } }
                },
                Item::Table(table) => (self::table(table)),
                Item::Commands(commands) => pre { code { (commands.join("\n")) } },
                Item::Tiles(tiles) => div.tiles {
                    @for tile in tiles {
                        div.tile {
                            span.muted { (tile.label) }
                            strong class=(tone(tile.value.tone)) { (tile.value.text) }
                            span.muted { (tile.note) }
                        }
                    }
                },
                Item::Chart(chart) => figure { (draw(chart)) },
                Item::TextChart(_) => {},
                Item::Entry { title, badge, items: inner } => article {
                    h3 {
                        (title)
                        @if !badge.text.is_empty() {
                            " " span class=(format!("badge {}", tone(badge.tone))) { (badge.text) }
                        }
                    }
                    (items(inner))
                },
                Item::Detail(inner) => details {
                    summary { "details" }
                    (items(inner))
                },
            }
        }
    }
}

fn table(table: &Table) -> Markup {
    let class = |column: usize| if table.is_text(column) { "text" } else { "figure" };
    html! {
        div.wide { table {
            thead { tr {
                @for (column, name) in table.columns.iter().enumerate() {
                    th class=(class(column)) { (name) }
                }
            } }
            tbody {
                @for row in &table.rows { tr {
                    @for (column, cell) in row.iter().enumerate() { (table_cell(cell, class(column))) }
                } }
            }
        } }
    }
}

fn table_cell(cell: &Cell, class: &str) -> Markup {
    html! { td class=(format!("{class} {}", tone(cell.tone))) { (cell.text) } }
}

fn draw(chart: &Chart) -> Markup {
    match chart {
        Chart::Latency { before, after } => percentiles::draw(before, after.as_ref()),
        Chart::Waterfall { before, after } => waterfall::draw(before, after.as_ref()),
        Chart::Statements(comparisons) => bars::statements(comparisons),
        Chart::Pool { before, after } => bars::pool(before, after.as_ref()),
    }
}

fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "",
        Tone::Strong => "strong",
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Muted => "muted",
    }
}

/// A coordinate, to a tenth of a pixel; what is not finite is drawn at the edge.
fn px(value: f64) -> String {
    format!("{:.1}", if value.is_finite() { value } else { 0.0 })
}
