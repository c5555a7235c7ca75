//! Every plan of the shadow is the source's: cost, rows and width at every node, in several settings.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_postgres::{Session, SessionOptions, dsn};
use pgassay_shadow::{Blueprint, BuildOptions, ReadOptions, Shadow};
use pgassay_testkit::{Postgres, PostgresOptions};
use serde_json::Value;

const SCHEMA: &str = include_str!("fidelity/schema.sql");
const STATEMENTS: &str = include_str!("fidelity/statements.sql");
/// From 14 on: statistics of expressions.
const EXPRESSIONS: &str = "CREATE STATISTICS shop.orders_month ON (date_trunc('month', stay_at)), kind FROM shop.orders_again;
    ANALYZE shop.orders_again";
const SETTINGS: [&str; 7] = [
    "SELECT 1",
    "SET random_page_cost = 1.1",
    "SET max_parallel_workers_per_gather = 0",
    "SET work_mem = '64kB'",
    "SET work_mem = '256MB'; SET enable_hashjoin = off",
    "SET enable_seqscan = off; SET enable_bitmapscan = off",
    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
];

/// A server of its own: nothing vacuums or analyzes between the two explanations.
fn source() -> Postgres {
    let on = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let server = Postgres::start(PostgresOptions {
        settings: vec![on("autovacuum", "off"), on("effective_cache_size", "'300MB'")],
        stop_with_process: true,
        ..PostgresOptions::default()
    })
    .unwrap();
    server.execute("postgres", "CREATE DATABASE shop").unwrap();
    // VACUUM runs in no transaction block, and so not among several statements.
    let (before, after) = SCHEMA.split_once("VACUUM ANALYZE;").unwrap();
    let (after, _) = after.split_once("CHECKPOINT;").unwrap();
    for sql in [before, "VACUUM ANALYZE", after] {
        server.execute("shop", sql).unwrap();
    }
    if server.version_num() >= 140_000 {
        server
            .execute("shop", "CREATE TABLE shop.orders_again AS SELECT *, lower(stay) AS stay_at FROM shop.orders")
            .unwrap();
        server.execute("shop", EXPRESSIONS).unwrap();
    }
    server.execute("shop", "CHECKPOINT").unwrap();
    server
}

fn statements(server: &Postgres) -> Vec<String> {
    let mut statements: Vec<String> = STATEMENTS.lines().map(str::to_owned).collect();
    if server.version_num() >= 140_000 {
        statements.push(
            "SELECT date_trunc('month', stay_at), kind, count(*) FROM shop.orders_again GROUP BY 1, 2".into(),
        );
        statements.push(
            "SELECT * FROM shop.orders_again WHERE date_trunc('month', stay_at) = '2026-03-01'"
                .into(),
        );
    }
    statements
}

async fn explain(session: &Session, sql: &str) -> Value {
    let rows = session
        .client()
        .simple_query(&format!("EXPLAIN (FORMAT JSON, VERBOSE) {sql}"))
        .await
        .unwrap();
    let text = rows
        .iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

async fn session_on(server: &Postgres) -> Session {
    let settings = dsn::resolve(&server.dsn("shop")).unwrap();
    Session::connect(&settings, SessionOptions::default()).await.unwrap()
}

/// Statements whose plans differ, in each setting.
async fn differences(source: &Session, shadow: &Session, statements: &[String]) -> Vec<String> {
    let mut differ = Vec::new();
    for setting in SETTINGS {
        for session in [source, shadow] {
            session.client().batch_execute(&format!("RESET ALL; {setting}")).await.unwrap();
        }
        for sql in statements {
            let (real, shadowed) = (explain(source, sql).await, explain(shadow, sql).await);
            if real != shadowed {
                differ.push(format!("[{setting}] {sql}\n{}", difference(&real, &shadowed)));
            }
        }
    }
    differ
}

fn difference(real: &Value, shadowed: &Value) -> String {
    let lines = |value: &Value| -> Vec<String> {
        serde_json::to_string_pretty(value).unwrap().lines().map(str::to_owned).collect()
    };
    let (real, shadowed) = (lines(real), lines(shadowed));
    real.iter()
        .zip(&shadowed)
        .filter(|(a, b)| a != b)
        .take(4)
        .map(|(a, b)| format!("  {} | {}\n", a.trim(), b.trim()))
        .collect()
}

#[tokio::test]
async fn plans_of_a_shadow_are_those_of_its_source_at_every_node_in_every_setting() {
    let server = tokio::task::spawn_blocking(source).await.unwrap();
    let session = session_on(&server).await;
    let began = std::time::Instant::now();
    let blueprint = pgassay_shadow::read(&session, &ReadOptions::default()).await.unwrap();
    eprintln!("read in {:?}", began.elapsed());
    assert_eq!(blueprint.lacking, []);
    // What is written to a file and read again is the same.
    let text = serde_json::to_string(&blueprint).unwrap();
    let blueprint: Blueprint = serde_json::from_str(&text).unwrap();
    let began = std::time::Instant::now();
    let shadow = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap();
    eprintln!("built in {:?}", began.elapsed());
    assert_eq!(shadow.lacking(), []);
    let shadowed = shadow.session().await.unwrap();
    let statements = statements(&server);
    let differ = differences(&session, &shadowed, &statements).await;
    assert!(
        differ.is_empty(),
        "{} of {} plans differ:\n{}",
        differ.len(),
        statements.len() * SETTINGS.len(),
        differ.join("\n")
    );
}
