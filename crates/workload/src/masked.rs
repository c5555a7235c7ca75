//! A whole workload without the values it was captured with, wherever these came from.

use crate::log::{LOG_MASKED, mask, mask_constants};
use pgassay_model::workload::Workload;

/// Masks what the capture of a log has not masked already: values drawn from rows and statistics, and what texts of
/// statements hold themselves, comments included.
pub fn mask_workload(workload: &mut Workload, seed: u64) {
    for statement in &mut workload.statements {
        statement.sql = mask_constants(&statement.sql, seed);
        if statement.parameter_source == LOG_MASKED || statement.parameters.is_empty() {
            continue;
        }
        for value in statement.parameters.iter_mut().flatten().flatten() {
            *value = mask(value, seed);
        }
        statement.parameter_source.push_str(", masked");
    }
    for skipped in &mut workload.skipped {
        skipped.statement = mask_constants(&skipped.statement, seed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn values_of_rows_are_masked_once_and_those_of_a_masked_log_stay() {
        let mut workload: Workload = serde_json::from_value(serde_json::json!({
            "schema": "pgassay/workload/1", "generated_at": "2026-01-01T00:00:00Z", "source": "test",
            "statements": [
                {"id": "rows", "sql": "SELECT 1 /* by secret */ FROM t WHERE a = $1 AND b = B'101'", "weight": 1.0,
                 "writes": false, "parameters": [["secret"], [null]], "parameter_source": "rows of public.t"},
                {"id": "log", "sql": "SELECT 1", "weight": 1.0, "writes": false, "parameters": [["hidden"]],
                 "parameter_source": "log, masked"},
                {"id": "none", "sql": "SELECT 2", "weight": 1.0, "writes": false, "parameter_source": "none needed"}],
            "skipped": [{"statement": "SELECT N'secret' -- secret", "reason": "x"}]
        }))
        .unwrap();
        mask_workload(&mut workload, 42);
        assert!(!serde_json::to_string(&workload).unwrap().contains("secret"));
        let sources: Vec<&str> =
            workload.statements.iter().map(|own| own.parameter_source.as_str()).collect();
        assert_eq!(sources, ["rows of public.t, masked", "log, masked", "none needed"]);
        assert_eq!(workload.statements[1].parameters, [[Some("hidden".to_owned())]]);
        assert_eq!(workload.statements[0].parameters[1], [None]);
        assert!(workload.statements[0].sql.contains("WHERE a = $1"));
    }
}
