//! A document in Markdown (CommonMark with tables).

use crate::document::{Cell, Document, Item, Table, Tone};

/// Writes the whole document.
pub(crate) fn render(document: &Document) -> String {
    let mut text = String::new();
    if !document.title.is_empty() {
        text.push_str(&format!("# {}\n\n", escape(&document.title)));
    }
    if !document.headline.text.is_empty() {
        text.push_str(&format!("**{}**\n\n", escape(&document.headline.text)));
    }
    if !document.subtitle.is_empty() {
        text.push_str(&format!("{}\n\n", escape(&document.subtitle)));
    }
    for section in &document.sections {
        text.push_str(&format!("## {}\n\n", escape(&section.title)));
        items(&mut text, &section.items);
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn items(text: &mut String, parts: &[Item]) {
    for item in parts {
        match item {
            Item::Paragraph(cell) => text.push_str(&format!("{}\n\n", inline(cell))),
            Item::List(cells) => {
                for cell in cells {
                    text.push_str(&format!("- {}\n", inline(cell)));
                }
                text.push('\n');
            }
            Item::Table(table) => self::table(text, table),
            Item::Commands(commands) => code(text, &commands.join("\n")),
            Item::TextChart(lines) if !lines.is_empty() => code(text, &lines.join("\n")),
            Item::Entry { title, badge, items: inner } => {
                let badge = match badge.text.is_empty() {
                    true => String::new(),
                    false => format!(" — {}", escape(&badge.text)),
                };
                text.push_str(&format!("### {}{badge}\n\n", escape(title)));
                items(text, inner);
            }
            Item::Detail(inner) => items(text, inner),
            Item::Tiles(_) | Item::Chart(_) | Item::TextChart(_) => {}
        }
    }
}

fn table(text: &mut String, table: &Table) {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    text.push_str(&row(table.columns.iter().map(|name| escape(name)).collect()));
    text.push_str(&row((0..table.columns.len())
        .map(|column| if table.is_text(column) { "---" } else { "---:" }.to_owned())
        .collect()));
    for cells in &table.rows {
        text.push_str(&row(cells.iter().map(inline).collect()));
    }
    text.push('\n');
}

/// A fenced block; the fence is longer than any run of backticks inside.
fn code(text: &mut String, inside: &str) {
    let longest = inside.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    text.push_str(&format!("{fence}\n{inside}\n{fence}\n\n"));
}

fn inline(cell: &Cell) -> String {
    let escaped = escape(&cell.text);
    match cell.tone {
        Tone::Strong if !escaped.trim().is_empty() => format!("**{}**", escaped.trim()),
        _ => escaped,
    }
}

/// Text from a server must not become markup.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '|' | '<' | '>' | '[' | ']' | '#' => {
                escaped.push('\\');
                escaped.push(c);
            }
            '\n' | '\r' | '\t' => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}
