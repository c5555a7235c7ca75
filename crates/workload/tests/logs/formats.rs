//! What sessions ran is what comes out, whatever the format.

use crate::{Logged, extensions, find, values};
use pgassay_model::workload::RecordedSession;

const SCHEMA: &str = "CREATE TABLE notes (id bigint PRIMARY KEY, body text, at timestamptz)";

const ODD: &[&str] = &[
    "it's",
    "two\nlines\n\tand a tab",
    "back\\slash \"quoted\"",
    "naïve ☃ 😀",
    "ends...",
    "",
    "$1 = 'x', $2",
    "{\"json\": [1, \"a\"]}",
    "  blanks  ",
    "LOG:  duration: 1.0 ms  statement: SELECT 1",
    "#011 tab?",
    "-- no comment",
];

fn session_of(sessions: &[RecordedSession], statement: usize) -> &RecordedSession {
    sessions
        .iter()
        .find(|session| session.requests.iter().any(|request| request.statement == statement))
        .unwrap()
}

#[tokio::test]
async fn statements_values_sessions_and_transactions_are_those_that_ran() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    let insert = client.prepare("INSERT INTO notes (id, body) VALUES ($1, $2)").await.unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    for (number, text) in ODD.iter().enumerate() {
        client.execute(&insert, &[&(number as i64), text]).await.unwrap();
    }
    client.execute(&insert, &[&1000_i64, &None::<&str>]).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    for number in 0..7_i64 {
        client.query("SELECT body FROM notes WHERE id = $1", &[&number]).await.unwrap();
    }
    client.batch_execute("start transaction isolation level serializable").await.unwrap();
    client
        .simple_query(
            "UPDATE notes\nSET body = 'O''Brien\n\tand more' /* trace='17' */\nWHERE id = -5",
        )
        .await
        .unwrap();
    client.simple_query("DELETE FROM notes WHERE at < now() - interval '3 days'").await.unwrap();
    client.batch_execute("ROLLBACK").await.unwrap();
    let other = logged.client().await;
    other.simple_query("UPDATE notes SET body = E'a\\tb' WHERE id = 6;").await.unwrap();
    assert!(other.simple_query("SELECT body FROM nowhere WHERE id = 1").await.is_err());
    assert!(other.query("SELECT 1 / $1::int8", &[&0_i64]).await.is_err());
    other.simple_query("SELECT 42 /* pgassay */").await.unwrap();
    for extension in extensions() {
        let capture = logged.capture(extension);
        let workload = &capture.workload;
        assert_eq!(workload.statements.len(), 4, "{extension}: {workload:#?}");

        let (place, insert) = find(workload, "INSERT");
        assert_eq!(insert.sql, "INSERT INTO notes (id, body) VALUES ($1, $2)");
        assert_eq!(insert.weight, ODD.len() as f64 + 1.0);
        assert!(insert.writes && insert.queryid.is_some());
        let sent: Vec<_> = insert.parameters.iter().map(|set| set[1].as_deref()).collect();
        let mut expected: Vec<_> = ODD.iter().copied().map(Some).collect();
        expected.push(None);
        assert_eq!(sent, expected, "{extension}");

        let (select, _) = find(workload, "SELECT body");
        let (update, statement) = find(workload, "UPDATE");
        assert_eq!(
            statement.sql.split_whitespace().collect::<Vec<_>>().join(" "),
            "UPDATE notes SET body = $1 WHERE id = $2"
        );
        assert_eq!(
            (statement.weight, &statement.parameters),
            (
                2.0,
                &vec![
                    vec![Some("O'Brien\n\tand more".to_owned()), Some("-5".to_owned())],
                    vec![Some("a\tb".to_owned()), Some("6".to_owned())],
                ]
            ),
            "{extension}"
        );
        let (delete, statement) = find(workload, "DELETE");
        assert_eq!(statement.sql, "DELETE FROM notes WHERE at < now() - $1::interval");

        assert_eq!(workload.sessions.len(), 2, "{extension}: {:#?}", workload.sessions);
        let first = session_of(&workload.sessions, place);
        let ran: Vec<(usize, u32)> =
            first.requests.iter().map(|request| (request.statement, request.transaction)).collect();
        let mut expected = vec![(place, 1); ODD.len() + 1];
        expected.extend([(select, 0); 7]);
        expected.extend([(update, 2), (delete, 2)]);
        assert_eq!(ran, expected, "{extension}");
        let numbers: Vec<_> = first.requests[ODD.len() + 1..][..7]
            .iter()
            .map(|request| values(workload, request))
            .collect();
        assert_eq!(
            numbers,
            (0..7).map(|n| vec![Some(["0", "1", "2", "3", "4", "5", "6"][n])]).collect::<Vec<_>>()
        );
        assert!(first.requests.iter().all(|request| request.took_us.is_some()));
        assert!(first.requests.is_sorted_by_key(|request| request.at_us), "{extension}");
        assert!(workload.skipped.iter().any(|skipped| skipped.reason == "of pgassay itself"));
        assert!(capture.total_ms.iter().all(|ms| *ms > 0.0));
    }
}

#[tokio::test]
async fn statements_and_durations_on_lines_of_their_own_are_joined_and_failed_ones_do_not_count() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    client
        .batch_execute(
            "SET log_min_duration_statement = -1; SET log_statement = 'all'; SET log_duration = on",
        )
        .await
        .unwrap();
    client.batch_execute("BEGIN").await.unwrap();
    client.execute("INSERT INTO notes (id, body) VALUES ($1, 'x')", &[&1_i64]).await.unwrap();
    client.simple_query("SELECT count(*) FROM notes WHERE id = 1").await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    assert!(
        client.execute("INSERT INTO notes (id, body) VALUES ($1, 'x')", &[&1_i64]).await.is_err()
    );
    client.simple_query("SELECT pg_sleep(0.02), count(*) FROM notes").await.unwrap();
    for extension in extensions() {
        let capture = logged.capture(extension);
        let workload = &capture.workload;
        let (insert, statement) = find(workload, "INSERT");
        assert_eq!(statement.weight, 1.0, "{extension}");
        assert_eq!(statement.parameters, [vec![Some("1".to_owned()), Some("x".to_owned())]]);
        let (slow, _) = find(workload, "pg_sleep");
        assert!(capture.total_ms[slow] >= 20.0, "{:?}", capture.total_ms);
        let requests = &workload.sessions[0].requests;
        assert_eq!(requests.len(), 3, "{extension}: {requests:?}");
        assert_eq!(
            (requests[0].statement, requests[0].transaction, requests[2].transaction),
            (insert, 1, 0)
        );
        assert!(requests.iter().all(|request| request.took_us.is_some()));
        assert!(requests[2].took_us >= Some(20_000));
    }
}

#[tokio::test]
async fn values_that_were_cut_off_are_not_used() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    client.batch_execute("SET log_parameter_max_length = 8").await.unwrap();
    for text in ["short", "much longer than eight"] {
        client.query("SELECT id FROM notes WHERE body = $1", &[&text]).await.unwrap();
    }
    let file = logged.file("csv");
    let options = pgassay_workload::LogOptions { parameters_whole: false, ..logged.options() };
    let capture = pgassay_workload::capture_logs(&[file], &options).unwrap();
    let (_, statement) = find(&capture.workload, "SELECT id");
    assert_eq!(
        (statement.weight, &statement.parameters),
        (2.0, &vec![vec![Some("short".to_owned())]])
    );
    assert!(capture.notes.iter().any(|note| note.contains("log_parameter_max_length")));
}

#[tokio::test]
async fn plans_of_auto_explain_stand_in_where_no_statement_is_logged() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    client
        .batch_execute("LOAD 'auto_explain'; SET log_min_duration_statement = -1; SET auto_explain.log_min_duration = 0")
        .await
        .unwrap();
    for number in 0..3 {
        client.simple_query(&format!("SELECT body\nFROM notes WHERE id = {number}")).await.unwrap();
    }
    for extension in extensions() {
        let file = logged.file(extension);
        // The statements of this database alone: only it has no others.
        let capture = pgassay_workload::capture_logs(&[file], &logged.options()).unwrap();
        assert!(capture.notes[0].contains("3 plans"), "{:?}", capture.notes);
    }
}

#[tokio::test]
async fn the_plan_of_the_slowest_execution_is_kept() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    client
        .batch_execute("LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_analyze = on; SET auto_explain.log_timing = off")
        .await
        .unwrap();
    let ask = "SELECT body, pg_sleep(0.02) FROM (VALUES ('Alice')) AS v (body) WHERE body = $1";
    client.query(ask, &[&"Alice"]).await.unwrap();
    client.query(ask, &[&"Bob"]).await.unwrap();
    client.batch_execute("SET auto_explain.log_format = json").await.unwrap();
    client.simple_query("SELECT id FROM notes WHERE body = 'Alice'").await.unwrap();
    for extension in extensions() {
        let file = logged.file(extension);
        for mask in [false, true] {
            let options = pgassay_workload::LogOptions { mask, ..logged.options() };
            let capture =
                pgassay_workload::capture_logs(std::slice::from_ref(&file), &options).unwrap();
            let slept = find(&capture.workload, "pg_sleep").1.plan.as_ref().unwrap();
            assert!(slept.took_ms >= 20.0, "{slept:?}");
            assert!(
                slept.text.contains("rows=1 loops=1") || slept.text.contains("rows=1.00 loops=1"),
                "{}",
                slept.text
            );
            let select = find(&capture.workload, "SELECT id").1.plan.as_ref().unwrap();
            let plan: serde_json::Value = serde_json::from_str(&select.text).unwrap();
            assert_eq!(plan["Plan"]["Relation Name"], "notes");
            assert!(plan.get("Query Text").is_none());
            assert_eq!(select.text.contains("Alice"), !mask, "{}", select.text);
            assert!(capture.notes.iter().any(|note| note.starts_with("2 statements carry")));
        }
    }
}

#[tokio::test]
async fn masked_values_are_none_that_were_sent() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    client.query("SELECT id FROM notes WHERE body = $1", &[&"Alice Liddell"]).await.unwrap();
    client.simple_query("SELECT id FROM notes WHERE body = 'White Rabbit'").await.unwrap();
    let options = pgassay_workload::LogOptions { mask: true, ..logged.options() };
    let capture = pgassay_workload::capture_logs(&[logged.file("log")], &options).unwrap();
    let text = format!("{:?}", capture);
    assert!(!text.contains("Alice") && !text.contains("Rabbit"), "{text}");
    let (_, statement) = find(&capture.workload, "SELECT id");
    assert_eq!(statement.parameters.len(), 2);
    assert_eq!(statement.parameter_source, "log, masked");
}
