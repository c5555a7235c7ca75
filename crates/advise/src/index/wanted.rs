//! What a statement asks of an index on one relation: keys for its conditions, joins, order and groups.

use super::candidates::{Found, Mention};
use super::statement::Asked;
use super::{cover, immutable, opclasses, selectivity};
use pgassay_model::index::{IndexDefinition, IndexKey};
use pgassay_model::relation::Relation;
use pgassay_sql::{Operator, OperatorJoin, Predicate, Subject, ValueKind, quote_identifier};

/// A constant condition that keeps more rows than that is no use as a key.
const USELESS_SHARE: f64 = 0.5;
/// A constant condition that keeps at most that share makes a partial index worth its narrowness.
const PARTIAL_SHARE: f64 = 0.3;
/// A column with more distinct values than the statistics list by default (`default_statistics_target`) tells
/// rows apart, and does not sort them into kinds: a partial index on one of its values serves that value only.
const KINDS: f64 = 100.0;
/// A B-tree entry may have a third of a page (2,704 bytes); columns this wide on average come too near.
const WIDE: u32 = 500;

/// Types without a B-tree operator class, or for which comparing whole values is of no use.
const NOT_BTREE: &[&str] = &[
    "json", "jsonb", "xml", "point", "box", "polygon", "line", "lseg", "circle", "path",
    "tsvector", "tsquery", "bytea", "[]",
];

/// What a mention asks of an index.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Keys compared for equality, with the number of distinct values.
    pub equal: Vec<(IndexKey, f64)>,
    /// Keys compared by range or by prefix.
    pub range: Vec<IndexKey>,
    /// Keys joined by.
    pub join: Vec<IndexKey>,
    /// Keys of alternatives below an OR, each of which needs an index of its own.
    pub alternatives: Vec<IndexKey>,
    /// Constant conditions as SQL with the column they are on.
    pub constant: Vec<(String, Subject)>,
}

impl Mention<'_> {
    /// Sorts the conditions by what an index can do for them.
    pub(super) fn wanted(&self, found: &mut Found) -> Wanted {
        let mut wanted = Wanted::default();
        let of_mention = self
            .asked
            .shape
            .predicates
            .iter()
            .filter(|predicate| predicate.relation == self.mention);
        for predicate in of_mention {
            let type_name = self.type_of(&predicate.subject);
            if opclasses::is_theirs(&type_name, &predicate.operator)
                || (predicate.operator == Operator::In && type_name.ends_with("[]"))
            {
                continue;
            }
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
                && (!matches!(operator, Operator::Equal | Operator::In)
                    || selectivity::distinct(self.relation, &predicate.subject)
                        .is_some_and(|distinct| distinct <= KINDS))
            {
                wanted.constant.push((condition.clone(), predicate.subject.clone()));
            }
            let useless = condition.is_some() && share.share > USELESS_SHARE;
            match operator {
                Operator::Equal | Operator::In | Operator::IsNull if !useless => {
                    let distinct =
                        selectivity::distinct(self.relation, &predicate.subject).unwrap_or(200.0);
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
                // What trigrams could do is said where they are looked at.
                Operator::OtherLike => {}
                Operator::Other(name) if matches!(name.as_str(), "~~*" | "~" | "~*") => {}
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
    pub(super) fn order(&self, found: &mut Found) -> Vec<IndexKey> {
        let wanted = &self.asked.shape.order;
        let mut keys = Vec::new();
        // Sorted by a first few keys already, the rest is sorted group by group (incremental sort).
        for order in wanted.iter().take_while(|key| key.relation == self.mention) {
            if immutable::is_aggregate(subject_text(&order.subject)) {
                return Vec::new();
            }
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

    pub(super) fn group(&self) -> Vec<IndexKey> {
        let group = &self.asked.shape.group;
        if group.iter().any(|(mention, _)| *mention != self.mention) {
            return Vec::new();
        }
        group
            .iter()
            .filter_map(|(_, column)| self.key(&Subject::Column(column.clone())).ok())
            .collect()
    }

    /// Columns whose least or greatest value is asked for, which an index has at its ends (`preprocess_minmax_aggregates` in
    /// planagg.c). The shape does not say, so the text is read.
    pub(super) fn extremes(&self) -> Vec<IndexKey> {
        let shape = &self.asked.shape;
        let Some(alias) = shape.relations.get(self.mention).map(|used| &used.alias) else {
            return Vec::new();
        };
        let compact: String =
            self.asked.statement.sql.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
        let compact = compact.to_lowercase();
        let asked_for = |column: &str| {
            ["min", "max"].iter().any(|function| {
                [column.to_lowercase(), format!("{alias}.{column}").to_lowercase()]
                    .iter()
                    .any(|name| compact.contains(&format!("{function}({name})")))
            })
        };
        if !shape.group.is_empty() {
            return Vec::new();
        }
        shape
            .columns_read
            .iter()
            .filter(|(mention, column)| *mention == self.mention && asked_for(column))
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
                immutable::check(self.snapshot, self.relation, text)?;
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
        let column = match subject {
            Subject::Column(name) => self.relation.column(name),
            Subject::Expression(_) => None,
        };
        let own = column.and_then(|column| column.c_collation);
        if own.unwrap_or(self.snapshot.server.c_collation) {
            return key;
        }
        let type_name = column.map_or("text", |column| column.type_name.as_str());
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
}

/// Whether a plan of a statement could gain from an index: a key is compared, joined, ordered or grouped by, or the
/// index holds all that the statement reads of the relation.
pub(super) fn can_serve(asked: &Asked<'_>, index: &IndexDefinition) -> bool {
    let shape = &asked.shape;
    let on_relation = |mention: usize| {
        shape.relations.get(mention).is_some_and(|used| used.name == index.relation)
    };
    let keyed = |mention: usize, subject: &Subject| {
        on_relation(mention) && index.keys.iter().any(|key| is_on(key, subject))
    };
    let column = |(mention, column): &(usize, String)| {
        on_relation(*mention) && index.keys.iter().any(|key| key.column.as_ref() == Some(column))
    };
    let holds_all = |mention: usize| {
        shape.columns_read.iter().filter(|(read, _)| *read == mention).all(|(_, column)| {
            index.include.contains(column)
                || index.keys.iter().any(|key| key.column.as_ref() == Some(column))
        })
    };
    shape.predicates.iter().any(|predicate| keyed(predicate.relation, &predicate.subject))
        || shape.joins.iter().any(|join| column(&join.left) || column(&join.right))
        || shape
            .operator_joins
            .iter()
            .flat_map(OperatorJoin::sides)
            .any(|side| keyed(side.0, side.1))
        || shape.order.iter().any(|key| keyed(key.relation, &key.subject))
        || shape.group.iter().any(column)
        || shape.relations.iter().enumerate().any(|(mention, used)| {
            used.name == index.relation && (index.predicate.is_some() || holds_all(mention))
        })
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
