//! syslog, written by PostgreSQL 15 with the C library's syslog(3) and a daemon that escapes as rsyslog does.

use crate::find;
use pgassay_workload::{LogOptions, capture_logs};
use std::path::Path;

#[test]
fn entries_cut_into_pieces_and_lines_are_put_together() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/logs/fixtures/syslog.log");
    let options = LogOptions {
        log_line_prefix: "%q%u@%d ".into(),
        database: Some("postgres".into()),
        ..LogOptions::default()
    };
    let capture = capture_logs(&[path], &options).unwrap();
    let workload = &capture.workload;
    let (insert, statement) = find(workload, "INSERT INTO notes VALUES");
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(statement.parameters, [[text("1"), text("it's\ntwo lines\n\tand a tab")]]);
    assert_eq!(find(workload, "(id, body)").1.sql, "INSERT INTO notes (id, body)\nVALUES ($1, $2)");
    let (_, long) = find(workload, "count(*)");
    assert_eq!(long.parameters, [[text(&"word ".repeat(500))]]);
    // Three times bound as $1, once a literal.
    let (_, select) = find(workload, "SELECT body");
    assert_eq!(select.weight, 4.0);
    assert_eq!(select.parameters.iter().filter(|set| **set == [text("5")]).count(), 3);
    let of_insert = |session: &&pgassay_model::workload::RecordedSession| {
        session.requests[0].statement == insert
    };
    let session = workload.sessions.iter().find(of_insert).unwrap();
    assert_eq!((session.requests[0].statement, session.requests[0].transaction), (insert, 1));
    assert_eq!(session.requests[2].transaction, 0);
}
