//! `ORDER BY k LIMIT 20 OFFSET $1` → `WHERE k > $1 ORDER BY k LIMIT 20`: a page begins at a key, not after a count.

use super::Note;
use super::node::{self, and, inner, integer, plain};
use super::scope::Scope;
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SelectStmt, SortByDir, SortByNulls};
use pgassay_model::relation::Relation;

pub(super) fn rewrite(select: &mut SelectStmt, scope: &Scope<'_>) -> Option<Note> {
    let skipped = inner(&select.limit_offset)?;
    let freed = match skipped {
        NodeEnum::ParamRef(parameter) => usize::try_from(parameter.number).ok(),
        constant => integer(constant).filter(|rows| *rows > 0).map(|_| None)?,
    };
    select.limit_count.as_ref()?;
    let without_limit =
        SelectStmt { limit_count: None, limit_offset: None, with_clause: None, ..select.clone() };
    let [mention] = scope.mentions.as_slice() else { return None };
    if !plain(&without_limit) || !scope.complete || !select.distinct_clause.is_empty() {
        return None;
    }
    let mut descending = None;
    let mut keys: Vec<String> = Vec::new();
    for node in &select.sort_clause {
        let Some(NodeEnum::SortBy(sort)) = &node.node else { return None };
        let down = sort.sortby_dir == SortByDir::SortbyDesc as i32;
        let plainly = sort.sortby_nulls == SortByNulls::SortbyNullsDefault as i32
            && sort.use_op.is_empty()
            && *descending.get_or_insert(down) == down;
        let found = scope.column(inner(&sort.node)).filter(|found| plainly && !found.nullable())?;
        keys.push(found.column.name.clone());
    }
    let descending = descending?;
    let ordered = keys.len();
    for column in tie_breaker(mention.relation, &keys)? {
        if !keys.contains(&column) {
            keys.push(column);
        }
    }
    // The number of OFFSET becomes the first key's: a number that nothing uses has no type.
    let mut next = scope.facts.parameters;
    let mut numbers = Vec::new();
    for place in 0..keys.len() {
        match (place, freed) {
            (0, Some(number)) => numbers.push(format!("${number}")),
            _ => {
                next += 1;
                numbers.push(format!("${next}"));
            }
        }
    }
    let columns: Vec<String> =
        keys.iter().map(|key| crate::quote_qualified(&mention.alias, key)).collect();
    let operator = if descending { "<" } else { ">" };
    let condition = match keys.len() {
        1 => format!("{} {operator} {}", columns.concat(), numbers.concat()),
        _ => format!("({}) {operator} ({})", columns.join(", "), numbers.join(", ")),
    };
    select.where_clause = Some(and(select.where_clause.take(), node::expression(&condition)?));
    select.limit_offset = None;
    for column in columns.get(ordered..).unwrap_or_default() {
        let direction = if descending { " DESC" } else { "" };
        let more = node::select(&format!("SELECT 1 ORDER BY {column}{direction}"))?;
        select.sort_clause.extend(more.sort_clause);
    }
    let returned = |key: &String| returns(&select.target_list, key);
    let missing: Vec<&str> = keys.iter().filter(|key| !returned(key)).map(String::as_str).collect();
    let also = match missing.is_empty() {
        true => String::new(),
        false => format!(", so it has to return {} too", missing.join(", ")),
    };
    Some(Note::check(
        format!(
            "OFFSET reads and throws away every row before the page; an index on ({}) begins at a key",
            keys.join(", ")
        ),
        format!(
            "the application passes {} of the last row that it has, as {}{also}; the first page has no such condition, and pages by number are gone",
            keys.join(", "),
            numbers.join(", ")
        ),
    ))
}

/// Columns that make an order total: none where it is, else those of the primary key.
fn tie_breaker(relation: &Relation, keys: &[String]) -> Option<Vec<String>> {
    if relation.has_children && relation.kind != 'p' {
        return None;
    }
    let unique = relation.indexes.iter().filter(|index| {
        index.valid && index.definition.unique && index.definition.predicate.is_none()
    });
    let mut primary = None;
    for index in unique {
        let columns: Option<Vec<String>> =
            index.definition.keys.iter().map(|key| key.column.clone()).collect();
        let Some(columns) = columns else { continue };
        let never_null = |name: &String| relation.column(name).is_some_and(|c| c.not_null);
        if columns.iter().all(|column| keys.contains(column) && never_null(column)) {
            return Some(Vec::new());
        }
        if index.primary {
            primary = Some(columns);
        }
    }
    primary
}

fn returns(targets: &[Node], column: &str) -> bool {
    targets.iter().any(|node| {
        let Some(NodeEnum::ResTarget(target)) = &node.node else { return false };
        let Some(NodeEnum::ColumnRef(reference)) = inner(&target.val) else { return false };
        match reference.fields.last().and_then(|field| field.node.as_ref()) {
            Some(NodeEnum::AStar(_)) => true,
            Some(NodeEnum::String(name)) => name.sval == column && target.name.is_empty(),
            _ => false,
        }
    })
}
