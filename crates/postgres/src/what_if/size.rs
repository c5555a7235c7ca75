//! Size of an index that does not exist: the formulas of `model::index_size` on the snapshot's statistics, with
//! what only the planner knows: how many rows a predicate keeps, and of expressions the width and the groups.

use super::explain::Explain;
use super::plan::rows_and_width;
use crate::PostgresError;
use pgassay_model::extended_statistics::StatisticsKind;
use pgassay_model::index::IndexDefinition;
use pgassay_model::index_size::{BLOCK, ExpressionFacts, pages};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_sql::{quote_identifier, quote_qualified};
use std::collections::HashMap;

/// The size; None for access methods without a formula, and relations that are not in the snapshot.
pub async fn estimate(
    explain: &mut Explain,
    snapshot: &Snapshot,
    index: &IndexDefinition,
) -> Result<Option<Bytes>, PostgresError> {
    let extent = extent(explain, snapshot, index).await?;
    Ok(extent.map(|(pages, _)| Bytes(pages * BLOCK as u64)))
}

/// Pages and rows; None as for [`estimate`].
pub async fn extent(
    explain: &mut Explain,
    snapshot: &Snapshot,
    index: &IndexDefinition,
) -> Result<Option<(u64, f64)>, PostgresError> {
    let Some(relation) = snapshot.relation(&index.relation) else { return Ok(None) };
    let from = format!("FROM {}", quote_qualified(&index.relation.schema, &index.relation.name));
    let rows = match (&index.predicate, relation.rows) {
        (None, Some(rows)) if rows > 0.0 => Some(rows),
        (predicate, _) => {
            let filter = predicate.as_ref().map(|text| format!(" WHERE {text}"));
            let sql = format!("SELECT 1 {from}{}", filter.unwrap_or_default());
            rows_and_width(&explain.own(&sql).await?).map(|(rows, _)| rows)
        }
    };
    let Some(rows) = rows else { return Ok(None) };
    let mut expressions = HashMap::new();
    for text in index.keys.iter().filter_map(|key| key.expression.as_ref()) {
        expressions.insert(text.as_str(), expression(explain, &from, text).await?);
    }
    let facts = |text: &str| expressions.get(text).copied().unwrap_or(ExpressionFacts::UNKNOWN);
    let groups = correlated(explain, relation, index, &from, rows).await;
    Ok(pages(relation, index, rows, &facts, groups)
        .map(|pages| (pages.ceil().max(1.0) as u64, rows)))
}

async fn expression(
    explain: &mut Explain,
    from: &str,
    text: &str,
) -> Result<ExpressionFacts, PostgresError> {
    let plain = rows_and_width(&explain.own(&format!("SELECT ({text}) {from}")).await?);
    let width = plain.map_or(ExpressionFacts::UNKNOWN.width, |(_, width)| width);
    // A type that can't be grouped has no statistics to go by either.
    let grouped = explain.own(&format!("SELECT ({text}) {from} GROUP BY ({text})")).await;
    let distinct = grouped.ok().and_then(|plan| Some(rows_and_width(&plan)?.0));
    Ok(ExpressionFacts { width, distinct })
}

/// Distinct keys where extended statistics (`CREATE STATISTICS … (ndistinct)`) tell how columns depend on each
/// other: without them the planner's number of groups is the product of the columns' distinct values, cut off
/// at a tenth of the rows or the largest of them (`estimate_num_groups` in selfuncs.c), which tells nothing.
async fn correlated(
    explain: &mut Explain,
    relation: &Relation,
    index: &IndexDefinition,
    from: &str,
    rows: f64,
) -> Option<f64> {
    let columns: Vec<&str> = index.keys.iter().filter_map(|key| key.column.as_deref()).collect();
    if columns.len() < 2 || columns.len() != index.keys.len() || index.predicate.is_some() {
        return None;
    }
    let informed = relation.extended_statistics.iter().any(|known| {
        known.kinds.contains(&StatisticsKind::Ndistinct)
            && columns.iter().filter(|name| known.columns.iter().any(|own| own == *name)).count()
                > 1
    });
    if !informed {
        return None;
    }
    let (mut product, mut largest) = (1.0_f64, 1.0_f64);
    for column in &columns {
        let distinct = relation.column(column)?.statistics.as_ref()?.distinct(rows);
        product *= distinct;
        largest = largest.max(distinct);
    }
    let names: Vec<String> = columns.iter().map(|name| quote_identifier(name)).collect();
    let sql = format!("SELECT 1 {from} GROUP BY {}", names.join(", "));
    let (groups, _) = rows_and_width(&explain.own(&sql).await.ok()?)?;
    let uninformed = product.min((rows * 0.1).max(largest)).min(rows);
    (groups < 0.9 * uninformed || groups > 1.1 * uninformed).then_some(groups)
}
