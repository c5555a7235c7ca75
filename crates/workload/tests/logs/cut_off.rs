//! Logs that hold less than they seem to: cut off within a line, partly in another language, given twice; and
//! logs that hold more (`log_error_verbosity = verbose`).

use pgassay_model::workload::Workload;
use pgassay_workload::{LogOptions, capture_logs};
use std::fs;

const HEAD: &str = "2026-01-31 12:34:56.789 UTC [7] ";
const FIRST: &str = "LOG:  duration: 1.0 ms  statement: SELECT a FROM t WHERE id = 1\n";

fn workload(log: &str) -> Workload {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(&path, log).unwrap();
    capture_logs(&[path], &LogOptions::default()).unwrap().workload
}

fn asked(workload: &Workload) -> Vec<(&str, f64)> {
    workload.statements.iter().map(|own| (own.sql.as_str(), own.weight)).collect()
}

fn reasons(workload: &Workload) -> String {
    let lines: Vec<String> =
        workload.skipped.iter().map(|own| format!("{}: {}", own.statement, own.reason)).collect();
    lines.join("\n")
}

#[test]
fn a_line_without_an_end_is_left_out_and_named() {
    let whole = format!("{HEAD}{FIRST}");
    for end in [
        format!("{HEAD}LOG:  duration: 1.0 ms  statement: SELECT b"),
        format!("{HEAD}LOG:  duration: 1.0 ms  statement: SELECT a\n\tFROM t WHERE id = 2"),
        format!("{HEAD}LO"),
        "2026-01-".to_owned(),
    ] {
        let workload = workload(&format!("{whole}{end}"));
        assert_eq!(asked(&workload), [("SELECT a FROM t WHERE id = $1", 1.0)], "{end}");
        assert!(reasons(&workload).contains("the last line, which is cut off"), "{end}");
    }
}

#[test]
fn values_that_are_cut_off_are_not_used_and_their_statement_counts() {
    let head = format!("{HEAD}LOG:  duration: 1.0 ms  execute s: SELECT a FROM t WHERE id = $1\n");
    let values = format!("{HEAD}DETAIL:  parameters: $1 = '");
    for end in ["12345'", "1\n\t2'"] {
        let workload = workload(&format!("{head}{values}1'\n{head}{values}{end}"));
        assert_eq!(asked(&workload), [("SELECT a FROM t WHERE id = $1", 2.0)], "{end}");
        assert_eq!(workload.statements[0].parameters, [[Some("1".to_owned())]], "{end}");
    }
}

#[test]
fn the_only_line_counts_without_an_end() {
    let workload = workload(format!("{HEAD}{FIRST}").trim_end());
    assert_eq!(asked(&workload).len(), 1);
}

#[test]
fn a_log_of_verbose_errors_is_read() {
    let log = format!(
        "{HEAD}LOG:  00000: duration: 1.0 ms  statement: SELECT a FROM t WHERE id = 1\n\
         {HEAD}LOCATION:  exec_simple_query, postgres.c:1305\n\
         {HEAD}LOG:  00000: duration: 1.0 ms  execute s: SELECT b FROM t WHERE id = $1\n\
         {HEAD}DETAIL:  parameters: $1 = '5'\n\
         {HEAD}LOCATION:  exec_execute_message, postgres.c:2250\n\
         {HEAD}LOG:  00000: statement: SELECT c FROM t\n\
         {HEAD}ERROR:  22012: division by zero\n"
    );
    let workload = workload(&log);
    let mut found = asked(&workload);
    found.sort_unstable_by_key(|(sql, _)| *sql);
    assert_eq!(
        found,
        [("SELECT a FROM t WHERE id = $1", 1.0), ("SELECT b FROM t WHERE id = $1", 1.0)]
    );
    let values: Vec<_> =
        workload.statements.iter().flat_map(|own| own.parameters.concat()).collect();
    assert!(values.contains(&Some("5".to_owned())), "{values:?}");
    assert!(reasons(&workload).contains("failed, and are not counted"));
}

#[test]
fn a_file_of_another_language_beside_an_english_one_is_named() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.log"), format!("{HEAD}{FIRST}")).unwrap();
    let german = format!("{HEAD}LOG:  Dauer: 1.0 ms  Anweisung: SELECT b FROM t\n");
    fs::write(directory.path().join("b.log"), german).unwrap();
    let capture = capture_logs(&[directory.path().into()], &LogOptions::default()).unwrap();
    assert_eq!(asked(&capture.workload).len(), 1);
    let reasons = reasons(&capture.workload);
    assert!(reasons.contains("b.log is in German") && !reasons.contains("a.log"), "{reasons}");
}

#[test]
fn a_file_that_is_given_twice_is_counted_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(&path, format!("{HEAD}{FIRST}")).unwrap();
    let twice = directory.path().join(".").join("log");
    for paths in [vec![path.clone(), twice.clone()], vec![directory.path().to_owned(), twice]] {
        let workload = capture_logs(&paths, &LogOptions::default()).unwrap().workload;
        assert_eq!(asked(&workload), [("SELECT a FROM t WHERE id = $1", 1.0)]);
    }
}
