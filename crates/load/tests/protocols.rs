//! Simple, extended and prepared, directly and through PgBouncer; several clients on a thread.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_load::{LoadError, LoadMode, Protocol, Writes, probe};
use pgassay_model::measurement::Connect;
use pgassay_testkit::{PgBouncer, PgBouncerOptions, Postgres, fresh_database, shared};
use std::time::{Duration, Instant};
use support::{drive, options, select_one, settings, statement, with_values, workload};

const ALL: [Protocol; 3] = [Protocol::Simple, Protocol::Extended, Protocol::Prepared];

fn pooler(server: &Postgres, database: &str, mode: &str) -> PgBouncer {
    PgBouncer::start(PgBouncerOptions {
        auth_type: "trust".into(),
        databases: vec![(
            "app".into(),
            format!(
                "host={} port={} dbname={database} user=postgres",
                server.socket_directory().display(),
                server.port()
            ),
        )],
        users: vec![("app".into(), String::new())],
        settings: vec![("pool_mode".into(), mode.into()), ("default_pool_size".into(), "4".into())],
        ..PgBouncerOptions::default()
    })
    .unwrap()
}

fn number(server: &Postgres, database: &str, sql: &str) -> u64 {
    server.query(database, sql).unwrap()[0][0].as_deref().unwrap().parse().unwrap()
}

#[test]
fn every_protocol_sends_the_same_values() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, "CREATE TABLE entry (a text, b integer)").unwrap();
    let mut insert = statement("insert", "INSERT INTO entry VALUES ($1, $2) -- $1 ends here", 1.0);
    insert.parameters = [Some("it's"), Some("back\\slash"), Some("$1"), Some(""), None]
        .map(|text| vec![text.map(str::to_owned), Some("-7".to_owned())])
        .to_vec();
    let mut options = options(&server.dsn(&database));
    for protocol in ALL {
        options.protocol = protocol;
        let measurement = drive(&workload(vec![insert.clone()]), &options).unwrap().measurement;
        assert_eq!(measurement.errors, 0, "{:?}", measurement.notes);
        assert_eq!(measurement.mode.protocol, protocol);
        let wrong = "SELECT count(*) FROM entry WHERE b <> -7 OR a NOT IN ('it''s', E'back\\\\slash', '$1', '')";
        assert_eq!(number(server, &database, wrong), 0);
        assert_eq!(
            number(server, &database, "SELECT count(DISTINCT coalesce(a, 'null')) FROM entry"),
            5
        );
        server.execute(&database, "TRUNCATE entry").unwrap();
    }
}

#[test]
fn clients_that_share_a_thread_are_counted_each() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, "CREATE TABLE entry (id text)").unwrap();
    let load = workload(vec![
        with_values(statement("insert", "INSERT INTO entry VALUES ($1)", 1.0), &["a", "b"]),
        statement("long", "SELECT pg_catalog.repeat('x', 300000)", 0.2),
        statement("failing", "SELECT * FROM no_such_relation", 0.2),
    ]);
    let mut options = options(&server.dsn(&database));
    options.mode = LoadMode::Closed { clients: 17 };
    options.warmup = Duration::ZERO;
    for protocol in ALL {
        options.protocol = protocol;
        let measurement = drive(&load, &options).unwrap().measurement;
        let by = |id: &str| measurement.statements.iter().find(|own| own.id == id).unwrap();
        assert_eq!(number(server, &database, "SELECT count(*) FROM entry"), by("insert").requests);
        assert_eq!((by("insert").errors, by("long").errors), (0, 0));
        assert!(by("long").requests > 0 && by("failing").errors == by("failing").requests);
        let error = by("failing").first_error.as_deref();
        assert_eq!(error, Some("42P01 relation \"no_such_relation\" does not exist"));
        server.execute(&database, "TRUNCATE entry").unwrap();
    }
}

#[test]
fn a_client_on_a_shared_thread_gives_up_and_comes_back() {
    let server = shared();
    let database = fresh_database(server);
    let mut options = options(&server.dsn(&database));
    options.mode = LoadMode::Closed { clients: 9 };
    options.protocol = Protocol::Prepared;
    options.duration = Duration::from_millis(1500);
    options.statement_timeout = Some(Duration::from_millis(150));
    let load = workload(vec![
        statement("slow", "SELECT pg_catalog.pg_sleep(60)", 1.0),
        statement("quick", "SELECT 1", 200.0),
    ]);
    let begin = Instant::now();
    let measurement = std::thread::scope(|scope| {
        let loaded = scope.spawn(|| drive(&load, &options));
        let of_the_load = format!(
            "FROM pg_catalog.pg_stat_activity \
             WHERE datname = '{database}' AND application_name = 'pgassay load' AND query LIKE 'SELECT%'"
        );
        while number(server, "postgres", &format!("SELECT count(*) {of_the_load}")) < 9 {
            assert!(begin.elapsed() < Duration::from_secs(10));
        }
        let kill = format!("SELECT count(pg_catalog.pg_terminate_backend(pid)) {of_the_load}");
        assert!(number(server, "postgres", &kill) >= 8);
        loaded.join().unwrap().unwrap().measurement
    });
    let by = |id: &str| measurement.statements.iter().find(|own| own.id == id).unwrap();
    assert!(by("slow").requests > 1 && by("slow").errors == by("slow").requests);
    assert!(by("quick").errors < 20, "{:?}", by("quick"));
    // In a single block all may wait for the slow one.
    let later: u64 = measurement.blocks.iter().rev().take(7).map(|block| block.requests).sum();
    assert!(later > 0, "{measurement:?}");
    let over = format!(
        "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE datname = '{database}' AND state = 'active'"
    );
    while number(server, "postgres", &over) > 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "cancelled statements still run");
    }
}

#[test]
fn a_pooler_that_loses_prepared_statements_is_found_out_before_the_load() {
    let server = shared();
    let database = fresh_database(server);
    let pooler = pooler(server, &database, "transaction");
    let mut options = options(&pooler.dsn("app", "", "app"));
    options.protocol = Protocol::Prepared;
    let version = std::process::Command::new("pgbouncer").arg("--version").output().unwrap();
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let minor: u32 = version
        .split_whitespace()
        .nth(1)
        .and_then(|number| number.split('.').nth(1))
        .and_then(|minor| minor.parse().ok())
        .unwrap();
    let driven = drive(&select_one(), &options);
    // From 1.21 they are tracked where max_prepared_statements is above 0, which is the default from 1.24.
    if minor < 21 {
        let error = driven.unwrap_err();
        assert!(matches!(error, LoadError::Prepared { .. }), "{error}");
        assert!(error.hint().contains("max_prepared_statements"), "{}", error.hint());
        let left = "SELECT count(*) FROM pg_catalog.pg_prepared_statements";
        let rows = server.query(&database, left).unwrap();
        assert_eq!(rows[0][0].as_deref(), Some("0"));
    }
    for protocol in [Protocol::Simple, Protocol::Extended] {
        options.protocol = protocol;
        options.mode = LoadMode::Closed { clients: 6 };
        assert_eq!(drive(&select_one(), &options).unwrap().measurement.errors, 0);
    }
}

#[test]
fn a_pooler_in_session_mode_keeps_prepared_statements() {
    let server = shared();
    let database = fresh_database(server);
    let pooler = pooler(server, &database, "session");
    let mut options = options(&pooler.dsn("app", "", "app"));
    options.protocol = Protocol::Prepared;
    options.mode = LoadMode::Closed { clients: 3 };
    let measurement = drive(&select_one(), &options).unwrap().measurement;
    assert_eq!(measurement.errors, 0, "{:?}", measurement.notes);
    options.connect = Connect::PerRequest;
    assert!(matches!(drive(&select_one(), &options), Err(LoadError::Options(_))));
}

#[test]
fn what_single_statements_write_can_be_rolled_back() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, "CREATE TABLE entry (id text)").unwrap();
    let mut insert =
        with_values(statement("insert", "INSERT INTO entry VALUES ($1)", 1.0), &["a", "b"]);
    insert.writes = true;
    let load = workload(vec![insert, statement("count", "SELECT count(*) FROM entry", 1.0)]);
    let mut options = options(&server.dsn(&database));
    options.writes = Writes::Rollback;
    for (protocol, clients, connect) in [
        (Protocol::Simple, 8, Connect::Reuse),
        (Protocol::Extended, 2, Connect::PerRequest),
        (Protocol::Prepared, 8, Connect::Reuse),
    ] {
        options.protocol = protocol;
        options.mode = LoadMode::Closed { clients };
        options.connect = connect;
        let measurement = drive(&load, &options).unwrap().measurement;
        assert_eq!(measurement.errors, 0, "{:?}", measurement.notes);
        assert!(measurement.statements.iter().all(|own| own.requests > 5));
        assert!(measurement.notes.iter().any(|note| note.contains("was rolled back")));
        assert_eq!(number(server, &database, "SELECT count(*) FROM entry"), 0);
    }
}

#[test]
fn what_is_prepared_is_not_parsed_again() {
    let server = shared();
    let join = statement(
        "join",
        "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        1.0,
    );
    let target = settings(&server.dsn("postgres"));
    let load = workload(vec![join]);
    let mean = |protocol| probe::parse_plan(&target, &load, protocol, 1).unwrap().mean_ms;
    let (extended, prepared, simple) =
        (mean(Protocol::Extended), mean(Protocol::Prepared), mean(Protocol::Simple));
    assert!(prepared < extended / 2.0, "{prepared} {extended}");
    assert!((simple / extended).ln().abs() < 1.0, "{simple} {extended}");
}
