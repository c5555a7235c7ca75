//! `measure` as a user runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_testkit::{PgBouncer, PgBouncerOptions, Postgres, PostgresOptions};
use support::pgassay;

#[test]
fn the_wait_in_a_pooler_that_nobody_named_is_unknown_not_nothing() {
    let server =
        Postgres::start(PostgresOptions { stop_with_process: true, ..PostgresOptions::default() })
            .unwrap();
    let pooler = PgBouncer::start(PgBouncerOptions {
        auth_type: "trust".into(),
        databases: vec![(
            "app".into(),
            format!(
                "host={} port={} dbname=postgres user=postgres",
                server.socket_directory().display(),
                server.port()
            ),
        )],
        users: vec![("app".into(), String::new())],
        settings: vec![
            ("pool_mode".into(), "transaction".into()),
            ("default_pool_size".into(), "1".into()),
            ("ignore_startup_parameters".into(), "options,extra_float_digits".into()),
        ],
        ..PgBouncerOptions::default()
    })
    .unwrap();
    let state = tempfile::tempdir().unwrap();
    let workload = state.path().join("workload");
    std::fs::create_dir(&workload).unwrap();
    std::fs::write(workload.join("sleep.sql"), "SELECT pg_sleep(0.01)").unwrap();
    let measured = |dsn: &str| {
        let workload = workload.to_str().unwrap();
        let load = ["--duration", "500ms", "--warmup", "0s", "--clients", "4", "--json"];
        let answer =
            pgassay(state.path(), &[&["measure", dsn, "--workload", workload][..], &load].concat());
        assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
        answer.json()
    };
    let pooled = measured(&pooler.dsn("app", "", "app"));
    assert!(pooled["ledger_ms"]["pool_wait"].is_null(), "{}", pooled["ledger_ms"]);
    assert!(!pooled.to_string().contains("no pooler on this way"));
    let notes = pooled["notes"].to_string();
    assert!(notes.contains("pool_wait") && notes.contains("--pgbouncer"), "{notes}");
    let direct = measured(&server.dsn("postgres"));
    assert_eq!(direct["ledger_ms"]["pool_wait"], 0.0);
}

#[test]
fn files_of_different_loads_are_compared_with_what_differs() {
    let server =
        Postgres::start(PostgresOptions { stop_with_process: true, ..PostgresOptions::default() })
            .unwrap();
    let state = tempfile::tempdir().unwrap();
    let file = |name: &str| state.path().join(name).to_str().unwrap().to_owned();
    let measured = |name: &str, statements: &[(&str, &str)], more: &[&str]| {
        let workload = file(&format!("{name}.workload"));
        std::fs::create_dir(&workload).unwrap();
        for (id, sql) in statements {
            std::fs::write(format!("{workload}/{id}.sql"), sql).unwrap();
        }
        let (dsn, output) = (server.dsn("postgres"), file(name));
        let load = ["--duration", "500ms", "--warmup", "0s", "-o", &output];
        let arguments = [&["measure", &dsn, "--workload", &workload][..], &load, more].concat();
        let answer = pgassay(state.path(), &arguments);
        assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
        output
    };
    let one = measured("one", &[("a", "SELECT 1"), ("b", "SELECT 2")], &["--clients", "1"]);
    let two = measured(
        "two",
        &[("a", "SELECT pg_sleep(0.001)"), ("c", "SELECT 3")],
        &["--clients", "2", "--protocol", "simple"],
    );
    let again = pgassay(state.path(), &["compare", &one, &one, "--json"]);
    assert_eq!(again.json()["differences"], serde_json::json!([]));
    let other = pgassay(state.path(), &["compare", &one, &two]).stdout;
    for part in [
        "clients: 1 before, 2 after",
        "protocol: extended before, simple after",
        "another statement after than before: a",
        "asked only before: b",
        "asked only after: c",
    ] {
        assert!(other.contains(&format!("not the same load: {part}\n")), "{part}: {other}");
    }
}
