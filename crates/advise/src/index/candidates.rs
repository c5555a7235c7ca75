//! Indexes that could serve a statement, from its parse tree.
//!
//! Keys that are compared for equality come first, the most selective one leading, then one range or the order
//! wanted (manual, section 11.3 "Multicolumn Indexes" and 11.4 "Indexes and ORDER BY").

use super::statement::Asked;
use super::wanted::is_on;
use super::{cover, inheritance, name, selectivity};
use crate::by_partition;
use pgassay_model::index::{IndexDefinition, IndexKey};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_sql::{StatementKind, StatementShape};

/// A relation of so few pages is read in the time that finding a row by index takes.
const TINY_PAGES: u64 = 10;
/// A statement whose cost is at most that many random page reads is a lookup that an index serves already.
const LOOKUP_PAGES: f64 = 5.0;
/// INCLUDE columns are added only for reads of at least so many rows, of at most so many bytes and columns:
/// then the heap pages saved outweigh the wider index.
const COVERING_ROWS: f64 = 100.0;
const COVERING_WIDTH: u32 = 64;
const COVERING_COLUMNS: usize = 4;

/// What was found for a statement.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Indexes, without names.
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
        if inheritance::has_children(relation) {
            let children = asked.children.iter().filter(|(_, parent)| *parent == mention);
            let children: Vec<String> = children
                .filter_map(|(child, _)| Some(shape.relations.get(*child)?.name.to_string()))
                .collect();
            found.obstacles.push(inheritance::note(relation, &children));
        }
        match relation.kind {
            'r' | 'm' => {}
            'p' => {
                let mut of_parent = Found::default();
                Mention { snapshot, asked, relation, mention, max_width }
                    .candidates(&mut of_parent);
                found.obstacles.extend(of_parent.obstacles);
                found
                    .obstacles
                    .extend(of_parent.definitions.first().map(|one| by_partition(snapshot, one)));
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
            if asked.limit.is_some() && shape.relations.len() > 1 {
                Mention { snapshot, asked, relation, mention, max_width }.order_alone(&mut found);
            }
            continue;
        }
        Mention { snapshot, asked, relation, mention, max_width }.candidates(&mut found);
    }
    found.obstacles.extend(not_looked_through(shape));
    if found.definitions.is_empty() && found.obstacles.is_empty() {
        return Err(if shape.relations.is_empty() {
            "it reads no relation that is known here".into()
        } else {
            format!(
                "it has no condition, join or order that an index could serve{}: it reads all rows",
                through(shape)
            )
        });
    }
    Ok(found)
}

/// What is named that is neither known nor a view that can be looked through.
fn not_looked_through(shape: &StatementShape) -> Option<String> {
    let names = &shape.unknown_relations;
    (!names.is_empty()).then(|| {
        format!(
            "{} can't be looked through: no table, materialized view or view of a query that is known here; where it is a view, ask about the statement with its query in its place",
            names.join(", ")
        )
    })
}

/// The views on the way to the relations.
fn through(shape: &StatementShape) -> String {
    let views: Vec<String> = shape.views.iter().map(ToString::to_string).collect();
    match views.is_empty() {
        true => String::new(),
        false => format!(
            " (through {}: conditions are followed on columns that the view hands on as they are, through no LIMIT, UNION or window function)",
            views.join(", ")
        ),
    }
}

/// What to do by hand for an index on a partitioned table.
fn by_partition(snapshot: &Snapshot, wanted: &IndexDefinition) -> String {
    let taken = name::taken(snapshot, &wanted.relation.schema);
    let index = IndexDefinition { name: name::choose(wanted, &taken), ..wanted.clone() };
    format!(
        "{} is partitioned, so the index that could serve it was not weighed and pgassay does not build it; by hand, without blocking who writes: {}",
        index.relation,
        by_partition::steps(&index)
    )
}

/// One mention of a relation in a statement.
pub(super) struct Mention<'a> {
    pub snapshot: &'a Snapshot,
    pub asked: &'a Asked<'a>,
    pub relation: &'a Relation,
    pub mention: usize,
    pub max_width: usize,
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
        for extreme in &self.extremes() {
            add(&[&equal, std::slice::from_ref(extreme)]);
        }
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
        self.other_methods(found);
    }

    /// Only what the statement sorts by: of few rows too, read in that order, the first groups of a join come sorted, and
    /// a LIMIT needs no others (incremental sort; manual, `enable_incremental_sort`).
    fn order_alone(&self, found: &mut Found) {
        let order = self.join_keys(&[&self.order(found)]);
        if !order.is_empty() {
            self.push(found, order, Vec::new(), None);
        }
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
        let definition = IndexDefinition {
            relation: self.relation.name.clone(),
            name: String::new(),
            method: "btree".into(),
            unique: false,
            keys,
            include,
            predicate,
            pages_per_range: None,
        };
        self.push_definition(found, definition);
    }

    /// Adds a candidate, unless an index exists that covers it or it is there already.
    pub(super) fn push_definition(&self, found: &mut Found, definition: IndexDefinition) {
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
        found.definitions.push(definition);
    }
}
