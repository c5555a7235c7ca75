//! Advice beyond new indexes as text and JSON: drops, statistics, foreign keys, rebuilds, rewrites.

use pgassay_advise::Beyond;
use pgassay_model::plan::Risk;
use serde_json::{Map, Value, json};

/// For people.
pub fn text(beyond: &Beyond) -> String {
    let mut text = String::new();
    for object in &beyond.statistics {
        text.push_str(&format!("{}; {};\n  -- {}\n", object.ddl, object.analyze, object.reason));
    }
    for index in &beyond.foreign_keys {
        text.push_str(&format!("{};\n  -- about {}; {}\n", index.ddl, index.size, index.reason));
    }
    for drop in &beyond.drops {
        text.push_str(&format!(
            "{};\n  -- {} ({} risk): {}\n  -- undo: {}\n",
            drop.ddl,
            drop.rule.name(),
            level(&drop.risk),
            drop.reason,
            drop.undo
        ));
    }
    for index in &beyond.bloated {
        text.push_str(&format!("{};\n  -- {}\n", index.ddl, index.reason));
    }
    for rewrite in &beyond.rewrites {
        text.push_str(&format!(
            "rewrite {} ({}): {}\n",
            rewrite.statement,
            rewrite.rule.name(),
            rewrite.reason
        ));
        if let Some(after) = &rewrite.after {
            text.push_str(&format!("  before: {}\n  after:  {after}\n", rewrite.before));
        }
        match (&rewrite.check, &rewrite.after) {
            (Some(check), _) => text.push_str(&format!("  check: {check}\n")),
            (None, Some(_)) => text.push_str("  the same rows: proven from the schema\n"),
            (None, None) => {}
        }
        if let Some((before, after)) = rewrite.costs {
            text.push_str(&format!("  planner's cost today: {before:.1} → {after:.1}\n"));
        }
    }
    for kept in &beyond.kept {
        text.push_str(&format!("not proposed: {} ({})\n", kept.what, kept.why));
    }
    text
}

fn level(risk: &Risk) -> String {
    json!(risk.level).as_str().unwrap_or_default().to_owned()
}

/// The fields of an `advice` document that it fills.
pub fn document(beyond: &Beyond) -> Map<String, Value> {
    let drops: Vec<Value> = beyond
        .drops
        .iter()
        .map(|drop| {
            json!({
                "ddl": drop.ddl,
                "undo": drop.undo,
                "reason": drop.reason,
                "rule": drop.rule.name(),
                "relation": drop.relation.to_string(),
                "index": drop.index,
                "size_bytes": drop.size,
                "risk": drop.risk,
            })
        })
        .collect();
    let statistics: Vec<Value> = beyond
        .statistics
        .iter()
        .map(|object| {
            json!({
                "ddl": object.ddl,
                "analyze": object.analyze,
                "undo": object.undo,
                "reason": object.reason,
                "relation": object.definition.relation.to_string(),
                "statements": object.statements,
                "rows": object.rows,
            })
        })
        .collect();
    let foreign_keys: Vec<Value> = beyond
        .foreign_keys
        .iter()
        .map(|index| {
            json!({
                "ddl": index.ddl,
                "undo": index.undo,
                "reason": index.reason,
                "constraint": index.constraint,
                "relation": index.relation().to_string(),
                "size_bytes": index.size,
                "source": "rule",
                "statements": index.statements,
            })
        })
        .collect();
    let reindex: Vec<Value> = beyond
        .bloated
        .iter()
        .map(|index| {
            json!({
                "ddl": index.ddl,
                "reason": index.reason,
                "relation": index.relation.to_string(),
                "index": index.index,
                "size_bytes": index.size,
                "expected_bytes": index.expected,
            })
        })
        .collect();
    let rewrites: Vec<Value> = beyond
        .rewrites
        .iter()
        .map(|rewrite| {
            json!({
                "statement": rewrite.statement,
                "rule": rewrite.rule.name(),
                "before": rewrite.before,
                "after": rewrite.after,
                "reason": rewrite.reason,
                "check": rewrite.check,
                "cost_before": rewrite.costs.map(|(before, _)| before),
                "cost_after": rewrite.costs.map(|(_, after)| after),
            })
        })
        .collect();
    let mut fields = Map::new();
    fields.insert("drops".into(), drops.into());
    fields.insert("statistics".into(), statistics.into());
    fields.insert("foreign_keys".into(), foreign_keys.into());
    fields.insert("reindex".into(), reindex.into());
    fields.insert("rewrites".into(), rewrites.into());
    fields.insert("kept".into(), json!(beyond.kept));
    fields
}
