//! What auto_explain logs: a query, and its plan in the format of `auto_explain.log_format`.

use crate::log::lexer::Scan;
use crate::log::literal::value;
use crate::log::mask::mask;
use memchr::{memchr, memmem, memrchr};
use std::borrow::Cow;

/// A query and its plan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Explained<'a> {
    pub query: Cow<'a, [u8]>,
    /// Without the query and its parameters.
    pub plan: Cow<'a, [u8]>,
}

/// Reads the text behind `plan:`, in the formats text, JSON and YAML; None for XML.
pub(crate) fn read(text: &[u8]) -> Option<Explained<'_>> {
    let text = text.trim_ascii();
    if text.starts_with(b"{") {
        return json(text);
    }
    let query = text.strip_prefix(b"Query Text: ")?;
    if query.starts_with(b"\"")
        && let Some((sql, plan)) = string(query)
    {
        let plan = plan.trim_ascii_start();
        let plan = match plan.strip_prefix(b"Query Parameters: ") {
            Some(values) => values.get(memchr(b'\n', values)? + 1..)?,
            None => plan,
        };
        return Some(Explained { query: sql.into_bytes().into(), plan: plan.into() });
    }
    // The first line of a plan is the first with costs.
    let costs = memmem::find(query, b"  (cost=")?;
    let line = memrchr(b'\n', query.get(..costs)?)?;
    let before = query.get(..line)?;
    let end = memmem::find(before, b"\nQuery Parameters: ").unwrap_or(line);
    Some(Explained { query: query.get(..end)?.into(), plan: query.get(line + 1..)?.into() })
}

fn json(text: &[u8]) -> Option<Explained<'_>> {
    let mut plan = text.to_vec();
    let query = take_field(&mut plan, b"\"Query Text\": ")?;
    take_field(&mut plan, b"\"Query Parameters\": ");
    Some(Explained { query: query.into_bytes().into(), plan: plan.into() })
}

/// Removes a field with its comma and white space; returns its value.
fn take_field(text: &mut Vec<u8>, name: &[u8]) -> Option<String> {
    let start = memmem::find(text, name)?;
    let (value, rest) = string(text.get(start + name.len()..)?)?;
    let rest = rest.strip_prefix(b",").unwrap_or(rest).trim_ascii_start();
    let end = text.len() - rest.len();
    text.drain(start..end);
    Some(value)
}

/// A JSON string at the beginning of a text, and what follows it.
fn string(text: &[u8]) -> Option<(String, &[u8])> {
    let mut values = serde_json::Deserializer::from_slice(text).into_iter::<String>();
    let value = values.next()?.ok()?;
    text.get(values.byte_offset()..).map(|rest| (value, rest))
}

/// Ends of the names of what holds conditions and expressions, whose numbers are values, too.
const EXPRESSIONS: &[&str] = &[
    "Filter",
    "Cond",
    "Key",
    "Keys",
    "Output",
    "Call",
    "Order By",
    "SQL",
    "Parameters",
    "Values",
    "Group",
    "Run Condition",
    "Arguments",
];

/// A plan with its literals masked, as `mask` masks values.
pub(crate) fn masked(plan: &str, seed: u64) -> String {
    if let Ok(mut document) = serde_json::from_str::<serde_json::Value>(plan) {
        mask_json(&mut document, false, seed);
        return format!("{document:#}");
    }
    plan.lines()
        .map(|line| match line.split_once(": ") {
            Some((name, text)) => {
                let text = without_literals(text, is_expression(name), seed);
                format!("{name}: {text}")
            }
            None => without_literals(line, false, seed),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn mask_json(document: &mut serde_json::Value, expression: bool, seed: u64) {
    match document {
        serde_json::Value::String(text) => *text = without_literals(text, expression, seed),
        serde_json::Value::Array(values) => {
            values.iter_mut().for_each(|value| mask_json(value, expression, seed));
        }
        serde_json::Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, value)| mask_json(value, is_expression(name), seed));
        }
        _ => {}
    }
}

fn is_expression(name: &str) -> bool {
    // `Rows Removed by Filter` is a count.
    !name.trim_start().starts_with("Rows ") && EXPRESSIONS.iter().any(|end| name.ends_with(end))
}

/// A text with its literals masked; those in quotes only, unless it is an expression.
fn without_literals(text: &str, expression: bool, seed: u64) -> String {
    let bytes = text.as_bytes();
    let mut scan = Scan::default();
    scan.read(bytes);
    let mut masked = Vec::with_capacity(bytes.len());
    let mut copied = 0;
    for literal in &scan.literals {
        let raw = bytes.get(literal.at.clone()).unwrap_or_default();
        let quoted = raw.contains(&b'\'') || raw.starts_with(b"$");
        let Some(value) = value(bytes, literal).filter(|_| expression || quoted) else { continue };
        masked.extend_from_slice(bytes.get(copied..literal.at.start).unwrap_or_default());
        let value = mask(&value, seed);
        masked.extend(if quoted { pgassay_sql::quote_literal(&value) } else { value }.into_bytes());
        copied = literal.at.end;
    }
    masked.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    String::from_utf8_lossy(&masked).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> (String, String) {
        let found = read(text.as_bytes()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&found.query), text(&found.plan))
    }

    #[test]
    fn query_and_plan_are_told_apart_in_all_formats() {
        let query = "SELECT a\nFROM \"t\" WHERE b = $1";
        let plan = "Seq Scan on t  (cost=0.00..1.00 rows=1 width=4)\n  Filter: (b = 1)";
        for parameters in ["", "\nQuery Parameters: $1 = '1'"] {
            assert_eq!(
                of(&format!("\nQuery Text: {query}{parameters}\n{plan}")),
                (query.into(), plan.into())
            );
        }
        let string = serde_json::to_string(query).unwrap();
        for parameters in ["", "\n  \"Query Parameters\": \"$1 = '1'\","] {
            let text =
                format!("\n{{\n  \"Query Text\": {string},{parameters}\n  \"Plan\": {{}}\n}}");
            assert_eq!(of(&text), (query.into(), "{\n  \"Plan\": {}\n}".into()));
        }
        let text = format!("\nQuery Text: {string}\nPlan: \n  Node Type: \"Result\"");
        assert_eq!(of(&text), (query.into(), "Plan: \n  Node Type: \"Result\"".into()));
        assert_eq!(read(b"<explain xmlns=\"\">"), None);
    }

    #[test]
    fn masked_plans_keep_their_figures_and_lose_their_values() {
        let plan = "Seq Scan on t1  (cost=0.00..12.50 rows=7 width=4)\n  Filter: ((b = 98765) AND (c = 'Alice''s'::text))\n  Rows Removed by Filter: 98765";
        let hidden = masked(plan, 1);
        assert!(
            hidden
                .starts_with("Seq Scan on t1  (cost=0.00..12.50 rows=7 width=4)\n  Filter: ((b = ")
        );
        assert!(hidden.ends_with("Rows Removed by Filter: 98765"));
        assert_eq!(hidden.matches("98765").count(), 1, "{hidden}");
        assert!(!hidden.contains("Alice") && hidden.contains("'::text))"), "{hidden}");
        let json = r#"{"Plan": {"Relation Name": "t1", "Plan Rows": 98765, "Filter": "(b = 98765)", "Output": ["'Alice'::text"]}}"#;
        let hidden = masked(json, 1);
        assert!(hidden.contains("\"Plan Rows\": 98765") && hidden.contains("t1"), "{hidden}");
        assert!(!hidden.contains("(b = 98765)") && !hidden.contains("Alice"), "{hidden}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            start in "(Query Text: )?(\\{)?(\"Query Text\": )?(\")?",
            text in "[a-z$1'\"\\\\:, \n(){}ä]{0,40}(  \\(cost=)?[a-z'\n\"]{0,10}"
        ) {
            let _ = read(format!("{start}{text}").as_bytes());
            let _ = masked(&text, 1);
        }
    }
}
