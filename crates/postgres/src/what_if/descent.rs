//! What HypoPG leaves out of the cost of an index scan: the descent from the root.
//!
//! A hypothetical B-tree has no height, and `btcostestimate` (selfuncs.c) then counts none of the pages on the way:
//! (height + 1) × 50 × cpu_operator_cost for each scan, which in a nested loop comes once for each outer row (7–8 %
//! of the cost of TPC-H, measured). The plan is HypoPG's choice all the same.

use pgassay_model::units::Bytes;
use serde_json::Value;
use std::collections::HashMap;

/// `DEFAULT_PAGE_CPU_MULTIPLIER` in selfuncs.c.
const OPERATORS_A_PAGE: f64 = 50.0;
/// Entries of an inner page, about: 8 kB ÷ 28 bytes.
const FAN_OUT: f64 = 290.0;

/// Cost of one descent of a B-tree of that size.
pub(super) fn of(size: Bytes, cpu_operator_cost: f64) -> f64 {
    let pages = size.0 as f64 / 8192.0 - 1.0;
    let height = if pages <= 1.0 { 0.0 } else { pages.log(FAN_OUT).ceil() };
    (height + 1.0) * OPERATORS_A_PAGE * cpu_operator_cost
}

/// What all descents of a plan cost; `each` tells it of the indexes that have none yet.
pub(super) fn missing(plan: &Value, each: &HashMap<String, f64>) -> f64 {
    below(plan, each, 1.0)
}

fn below(node: &Value, each: &HashMap<String, f64>, loops: f64) -> f64 {
    let text = |key: &str| node.get(key).and_then(Value::as_str);
    let own = text("Index Name").and_then(|name| each.get(name)).map_or(0.0, |cost| cost * loops);
    let children: &[Value] = node.get("Plans").and_then(Value::as_array).map_or(&[], Vec::as_slice);
    let inner_loops = match text("Node Type") {
        Some("Nested Loop") => children
            .first()
            .and_then(|outer| outer.get("Plan Rows")?.as_f64())
            .map_or(loops, |rows| loops * rows.max(1.0)),
        // How often it finds what it looks for is not shown: counted once, which is too little.
        Some("Memoize") => 1.0,
        _ => loops,
    };
    let deeper = children.iter().map(|child| {
        let is_inner = child.get("Parent Relationship").and_then(Value::as_str) == Some("Inner");
        let memoize = text("Node Type") == Some("Memoize");
        below(child, each, if is_inner || memoize { inner_loops } else { loops })
    });
    own + deeper.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_scan_within_a_nested_loop_descends_once_for_each_outer_row() {
        let scan = |relationship: &str| {
            json!({"Node Type": "Index Scan", "Index Name": "h", "Plan Rows": 3.0,
                   "Parent Relationship": relationship})
        };
        let outer =
            json!({"Node Type": "Seq Scan", "Plan Rows": 40.0, "Parent Relationship": "Outer"});
        let plan = json!({"Node Type": "Nested Loop", "Plans": [outer, scan("Inner")]});
        let each = HashMap::from([("h".to_owned(), 0.5)]);
        assert_eq!(missing(&plan, &each), 20.0);
        assert_eq!(missing(&scan("Outer"), &each), 0.5);
        let memoize = json!({"Node Type": "Memoize", "Parent Relationship": "Inner", "Plans": [scan("Outer")]});
        let outer =
            json!({"Node Type": "Seq Scan", "Plan Rows": 40.0, "Parent Relationship": "Outer"});
        let plan = json!({"Node Type": "Nested Loop", "Plans": [outer, memoize]});
        assert_eq!(missing(&plan, &each), 0.5);
    }

    #[test]
    fn a_tree_of_five_thousand_pages_has_two_levels_above_its_leaves() {
        assert_eq!(of(Bytes(5_203 * 8192), 0.0025), 0.375);
        assert_eq!(of(Bytes(2 * 8192), 0.0025), 0.125);
    }
}
