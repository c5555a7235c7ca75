//! Drawn values held against what the application's calls took.

use crate::Target;
use pgassay_workload::{CaptureOptions, CheckOptions, Checked, capture_statements, check_values};

/// Nearly every row is done; the application asks for the few that are not.
const JOBS: &str = "
    CREATE EXTENSION pg_stat_statements;
    CREATE TABLE jobs (id bigint PRIMARY KEY, state text NOT NULL, filler text);
    INSERT INTO jobs SELECT n, CASE WHEN n % 1000 = 0 THEN 'open' ELSE 'done' END, repeat('x', 100)
    FROM generate_series(1, 20000) AS n;
    CREATE INDEX ON jobs (state);";

async fn captured(target: &mut Target, asked: &str) -> pgassay_model::workload::Workload {
    target.server.execute(&target.database, asked).unwrap();
    target.snapshot = pgassay_postgres::snapshot(&target.session).await.unwrap();
    capture_statements(&target.session, &target.snapshot, &CaptureOptions::default()).await.unwrap()
}

async fn check(target: &Target, workload: &mut pgassay_model::workload::Workload) -> Checked {
    let statistics = target.snapshot.statements.as_deref().unwrap();
    check_values(workload, &target.session, statistics, &CheckOptions::default()).await.unwrap()
}

/// Runs a statement for several values, each by itself.
fn calls(sql: &str, values: impl IntoIterator<Item = String>) -> String {
    values.into_iter().map(|value| format!("{};", sql.replace("{}", &value))).collect()
}

#[tokio::test]
async fn values_of_a_skewed_column_that_the_application_does_not_ask_for_are_found_out() {
    let mut target = Target::with(JOBS).await;
    let asked = [
        calls("SELECT id FROM jobs WHERE state = {}", (0..20).map(|_| "'open'".into())),
        calls("SELECT state FROM jobs WHERE id = {}", (1..=20).map(|n| n.to_string())),
        calls("UPDATE jobs SET filler = 'y' WHERE id = {}", (1..=20).map(|n| n.to_string())),
        calls("SELECT filler FROM jobs WHERE id > {} LIMIT 3", (1..=3).map(|n| n.to_string())),
    ]
    .concat();
    let mut workload = captured(&mut target, &asked).await;
    let before = workload.clone();
    let checked = check(&target, &mut workload).await;
    let of = |part: &str| {
        workload.statements.iter().find(|statement| statement.sql.contains(part)).unwrap()
    };
    let why = of("WHERE state").not_representative.clone().unwrap();
    assert!(why.contains("rows per call, the application's 20;"), "{why}");
    assert!(why.contains("of 15 sets and of 20 calls"), "{why}");
    assert_eq!(of("SELECT state").not_representative, None);
    assert_eq!(of("UPDATE").not_representative, None);
    assert_eq!((checked.statements, checked.executions), (2, 18));
    assert_eq!(checked.unchecked["they write"], 1);
    assert_eq!(checked.unchecked["under 10 calls"], 1);
    let rows =
        target.server.query(&target.database, "SELECT count(*) FROM jobs WHERE filler = 'y'");
    assert_eq!(rows.unwrap()[0][0].as_deref(), Some("20"), "nothing was written");
    for statement in &mut workload.statements {
        statement.not_representative = None;
    }
    assert_eq!(workload, before, "nothing else is changed");
}

#[tokio::test]
async fn given_and_captured_values_are_not_run() {
    let mut target = Target::with(JOBS).await;
    let asked = calls("SELECT id FROM jobs WHERE state = {}", (0..20).map(|_| "'open'".into()));
    let mut workload = captured(&mut target, &asked).await;
    for source in ["given", "log", "log, masked"] {
        for statement in &mut workload.statements {
            statement.parameter_source = source.into();
        }
        assert_eq!(check(&target, &mut workload).await, Checked::default());
    }
}

#[tokio::test]
async fn a_value_that_makes_a_statement_run_for_long_is_cancelled_and_found_out() {
    let mut target = Target::with(JOBS).await;
    let sql =
        "SELECT count(*) FROM jobs AS a JOIN jobs AS b ON b.state = a.state WHERE a.state = {}";
    // The sample holds states of rows, all but a few of them 'done'.
    target
        .server
        .execute(&target.database, "UPDATE jobs SET state = id::text WHERE state = 'open'")
        .unwrap();
    let asked = calls(sql, (1..=15).map(|n| format!("'{}'", n * 1000)));
    let mut workload = captured(&mut target, &asked).await;
    let started = std::time::Instant::now();
    check(&target, &mut workload).await;
    assert!(started.elapsed().as_secs() < 5);
    let statement =
        workload.statements.iter().find(|statement| statement.sql.contains("JOIN")).unwrap();
    let why = statement.not_representative.clone().unwrap();
    assert!(why.starts_with("over 1000 ms with one of its sets"), "{why}");
}
