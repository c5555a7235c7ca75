//! Bad input gets a clear error, a hint, the contract's exit status, and one JSON document where asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use support::pgassay;

#[test]
fn an_unreadable_dsn_is_bad_input_and_its_password_is_not_repeated() {
    let state = tempfile::tempdir().unwrap();
    let answer = pgassay(
        state.path(),
        &["measure", "postgresql://app:hunter2@[broken/db", "--workload", "nowhere", "--json"],
    );
    assert_eq!(answer.status, 2, "{}", answer.stderr);
    let error = answer.json();
    assert_eq!(error["schema"], "pgassay/error/1");
    assert_eq!(error["exit"], 2);
    assert!(!answer.stdout.contains("hunter2") && !answer.stderr.contains("hunter2"));
}

#[test]
fn a_server_that_is_down_is_exit_3() {
    let state = tempfile::tempdir().unwrap();
    let answer = pgassay(
        state.path(),
        &["plan", "postgresql://me@127.0.0.1:1/db", "-o", "plan.json", "--json"],
    );
    assert_eq!(answer.status, 3, "{}", answer.stdout);
    assert_eq!(answer.json()["exit"], 3);
    assert!(answer.json()["error"].as_str().unwrap().contains("127.0.0.1"));
}

#[test]
fn an_unknown_scenario_lists_those_there_are() {
    let state = tempfile::tempdir().unwrap();
    let answer = pgassay(state.path(), &["demo", "--scenario", "nope"]);
    assert_eq!(answer.status, 2);
    assert!(answer.stderr.contains("oauth") && answer.stderr.contains("reconnect"));
}

#[test]
fn a_broken_plan_file_is_bad_input() {
    let state = tempfile::tempdir().unwrap();
    let plan = state.path().join("plan.json");
    std::fs::write(&plan, "{\"schema\":").unwrap();
    let answer = pgassay(
        state.path(),
        &["apply", plan.to_str().unwrap(), "postgresql://me@127.0.0.1:1/db", "--json"],
    );
    assert_eq!(answer.status, 2);
    assert!(answer.json()["error"].as_str().unwrap().contains("plan.json"));
}

#[test]
fn a_flag_that_does_not_exist_is_bad_usage_in_json_too() {
    let state = tempfile::tempdir().unwrap();
    let answer = pgassay(state.path(), &["history", "--nope", "--json"]);
    assert_eq!(answer.status, 2);
    assert_eq!(answer.json()["exit"], 2);
}

#[test]
fn an_empty_history_is_an_empty_list() {
    let state = tempfile::tempdir().unwrap();
    let answer = pgassay(state.path(), &["history", "--json"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_eq!(answer.json()["schema"], "pgassay/history/1");
    assert_eq!(answer.json()["runs"].as_array().unwrap().len(), 0);
}

#[test]
fn a_run_that_does_not_exist_is_named() {
    let state = tempfile::tempdir().unwrap();
    let answer = pgassay(state.path(), &["report", "20200101T000000-abcd", "--json"]);
    assert_eq!(answer.status, 2);
    assert!(answer.json()["error"].as_str().unwrap().contains("20200101T000000-abcd"));
}
