//! Capture from a real pg_stat_statements.

use crate::Target;
use pgassay_workload::{CaptureOptions, WorkloadError, capture_statements};
use std::collections::BTreeMap;

const SHOP: &str = "
    CREATE EXTENSION pg_stat_statements;
    CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL UNIQUE);
    INSERT INTO users SELECT n, 'u' || n || '@example.com' FROM generate_series(1, 500) AS n;";

/// What an application asks: constants, which the server replaces by `$n`.
fn run_application(target: &Target) {
    let mut script = String::new();
    for n in 1..=30 {
        script.push_str(&format!("SELECT * FROM users WHERE email = 'u{n}@example.com';"));
    }
    for n in 1..=12 {
        script.push_str(&format!("SELECT id FROM users WHERE id > {n} ORDER BY id LIMIT {n};"));
    }
    for n in 1..=5 {
        script.push_str(&format!(
            "INSERT INTO users (id, email) VALUES ({0}, 'new{0}@example.com');",
            1000 + n
        ));
    }
    script.push_str("SELECT count(*) FROM users; BEGIN; COMMIT; SET work_mem = '8MB'; SELECT 42;");
    for statement in script.split_terminator(';') {
        target.server.execute(&target.database, statement).unwrap();
    }
}

#[tokio::test]
async fn weights_are_calls_and_every_set_runs() {
    let mut target = Target::with(SHOP).await;
    run_application(&target);
    target.snapshot = pgassay_postgres::snapshot(&target.session).await.unwrap();
    let workload =
        capture_statements(&target.session, &target.snapshot, &CaptureOptions::default())
            .await
            .unwrap();
    let weights: BTreeMap<&str, f64> =
        workload.statements.iter().map(|s| (s.sql.as_str(), s.weight)).collect();
    assert_eq!(weights["SELECT * FROM users WHERE email = $1"], 30.0);
    assert_eq!(weights["SELECT id FROM users WHERE id > $1 ORDER BY id LIMIT $2"], 12.0);
    assert_eq!(weights["INSERT INTO users (id, email) VALUES ($1, $2)"], 5.0);
    assert_eq!(weights["SELECT count(*) FROM users"], 1.0);
    for statement in &workload.statements {
        assert!(!statement.sql.contains("pgassay"), "{}", statement.sql);
        assert!(statement.queryid.is_some());
        assert_eq!(statement.writes, statement.sql.starts_with("INSERT"));
        if !statement.sql.contains("pg_catalog") {
            target.execute(statement);
        }
    }
    let skipped: BTreeMap<&str, &str> =
        workload.skipped.iter().map(|s| (s.statement.as_str(), s.reason.as_str())).collect();
    assert!(skipped["SELECT $1"].contains("compared with no column"));
    assert!(skipped["CREATE TABLE …"].contains("not replayed"), "{skipped:?}");
    assert!(workload.source.starts_with("pg_stat_statements 1."), "{}", workload.source);
    if target.snapshot.server.version_num >= 140_000 {
        assert!(workload.source.contains(" since 20"), "{}", workload.source);
    }
}

#[tokio::test]
async fn a_statement_that_was_filled_before_it_first_ran_is_captured_all_the_same() {
    let target = Target::with(SHOP).await;
    let sql = "SELECT email FROM users WHERE id = $1 AND email <> 'nobody' LIMIT 3";
    assert_eq!(target.fill(sql).await.statements.len(), 1);
    target
        .server
        .execute(&target.database, &format!("PREPARE mine AS {sql}; EXECUTE mine(1)"))
        .unwrap();
    let seen = pgassay_postgres::statement_statistics(&target.session).await.unwrap().unwrap();
    let found: Vec<_> =
        seen.iter().filter(|row| row.query.contains("SELECT email FROM users")).collect();
    assert_eq!(found.len(), 1, "{seen:?}");
    assert!(found[0].query.starts_with("SELECT email") && found[0].calls == 1, "{found:?}");
}

#[tokio::test]
async fn a_captured_workload_survives_its_file() {
    let mut target = Target::with(SHOP).await;
    run_application(&target);
    target.snapshot = pgassay_postgres::snapshot(&target.session).await.unwrap();
    let options = CaptureOptions { limit: 2, ..CaptureOptions::default() };
    let workload = capture_statements(&target.session, &target.snapshot, &options).await.unwrap();
    assert!(workload.statements.len() <= 2);
    assert!(workload.skipped.iter().any(|s| s.reason.contains("not among the 2")));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("workload.json");
    pgassay_workload::write(&file, &workload).unwrap();
    assert_eq!(pgassay_workload::read(&file).unwrap(), workload);
    let mut again = pgassay_workload::read(&file).unwrap();
    pgassay_workload::fill_parameters(&mut again, &target.session, &target.snapshot, 1)
        .await
        .unwrap();
    assert_eq!(again, workload, "values that are there stay");
}

#[tokio::test]
async fn without_pg_stat_statements_the_error_says_how_to_get_it() {
    let target = Target::with("CREATE TABLE t (a int)").await;
    let error = capture_statements(&target.session, &target.snapshot, &CaptureOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, WorkloadError::NoStatistics));
    assert!(error.to_string().contains("CREATE EXTENSION pg_stat_statements"));
}
