//! pgbench scripts driven on a real server.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_load::{LoadMode, LoadOptions, Protocol, Writes};
use pgassay_model::measurement::{Connect, Measurement};
use pgassay_model::workload::{Script, Workload};
use pgassay_testkit::{Postgres, fresh_database, shared};
use std::time::Duration;
use support::{drive, options, workload};

const TPCB: &str = "\
\\set aid random(1, 100000 * :scale)
\\set bid random(1, 1 * :scale)
\\set tid random(1, 10 * :scale)
\\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
SELECT abalance FROM pgbench_accounts WHERE aid = :aid;
UPDATE pgbench_tellers SET tbalance = tbalance + :delta WHERE tid = :tid;
UPDATE pgbench_branches SET bbalance = bbalance + :delta WHERE bid = :bid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (:tid, :bid, :aid, :delta, CURRENT_TIMESTAMP);
END;
";

fn scripts(scripts: &[(&str, f64, &str)]) -> Workload {
    let mut workload = workload(Vec::new());
    workload.scripts = scripts
        .iter()
        .map(|(id, weight, text)| Script {
            id: (*id).into(),
            weight: *weight,
            text: (*text).into(),
            writes: true,
        })
        .collect();
    workload
}

/// pgbench's tables at the scale of two branches, small.
fn bank(server: &Postgres) -> String {
    let database = fresh_database(server);
    server
        .execute(
            &database,
            "CREATE TABLE pgbench_accounts (aid integer PRIMARY KEY, bid integer, abalance integer); \
             CREATE TABLE pgbench_tellers (tid integer PRIMARY KEY, bid integer, tbalance integer); \
             CREATE TABLE pgbench_branches (bid integer PRIMARY KEY, bbalance integer); \
             CREATE TABLE pgbench_history (tid integer, bid integer, aid integer, delta integer, mtime timestamp); \
             INSERT INTO pgbench_accounts SELECT n, 1, 0 FROM generate_series(1, 200000) n; \
             INSERT INTO pgbench_tellers SELECT n, 1, 0 FROM generate_series(1, 20) n; \
             INSERT INTO pgbench_branches VALUES (1, 0), (2, 0)",
        )
        .unwrap();
    database
}

fn number(server: &Postgres, database: &str, sql: &str) -> i64 {
    server.query(database, sql).unwrap()[0][0].as_deref().unwrap().parse().unwrap()
}

fn run(options: &LoadOptions, workload: &Workload) -> Measurement {
    let measurement = drive(workload, options).unwrap().measurement;
    assert_eq!(measurement.errors, 0, "{:?}", measurement.notes);
    measurement
}

#[test]
fn tpcb_runs_as_it_is_by_every_protocol() {
    let server = shared();
    let database = bank(server);
    let mut options = options(&server.dsn(&database));
    options.warmup = Duration::ZERO;
    let load = scripts(&[("tpcb", 1.0, TPCB)]);
    let mut done = 0;
    for protocol in [Protocol::Simple, Protocol::Extended, Protocol::Prepared] {
        options.protocol = protocol;
        let measurement = run(&options, &load);
        assert!(measurement.requests > 20, "{measurement:?}");
        done += measurement.requests as i64;
        assert_eq!(number(server, &database, "SELECT count(*) FROM pgbench_history"), done);
        let sums = "SELECT (sum(abalance) - (SELECT sum(delta) FROM pgbench_history))::bigint FROM pgbench_accounts";
        assert_eq!(number(server, &database, sums), 0);
        assert_eq!(measurement.scripts.len(), 1);
        assert_eq!(measurement.scripts[0].requests, measurement.requests);
        let ids: Vec<&str> = measurement.statements.iter().map(|own| own.id.as_str()).collect();
        assert_eq!(ids, ["tpcb.1", "tpcb.2", "tpcb.3", "tpcb.4", "tpcb.5", "tpcb.6", "tpcb.7"]);
        let parts: f64 = measurement.statements.iter().map(|own| own.latency_ms.mean).sum();
        assert!(parts <= measurement.latency_ms.mean, "{parts} {:?}", measurement.latency_ms);
        assert!(measurement.statements.iter().all(|own| own.requests == measurement.requests));
    }
    // Accounts beyond the first branch's were asked for, so the scale was found.
    assert!(number(server, &database, "SELECT max(aid) FROM pgbench_history") > 100_000);
}

#[test]
fn pgbench_s_own_scripts_run_on_its_own_tables() {
    let server = shared();
    let database = fresh_database(server);
    let pgbench = |arguments: &[&str]| {
        std::process::Command::new(server.bin_directory().join("pgbench")).args(arguments).output()
    };
    let socket = server.socket_directory().display().to_string();
    let port = server.port().to_string();
    // pgbench need not be installed beside the server.
    let Ok(made) = pgbench(&["-i", "-q", "-h", &socket, "-p", &port, "-U", "postgres", &database])
    else {
        return;
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut options = options(&server.dsn(&database));
    options.protocol = Protocol::Prepared;
    for (name, statements) in [("tpcb-like", 7), ("simple-update", 5), ("select-only", 1)] {
        let shown = pgbench(&[&format!("--show-script={name}")]).unwrap();
        let text = String::from_utf8([shown.stdout, shown.stderr].concat()).unwrap();
        let measurement = run(&options, &scripts(&[(name, 1.0, &text)]));
        assert!(measurement.requests > 20, "{name}: {measurement:?}");
        assert_eq!(measurement.statements.len(), statements, "{text}");
    }
}

#[test]
fn writes_rolled_back_leave_nothing_behind() {
    let server = shared();
    let database = bank(server);
    let mut options = options(&server.dsn(&database));
    options.writes = Writes::Rollback;
    let alone = "INSERT INTO pgbench_history VALUES (1, 1, 1, 1, now());\nSELECT count(*) AS n FROM pgbench_history \\gset\n\\if :n > 0\nSELECT 1 / 0;\n\\endif\n";
    for protocol in [Protocol::Simple, Protocol::Extended, Protocol::Prepared] {
        options.protocol = protocol;
        let measurement = run(&options, &scripts(&[("tpcb", 1.0, TPCB), ("alone", 1.0, alone)]));
        assert!(measurement.scripts.iter().all(|script| script.requests > 5));
        assert!(measurement.notes.iter().any(|note| note.contains("was rolled back")));
    }
    assert_eq!(number(server, &database, "SELECT count(*) FROM pgbench_history"), 0);
    assert_eq!(
        number(server, &database, "SELECT count(*) FROM pgbench_accounts WHERE abalance <> 0"),
        0
    );
}

#[test]
fn scripts_come_by_weight_and_sleep_where_they_say_so() {
    let server = shared();
    let mut options = options(&server.dsn("postgres"));
    options.mode = LoadMode::Open { rate: 300.0, clients: 16 };
    options.duration = Duration::from_millis(1000);
    options.connect = Connect::Reuse;
    let load = scripts(&[
        ("often", 3.0, "SELECT 1;"),
        (
            "sleepy",
            1.0,
            "\\set ms 20\n\\sleep :ms ms\nSELECT :client_id + 1 AS n \\gset\nSELECT :n + 1;",
        ),
    ]);
    let measurement = run(&options, &load);
    let [often, sleepy] = measurement.scripts.as_slice() else { panic!("{measurement:?}") };
    let share = often.requests as f64 / measurement.requests as f64;
    assert!(
        (share - 0.75).abs() < 5.0 * (0.75 * 0.25 / measurement.requests as f64).sqrt(),
        "{share}"
    );
    assert!(sleepy.latency_ms.p50 >= 20.0 && often.latency_ms.p50 < 20.0, "{measurement:?}");
    assert!(measurement.notes.iter().any(|note| note.contains("slept")), "{:?}", measurement.notes);
}

#[test]
fn what_fails_in_a_script_is_counted_and_said_and_the_load_goes_on() {
    let server = shared();
    let mut options = options(&server.dsn("postgres"));
    options.connect = Connect::PerRequest;
    let load = scripts(&[
        ("refused", 1.0, "BEGIN;\nSELECT 1 / :client_id * 0, 'secret' = 1;\nEND;"),
        ("zero", 1.0, "SELECT 0 AS zero \\gset\nBEGIN;\n\\set x 1 / :zero\nEND;"),
        ("rows", 1.0, "SELECT 1 AS n WHERE false \\gset\nSELECT 2;"),
        ("good", 1.0, "SELECT 1;"),
    ]);
    let measurement = drive(&load, &options).unwrap().measurement;
    let by = |id: &str| measurement.scripts.iter().find(|own| own.id == id).unwrap();
    for (id, text) in [
        ("refused", "one of its statements failed"),
        ("zero", "division by zero"),
        ("rows", "\\gset needs one row, and 0 came"),
    ] {
        assert_eq!(by(id).errors, by(id).requests, "{id}");
        assert_eq!(by(id).first_error.as_deref(), Some(text));
    }
    assert!(by("good").requests > 0 && by("good").errors == 0);
    let refused = measurement.statements.iter().find(|own| own.id == "refused.2").unwrap();
    assert!(refused.first_error.as_deref().unwrap().starts_with("22P02"), "{refused:?}");
}
