//! `apply --passive` and `verify --passive` from the command line: what they refuse, with which status, and how they
//! are interrupted. What they find out is tested with shorter buckets, in `src/passive_tests.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgassay_testkit::{Postgres, PostgresOptions, fresh_database, shared};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use support::{Answer, command, pgassay};

/// A plan for a database: no change, or an index on `orders (customer)`.
fn plan(directory: &Path, database: &str, changes: serde_json::Value) -> String {
    let plan = serde_json::json!({
        "schema": "pgassay/plan/1",
        "generated_at": "2026-01-01T00:00:00Z",
        "target": {"system_identifier": null, "database": database, "version_num": 150_000, "display": "it"},
        "ledger_ms": null,
        "reachable": [],
        "changes": changes,
        "not_proposed": [],
    });
    let file = directory.join("plan.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    file.display().to_string()
}

fn index() -> serde_json::Value {
    serde_json::json!([{
        "id": "c1", "kind": "create_index",
        "definition": {
            "relation": {"schema": "public", "name": "orders"}, "name": "orders_customer", "method": "btree",
            "keys": [{"column": "customer", "expression": null}],
        },
        "estimated_size": 1_000_000, "title": "index orders (customer)", "group": "indexes", "apply": [], "undo": [],
        "needs_restart": false,
        "expected": {"effect": "", "low": null, "high": null, "source": "rule"},
        "risk": {"level": "low", "reasons": []}, "evidence": [], "mechanism": "",
    }])
}

fn refused(answer: &Answer, status: i32, words: &[&str]) {
    assert_eq!(answer.status, status, "{}{}", answer.stdout, answer.stderr);
    let error = answer.json();
    assert_eq!(error["exit"], status);
    let said = format!("{} {}", error["error"], error["hint"]);
    for word in words {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn windows_and_buckets_that_tell_nothing_are_refused_before_anything_is_touched() {
    let state = tempfile::tempdir().unwrap();
    let plan = plan(state.path(), "shop", serde_json::json!([]));
    let nowhere = "postgresql://me@127.0.0.1:1/shop";
    for (flags, words) in [
        (&["--bucket", "5s"][..], "10s is the shortest"),
        (&["--window", "1min", "--bucket", "10s"], "holds 6 buckets"),
        (&["--window", "100h"], "72h is the longest"),
        (&["--window", "24h", "--bucket", "1min"], "720 are the most"),
    ] {
        let mut arguments = vec!["apply", &plan, nowhere, "--passive", "--json"];
        arguments.extend(flags);
        refused(&pgassay(state.path(), &arguments), 2, &[words]);
    }
    let answer = pgassay(state.path(), &["apply", &plan, nowhere, "--bucket", "10s", "--json"]);
    refused(&answer, 2, &["--passive"]);
}

#[test]
fn without_pg_stat_statements_or_the_right_to_see_others_it_ends_with_4_and_says_what_to_grant() {
    let server = shared();
    let database = fresh_database(server);
    let state = tempfile::tempdir().unwrap();
    let plan_file = plan(state.path(), &database, serde_json::json!([]));
    let apply =
        |dsn: &str| pgassay(state.path(), &["apply", &plan_file, dsn, "--passive", "--json"]);
    refused(&apply(&server.dsn(&database)), 4, &["CREATE EXTENSION pg_stat_statements"]);

    server.execute(&database, "CREATE EXTENSION pg_stat_statements").unwrap();
    let role = format!("blind_{}", std::process::id());
    server.execute(&database, &format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'")).unwrap();
    let dsn = server.tcp_dsn(&role, "secret", &database);
    let answer = apply(&dsn);
    refused(&answer, 4, &[&format!("GRANT pg_read_all_stats TO {role}")]);
    assert!(!answer.stdout.contains("secret") && !answer.stderr.contains("secret"));

    server.execute(&database, &format!("GRANT pg_read_all_stats TO {role}")).unwrap();
    let answer = apply(&dsn);
    assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
    let run = answer.json();
    assert_eq!(run["schema"], "pgassay/run/1");
    assert!(run["before"].is_null() && run["after"].is_null());
    assert!(run["headline"].as_str().unwrap().contains("Nothing was tried"));

    let not_loaded =
        Postgres::start(PostgresOptions { stop_with_process: true, ..PostgresOptions::default() })
            .unwrap();
    not_loaded.execute("postgres", "CREATE EXTENSION pg_stat_statements").unwrap();
    refused(&apply(&not_loaded.dsn("postgres")), 4, &["shared_preload_libraries"]);
}

#[test]
fn a_run_that_observed_nothing_can_not_be_verified_passively_and_says_so() {
    let server = shared();
    let database = fresh_database(server);
    let state = tempfile::tempdir().unwrap();
    let plan = plan(state.path(), &database, serde_json::json!([]));
    let dsn = server.dsn(&database);
    let answer = pgassay(state.path(), &["apply", &plan, &dsn]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let answer = pgassay(state.path(), &["verify", "latest", &dsn, "--passive", "--json"]);
    refused(&answer, 2, &["holds nothing that was observed before it", "apply --passive"]);
}

#[test]
fn ctrl_c_while_watching_changes_nothing_and_ends_with_130() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, "CREATE EXTENSION pg_stat_statements").unwrap();
    server.execute(&database, "CREATE TABLE orders (id bigint PRIMARY KEY, customer int)").unwrap();
    let state = tempfile::tempdir().unwrap();
    let plan = plan(state.path(), &database, index());
    let mut child = command(state.path())
        .args(["apply", &plan, &server.dsn(&database), "--passive"])
        .args(["--window", "80s", "--bucket", "10s"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("watching the application")));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    let indexes =
        server.query(&database, "SELECT 1 FROM pg_indexes WHERE tablename = 'orders'").unwrap();
    assert_eq!(indexes.len(), 1);
}
