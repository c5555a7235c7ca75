//! How recorded transactions ended.

use crate::{Logged, extensions};

const SCHEMA: &str = "CREATE TABLE notes (id bigint PRIMARY KEY, body text)";

#[tokio::test]
async fn requests_of_transactions_that_did_not_commit_say_so() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    let insert = |id: i64| format!("INSERT INTO notes (id, body) VALUES ({id}, 'x')");
    for (id, end) in [(1, "COMMIT"), (2, "ROLLBACK"), (3, "END"), (4, "ABORT WORK")] {
        client.batch_execute("BEGIN").await.unwrap();
        client.batch_execute(&insert(id)).await.unwrap();
        client.batch_execute(end).await.unwrap();
    }
    // Aborted by an error, which COMMIT can't mend.
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute(&insert(5)).await.unwrap();
    client.batch_execute(&insert(1)).await.unwrap_err();
    client.batch_execute("COMMIT").await.unwrap();
    // Mended.
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute(&insert(6)).await.unwrap();
    client.batch_execute("SAVEPOINT a").await.unwrap();
    client.batch_execute(&insert(1)).await.unwrap_err();
    client.batch_execute("ROLLBACK TO SAVEPOINT a").await.unwrap();
    client.batch_execute("COMMIT AND CHAIN").await.unwrap();
    client.batch_execute(&insert(7)).await.unwrap();
    client.batch_execute("ROLLBACK").await.unwrap();
    client.batch_execute(&insert(8)).await.unwrap();
    for extension in extensions() {
        let capture = logged.capture(extension);
        let requests = &capture.workload.sessions[0].requests;
        let ended: Vec<(u32, bool)> =
            requests.iter().map(|request| (request.transaction, request.rolled_back)).collect();
        let expected = [
            (1, false),
            (2, true),
            (3, false),
            (4, true),
            (5, true),
            (6, false),
            (7, true),
            (0, false),
        ];
        assert_eq!(ended, expected, "{extension}");
        let rows = crate::server().query(&logged.database, "SELECT id FROM notes ORDER BY 1");
        let ids: Vec<_> = rows.unwrap().into_iter().map(|row| row[0].clone().unwrap()).collect();
        assert_eq!(ids, ["1", "3", "6", "8"], "as the server did");
    }
}

#[tokio::test]
async fn a_session_that_ends_within_a_transaction_rolls_it_back() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute("INSERT INTO notes (id, body) VALUES (1, 'x')").await.unwrap();
    let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    // Logged before the backend is gone.
    crate::server().execute("postgres", &format!("SELECT pg_terminate_backend({pid})")).unwrap();
    while !client.is_closed() {
        tokio::task::yield_now().await;
    }
    for extension in extensions() {
        let capture = logged.capture(extension);
        assert!(capture.workload.sessions[0].requests[0].rolled_back, "{extension}");
    }
}

#[tokio::test]
async fn statements_of_one_message_are_taken_apart_within_their_transactions() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    client
        .batch_execute("BEGIN; INSERT INTO notes VALUES (1, 'a;b'); UPDATE notes SET body = 'c' WHERE id = 1; COMMIT")
        .await
        .unwrap();
    // Without BEGIN it is a transaction all the same.
    client
        .batch_execute("INSERT INTO notes VALUES (2, 'x'); INSERT INTO notes VALUES (3, 'y');")
        .await
        .unwrap();
    client.batch_execute("DELETE FROM notes WHERE id = 9; BEGIN; DELETE FROM notes WHERE id = 3; ROLLBACK; SELECT count(*) FROM notes").await.unwrap();
    client.batch_execute("BEGIN; SELECT body FROM notes WHERE id = 2").await.unwrap();
    client.batch_execute("; COMMIT; ").await.unwrap();
    client.batch_execute("SELECT pg_sleep(0.01) /* alone; */;").await.unwrap();
    for extension in extensions() {
        let capture = logged.capture(extension);
        let workload = &capture.workload;
        assert_eq!(workload.sessions.len(), 1, "{extension}");
        let ran: Vec<(&str, u32, bool)> = workload.sessions[0]
            .requests
            .iter()
            .map(|request| {
                let sql = &workload.statements[request.statement].sql;
                (&sql[..6], request.transaction, request.rolled_back)
            })
            .collect();
        let expected = [
            ("INSERT", 1, false),
            ("UPDATE", 1, false),
            ("INSERT", 2, false),
            ("INSERT", 2, false),
            ("DELETE", 3, true),
            ("DELETE", 3, true),
            ("SELECT", 4, false),
            ("SELECT", 5, false),
            ("SELECT", 0, false),
        ];
        assert_eq!(ran, expected, "{extension}");
        let (_, insert) = crate::find(workload, "INSERT");
        assert_eq!((insert.weight, insert.parameters.len()), (3.0, 3));
        assert_eq!(insert.parameters[0][1].as_deref(), Some("a;b"));
        let requests = &workload.sessions[0].requests;
        assert!(requests[0].took_us.is_none() && requests[8].took_us >= Some(10_000));
        assert!(requests[7].took_us.is_some(), "the only statement of its message");
        assert!(capture.notes.iter().any(|note| note.starts_with("3 messages hold several")));
    }
}

#[tokio::test]
async fn execute_of_sql_stands_for_the_statement_that_was_prepared() {
    let logged = Logged::with(SCHEMA);
    let client = logged.client().await;
    client
        .batch_execute(
            "PREPARE find (bigint, text) AS SELECT id FROM notes WHERE id = $1 OR body = $2",
        )
        .await
        .unwrap();
    client.batch_execute("EXECUTE find (1, 'it''s')").await.unwrap();
    client.batch_execute("execute find(2, 'ends...')").await.unwrap();
    client.batch_execute("BEGIN; EXECUTE find (3, NULL); COMMIT").await.unwrap();
    client.batch_execute("EXECUTE find (1 + 1, 'x')").await.unwrap();
    client.query("SELECT id FROM notes WHERE id = $1 OR body = $2", &[&4_i64, &"y"]).await.unwrap();
    for extension in extensions() {
        let capture = logged.capture(extension);
        let (_, find) = crate::find(&capture.workload, "SELECT id");
        assert_eq!(find.weight, 5.0, "{extension}");
        let set = |id: &str, body: Option<&str>| vec![Some(id.to_owned()), body.map(str::to_owned)];
        let expected = [
            set("1", Some("it's")),
            set("2", Some("ends...")),
            set("3", None),
            set("4", Some("y")),
        ];
        assert_eq!(find.parameters, expected, "{extension}");
        let requests = &capture.workload.sessions[0].requests;
        assert_eq!((requests.len(), requests[2].transaction), (5, 1));
    }
}
