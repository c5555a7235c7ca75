//! Statements that write new values under unique indexes, driven on a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_load::{LoadMode, LoadOptions, Protocol};
use pgassay_model::index::RelationName;
use pgassay_model::workload::{
    FreshKind, FreshParameter, RecordedRequest, RecordedSession, WorkloadStatement,
};
use pgassay_testkit::{fresh_database, shared};
use support::{drive, options, statement, workload};

const SCHEMA: &str = "
    CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, token uuid UNIQUE, secret bytea UNIQUE);
    INSERT INTO users (id) VALUES (70)";

#[test]
fn a_replay_sends_captured_values_as_they_were() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, SCHEMA).unwrap();
    let insert = WorkloadStatement { parameter_source: "log".into(), ..inserting() };
    let mut load = workload(vec![insert]);
    let request = RecordedRequest {
        at_us: 0,
        statement: 0,
        parameters: 0,
        took_us: None,
        transaction: 0,
        rolled_back: false,
    };
    load.sessions = vec![RecordedSession { id: "one".into(), requests: vec![request] }];
    let mode = LoadMode::Replay { speed: 1.0, clients: 1 };
    let driven = drive(&load, &LoadOptions { mode, ..options(&server.dsn(&database)) }).unwrap();
    assert_eq!((driven.measurement.requests, driven.measurement.errors), (1, 0));
    let rows = server.query(&database, "SELECT email FROM users WHERE id = 1").unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("0123456789ab@example.com"));
}

fn inserting() -> WorkloadStatement {
    let relation = RelationName { schema: "public".into(), name: "users".into() };
    let kinds = [
        FreshKind::Serial { relation, column: "id".into(), first: 1 },
        FreshKind::Text,
        FreshKind::Uuid,
        FreshKind::Bytes,
    ];
    let parameters = kinds.into_iter().enumerate();
    let set = [
        "1",
        "0123456789ab@example.com",
        "00000000-0000-4000-8000-000000000000",
        "\\x0001020304050607",
    ];
    WorkloadStatement {
        writes: true,
        parameters: vec![set.map(|text| Some(text.to_owned())).to_vec()],
        fresh: parameters.map(|(place, kind)| FreshParameter { number: place + 1, kind }).collect(),
        ..statement("insert", "INSERT INTO users VALUES ($1, $2, $3, $4)", 1.0)
    }
}

#[test]
fn a_long_load_of_inserts_under_unique_indexes_meets_no_row_that_is_there() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, SCHEMA).unwrap();
    let load = workload(vec![inserting()]);
    let mut requests = 0;
    // Twice: the second load goes on above what the first one wrote.
    for protocol in [Protocol::Simple, Protocol::Extended, Protocol::Prepared, Protocol::Prepared] {
        let options = LoadOptions {
            protocol,
            mode: LoadMode::Closed { clients: 4 },
            ..options(&server.dsn(&database))
        };
        let driven = drive(&load, &options).unwrap();
        assert_eq!(driven.measurement.errors, 0, "{protocol:?}: {:?}", driven.measurement.notes);
        requests += driven.measurement.requests;
    }
    let rows = server
        .query(&database, "SELECT count(*), min(id), max(id) - min(id) + 1, min(email) ~ '^[0-9a-f]{12}@example.com$' FROM users")
        .unwrap();
    let number = |place: usize| rows[0][place].as_deref().unwrap().parse::<u64>().unwrap();
    assert!(number(0) > requests, "all are there, and those of the warm-ups");
    assert_eq!((number(1), number(2)), (70, number(0)), "numbered from the greatest on");
    assert_eq!(rows[0][3].as_deref(), Some("t"));
}
