//! Indexes that could serve a statement, from its parse tree.
//!
//! Keys that are compared for equality come first, the most selective one leading, then one range or the order
//! wanted (manual, section 11.3 "Multicolumn Indexes" and 11.4 "Indexes and ORDER BY").

use super::statement::Asked;
use super::{cover, immutable, name, selectivity};
use pgassay_model::index::{IndexDefinition, IndexKey};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_sql::{Operator, Predicate, StatementKind, Subject, ValueKind, quote_identifier};
use std::collections::BTreeSet;

/// A relation of so few pages is read in the time that finding a row by index takes.
const TINY_PAGES: u64 = 10;
/// A statement whose cost is at most that many random page reads is a lookup that an index serves already.
const LOOKUP_PAGES: f64 = 5.0;
/// A constant condition that keeps more rows than that is no use as a key.
const USELESS_SHARE: f64 = 0.5;
/// A constant condition that keeps at most that share makes a partial index worth its narrowness.
const PARTIAL_SHARE: f64 = 0.3;
/// A B-tree entry may have a third of a page (2,704 bytes); columns this wide on average come too near.
const WIDE: u32 = 500;
/// INCLUDE columns are added only for reads of at least so many rows, of at most so many bytes and columns:
/// then the heap pages saved outweigh the wider index.
const COVERING_ROWS: f64 = 100.0;
const COVERING_WIDTH: u32 = 64;
const COVERING_COLUMNS: usize = 4;

/// Types without a B-tree operator class, or for which comparing whole values is of no use.
const NOT_BTREE: [&str; 14] = [
    "json", "jsonb", "xml", "point", "box", "polygon", "line", "lseg", "circle", "path",
    "tsvector", "tsquery", "bytea", "[]",
];

/// What was found for a statement.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Indexes, named uniquely among themselves and the existing ones.
    pub definitions: Vec<IndexDefinition>,
    /// What stood in the way of others.
    pub obstacles: Vec<String>,
}

/// Lists candidates for a statement, or says why it has none.
pub(super) fn candidates(
    snapshot: &Snapshot,
    asked: &Asked<'_>,
    max_width: usize,
) -> Result<Found, String> {
    let shape = &asked.shape;
    let Some(before) = &asked.before else {
        return Err("it could not be planned, so it counts as a writer only".into());
    };
    if shape.kind == StatementKind::Utility {
        return Err("it is no query".into());
    }
    if shape.kind == StatementKind::Insert
        && shape.relations.iter().all(|mention| mention.target_of_write)
    {
        return Err("it inserts rows and reads none, so every index makes it slower".into());
    }
    let random_page_cost = snapshot
        .parameter("random_page_cost")
        .and_then(|parameter| parameter.number())
        .unwrap_or(4.0);
    if before.total_cost <= LOOKUP_PAGES * random_page_cost {
        let through = match before.indexes.as_slice() {
            [] => String::new(),
            indexes => format!(" through {}", indexes.join(", ")),
        };
        return Err(format!("it is cheap already: cost {:.1}{through}", before.total_cost));
    }
    let mut found = Found::default();
    for mention in 0..shape.relations.len() {
        let Some(relation) = asked.relation(snapshot, mention) else { continue };
        let target_of_insert = shape.kind == StatementKind::Insert
            && shape.relations.get(mention).is_some_and(|m| m.target_of_write);
        if target_of_insert {
            continue;
        }
        match relation.kind {
            'r' | 'm' => {}
            'p' => {
                found.obstacles.push(format!(
                    "{} is partitioned, and CREATE INDEX CONCURRENTLY does not work on partitioned tables: create indexes on its partitions",
                    relation.name
                ));
                continue;
            }
            _ => {
                found
                    .obstacles
                    .push(format!("{} is no relation that pgassay indexes", relation.name));
                continue;
            }
        }
        if relation.pages <= TINY_PAGES {
            found.obstacles.push(format!(
                "{} has only {} pages, which are read as fast as an index would be",
                relation.name, relation.pages
            ));
            continue;
        }
        Mention { snapshot, asked, relation, mention, max_width }.candidates(&mut found);
    }
    if found.definitions.is_empty() && found.obstacles.is_empty() {
        return Err(if shape.relations.is_empty() {
            "it reads no relation that is known here".into()
        } else {
            "it has no condition, join or order that an index could serve: it reads all rows".into()
        });
    }
    Ok(found)
}

/// One mention of a relation in a statement.
struct Mention<'a> {
    snapshot: &'a Snapshot,
    asked: &'a Asked<'a>,
    relation: &'a Relation,
    mention: usize,
    max_width: usize,
}

/// What a mention asks of an index.
#[derive(Default)]
struct Wanted {
    /// Keys compared for equality, with the number of distinct values.
    equal: Vec<(IndexKey, f64)>,
    /// Keys compared by range or by prefix.
    range: Vec<IndexKey>,
    /// Keys joined by.
    join: Vec<IndexKey>,
    /// Keys of alternatives below an OR, each of which needs an index of its own.
    alternatives: Vec<IndexKey>,
    /// Constant conditions as SQL with the column they are on.
    constant: Vec<(String, Subject)>,
}

impl Mention<'_> {
    fn candidates(&self, found: &mut Found) {
        let wanted = self.wanted(found);
        let order = self.order(found);
        let group = self.group();
        let mut lists: Vec<Vec<IndexKey>> = Vec::new();
        let equal: Vec<IndexKey> = wanted.equal.iter().map(|(key, _)| key.clone()).collect();
        let mut add = |parts: &[&[IndexKey]]| {
            let list = self.join_keys(parts);
            if !list.is_empty() && !lists.contains(&list) {
                lists.push(list);
            }
        };
        add(&[&equal]);
        add(&[equal.get(..1).unwrap_or_default()]);
        for range in &wanted.range {
            add(&[&equal, std::slice::from_ref(range)]);
            add(&[std::slice::from_ref(range)]);
        }
        add(&[&equal, &order]);
        add(&[&order]);
        for join in &wanted.join {
            let join = std::slice::from_ref(join);
            add(&[join]);
            add(&[join, &equal]);
            add(&[&equal, join]);
            for range in &wanted.range {
                add(&[join, &equal, std::slice::from_ref(range)]);
            }
            add(&[join, &equal, &order]);
        }
        add(&[&equal, &group]);
        add(&[&group]);
        for alternative in &wanted.alternatives {
            add(&[std::slice::from_ref(alternative)]);
        }

        let predicate: Vec<&str> = wanted.constant.iter().map(|(text, _)| text.as_str()).collect();
        let predicate = (!predicate.is_empty()).then(|| predicate.join(" AND "));
        for list in &lists {
            self.push(found, list.clone(), Vec::new(), None);
            if let Some(predicate) = &predicate {
                let rest: Vec<IndexKey> = list
                    .iter()
                    .filter(|key| !wanted.constant.iter().any(|(_, subject)| is_on(key, subject)))
                    .cloned()
                    .collect();
                // With nothing else to find rows by, the condition itself is the point: its own column is the key.
                let keys = if rest.is_empty() { list.clone() } else { rest };
                self.push(found, keys, Vec::new(), Some(predicate.clone()));
            }
        }
        for (keys, include) in lists.iter().filter_map(|list| Some((list, self.covering(list)?))) {
            self.push(found, keys.clone(), include, None);
        }
    }

    /// Sorts the conditions by what an index can do for them.
    fn wanted(&self, found: &mut Found) -> Wanted {
        let mut wanted = Wanted::default();
        let of_mention = self
            .asked
            .shape
            .predicates
            .iter()
            .filter(|predicate| predicate.relation == self.mention);
        for predicate in of_mention {
            let key = match self.key(&predicate.subject) {
                Ok(key) => key,
                Err(reason) => {
                    found.obstacles.push(reason);
                    continue;
                }
            };
            let operator = match predicate.operator {
                Operator::OtherLike if self.is_prefix(predicate) => Operator::PrefixLike,
                ref operator => operator.clone(),
            };
            let key = match operator {
                Operator::PrefixLike => self.pattern(key, &predicate.subject),
                _ => key,
            };
            if predicate.in_or {
                match operator {
                    Operator::Equal | Operator::In | Operator::Range | Operator::PrefixLike => {
                        wanted.alternatives.push(key);
                    }
                    _ => {}
                }
                continue;
            }
            let share = selectivity::of(self.relation, self.asked.statement, predicate);
            let condition = constant_condition(predicate, self.relation);
            if let Some(condition) = &condition
                && share.known
                && share.share <= PARTIAL_SHARE
            {
                wanted.constant.push((condition.clone(), predicate.subject.clone()));
            }
            let useless = condition.is_some() && share.share > USELESS_SHARE;
            match operator {
                Operator::Equal | Operator::In | Operator::IsNull if !useless => {
                    let distinct = selectivity::distinct(self.relation, &predicate.subject).unwrap_or(200.0);
                    if !wanted.equal.iter().any(|(known, _)| cover::same_subject(known, &key)) {
                        wanted.equal.push((key, distinct));
                    }
                }
                Operator::Range | Operator::PrefixLike => {
                    if !wanted.range.contains(&key) {
                        wanted.range.push(key);
                    }
                }
                Operator::Equal | Operator::In | Operator::IsNull | Operator::IsNotNull => {}
                Operator::NotEqual => found.obstacles.push(format!(
                    "<> on {} keeps nearly every row, and no index finds rows by it",
                    subject_text(&predicate.subject)
                )),
                Operator::OtherLike => found.obstacles.push(format!(
                    "LIKE on {} does not begin with constant text, so a B-tree can't find rows by it (a trigram index of pg_trgm could; pgassay does not propose those)",
                    subject_text(&predicate.subject)
                )),
                Operator::Other(name) => found.obstacles.push(format!(
                    "operator {name} on {} is not one a B-tree finds rows by",
                    subject_text(&predicate.subject)
                )),
            }
        }
        // The most selective first; equal ones in the statement's order (the sort is stable).
        wanted.equal.sort_by(|a, b| b.1.total_cmp(&a.1));
        for join in &self.asked.shape.joins {
            for (mention, column) in [&join.left, &join.right] {
                if *mention == self.mention
                    && let Ok(key) = self.key(&Subject::Column(column.clone()))
                    && !wanted.join.contains(&key)
                {
                    wanted.join.push(key);
                }
            }
        }
        wanted
    }

    /// ORDER BY as keys, where it begins with this mention. All descending is all ascending read backwards.
    fn order(&self, found: &mut Found) -> Vec<IndexKey> {
        let wanted = &self.asked.shape.order;
        if wanted.iter().any(|key| key.relation != self.mention) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        for order in wanted {
            match self.key(&order.subject) {
                Ok(key) => keys.push(IndexKey {
                    descending: order.descending,
                    nulls_first: order.nulls_first.unwrap_or(order.descending),
                    ..key
                }),
                Err(reason) => {
                    found.obstacles.push(reason);
                    return Vec::new();
                }
            }
        }
        if keys.iter().all(|key| key.descending && key.nulls_first) {
            for key in &mut keys {
                key.descending = false;
                key.nulls_first = false;
            }
        }
        keys
    }

    fn group(&self) -> Vec<IndexKey> {
        let group = &self.asked.shape.group;
        if group.iter().any(|(mention, _)| *mention != self.mention) {
            return Vec::new();
        }
        group
            .iter()
            .filter_map(|(_, column)| self.key(&Subject::Column(column.clone())).ok())
            .collect()
    }

    /// A key for a subject, or why there can be none.
    fn key(&self, subject: &Subject) -> Result<IndexKey, String> {
        match subject {
            Subject::Column(name) => {
                let Some(column) = self.relation.column(name) else {
                    return Err(format!("{} has no column {name}", self.relation.name));
                };
                if NOT_BTREE.iter().any(|kind| {
                    column.type_name == *kind || (*kind == "[]" && column.type_name.ends_with(kind))
                }) {
                    return Err(format!(
                        "{name} is {}, which a B-tree does not serve",
                        column.type_name
                    ));
                }
                if let Some(width) =
                    column.statistics.as_ref().map(|statistics| statistics.average_width)
                    && width > WIDE
                {
                    return Err(format!(
                        "values of {name} have {width} bytes on average, too wide for a B-tree"
                    ));
                }
                Ok(IndexKey::column(name.as_str()))
            }
            Subject::Expression(text) => {
                immutable::check(self.relation, text)?;
                Ok(IndexKey {
                    column: None,
                    expression: Some(text.clone()),
                    ..IndexKey::column("")
                })
            }
        }
    }

    /// A key that prefixes can be found by: outside of the C collation that takes a pattern operator class
    /// (manual, section 11.10).
    fn pattern(&self, key: IndexKey, subject: &Subject) -> IndexKey {
        if self.snapshot.server.c_collation {
            return key;
        }
        let type_name = match subject {
            Subject::Column(name) => {
                self.relation.column(name).map_or("text", |column| column.type_name.as_str())
            }
            Subject::Expression(_) => "text",
        };
        let opclass = if type_name.starts_with("character varying") {
            "varchar_pattern_ops"
        } else if type_name.starts_with("character(") {
            "bpchar_pattern_ops"
        } else {
            "text_pattern_ops"
        };
        IndexKey { opclass: Some(opclass.into()), ..key }
    }

    /// A pattern given as a parameter is a prefix where every value known is one.
    fn is_prefix(&self, predicate: &Predicate) -> bool {
        let values = selectivity::values(self.asked.statement, predicate);
        matches!(predicate.value, ValueKind::Parameter(_))
            && !values.is_empty()
            && values.iter().all(|value| !value.is_empty() && !value.starts_with(['%', '_']))
    }

    /// Keys of several parts, each subject once, at most `max_width`.
    fn join_keys(&self, parts: &[&[IndexKey]]) -> Vec<IndexKey> {
        let mut keys: Vec<IndexKey> = Vec::new();
        for key in parts.iter().copied().flatten() {
            if !keys.iter().any(|known| cover::same_subject(known, key)) {
                keys.push(key.clone());
            }
        }
        keys.truncate(self.max_width);
        keys
    }

    /// INCLUDE columns with which an index alone could answer a narrow read of many rows.
    fn covering(&self, keys: &[IndexKey]) -> Option<Vec<String>> {
        let shape = &self.asked.shape;
        if shape.kind != StatementKind::Select || shape.writes {
            return None;
        }
        let share =
            selectivity::of_mention(self.relation, self.asked.statement, shape, self.mention);
        let read = selectivity::rows(self.relation) * share;
        if self.asked.limit.map_or(read, |limit| read.min(limit)) < COVERING_ROWS {
            return None;
        }
        let include: Vec<String> = shape
            .columns_read
            .iter()
            .filter(|(mention, column)| {
                *mention == self.mention
                    && !keys.iter().any(|key| key.column.as_ref() == Some(column))
            })
            .map(|(_, column)| column.clone())
            .collect();
        let width: Option<u32> = include
            .iter()
            .map(|column| Some(self.relation.column(column)?.statistics.as_ref()?.average_width))
            .sum();
        let narrow = width.is_some_and(|width| width <= COVERING_WIDTH);
        let plain = keys.iter().all(|key| key.column.is_some());
        (!include.is_empty() && include.len() <= COVERING_COLUMNS && narrow && plain)
            .then_some(include)
    }

    fn push(
        &self,
        found: &mut Found,
        keys: Vec<IndexKey>,
        include: Vec<String>,
        predicate: Option<String>,
    ) {
        let mut definition = IndexDefinition {
            relation: self.relation.name.clone(),
            name: String::new(),
            method: "btree".into(),
            unique: false,
            keys,
            include,
            predicate,
        };
        if let Some(existing) = cover::existing(self.relation, &definition) {
            let note = format!("{} exists and serves it", existing.name);
            if !found.obstacles.contains(&note) {
                found.obstacles.push(note);
            }
            return;
        }
        let same = |known: &IndexDefinition| {
            IndexDefinition { name: String::new(), ..known.clone() } == definition
        };
        if found.definitions.iter().any(same) {
            return;
        }
        let mut taken: BTreeSet<String> = name::taken(self.snapshot, &self.relation.name.schema);
        taken.extend(found.definitions.iter().map(|known| known.name.clone()));
        definition.name = name::choose(&definition, &taken);
        found.definitions.push(definition);
    }
}

/// Whether a key is on a subject.
pub(super) fn is_on(key: &IndexKey, subject: &Subject) -> bool {
    match subject {
        Subject::Column(name) => key.column.as_ref() == Some(name),
        Subject::Expression(text) => {
            key.expression.as_ref().is_some_and(|known| cover::normal(known) == cover::normal(text))
        }
    }
}

/// A condition that stands in the statement as a constant, as SQL; None where it does not.
pub(super) fn constant_condition(predicate: &Predicate, relation: &Relation) -> Option<String> {
    let subject = match &predicate.subject {
        Subject::Column(name) => quote_identifier(name),
        Subject::Expression(_) => return None,
    };
    match (&predicate.operator, &predicate.value) {
        (Operator::IsNull, _) => Some(format!("{subject} IS NULL")),
        (Operator::IsNotNull, _) => Some(format!("{subject} IS NOT NULL")),
        (Operator::Equal, ValueKind::Constant(value)) => {
            let boolean = matches!(&predicate.subject, Subject::Column(name)
                if relation.column(name).is_some_and(|column| column.type_name == "boolean"));
            match (boolean, value.as_str()) {
                (true, "true") => Some(subject),
                (true, "false") => Some(format!("NOT {subject}")),
                _ => Some(format!("{subject} = {value}")),
            }
        }
        _ => None,
    }
}

fn subject_text(subject: &Subject) -> &str {
    match subject {
        Subject::Column(name) => name,
        Subject::Expression(text) => text,
    }
}
