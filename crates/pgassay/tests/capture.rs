//! `capture` from logs, as a user runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgassay_testkit::{Postgres, PostgresOptions};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use support::pgassay;

fn logging_server() -> Postgres {
    let settings = [
        ("shared_preload_libraries", "'pg_stat_statements'"),
        ("log_min_duration_statement", "0"),
        ("log_line_prefix", "'%m [%p] %q%u@%d '"),
    ];
    Postgres::start(PostgresOptions {
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        stop_with_process: true,
        ..PostgresOptions::default()
    })
    .unwrap()
}

#[test]
fn a_log_and_pg_stat_statements_are_read_alone_and_together() {
    let server = logging_server();
    server
        .execute(
            "postgres",
            "CREATE EXTENSION pg_stat_statements; CREATE TABLE t (id int PRIMARY KEY, a text);
             INSERT INTO t SELECT n, 'x' || n FROM generate_series(1, 100) AS n; ANALYZE t",
        )
        .unwrap();
    server
        .execute("postgres", "SET log_min_duration_statement = -1; SELECT count(*) FROM t")
        .unwrap();
    for number in 1..=5 {
        server.execute("postgres", &format!("SELECT a FROM t WHERE id = {number}")).unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let (dsn, log) = (server.dsn("postgres"), server.log_file());
    let (log, output) = (log.to_str().unwrap(), state.path().join("w.json"));
    let capture = |more: &[&str]| {
        let mut arguments = vec!["capture", "--log", log, "--json", "-o", output.to_str().unwrap()];
        arguments.extend(more);
        let answer = pgassay(state.path(), &arguments);
        assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
        pgassay_workload::read(&output).unwrap()
    };
    let weight = |workload: &pgassay_model::workload::Workload, part: &str| {
        workload
            .statements
            .iter()
            .find(|statement| statement.sql.contains(part))
            .map(|found| found.weight)
    };
    let with_server = capture(&[&dsn, "--from", "log"]);
    assert_eq!(weight(&with_server, "SELECT a"), Some(5.0));
    assert_eq!(weight(&with_server, "count"), None);
    let asked: Vec<&str> = with_server
        .sessions
        .iter()
        .flat_map(|session| &session.requests)
        .map(|request| with_server.statements[request.statement].sql.as_str())
        .collect();
    // The INSERT was sent in one message with statements that are not replayed.
    assert!(asked[0].starts_with("INSERT INTO t") && asked.len() == 6, "{asked:?}");
    assert!(asked[1..].iter().all(|sql| sql.starts_with("SELECT a")), "{asked:?}");
    let without = capture(&["--from", "log", "--log-line-prefix", "%m [%p] %q%u@%d "]);
    assert_eq!(weight(&without, "SELECT a"), Some(5.0));
    let both = capture(&[&dsn, "--from", "both"]);
    assert_eq!((weight(&both, "SELECT a"), weight(&both, "count")), (Some(5.0), Some(1.0)));
    let select =
        both.statements.iter().find(|statement| statement.sql.contains("SELECT a")).unwrap();
    assert!(select.queryid.is_some());
    assert_eq!(select.parameters.concat(), ["1", "2", "3", "4", "5"].map(|n| Some(n.to_owned())));
}

#[test]
fn a_prefix_that_is_not_the_logs_is_bad_input_with_the_line() {
    let state = tempfile::tempdir().unwrap();
    let log = state.path().join("log");
    std::fs::write(&log, "2026-01-31 12:00:00 UTC:me:LOG:  statement: SELECT 1\n").unwrap();
    let output = state.path().join("w.json");
    let answer = pgassay(
        state.path(),
        &[
            "capture",
            "--from",
            "log",
            "--log",
            log.to_str().unwrap(),
            "-o",
            output.to_str().unwrap(),
            "--json",
        ],
    );
    assert_eq!(answer.status, 2);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("UTC:me:LOG") && error.contains("[12345] LOG:"), "{error}");
    assert!(!output.exists());
}

#[test]
fn values_that_the_application_does_not_ask_for_are_named_unless_that_is_not_wanted() {
    let server = logging_server();
    server
        .execute(
            "postgres",
            "CREATE EXTENSION pg_stat_statements; CREATE TABLE t (id int, state text);
             INSERT INTO t SELECT n, CASE WHEN n < 5 THEN 'open' ELSE 'done' END FROM generate_series(1, 5000) AS n;
             ANALYZE t",
        )
        .unwrap();
    server.execute("postgres", &"SELECT id FROM t WHERE state = 'open';".repeat(12)).unwrap();
    let state = tempfile::tempdir().unwrap();
    let (dsn, output) = (server.dsn("postgres"), state.path().join("w.json"));
    let capture = |more: &[&str]| {
        let mut arguments = vec!["capture", &dsn, "-o", output.to_str().unwrap()];
        arguments.extend(more);
        let answer = pgassay(state.path(), &arguments);
        assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
        let workload = pgassay_workload::read(&output).unwrap();
        let off =
            workload.statements.iter().filter_map(|own| own.not_representative.clone()).next();
        (answer.stdout, off)
    };
    let (text, off) = capture(&[]);
    assert!(off.unwrap().contains("rows per call, the application's 4.0"), "{text}");
    assert!(text.contains("1 are not representative") && text.contains("not representative: q"));

    let captured = format!("{}/captured.json", state.path().display());
    std::fs::copy(&output, &captured).unwrap();

    // What is captured by the way is checked as well; the rest of the job is not needed here.
    let mut child = support::command(state.path())
        .args(["optimize", &dsn, "--out", &format!("{}/out", state.path().display())])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("1 are not representative")));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!((child.wait().unwrap().code(), lines.count() > 0), (Some(130), true));

    let (text, off) = capture(&["--no-check"]);
    assert!(off.is_none() && !text.contains("representative"), "{text}");

    let measure = ["measure", &dsn, "--workload", &captured, "--duration", "500ms"];
    let answer = pgassay(state.path(), &measure);
    assert!(answer.stdout.contains("Not representative"), "{}{}", answer.stdout, answer.stderr);
    let answer = pgassay(state.path(), &[&measure[..], &["--json"]].concat());
    let statements = &answer.json()["statements"];
    assert!(statements.to_string().contains("the application's 4.0"), "{statements}");
}

#[test]
fn statements_that_the_role_may_not_see_are_named_with_the_grant() {
    let server = logging_server();
    server
        .execute(
            "postgres",
            "CREATE EXTENSION pg_stat_statements; CREATE TABLE t (id int);
             CREATE ROLE \"Little\" LOGIN; GRANT SELECT ON t TO \"Little\"; SELECT id FROM t",
        )
        .unwrap();
    let state = tempfile::tempdir().unwrap();
    let output = state.path().join("w.json");
    let dsn = server.dsn("postgres").replace("postgres@", "Little@");
    let dsn = dsn.replace("user=postgres", "user=Little");
    let arguments = ["capture", &dsn, "-o", output.to_str().unwrap()];
    let answer = pgassay(state.path(), &arguments);
    assert_eq!(answer.status, 4, "{}{}", answer.stdout, answer.stderr);
    assert!(answer.stderr.contains("GRANT pg_monitor TO \"Little\""), "{}", answer.stderr);
    assert!(!output.exists());

    server.execute("postgres", "SET ROLE \"Little\"; SELECT id FROM t").unwrap();
    let answer = pgassay(state.path(), &arguments);
    assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
    assert!(answer.stdout.contains("statements of other roles"), "{}", answer.stdout);
    assert!(answer.stdout.contains("GRANT pg_monitor TO \"Little\""), "{}", answer.stdout);
}

#[test]
fn masked_is_what_comes_from_rows_and_comments_too() {
    let server = logging_server();
    server
        .execute(
            "postgres",
            "CREATE EXTENSION pg_stat_statements; CREATE TABLE t (id int PRIMARY KEY, a text);
             INSERT INTO t SELECT n, 'secret' || n FROM generate_series(1, 100) AS n; ANALYZE t",
        )
        .unwrap();
    for _ in 0..3 {
        server.execute("postgres", "SELECT /* hidden */ a FROM t WHERE a = 'secret1'").unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let output = state.path().join("w.json");
    let (dsn, file, log) = (server.dsn("postgres"), output.to_str().unwrap(), server.log_file());
    let log = log.to_str().unwrap();
    let mut masks = Vec::new();
    for from in [
        &["--from", "statements"][..],
        &["--from", "both", "--log", log],
        &["--from", "statements"],
        &["--from", "statements", "--mask-seed", "7"],
        &["--from", "statements", "--mask-seed", "7"],
    ] {
        let mut arguments = vec!["capture", &dsn, "--mask", "-o", file];
        arguments.extend(from);
        let answer = pgassay(state.path(), &arguments);
        assert_eq!(answer.status, 0, "{}", answer.stderr);
        let written = std::fs::read_to_string(&output).unwrap();
        for text in [&written, &answer.stdout, &answer.stderr] {
            assert!(!text.contains("secret") && !text.contains("hidden"), "{from:?}: {text}");
        }
        let workload = pgassay_workload::read(&output).unwrap();
        let asked = workload.statements.iter().find(|own| own.sql.contains("FROM t")).unwrap();
        assert!(!asked.parameters.is_empty() && asked.parameter_source.ends_with("masked"));
        masks.push(asked.parameters.clone());
    }
    assert_ne!(masks[0], masks[2], "another key for each file");
    assert_eq!(masks[3], masks[4], "the same for the same seed");
}
