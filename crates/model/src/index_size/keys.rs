//! How many distinct keys an index has, from the statistics of its columns.

use super::ExpressionFacts;
use crate::index::IndexDefinition;
use crate::relation::Relation;

/// Values of a key, or combinations of several keys' values.
#[derive(Debug, Clone)]
struct Values {
    distinct: f64,
    /// Shares of the rows (0–1) that hold the most common ones, and NULL.
    common: Vec<f64>,
}

impl Values {
    fn unknown(distinct: f64) -> Self {
        Values { distinct, common: Vec::new() }
    }

    /// How many of them so many rows hold, drawn independently: each is missed by a row with the chance of another one
    /// (Cardenas, "Analysis and performance of inverted data base structures", CACM 18(5), 1975), and what is not
    /// listed as common is shared evenly.
    fn among(&self, rows: f64) -> f64 {
        let held = |share: f64| 1.0 - (1.0 - share.clamp(0.0, 1.0)).powf(rows);
        let common: f64 = self.common.iter().map(|share| held(*share)).sum();
        let others = self.distinct - self.common.len() as f64;
        let left = (1.0 - self.common.iter().sum::<f64>()).max(0.0);
        common + if others > 0.0 { others * held(left / others) } else { 0.0 }
    }
}

/// Distinct keys among `rows`: of one column what its statistics say; of several, taken as independent, those within
/// each group of rows that have the value of the most distinct column in common.
pub(super) fn distinct_keys(
    relation: &Relation,
    index: &IndexDefinition,
    rows: f64,
    expressions: &dyn Fn(&str) -> ExpressionFacts,
) -> f64 {
    let all = relation.rows.filter(|all| *all > 0.0).unwrap_or(rows).max(rows).max(1.0);
    let keys = index.keys.iter().map(|key| match (&key.column, &key.expression) {
        (Some(name), _) => values(relation, name, all),
        (None, Some(text)) => {
            Values::unknown(expressions(text).distinct.unwrap_or(all).clamp(1.0, all))
        }
        (None, None) => Values::unknown(all),
    });
    let mut keys: Vec<Values> = keys.collect();
    keys.sort_by(|a, b| a.distinct.total_cmp(&b.distinct));
    let combined = keys.into_iter().reduce(|a, b| {
        let (groups, within) = if a.distinct > b.distinct { (a, b) } else { (b, a) };
        let pairs = groups.distinct * within.among(all / groups.distinct);
        Values::unknown(pairs.clamp(groups.distinct, all))
    });
    let whole = combined.map_or(all, |combined| combined.distinct);
    // A partial index holds some of the rows: a key is there unless all of its rows are left out (Yao, "Approximating
    // block accesses in database organizations", CACM 20(4), 1977, rows taken as drawn with replacement).
    let kept = (rows / all).clamp(0.0, 1.0);
    let hit = if kept < 1.0 { whole * (1.0 - (1.0 - kept).powf(all / whole)) } else { whole };
    hit.clamp(1.0, rows.max(1.0))
}

/// Values of a column among `all` rows. ANALYZE samples pages, and takes a column whose equal values lie together for
/// one of fewer values than it has (a quarter of them on TPC-H's lineitem.l_orderkey, measured). Where a unique index is
/// on it and others, there are at least as many as it takes to tell all rows apart.
fn values(relation: &Relation, name: &str, all: f64) -> Values {
    let distinct = |name: &str| {
        let statistics = relation.column(name)?.statistics.as_ref()?;
        Some(statistics.distinct(all).min(all))
    };
    let Some(own) = distinct(name) else { return Values::unknown(all) };
    let mut values = Values::unknown(own);
    let statistics = relation.column(name).and_then(|column| column.statistics.as_ref());
    if let Some(statistics) = statistics {
        values.common = statistics.most_common.iter().map(|(_, share)| *share).collect();
        values.common.extend(Some(statistics.null_fraction).filter(|share| *share > 0.0));
        values.distinct = own.max(values.common.len() as f64);
    }
    for unique in relation.indexes.iter().filter(|index| index.valid && index.definition.unique) {
        let definition = &unique.definition;
        let keys: Option<Vec<&str>> =
            definition.keys.iter().map(|key| key.column.as_deref()).collect();
        let Some(keys) = keys.filter(|_| definition.predicate.is_none()) else { continue };
        if !keys.contains(&name) || !keys.iter().all(|key| has_no_null(relation, key)) {
            continue;
        }
        let others = keys.iter().filter(|key| **key != name);
        let others: Option<Vec<f64>> = others.map(|key| distinct(key)).collect();
        // The most distinct one is the one that is known least well.
        let Some(others) = others.filter(|all| all.iter().all(|other| *other <= own)) else {
            continue;
        };
        values.distinct = values.distinct.max((all / others.iter().product::<f64>()).min(all));
    }
    values
}

/// Whether a unique index tells all rows apart by a column.
fn has_no_null(relation: &Relation, name: &str) -> bool {
    relation.column(name).is_some_and(|column| {
        column.not_null
            || column.statistics.as_ref().is_some_and(|known| known.null_fraction == 0.0)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::pages;
    use super::*;
    use crate::relation::RelationActivity;

    #[test]
    fn a_combination_has_the_values_that_each_group_holds() {
        let kinds = Values { distinct: 3.0, common: vec![0.5, 0.25, 0.25] };
        // Of four rows: 1 − 1/16, and twice 1 − (3/4)^4.
        assert!((kinds.among(4.0) - (0.9375 + 2.0 * 0.68359375)).abs() < 1e-9);
        assert_eq!(kinds.among(1.0), 1.0);
        // Not all values are listed.
        let more = Values { distinct: 12.0, common: vec![0.5] };
        assert!(
            (more.among(2.0) - (0.75 + 11.0 * (1.0 - (1.0 - 0.5 / 11.0_f64).powi(2)))).abs() < 1e-9
        );
        assert!(more.among(1e6) > 11.99);
    }

    #[test]
    fn a_unique_index_corrects_the_number_of_values_that_lie_together() {
        // TPC-H's lineitem as ANALYZE saw it: 385,415 orders, where there are 1,500,000.
        let column = |name: &str, type_name: &str, distinct: f64, common: &[f64]| {
            let common: Vec<(String, f64)> =
                common.iter().enumerate().map(|(n, share)| (n.to_string(), *share)).collect();
            serde_json::json!({
                "name": name, "type_name": type_name, "not_null": true, "has_default": false,
                "statistics": { "null_fraction": 0.0, "average_width": if type_name == "integer" { 4 } else { 2 },
                    "n_distinct": distinct, "most_common": common, "histogram": [], "correlation": null },
            })
        };
        let name = serde_json::json!({ "schema": "public", "name": "lineitem" });
        let key = |name: &str| serde_json::json!({ "column": name, "expression": null });
        let definition = |unique: bool, keys: [&str; 2]| {
            serde_json::json!({ "relation": name, "name": "i", "method": "btree", "unique": unique,
                "keys": keys.map(key), "include": [], "predicate": null })
        };
        let relation: Relation = serde_json::from_value(serde_json::json!({
            "oid": 1, "name": name, "kind": "r", "pages": 112_500, "rows": 6_001_215.0, "size": 921_600_000,
            "all_visible_pages": 112_500,
            "columns": [
                column("l_orderkey", "integer", 385_415.0, &[]),
                column("l_linenumber", "integer", 7.0, &[0.25, 0.216, 0.176, 0.143, 0.107, 0.072, 0.036]),
                column("l_returnflag", "character(1)", 3.0, &[0.509, 0.246, 0.245]),
            ],
            "indexes": [{ "oid": 2, "definition": definition(true, ["l_orderkey", "l_linenumber"]), "ddl": "",
                "primary": true, "constraint": null, "valid": true, "replica_identity": false, "size": 0, "scans": 0 }],
            "foreign_keys": [], "activity": RelationActivity::default(),
        }))
        .unwrap();
        let index: IndexDefinition =
            serde_json::from_value(definition(false, ["l_orderkey", "l_returnflag"])).unwrap();
        let nothing = |_: &str| ExpressionFacts::UNKNOWN;
        // Counted: 2,070,731 combinations; built, it has 10,926 pages.
        let groups = distinct_keys(&relation, &index, 6_001_215.0, &nothing);
        assert!((1.0..1.2).contains(&(groups / 2_070_731.0)), "{groups}");
        let pages = pages(&relation, &index, 6_001_215.0, &nothing, None).unwrap();
        assert!((0.98..1.15).contains(&(pages / 10_926.0)), "{pages}");
    }
}
