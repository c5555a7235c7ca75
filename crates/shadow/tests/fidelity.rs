//! Every plan of the shadow is the source's: cost, rows and width at every node, in several settings; and what is
//! lacking where not everything can be read or made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_model::index::RelationName;
use pgassay_postgres::{Session, SessionOptions, dsn};
use pgassay_shadow::blueprint::{Definition, Need};
use pgassay_shadow::{Blueprint, BuildOptions, ReadOptions, Shadow, ShadowError};
use pgassay_testkit::{Postgres, PostgresOptions};
use serde_json::Value;
use std::sync::OnceLock;

const SCHEMA: &str = include_str!("fidelity/schema.sql");
const STATEMENTS: &str = include_str!("fidelity/statements.sql");
/// From 14 on: statistics of expressions.
const EXPRESSIONS: &str = "CREATE STATISTICS shop.orders_month ON (date_trunc('month', stay_at)), kind FROM shop.orders_again;
    ANALYZE shop.orders_again";
/// Types, operator classes and functions of extensions, in a schema of their own.
const EXTENSIONS: &str = "CREATE SCHEMA ext; CREATE EXTENSION pg_trgm SCHEMA ext; CREATE EXTENSION citext SCHEMA ext;
    CREATE TABLE shop.labels (id int PRIMARY KEY, mail ext.citext, label text);
    INSERT INTO shop.labels SELECT g, 'User' || g || '@Example.com', 'label ' || md5(g::text) FROM generate_series(1, 10000) g;
    CREATE INDEX labels_mail ON shop.labels (mail);
    CREATE INDEX labels_trigrams ON shop.labels USING gin (label ext.gin_trgm_ops);
    CREATE INDEX labels_near ON shop.labels USING gist (label ext.gist_trgm_ops);
    CREATE VIEW shop.likely AS SELECT id, ext.similarity(label, 'label a') AS near FROM shop.labels;
    ANALYZE shop.labels";
const OF_EXTENSIONS: [&str; 4] = [
    "SELECT * FROM shop.labels WHERE mail = 'user77@example.com'",
    "SELECT * FROM shop.labels WHERE label LIKE '%abc%'",
    "SELECT * FROM shop.labels ORDER BY label OPERATOR(ext.<->) 'label b' LIMIT 3",
    "SELECT * FROM shop.likely WHERE near > 0.5",
];
const SETTINGS: [&str; 7] = [
    "SELECT 1",
    "SET random_page_cost = 1.1",
    "SET max_parallel_workers_per_gather = 0",
    "SET work_mem = '64kB'",
    "SET work_mem = '256MB'; SET enable_hashjoin = off",
    "SET enable_seqscan = off; SET enable_bitmapscan = off",
    "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
];

/// A server of its own, of all tests here: nothing vacuums or analyzes between two explanations.
fn source() -> &'static Postgres {
    static SOURCE: OnceLock<Postgres> = OnceLock::new();
    SOURCE.get_or_init(start)
}

fn start() -> Postgres {
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
    for sql in [
        EXTENSIONS,
        "CREATE ROLE watcher LOGIN IN ROLE pg_monitor",
        "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA shop TO reader, watcher; GRANT SELECT ON ALL TABLES IN SCHEMA shop TO reader",
        "CHECKPOINT",
    ] {
        server.execute("shop", sql).unwrap();
    }
    server
}

fn statements(server: &Postgres) -> Vec<String> {
    let mut statements: Vec<String> =
        STATEMENTS.lines().chain(OF_EXTENSIONS).map(str::to_owned).collect();
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

async fn session_as(role: &str) -> Session {
    let server = tokio::task::spawn_blocking(source).await.unwrap();
    let mut settings = dsn::resolve(&server.dsn("shop")).unwrap();
    settings.user = role.to_owned();
    Session::connect(&settings, SessionOptions::default()).await.unwrap()
}

fn relation(name: &str) -> RelationName {
    RelationName { schema: "shop".into(), name: name.into() }
}

/// Statements whose plans differ, in each setting.
async fn differences(
    source: &Session,
    shadow: &Session,
    settings: &[&str],
    statements: &[String],
) -> Vec<String> {
    let mut differ = Vec::new();
    for setting in settings {
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
    let session = session_as("postgres").await;
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
    let statements = statements(source());
    let differ = differences(&session, &shadowed, &SETTINGS, &statements).await;
    assert!(
        differ.is_empty(),
        "{} of {} plans differ:\n{}",
        differ.len(),
        statements.len() * SETTINGS.len(),
        differ.join("\n")
    );
}

#[tokio::test]
async fn what_pg_stats_shows_is_enough_but_for_expressions_extended_statistics_and_before_17_ranges()
 {
    let session = session_as("reader").await;
    let blueprint = pgassay_shadow::read(&session, &ReadOptions::default()).await.unwrap();
    let shadow = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap();
    // Those with extended statistics are named, and what stands on them: less precise, and better than nothing.
    for name in ["customers", "orders", "gold"] {
        assert!(shadow.imprecise_for(&relation(name)).is_some(), "{name}: {:?}", shadow.lacking());
    }
    for name in ["events", "base", "heir", "Odd names", "never", "per_city"] {
        assert_eq!(shadow.imprecise_for(&relation(name)), None, "{name}");
    }
    for name in ["customers", "orders", "gold", "events", "base", "heir", "never", "per_city"] {
        assert_eq!(shadow.unable_for(&relation(name)), None, "{name}");
    }
    let shadowed = shadow.session().await.unwrap();
    let super_session = session_as("postgres").await;
    // Without extended statistics these do not need any; the pages of GIN indexes take a superuser.
    let unaffected = |sql: &String| {
        ![
            "GROUP BY kind",
            "kind = 'k7'",
            "GROUP BY city",
            "tags",
            "profile @>",
            "words",
            "stay_at",
            "orders_again",
            "city =",
            "digits",
            "(home)",
            "label LIKE",
            "lower(",
        ]
        .iter()
        .any(|part| sql.contains(part))
            && (source().version_num() >= 170_000
                || !["stay", "bid"].iter().any(|part| sql.contains(part)))
    };
    let statements: Vec<String> = statements(source()).into_iter().filter(unaffected).collect();
    assert!(statements.len() > 25, "{}", statements.len());
    let differ = differences(&super_session, &shadowed, &SETTINGS[..1], &statements).await;
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[tokio::test]
async fn a_role_that_may_only_watch_gets_no_shadow_to_rely_on_and_is_told_why() {
    let session = session_as("watcher").await;
    let blueprint = pgassay_shadow::read(&session, &ReadOptions::default()).await.unwrap();
    assert_eq!(blueprint.endpoints, []);
    let shadow = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap();
    let why = shadow.unable_for(&relation("orders")).unwrap();
    assert!(why.contains("GRANT SELECT ON shop.orders TO watcher"), "{why}");
    let why = shadow.unable_for(&relation("events")).unwrap();
    assert!(why.contains("statistics of its columns"), "{why}");
}

#[tokio::test]
async fn what_can_not_be_made_is_named_with_what_stands_on_it() {
    let session = session_as("postgres").await;
    let mut blueprint =
        pgassay_shadow::read(&session, &ReadOptions { endpoints: false }).await.unwrap();
    assert_eq!(blueprint.endpoints, []);
    for (name, sql) in [
        ("events_rest_0", "CREATE INDEX x ON shop.events_rest_0 USING no_such_method (source)"),
        ("customers", "CREATE INDEX y ON shop.customers (city no_such_ops)"),
    ] {
        let (relation, need) = (Some(relation(name)), Need::Plans);
        blueprint.definitions.push(Definition { relation, sql: sql.into(), need });
    }
    // Out of order: what fails for want of another is tried again.
    blueprint.definitions.reverse();
    let shadow = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap();
    for name in ["events_rest_0", "events_rest", "events", "customers", "gold"] {
        assert!(shadow.unable_for(&relation(name)).is_some(), "{name}");
    }
    assert!(shadow.unable_for(&relation("customers")).unwrap().contains("no_such_ops"));
    for name in ["events_1", "orders", "Odd names"] {
        assert_eq!(shadow.unable_for(&relation(name)), None, "{name}");
    }
}

#[tokio::test]
async fn without_a_server_of_the_same_major_version_there_is_no_shadow() {
    let session = session_as("postgres").await;
    let mut blueprint =
        pgassay_shadow::read(&session, &ReadOptions { endpoints: false }).await.unwrap();
    blueprint.version_num = 90_624;
    let error = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap_err();
    assert!(matches!(error, ShadowError::NoServer { major: 9 }), "{error}");
    blueprint.database.block_size = 32_768;
    let error = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap_err();
    assert!(matches!(error, ShadowError::BlockSize(32_768)), "{error}");
}
