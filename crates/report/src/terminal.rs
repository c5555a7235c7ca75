//! A document for the terminal, with colour or without.

use crate::document::{Cell, Document, Item, Table, Tone};

/// Columns at which text is wrapped.
const WIDTH: usize = 100;
/// Widest cell of a table's last column before it is put below its row.
const WIDEST_CELL: usize = 56;

/// Draws the brief sections of a document.
pub(crate) fn render(document: &Document, color: bool) -> String {
    let mut page = Page { text: String::new(), color };
    if !document.title.is_empty() {
        page.line(0, &Cell::new(document.title.as_str(), Tone::Strong));
    }
    if !document.subtitle.is_empty() {
        page.line(0, &Cell::new(document.subtitle.as_str(), Tone::Muted));
    }
    if !document.headline.text.is_empty() {
        page.gap();
        page.line(0, &document.headline);
    }
    for section in document.sections.iter().filter(|section| section.brief) {
        page.gap();
        if !section.title.is_empty() {
            page.line(0, &Cell::new(section.title.as_str(), Tone::Strong));
        }
        page.items(&section.items, if section.title.is_empty() { 0 } else { 2 });
    }
    page.text
}

struct Page {
    text: String,
    color: bool,
}

impl Page {
    fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    fn items(&mut self, items: &[Item], indent: usize) {
        for item in items {
            match item {
                Item::Paragraph(cell) => self.line(indent, cell),
                Item::List(cells) => cells.iter().for_each(|cell| self.bullet(indent, cell)),
                Item::Table(table) => self.table(table, indent),
                Item::Commands(commands) => {
                    for line in commands.iter().flat_map(|command| command.lines()) {
                        self.raw(indent + 2, &clean(line), Tone::Plain);
                    }
                }
                Item::TextChart(lines) => {
                    lines.iter().for_each(|line| self.raw(indent, line, Tone::Plain));
                }
                Item::Entry { title, badge, items } => {
                    let badge_text = match badge.text.is_empty() {
                        true => String::new(),
                        false => format!(" [{}]", self.paint(&badge.text, badge.tone)),
                    };
                    let title = self.paint(&clean(title), Tone::Strong);
                    self.text.push_str(&format!("{}{title}{badge_text}\n", " ".repeat(indent)));
                    self.items(items, indent + 2);
                }
                Item::Tiles(_) | Item::Chart(_) | Item::Detail(_) => {}
            }
        }
    }

    fn raw(&mut self, indent: usize, text: &str, tone: Tone) {
        let painted = self.paint(text, tone);
        self.text.push_str(&format!("{}{painted}\n", " ".repeat(indent)));
    }

    fn line(&mut self, indent: usize, cell: &Cell) {
        for line in wrap(&clean(&cell.text), WIDTH.saturating_sub(indent)) {
            self.raw(indent, &line, cell.tone);
        }
    }

    fn bullet(&mut self, indent: usize, cell: &Cell) {
        let lines = wrap(&clean(&cell.text), WIDTH.saturating_sub(indent + 2));
        for (index, line) in lines.iter().enumerate() {
            let mark = if index == 0 { "- " } else { "  " };
            let painted = self.paint(line, cell.tone);
            self.text.push_str(&format!("{}{mark}{painted}\n", " ".repeat(indent)));
        }
    }

    fn table(&mut self, table: &Table, indent: usize) {
        let widths: Vec<usize> = (0..table.columns.len())
            .map(|column| {
                let cells = table.rows.iter().filter_map(|row| row.get(column));
                let head = table.columns.get(column).map_or(0, |name| width(name));
                cells.map(|cell| width(&clean(&cell.text))).max().unwrap_or(0).max(head)
            })
            .collect();
        let last = widths.len().saturating_sub(1);
        let long = widths.get(last).is_some_and(|width| *width > WIDEST_CELL);
        let head: Vec<Cell> =
            table.columns.iter().map(|name| Cell::new(*name, Tone::Muted)).collect();
        for row in std::iter::once(&head).chain(&table.rows) {
            let mut text = " ".repeat(indent);
            let mut below = None;
            for (column, cell) in row.iter().enumerate() {
                let cleaned = clean(&cell.text);
                if long && column == last {
                    below = Some(cleaned);
                    continue;
                }
                let fill = widths.get(column).copied().unwrap_or(0).saturating_sub(width(&cleaned));
                let painted = self.paint(&cleaned, cell.tone);
                if column > 0 {
                    text.push_str("  ");
                }
                match table.is_text(column) {
                    true => text.push_str(&format!("{painted}{}", " ".repeat(fill))),
                    false => text.push_str(&format!("{}{painted}", " ".repeat(fill))),
                }
            }
            self.text.push_str(text.trim_end());
            self.text.push('\n');
            if let Some(below) =
                below.filter(|below| !below.is_empty() && !std::ptr::eq(row, &head))
            {
                self.line(indent + 4, &Cell::new(below, Tone::Muted));
            }
        }
    }

    fn paint(&self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Muted => "2",
        };
        match self.color && !text.is_empty() {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }
}

/// Text from a server must not steer the terminal: control characters are replaced.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => ' ',
            c if c.is_control() => '\u{fffd}',
            c => c,
        })
        .collect()
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn wrap(text: &str, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && width(&line) + 1 + width(word) > limit {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}
