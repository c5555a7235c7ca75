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
