//! What advice needs of EXPLAIN's JSON.

use crate::PostgresError;
use pgassay_model::what_if::PlannedCost;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

/// A `json` column's text.
pub(super) struct Json<'a>(&'a str);

impl<'a> FromSql<'a> for Json<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Json(std::str::from_utf8(raw)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSON || *kind == Type::TEXT
    }
}

impl Json<'_> {
    /// The document in the first row, its list of one plan unwrapped.
    pub(super) fn first(rows: &[Row], doing: &str) -> Result<Value, PostgresError> {
        let unreadable = |message: String| PostgresError::Query {
            doing: doing.to_owned(),
            message,
            sqlstate: None,
        };
        let row = rows.first().ok_or_else(|| unreadable("EXPLAIN gave no row".into()))?;
        let text: Json<'_> = row.try_get(0).map_err(|error| PostgresError::query(doing, &error))?;
        let document: Value =
            serde_json::from_str(text.0).map_err(|error| unreadable(error.to_string()))?;
        document
            .get(0)
            .and_then(|plan| plan.get("Plan"))
            .cloned()
            .ok_or_else(|| unreadable("EXPLAIN gave no plan".into()))
    }
}

/// Mean cost of the plans, their distinct shapes, and the indexes of all; `names` maps hypothetical indexes
/// to those of their definitions.
pub fn summary(plans: &[Value], names: &HashMap<String, String>) -> Option<PlannedCost> {
    let mut total = 0.0;
    let mut rows = 0.0;
    let mut shapes: Vec<String> = Vec::new();
    let mut indexes: Vec<String> = Vec::new();
    let mut written: BTreeMap<String, f64> = BTreeMap::new();
    for plan in plans {
        total += plan.get("Total Cost")?.as_f64()?;
        rows += plan.get("Plan Rows").and_then(Value::as_f64).unwrap_or(f64::NAN);
        rows_written(plan, &mut written);
        let shape = shape(plan, names, &mut indexes);
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    (!plans.is_empty()).then(|| PlannedCost {
        total_cost: total / plans.len() as f64,
        shape: shapes.join(" | "),
        indexes,
        rows: Some(rows / plans.len() as f64).filter(|rows| rows.is_finite()),
        written: written
            .into_iter()
            .map(|(name, rows)| (name, rows / plans.len() as f64))
            .collect(),
    })
}

/// Adds the rows that each ModifyTable is expected to be given, to those of its relation. Its own "Plan Rows" are what
/// RETURNING returns.
fn rows_written(plan: &Value, written: &mut BTreeMap<String, f64>) {
    let text = |node: &Value, key: &str| node.get(key).and_then(Value::as_str).map(str::to_owned);
    let below = plan.get("Plans").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if text(plan, "Node Type").as_deref() == Some("ModifyTable")
        && let Some(relation) = text(plan, "Relation Name")
    {
        // One child from 14 on, before that one for each relation below the target; others are CTEs and subqueries.
        let given = below.iter().filter(|child| {
            let place = text(child, "Parent Relationship");
            matches!(place.as_deref(), Some("Outer" | "Member"))
        });
        let rows = given.filter_map(|child| child.get("Plan Rows")?.as_f64()).sum::<f64>();
        *written.entry(relation).or_default() += rows;
    }
    for child in below {
        rows_written(child, written);
    }
}

/// `Nested Loop (Index Scan users using users_email_idx, Seq Scan orders)`.
fn shape(plan: &Value, names: &HashMap<String, String>, indexes: &mut Vec<String>) -> String {
    let text = |key: &str| plan.get(key).and_then(Value::as_str);
    let mut shape = text("Node Type").unwrap_or("?").to_owned();
    if let Some(relation) = text("Relation Name").or_else(|| text("CTE Name")) {
        shape.push(' ');
        shape.push_str(relation);
    }
    if let Some(index) = text("Index Name") {
        let index = names.get(index).map_or(index, String::as_str);
        shape.push_str(" using ");
        shape.push_str(index);
        if !indexes.iter().any(|known| known == index) {
            indexes.push(index.to_owned());
        }
    }
    let below: Vec<String> = plan
        .get("Plans")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|plan| self::shape(plan, names, indexes))
        .collect();
    if !below.is_empty() {
        shape.push_str(&format!(" ({})", below.join(", ")));
    }
    shape
}

/// The planner's estimate of the rows that come out, and of their width in bytes.
pub(super) fn rows_and_width(plan: &Value) -> Option<(f64, f64)> {
    Some((plan.get("Plan Rows")?.as_f64()?, plan.get("Plan Width")?.as_f64()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_plan_is_told_by_nodes_relations_and_indexes_with_hypothetical_names_resolved() {
        let plan = json!({"Node Type": "Nested Loop", "Total Cost": 10.0, "Plans": [
            {"Node Type": "Index Scan", "Relation Name": "u", "Index Name": "<7>btree_u_m"},
            {"Node Type": "Bitmap Heap Scan", "Relation Name": "o", "Plans": [
                {"Node Type": "Bitmap Index Scan", "Index Name": "o_u"}]}]});
        let other = json!({"Node Type": "Seq Scan", "Relation Name": "o", "Total Cost": 20.0});
        let names = HashMap::from([("<7>btree_u_m".to_owned(), "u_mail".to_owned())]);
        let cost = summary(&[plan.clone(), plan, other], &names).unwrap();
        assert_eq!(
            cost.shape,
            "Nested Loop (Index Scan u using u_mail, Bitmap Heap Scan o (Bitmap Index Scan using o_u)) | Seq Scan o"
        );
        assert_eq!(cost.indexes, ["u_mail", "o_u"]);
        assert!((cost.total_cost - 40.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn rows_written_are_those_that_a_modify_table_is_given_wherever_it_stands() {
        let scan = |relationship: &str, rows: f64| json!({"Node Type": "Seq Scan", "Parent Relationship": relationship, "Plan Rows": rows});
        let insert = json!({"Node Type": "ModifyTable", "Operation": "Insert", "Relation Name": "archive",
            "Parent Relationship": "InitPlan", "Plan Rows": 0,
            "Plans": [scan("InitPlan", 9.0), scan("Outer", 5_000.0)]});
        let plan = json!({"Node Type": "ModifyTable", "Operation": "Delete", "Relation Name": "jobs",
            "Total Cost": 1.0, "Plan Rows": 0, "Plans": [insert, scan("Member", 3.0), scan("Member", 4.0)]});
        let cost = summary(&[plan.clone(), plan], &HashMap::new()).unwrap();
        assert_eq!(cost.written, [("archive".to_owned(), 5_000.0), ("jobs".to_owned(), 7.0)]);
    }
}
