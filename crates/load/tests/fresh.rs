//! Statements that write new values under unique indexes, driven on a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_load::{LoadMode, LoadOptions, Protocol};
use pgassay_model::index::RelationName;
use pgassay_model::workload::{FreshKind, FreshParameter, WorkloadStatement};
use pgassay_testkit::{fresh_database, shared};
use support::{drive, options, statement, workload};

fn inserting() -> WorkloadStatement {
    let relation = RelationName { schema: "public".into(), name: "users".into() };
    let kinds = [
        FreshKind::Serial { relation, column: "id".into(), first: 1 },
        FreshKind::Text,
        FreshKind::Uuid,
        FreshKind::Bytes,
    ];
    let parameters = kinds.into_iter().enumerate();
    let set = ["1", "0123456789ab@example.com", "", "\\x0001020304050607"];
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
    let schema = "CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, token uuid UNIQUE, secret bytea UNIQUE);
                  INSERT INTO users (id) VALUES (70)";
    server.execute(&database, schema).unwrap();
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
