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
