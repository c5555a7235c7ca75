//! User relations with columns, statistics, indexes, foreign keys and activity, in a few set-based queries.

use crate::fields::Fields;
use crate::{PostgresError, Reading};
use pgassay_model::extended_statistics::{StatisticsDefinition, StatisticsKind};
use pgassay_model::index::{Index, IndexDefinition, IndexKey, RelationName};
use pgassay_model::relation::{
    Column, ColumnStatistics, ElementStatistics, ForeignKey, Relation, RelationActivity,
};
use pgassay_model::units::Bytes;
use std::collections::HashMap;

const RELATIONS: &str = include_str!("sql/relations.130000.sql");
const COLUMNS: &str = include_str!("sql/columns.130000.sql");
const INDEXES: &str = include_str!("sql/indexes.130000.sql");
/// From 16 on.
const LAST_SCANS: &str = include_str!("sql/last_scans.160000.sql");
const EXTENDED_STATISTICS: &str = include_str!("sql/extended_statistics.130000.sql");
const FOREIGN_KEYS: &str = include_str!("sql/foreign_keys.130000.sql");

/// Relations, and how many of them this role may not SELECT from.
pub(crate) struct Relations {
    pub relations: Vec<Relation>,
    pub unreadable: usize,
    /// Those under an ACCESS EXCLUSIVE lock: half a relation, without its indexes, would mislead.
    pub locked: Vec<RelationName>,
    /// Columns whose values in the statistics are not UTF-8, and left out.
    pub no_utf8: Vec<String>,
}

pub(crate) async fn read_relations(
    reading: &Reading<'_>,
    version_num: u32,
) -> Result<Relations, PostgresError> {
    let doing = reading.doing();
    let mut unreadable = 0;
    let mut locked = Vec::new();
    let mut relations = Vec::new();
    let mut places = HashMap::new();
    for row in &reading.rows(RELATIONS, &[]).await? {
        let fields = Fields::new(row, doing);
        let relation = relation(fields)?;
        if fields.get("locked")? {
            locked.push(relation.name);
            continue;
        }
        unreadable += usize::from(!fields.get::<bool>("readable")?);
        places.insert(relation.oid, relations.len());
        relations.push(relation);
    }
    let of = |fields: Fields<'_>| -> Result<Option<usize>, PostgresError> {
        Ok(places.get(&fields.get::<u32>("relation")?).copied())
    };
    let mut no_utf8 = Vec::new();
    for row in &reading.rows_in_any_encoding(COLUMNS).await? {
        let fields = Fields::new(row, doing);
        if let Some(relation) = of(fields)?.and_then(|place| relations.get_mut(place)) {
            let (column, readable) = column(fields)?;
            if !readable {
                no_utf8.push(format!("{}.{}", relation.name, column.name));
            }
            relation.columns.push(column);
        }
    }
    for row in &reading.rows(INDEXES, &[]).await? {
        let fields = Fields::new(row, doing);
        if let Some(relation) = of(fields)?.and_then(|place| relations.get_mut(place)) {
            let index = index(fields, relation.name.clone())?;
            relation.indexes.push(index);
        }
    }
    if version_num >= 160_000 {
        let mut last = HashMap::new();
        for row in &reading.rows(LAST_SCANS, &[]).await? {
            let fields = Fields::new(row, doing);
            last.insert(fields.get::<u32>("index")?, fields.time("last_scan")?);
        }
        for index in relations.iter_mut().flat_map(|relation| &mut relation.indexes) {
            index.last_scan = last.get(&index.oid).copied().flatten();
        }
    }
    for row in &reading.rows(FOREIGN_KEYS, &[]).await? {
        let fields = Fields::new(row, doing);
        if let Some(relation) = of(fields)?.and_then(|place| relations.get_mut(place)) {
            relation.foreign_keys.push(ForeignKey {
                name: fields.get("name")?,
                columns: fields.get("columns")?,
                references: RelationName {
                    schema: fields.get("references_schema")?,
                    name: fields.get("references_name")?,
                },
                referenced: fields.get("referenced")?,
            });
        }
    }
    for row in &reading.rows(EXTENDED_STATISTICS, &[]).await? {
        let fields = Fields::new(row, doing);
        if let Some(relation) = of(fields)?.and_then(|place| relations.get_mut(place)) {
            let object = extended_statistics(fields, relation.name.clone())?;
            relation.extended_statistics.push(object);
        }
    }
    Ok(Relations { relations, unreadable, locked, no_utf8 })
}

fn relation(fields: Fields<'_>) -> Result<Relation, PostgresError> {
    let size = fields.count("size")?;
    Ok(Relation {
        oid: fields.get("oid")?,
        name: RelationName { schema: fields.get("schema")?, name: fields.get("name")? },
        kind: fields.get::<String>("kind")?.chars().next().unwrap_or('?'),
        pages: size / fields.count("block_size")?.max(1),
        rows: fields.get("rows")?,
        size: Bytes(size),
        all_visible_pages: fields.count("all_visible_pages")?,
        columns: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        extended_statistics: Vec::new(),
        has_children: fields.get("has_children")?,
        activity: RelationActivity {
            sequential_scans: fields.count("sequential_scans")?,
            sequential_rows_read: fields.count("sequential_rows_read")?,
            index_scans: fields.count("index_scans")?,
            inserted: fields.count("inserted")?,
            updated: fields.count("updated")?,
            hot_updated: fields.count("hot_updated")?,
            deleted: fields.count("deleted")?,
            live_rows: fields.count("live_rows")?,
            dead_rows: fields.count("dead_rows")?,
            modified_since_analyze: fields.count("modified_since_analyze")?,
            last_analyze: fields.time("last_analyze")?,
            last_vacuum: fields.time("last_vacuum")?,
        },
    })
}

fn extended_statistics(
    fields: Fields<'_>,
    relation: RelationName,
) -> Result<StatisticsDefinition, PostgresError> {
    let letters: Vec<String> = fields.get("kinds")?;
    let has = |letter: char| letters.iter().any(|known| known.starts_with(letter));
    use StatisticsKind::{Dependencies, Mcv, Ndistinct};
    Ok(StatisticsDefinition {
        relation,
        name: fields.get("name")?,
        kinds: [Ndistinct, Dependencies, Mcv]
            .into_iter()
            .filter(|kind| has(kind.letter()))
            .collect(),
        columns: fields.get("columns")?,
        expression: has('e').then(String::new),
    })
}

/// A column, and whether its values could be read.
fn column(fields: Fields<'_>) -> Result<(Column, bool), PostgresError> {
    let common = fields.readable_texts("most_common_values")?;
    let histogram = fields.readable_texts("histogram")?;
    let readable = common.is_some() && histogram.is_some();
    let statistics = if fields.get("analyzed")? {
        let fractions: Option<Vec<f64>> = fields.get("most_common_fractions")?;
        Some(ColumnStatistics {
            null_fraction: fields.get::<Option<f64>>("null_fraction")?.unwrap_or(0.0),
            average_width: fields
                .get::<Option<i32>>("average_width")?
                .and_then(|width| u32::try_from(width).ok())
                .unwrap_or(0),
            n_distinct: fields.get::<Option<f64>>("n_distinct")?.unwrap_or(0.0),
            most_common: common
                .unwrap_or_default()
                .into_iter()
                .zip(fractions.unwrap_or_default())
                .collect(),
            histogram: histogram.unwrap_or_default(),
            correlation: fields.get("correlation")?,
            elements: elements(fields)?,
        })
    } else {
        None
    };
    let column = Column {
        name: fields.get("name")?,
        type_name: fields.get("type_name")?,
        not_null: fields.get("not_null")?,
        has_default: fields.get("has_default")?,
        c_collation: fields.get("c_collation")?,
        statistics,
    };
    Ok((column, readable))
}

/// Of arrays and full-text values.
fn elements(fields: Fields<'_>) -> Result<Option<ElementStatistics>, PostgresError> {
    let Some(mut frequencies) = fields.get::<Option<Vec<f64>>>("element_fractions")? else {
        return Ok(None);
    };
    let listed = fields.maybe_count("elements")?.and_then(|count| usize::try_from(count).ok());
    frequencies.truncate(listed.unwrap_or(0));
    // The server keeps them in the order of the elements.
    frequencies.sort_by(|a, b| b.total_cmp(a));
    Ok(Some(ElementStatistics {
        frequencies,
        width: fields.get("element_width")?,
        mean_count: fields.get("mean_elements")?,
    }))
}

fn index(fields: Fields<'_>, relation: RelationName) -> Result<Index, PostgresError> {
    let columns: Vec<Option<String>> = fields.get("columns")?;
    let expressions: Vec<Option<String>> = fields.get("expressions")?;
    let options: Vec<i16> = fields.get("options")?;
    let opclasses: Vec<Option<String>> = fields.get("opclasses")?;
    let keys = usize::try_from(fields.get::<i32>("keys")?).unwrap_or(0);
    let definition = IndexDefinition {
        relation,
        name: fields.get("name")?,
        method: fields.get("method")?,
        unique: fields.get("unique")?,
        include: columns.iter().skip(keys).flatten().cloned().collect(),
        keys: columns
            .into_iter()
            .take(keys)
            .zip(expressions)
            .enumerate()
            .map(|(place, (column, expression))| {
                let option = options.get(place).copied().unwrap_or(0);
                IndexKey {
                    column,
                    expression: expression.map(|text| without_parentheses(&text).to_owned()),
                    descending: option & 1 != 0,
                    nulls_first: option & 2 != 0,
                    opclass: opclasses.get(place).cloned().flatten(),
                }
            })
            .collect(),
        predicate: fields
            .get::<Option<String>>("predicate")?
            .map(|text| without_parentheses(&text).to_owned()),
        pages_per_range: fields
            .get::<Option<i32>>("pages_per_range")?
            .and_then(|pages| u32::try_from(pages).ok()),
    };
    Ok(Index {
        oid: fields.get("oid")?,
        definition,
        ddl: fields.get("ddl")?,
        primary: fields.get("primary")?,
        constraint: fields.get("constraint_name")?,
        valid: fields.get("valid")?,
        replica_identity: fields.get("replica_identity")?,
        attached: fields.get("attached")?,
        leaves: None,
        size: Bytes(fields.count("size")?),
        scans: fields.count("scans")?,
        last_scan: None,
    })
}

/// `pg_get_indexdef` puts an expression that is not a function call in parentheses; the definition's text is
/// without them. Only a pair that encloses everything is taken off, literals and quoted names respected.
fn without_parentheses(text: &str) -> &str {
    let Some(inner) = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) else {
        return text;
    };
    let mut depth = 0_i32;
    let mut quote = None;
    for character in inner.chars() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            _ => {}
        }
        if depth < 0 {
            return text;
        }
    }
    inner
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parentheses_around_the_whole_expression_are_taken_off() {
        assert_eq!(without_parentheses("(a + b)"), "a + b");
        assert_eq!(without_parentheses("(a) + (b)"), "(a) + (b)");
        assert_eq!(without_parentheses("lower(a)"), "lower(a)");
        assert_eq!(without_parentheses("(a || ')')"), "a || ')'");
    }
}
