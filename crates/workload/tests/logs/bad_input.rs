//! Bad input gets a clear error or is left out and listed.

use pgassay_workload::{LogCapture, LogError, LogOptions, capture_logs};
use proptest::prelude::*;
use std::fs;

fn capture(content: &[u8], options: &LogOptions) -> Result<LogCapture, LogError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    fs::write(&path, content).unwrap();
    capture_logs(&[path], options)
}

#[test]
fn a_wrong_prefix_shows_the_line_what_is_expected_and_what_would_fit() {
    let line = b"2026-01-31 12:34:56.789 UTC [7] LOG:  duration: 1.0 ms  statement: SELECT 1\n";
    let options =
        LogOptions { log_line_prefix: "%t:%r:%u@%d:[%p]: ".into(), ..LogOptions::default() };
    let error = capture(&line.repeat(3), &options).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, LogError::WrongPrefix { .. }));
    for part in
        ["SELECT 1", "%t:%r:%u@%d:[%p]: ", "@database:[12345]: LOG:", "'%m [%p] ' would fit"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_prefix_that_fits_processes_without_a_session_only_is_wrong_too() {
    let log = b"2026-01-31 12:34:56.789 UTC [7] LOG:  checkpoint starting: time\n\
        2026-01-31 12:34:56.789 UTC [7] me@db LOG:  duration: 1.0 ms  statement: SELECT 1\n";
    let error = capture(log, &LogOptions::default()).unwrap_err();
    assert!(matches!(error, LogError::WrongPrefix { .. }));
    assert!(error.to_string().contains("'%m [%p] %q%u@%d ' would fit"), "{error}");
}

#[test]
fn binary_empty_and_statementless_files_are_refused() {
    let options = LogOptions::default();
    assert!(matches!(capture(b"\x7fELF\0\0\0\0", &options), Err(LogError::Binary { .. })));
    assert!(matches!(capture(b"", &options), Err(LogError::Empty { .. })));
    let line = b"2026-01-31 12:34:56.789 UTC [7] LOG:  checkpoint starting: time\n";
    assert!(matches!(capture(line, &options), Err(LogError::NoStatements { entries: 1, .. })));
    assert!(matches!(capture_logs(&["/nowhere".into()], &options), Err(LogError::File { .. })));
}

#[test]
fn statements_over_1_mb_and_latin_1_are_no_obstacle() {
    let head = "2026-01-31 12:34:56.789 UTC [7] LOG:  duration: 1.0 ms  statement: ";
    let mut log = format!("{head}SELECT 'small' FROM a\n").into_bytes();
    log.extend(format!("{head}SELECT '{}' FROM a\n", "x".repeat(2 << 20)).bytes());
    log.extend(format!("{head}SELECT '{}'\n\tFROM a\n", "y\n\t".repeat(3 << 20)).bytes());
    log.extend(format!("{head}SELECT 'caf").bytes());
    log.extend(b"\xe9' FROM a\n");
    let workload = capture(&log, &LogOptions::default()).unwrap().workload;
    assert_eq!((workload.statements.len(), workload.statements[0].weight), (1, 2.0));
    assert_eq!(workload.statements[0].parameters[1], [Some("caf\u{fffd}".to_owned())]);
    let reasons: Vec<&str> =
        workload.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
    assert_eq!(reasons, ["over 1 MB", "over 4 MB"]);
}

#[test]
fn relations_whose_names_differ_in_digits_are_not_mixed_up() {
    let line = |table: &str| {
        format!(
            "2026-01-31 12:34:56.789 UTC [7] LOG:  duration: 1.0 ms  statement: SELECT a FROM {table} WHERE b = 1\n"
        )
    };
    let log = [line("orders_1"), line("orders_2"), line("orders_2")].concat();
    let statements = capture(log.as_bytes(), &LogOptions::default()).unwrap().workload.statements;
    assert_eq!(statements.len(), 2);
    assert_ne!(statements[0].id, statements[1].id);
    assert_eq!((statements[0].weight, statements[1].weight), (2.0, 1.0));
}

const LINES: &[&str] = &[
    "2026-01-31 12:34:56.789 UTC [7] LOG:  duration: 1.0 ms  statement: SELECT 'a''b' FROM t WHERE x = 1\n",
    "2026-01-31 12:34:56.790 UTC [7] LOG:  duration: 1.0 ms  execute p: SELECT $1\n2026-01-31 12:34:56.790 UTC [7] DETAIL:  parameters: $1 = 'x''y'\n",
    "\tcontinued 'line\n",
    "2026-01-31 12:34:56.789 UTC,\"me\",\"db\",7,\"::1:5\",697df5b0.7,1,\"SELECT\",2026-01-31 12:00:00 UTC,3/4,0,LOG,00000,\"duration: 1.0 ms  statement: SELECT \"\"a\"\" FROM t\",,,,,,,,,\"a\",\"client backend\",,5\n",
    "{\"timestamp\":\"2026-01-31 12:34:56.789 UTC\",\"pid\":7,\"session_id\":\"a.b\",\"error_severity\":\"LOG\",\"message\":\"duration: 1.0 ms  statement: SELECT \\\"a\\\" \\u00e4\"}\n",
    "Jan 31 12:34:56 h postgres[7]: [5-1] 2026-01-31 12:34:56.789 UTC [7] LOG:  duration: 1.0 ms  statement: SELECT a\n",
    "Jan 31 12:34:56 h postgres[7]: [5-2] #011FROM t WHERE x = 5\n",
    "<134>1 2026-01-31T12:34:56.789+00:00 h postgres 7 - - [6-1] 2026-01-31 12:34:56.789 UTC [7] LOG:  statement: SELECT b\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_it_panic_or_hang(
        first in prop::sample::select(LINES),
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = capture(&bytes, &LogOptions::default());
        let _ = capture(&[first.as_bytes(), &bytes].concat(), &LogOptions::default());
    }

    #[test]
    fn damaged_lines_of_all_formats_make_none_panic_or_hang(
        picked in prop::collection::vec((prop::sample::select(LINES), any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..12),
        mask in any::<bool>(),
    ) {
        let mut log = Vec::new();
        for (line, at, byte, damage) in picked {
            let mut line = line.as_bytes().to_vec();
            let at = at.index(line.len());
            match damage {
                0 => line[at] = byte,
                1 => line.truncate(at),
                2 => line.insert(at, byte),
                _ => {}
            }
            log.extend(line);
        }
        let _ = capture(&log, &LogOptions { mask, ..LogOptions::default() });
    }
}

#[test]
fn logs_in_other_languages_are_refused_with_the_setting_to_change() {
    let directory = tempfile::tempdir().unwrap();
    for (name, lines, language) in [
        ("de", "LOG:  Dauer: 1.234 ms  Anweisung: SELECT 1\n", "German"),
        ("ru", "СООБЩЕНИЕ:  продолжительность: 1.234 мс, оператор: SELECT 1\n", "Russian"),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, format!("2026-01-31 12:00:00.000 UTC [7] {lines}").repeat(3)).unwrap();
        let error = capture_logs(&[path], &LogOptions::default()).unwrap_err();
        assert!(matches!(&error, LogError::Language { language: found, .. } if *found == language));
        assert!(error.to_string().contains("lc_messages = 'C'"), "{error}");
    }
}
