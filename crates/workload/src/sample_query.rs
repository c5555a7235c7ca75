//! The text of the statement that samples rows.

use crate::plan::{Edge, Group, Output};
use crate::sample::SAMPLE_ROWS;
use pgassay_sql::{Subject, quote_identifier, quote_qualified};

/// How rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    /// All rows, in an order that the seed decides.
    Whole,
    /// A percentage of the pages.
    Pages(f64),
    /// The first that come.
    First,
}

/// What to sample.
pub(crate) struct Query<'a> {
    /// All groups of the plan.
    pub groups: &'a [Group],
    /// The group whose rows are chosen.
    pub base: usize,
    /// How the rows of others are looked up from those.
    pub edges: &'a [Edge],
    /// Decides the choice.
    pub seed: u64,
}

impl Query<'_> {
    /// The groups whose outputs the statement returns, in order.
    pub(crate) fn reached(&self) -> impl Iterator<Item = &Group> {
        self.numbers().filter_map(|group| self.groups.get(group))
    }

    fn numbers(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.base).chain(self.edges.iter().map(|edge| edge.to))
    }

    /// Rows are chosen and looked up once, so that ranges find their neighbours among them.
    pub(crate) fn sql(&self, method: Method) -> String {
        let base = self.base_rows(method);
        let lookups: String = self
            .edges
            .iter()
            .enumerate()
            .map(|(step, edge)| {
                let Some(group) = self.groups.get(edge.to) else { return String::new() };
                format!(
                    ", LATERAL (SELECT {} FROM {} AS t WHERE t.{} = g{}.k{step}{} LIMIT 1) AS g{}",
                    self.columns(edge.to, group),
                    relation(group),
                    quote_identifier(&edge.to_column),
                    edge.from,
                    known(group).map(|condition| format!(" AND {condition}")).unwrap_or_default(),
                    edge.to,
                )
            })
            .collect();
        let mut inner = Vec::new();
        let mut values = Vec::new();
        for number in self.numbers() {
            let Some(group) = self.groups.get(number) else { continue };
            for (index, output) in group.outputs.iter().enumerate() {
                let name = format!("v{number}_{index}");
                inner.push(format!("g{number}.{name}"));
                values.push(cast(&name, output));
            }
        }
        format!(
            "WITH base AS MATERIALIZED ({base}), sample AS MATERIALIZED (SELECT {inner}, g{number}.place, g{number}.part FROM base AS g{number}{lookups}) \
             SELECT {values} FROM sample AS s ORDER BY s.place, s.part /* pgassay */",
            number = self.base,
            inner = inner.join(", "),
            values = values.join(", "),
        )
    }

    /// `hashtextextended` of a row's address orders rows at random and yet the same every time; hash
    /// partitioning by a text uses it.
    fn base_rows(&self, method: Method) -> String {
        let Some(group) = self.groups.get(self.base) else { return String::new() };
        let name = relation(group);
        let place = format!(
            "pg_catalog.hashtextextended(ctid::pg_catalog.text, {})",
            self.seed.cast_signed()
        );
        let (from, place, order) = match method {
            Method::Whole => (name, place, " ORDER BY place, part"),
            Method::Pages(percentage) => {
                // REPEATABLE takes a float8: small enough to be exact.
                let seed = self.seed % (1 << 31);
                let from =
                    format!("{name} TABLESAMPLE SYSTEM ({percentage:.6}) REPEATABLE ({seed})");
                (from, place, " ORDER BY place, part")
            }
            Method::First => (name, "0::pg_catalog.int8".to_owned(), ""),
        };
        let condition =
            known(group).map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        format!(
            "SELECT {}, {place} AS place, tableoid AS part FROM {from}{condition}{order} LIMIT {SAMPLE_ROWS}",
            self.columns(self.base, group)
        )
    }

    /// What is selected of a group's row: its outputs, and what others are looked up by.
    fn columns(&self, number: usize, group: &Group) -> String {
        let outputs = group
            .outputs
            .iter()
            .enumerate()
            .map(|(index, output)| format!("{} AS v{number}_{index}", expression(output)));
        let keys = self
            .edges
            .iter()
            .enumerate()
            .filter(|(_, edge)| edge.from == number)
            .map(|(step, edge)| format!("{} AS k{step}", quote_identifier(&edge.from_column)));
        outputs.chain(keys).collect::<Vec<_>>().join(", ")
    }
}

/// The value as text of the parameter's type; for an upper bound the next greater value of the sample.
fn cast(name: &str, output: &Output) -> String {
    let value = if output.next {
        format!(
            "COALESCE((SELECT o.{name} FROM sample AS o WHERE o.{name} > s.{name} ORDER BY 1 LIMIT 1), s.{name})"
        )
    } else {
        format!("s.{name}")
    };
    format!("{value}::{}::pg_catalog.text", output.type_name)
}

/// Rows in which something compared is NULL would never be found.
fn known(group: &Group) -> Option<String> {
    let conditions: Vec<String> = group
        .outputs
        .iter()
        .filter(|output| !output.nullable)
        .map(|output| format!("{} IS NOT NULL", expression(output)))
        .collect();
    (!conditions.is_empty()).then(|| conditions.join(" AND "))
}

fn relation(group: &Group) -> String {
    quote_qualified(&group.relation.schema, &group.relation.name)
}

fn expression(output: &Output) -> String {
    match &output.subject {
        Subject::Column(column) => quote_identifier(column),
        Subject::Expression(text) => format!("({text})"),
    }
}
