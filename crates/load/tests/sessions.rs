//! Recorded sessions replayed on a real server: times, order, transactions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_load::{LoadError, LoadMode, Protocol, Writes};
use pgassay_model::workload::{RecordedRequest, RecordedSession, Workload};
use pgassay_testkit::{Postgres, fresh_database, shared};
use std::time::Duration;
use support::{drive, options, statement, with_values, workload};

fn request(at_ms: f64, statement: usize, parameters: usize, transaction: u32) -> RecordedRequest {
    let at_us = (at_ms * 1e3) as u64;
    RecordedRequest {
        at_us,
        statement,
        parameters,
        took_us: Some(100),
        transaction,
        rolled_back: false,
    }
}

fn session(id: &str, requests: Vec<RecordedRequest>) -> RecordedSession {
    RecordedSession { id: id.into(), requests }
}

fn replay(speed: f64, clients: u32) -> LoadMode {
    LoadMode::Replay { speed, clients }
}

fn texts(server: &Postgres, database: &str, sql: &str) -> Vec<String> {
    let rows = server.query(database, sql).unwrap();
    rows.into_iter().map(|row| row[0].clone().unwrap_or_default()).collect()
}

/// A table that keeps the order in which rows came, and a workload that writes to it.
fn diary() -> (&'static Postgres, String, Workload) {
    let server = shared();
    let database = fresh_database(server);
    server
        .execute(
            &database,
            "CREATE TABLE diary (n integer GENERATED ALWAYS AS IDENTITY, entry text UNIQUE, pid integer)",
        )
        .unwrap();
    let insert =
        statement("insert", "INSERT INTO diary (entry, pid) VALUES ($1, pg_backend_pid())", 1.0);
    let mut insert = with_values(insert, &["a", "b", "c", "d", "e"]);
    insert.writes = true;
    (server, database, workload(vec![insert]))
}

#[test]
fn requests_come_as_often_and_when_they_were_recorded() {
    let server = shared();
    let mut load = workload(vec![
        statement("often", "SELECT 1", 1.0),
        with_values(statement("seldom", "SELECT $1::integer", 1.0), &["1", "2"]),
    ]);
    // 2,000 requests per second at twice the speed: 20 sessions, a request each 20 ms.
    load.sessions = (0..20)
        .map(|number| {
            let requests = (0..100).map(|turn| {
                let seldom = turn % 4 == 3;
                let at_ms = f64::from(turn) * 20.0 + f64::from(number);
                request(at_ms, usize::from(seldom), usize::from(seldom && turn % 8 == 7), 0)
            });
            session(&number.to_string(), requests.collect())
        })
        .collect();
    let mut options = options(&server.dsn("postgres"));
    options.mode = replay(2.0, 32);
    options.duration = pgassay_load::recorded_duration(&load, 2.0);
    assert_eq!(options.duration, Duration::from_micros(999_500 + 1000));
    for protocol in [Protocol::Extended, Protocol::Prepared] {
        options.protocol = protocol;
        let driven = drive(&load, &options).unwrap();
        let measurement = driven.measurement;
        assert_eq!(
            (measurement.requests, measurement.errors),
            (2000, 0),
            "{:?}",
            measurement.notes
        );
        let counts: Vec<u64> = measurement.statements.iter().map(|own| own.requests).collect();
        assert_eq!(counts, [1500, 500]);
        assert_eq!(measurement.mode.speed, Some(2.0));
        let lag = driven.lag_ms.unwrap();
        // Neighbours may hold single ones back; the load itself does not.
        assert!(lag.p50 < 1.0, "{lag:?}");
        let note = measurement.notes.iter().find(|note| note.contains("late on average")).unwrap();
        assert!(note.contains("p99"), "{note}");
        // Each block has its share: 2,000 over ten blocks.
        let blocks: Vec<u64> = measurement.blocks.iter().map(|block| block.requests).collect();
        assert!(blocks.iter().all(|count| (190..=210).contains(count)), "{blocks:?}");
    }
}

#[test]
fn a_session_keeps_its_order_and_its_connection() {
    let (server, database, mut load) = diary();
    // Times of a log go back a little where requests end in another order than they begin.
    load.sessions = vec![
        session("x", vec![request(0.0, 0, 2, 0), request(40.0, 0, 0, 0), request(39.0, 0, 1, 0)]),
        session("y", vec![request(20.0, 0, 4, 0), request(60.0, 0, 3, 0)]),
    ];
    let mut options = options(&server.dsn(&database));
    options.mode = replay(1.0, 2);
    options.duration = Duration::from_secs(60);
    let measurement = drive(&load, &options).unwrap().measurement;
    assert_eq!((measurement.requests, measurement.errors), (5, 0));
    assert!((measurement.duration_s - 0.061).abs() < 1e-9, "{}", measurement.duration_s);
    assert_eq!(
        texts(server, &database, "SELECT entry FROM diary ORDER BY n"),
        ["c", "e", "a", "b", "d"]
    );
    let pids = texts(
        server,
        &database,
        "SELECT string_agg(entry, '' ORDER BY n) FROM diary GROUP BY pid ORDER BY 1",
    );
    assert_eq!(pids, ["cab", "ed"]);
}

#[test]
fn a_transaction_commits_as_a_whole_or_is_rolled_back_and_counted() {
    let (server, database, mut load) = diary();
    load.statements.push(statement("broken", "SELECT 1 / 0", 1.0));
    load.sessions = vec![session(
        "x",
        vec![
            request(0.0, 0, 0, 1),
            request(1.0, 0, 1, 1),
            request(2.0, 0, 2, 2),
            request(3.0, 1, 0, 2),
            request(4.0, 0, 3, 2),
            request(5.0, 0, 4, 0),
        ],
    )];
    let mut options = options(&server.dsn(&database));
    options.mode = replay(1.0, 1);
    for protocol in [Protocol::Simple, Protocol::Extended, Protocol::Prepared] {
        options.protocol = protocol;
        options.writes = Writes::Run;
        let measurement = drive(&load, &options).unwrap().measurement;
        assert_eq!((measurement.requests, measurement.errors), (5, 1), "{:?}", measurement.notes);
        let note = "1 requests of recorded transactions were not sent";
        assert!(measurement.notes.iter().any(|own| own.contains(note)), "{:?}", measurement.notes);
        assert_eq!(texts(server, &database, "SELECT entry FROM diary ORDER BY n"), ["a", "b", "e"]);
        assert_eq!(texts(server, &database, "SELECT DISTINCT xmin FROM diary").len(), 2);
        server.execute(&database, "TRUNCATE diary").unwrap();

        options.writes = Writes::Rollback;
        let measurement = drive(&load, &options).unwrap().measurement;
        assert_eq!((measurement.requests, measurement.errors), (5, 1), "{:?}", measurement.notes);
        assert_eq!(texts(server, &database, "SELECT entry FROM diary"), Vec::<String>::new());
    }
}

#[test]
fn a_transaction_that_was_rolled_back_is_rolled_back_again() {
    let (server, database, mut load) = diary();
    let rolled_back = |mut own: RecordedRequest| {
        own.rolled_back = true;
        own
    };
    load.sessions = vec![session(
        "x",
        vec![
            rolled_back(request(0.0, 0, 0, 1)),
            rolled_back(request(1.0, 0, 1, 1)),
            request(2.0, 0, 2, 2),
            request(3.0, 0, 3, 2),
            rolled_back(request(4.0, 0, 0, 3)),
            request(5.0, 0, 4, 0),
        ],
    )];
    let mut options = options(&server.dsn(&database));
    options.mode = replay(1.0, 1);
    for protocol in [Protocol::Simple, Protocol::Extended, Protocol::Prepared] {
        options.protocol = protocol;
        let measurement = drive(&load, &options).unwrap().measurement;
        assert_eq!((measurement.requests, measurement.errors), (6, 0), "{:?}", measurement.notes);
        assert_eq!(texts(server, &database, "SELECT entry FROM diary ORDER BY n"), ["c", "d", "e"]);
        // Rolled back, and not left out: their rows took numbers.
        let taken = texts(server, &database, "SELECT array_agg(n - 1 ORDER BY n) FROM diary");
        assert_eq!(taken, ["{2,3,5}"]);
        server.execute(&database, "TRUNCATE diary RESTART IDENTITY").unwrap();
    }
}

#[test]
fn deadlocks_are_counted_and_not_retried() {
    let server = shared();
    let database = fresh_database(server);
    server
        .execute(
            &database,
            "CREATE TABLE account AS SELECT n AS id, 0 AS balance FROM generate_series(1, 2) n",
        )
        .unwrap();
    let update = "UPDATE account SET balance = balance + 1 WHERE id = $1::integer";
    let mut load = workload(vec![with_values(statement("update", update, 1.0), &["1", "2"])]);
    let both = |id: &str, first: usize| {
        session(id, vec![request(0.0, 0, first, 1), request(50.0, 0, 1 - first, 1)])
    };
    load.sessions = vec![both("x", 0), both("y", 1)];
    let mut options = options(&server.dsn(&database));
    options.mode = replay(1.0, 2);
    let measurement = drive(&load, &options).unwrap().measurement;
    assert_eq!((measurement.requests, measurement.errors), (4, 1), "{:?}", measurement.notes);
    assert!(
        measurement.notes.iter().any(|note| note.starts_with("1 deadlocks (40P01)")),
        "{:?}",
        measurement.notes
    );
    assert_eq!(texts(server, &database, "SELECT sum(balance) FROM account"), ["2"]);
}

#[test]
fn fewer_connections_than_sessions_are_said_and_what_is_cut_off_is_not_sent() {
    let server = shared();
    let mut load = workload(vec![statement("one", "SELECT 1", 1.0)]);
    load.sessions = (0..6)
        .map(|number| {
            session(
                &number.to_string(),
                vec![request(0.0, 0, 0, 0), request(300.0, 0, 0, 0), request(5e6, 0, 0, 0)],
            )
        })
        .collect();
    let mut options = options(&server.dsn("postgres"));
    options.mode = replay(1.0, 2);
    options.duration = Duration::from_millis(400);
    let measurement = drive(&load, &options).unwrap().measurement;
    // Two requests of each lie within; four sessions begin when others have ended.
    assert_eq!((measurement.requests, measurement.errors), (12, 0), "{:?}", measurement.notes);
    let note = "up to 6 recorded sessions overlap at this speed and 2 were replayed at once";
    assert!(measurement.notes.iter().any(|own| own.contains(note)), "{:?}", measurement.notes);
    assert!(measurement.latency_ms.max > 250.0, "{:?}", measurement.latency_ms);
}

#[test]
fn a_replay_of_nothing_or_of_what_is_missing_is_refused() {
    let server = shared();
    let mut load = workload(vec![statement("one", "SELECT 1", 1.0)]);
    let mut options = options(&server.dsn("postgres"));
    options.mode = replay(1.0, 2);
    assert!(matches!(drive(&load, &options), Err(LoadError::NoSessions)));
    load.sessions = vec![session("x", vec![request(0.0, 0, 7, 0)])];
    let error = drive(&load, &options).unwrap_err();
    assert!(error.to_string().contains("session x asks for statement 0 with set 7"), "{error}");
    options.mode = replay(0.0, 2);
    assert!(matches!(drive(&load, &options), Err(LoadError::Options(_))));
}
