//! A directory of `.sql` files, one statement each.

use crate::WorkloadError;
use crate::file::{MOST_STATEMENT, read_text};
use pgassay_model::Timestamp;
use pgassay_model::index::RelationName;
use pgassay_model::workload::{SCHEMA, SkippedStatement, Workload, WorkloadStatement};
use pgassay_sql::Catalog;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// No relation is known: whether a statement writes can be told from its text alone.
pub(crate) struct Unknown;

impl Catalog for Unknown {
    fn columns(&self, _: Option<&str>, _: &str) -> Option<(RelationName, Vec<String>)> {
        None
    }
}

/// Reads the `.sql` files of a directory in order of their names; hidden files are left alone.
pub(crate) fn read(directory: &Path) -> Result<Workload, WorkloadError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(WorkloadError::file("reading", directory))? {
        let path = entry.map_err(WorkloadError::file("reading", directory))?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        if !hidden
            && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("sql"))
        {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(WorkloadError::NoFiles { path: directory.into() });
    }
    files.sort();
    let mut workload = Workload {
        schema: SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        source: format!("directory {}", directory.display()),
        statements: Vec::new(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    };
    for path in files {
        match statement(&path, &read_text(&path)?)? {
            Ok(mut statement) => {
                // `a.sql` and `a.SQL` have one stem; ids name statements.
                if workload.statements.iter().any(|known| known.id == statement.id) {
                    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                    statement.id = name.unwrap_or_default();
                }
                workload.statements.push(statement);
            }
            Err(skipped) => workload.skipped.push(skipped),
        }
    }
    Ok(workload)
}

/// Reads one file: the statement, or why it can't be used.
fn statement(
    path: &Path,
    text: &str,
) -> Result<Result<WorkloadStatement, SkippedStatement>, WorkloadError> {
    let file = StatementFile::parse(path, text)?;
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let skipped = |statement: &str, reason: String| {
        Ok(Err(SkippedStatement {
            statement: statement.to_owned(),
            reason: format!("{name}: {reason}"),
        }))
    };
    if file.sql.is_empty() {
        return skipped("", "holds no statement".into());
    }
    if file.sql.len() > MOST_STATEMENT {
        return skipped(
            &beginning(&file.sql),
            format!("a statement of {} bytes; at most 1 MB is read", file.sql.len()),
        );
    }
    let shape = match pgassay_sql::shape(&file.sql, &Unknown) {
        Ok(shape) => shape,
        Err(error) => return skipped(&file.sql, error.to_string()),
    };
    Ok(Ok(WorkloadStatement {
        id: path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default(),
        sql: file.sql,
        weight: file.weight,
        writes: shape.writes,
        parameter_source: if file.params.is_empty() { "" } else { "given" }.to_owned(),
        parameters: file.params,
        ..WorkloadStatement::default()
    }))
}

/// Enough of a long statement to know it by.
fn beginning(sql: &str) -> String {
    sql.chars().take(100).chain(['…']).collect()
}

/// What a file says. Its lines `-- weight:` and `-- params:` stand before the statement or after it, so that
/// none can be part of a literal.
#[derive(Debug, PartialEq)]
struct StatementFile {
    sql: String,
    weight: f64,
    params: Vec<Vec<Option<String>>>,
}

impl StatementFile {
    fn parse(path: &Path, text: &str) -> Result<Self, WorkloadError> {
        let lines: Vec<&str> = text.lines().collect();
        let around = |line: &&str| line.trim().is_empty() || line.trim_start().starts_with("--");
        let before = lines.iter().take_while(|line| around(line)).count();
        let after = lines.iter().skip(before).rev().take_while(|line| around(line)).count();
        let statement = before..lines.len() - after;
        let mut file = StatementFile { sql: String::new(), weight: 1.0, params: Vec::new() };
        let mut body = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            if statement.contains(&index) {
                body.push(*line);
                continue;
            }
            let comment = line.trim_start().trim_start_matches('-').trim();
            let place = Place { path, line: index + 1 };
            if let Some(text) = comment.strip_prefix("weight:") {
                file.weight = place.weight(text.trim())?;
            } else if let Some(text) = comment.strip_prefix("params:") {
                file.params.push(place.params(text.trim())?);
            }
        }
        file.sql = body.join("\n").trim().trim_end_matches([';', ' ', '\n']).to_owned();
        Ok(file)
    }
}

struct Place<'a> {
    path: &'a Path,
    line: usize,
}

impl Place<'_> {
    fn weight(&self, text: &str) -> Result<f64, WorkloadError> {
        text.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight > 0.0).ok_or_else(
            || WorkloadError::Weight {
                path: self.path.into(),
                place: format!("line {}", self.line),
                text: text.to_owned(),
            },
        )
    }

    fn params(&self, text: &str) -> Result<Vec<Option<String>>, WorkloadError> {
        let error = |reason: String| WorkloadError::Params {
            path: PathBuf::from(self.path),
            line: self.line,
            reason,
        };
        let values: Vec<Value> =
            serde_json::from_str(text).map_err(|cause| error(cause.to_string()))?;
        values
            .into_iter()
            .map(|value| match value {
                Value::Null => Ok(None),
                Value::String(text) => Ok(Some(text)),
                Value::Number(number) => Ok(Some(number.to_string())),
                Value::Bool(value) => Ok(Some(value.to_string())),
                Value::Array(_) | Value::Object(_) => Err(error(
                    "an array or an object is no value; write it as a string, as PostgreSQL's input takes it"
                        .into(),
                )),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<StatementFile, WorkloadError> {
        StatementFile::parse(Path::new("a.sql"), text)
    }

    #[test]
    fn weight_and_values_stand_before_or_after_the_statement() {
        let file = parse(
            "-- weight: 2.5\r\n-- finds a user\r\nSELECT *\r\nFROM users WHERE id = $1 AND b = $2;\r\n\r\n\
             -- params: [7, null]\n--params: [\"x'y\", true]\n",
        )
        .unwrap();
        assert_eq!(file.sql, "SELECT *\nFROM users WHERE id = $1 AND b = $2");
        assert_eq!(file.weight, 2.5);
        assert_eq!(
            file.params,
            [vec![Some("7".into()), None], vec![Some("x'y".into()), Some("true".into())]]
        );
    }

    #[test]
    fn a_statement_over_1_mb_is_left_out_with_its_size() {
        let text = format!("SELECT '{}'", "x".repeat(1 << 20));
        let skipped = statement(Path::new("big.sql"), &text).unwrap().unwrap_err();
        assert!(skipped.reason.contains("big.sql: a statement of 1048585 bytes"), "{skipped:?}");
        assert!(skipped.statement.len() < 200, "{skipped:?}");
    }

    #[test]
    fn lines_within_a_statement_are_left_as_they_are() {
        let file = parse("SELECT '\n-- weight: 0\n'").unwrap();
        assert_eq!(file.sql, "SELECT '\n-- weight: 0\n'");
        assert_eq!(file.weight, 1.0);
    }

    #[test]
    fn a_weight_that_is_none_names_file_and_line() {
        for weight in ["0", "-1", "NaN", "inf", "heavy", ""] {
            let error = parse(&format!("-- first\n-- weight: {weight}\nSELECT 1")).unwrap_err();
            assert!(error.to_string().starts_with("a.sql, line 2: "), "{error}");
        }
    }

    #[test]
    fn values_that_are_none_name_file_and_line() {
        for params in ["7", "[1", "[[1]]", "[{}]", "{}", ""] {
            let error = parse(&format!("SELECT $1\n-- params: {params}")).unwrap_err();
            assert!(error.to_string().starts_with("a.sql, line 2: "), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(-- ?(weight|params): ?)?[a-z0-9\\[\\]\",;$'\n\r -]{0,60}") {
            let _ = statement(Path::new("a.sql"), &text);
        }
    }
}
