//! The demonstration's scenarios, smaller and shorter, each on its own throw-away servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use std::sync::{Mutex, PoisonError};

/// Measurements beside each other would measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Demo {
    run: Value,
    folder: tempfile::TempDir,
    status: i32,
}

fn demo(scenario: &str, scale: &str) -> Demo {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let answer = support::pgassay(
        &folder.path().join("state"),
        &[
            "demo",
            "--scenario",
            scenario,
            "--scale",
            scale,
            "--duration",
            "10s",
            "--out",
            &out,
            "--json",
        ],
    );
    for file in ["report.html", "report.md", "run.json"] {
        assert!(
            folder.path().join(file).is_file(),
            "{file} is missing\n{}{}",
            answer.stdout,
            answer.stderr
        );
    }
    eprintln!("{}", answer.stderr);
    Demo { run: answer.json(), folder, status: answer.status }
}

impl Demo {
    fn comparison(&self, metric: &str) -> &Value {
        self.run["comparison"]
            .as_array()
            .unwrap()
            .iter()
            .find(|entry| entry["metric"] == metric)
            .unwrap_or_else(|| panic!("no comparison of {metric}: {}", self.run["comparison"]))
    }

    fn changes(&self, state: &str) -> Vec<&Value> {
        self.run["changes"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|change| change["state"] == state)
            .collect()
    }

    fn not_proposed(&self) -> String {
        self.run["plan"]["not_proposed"].to_string()
    }

    fn ledger_share(&self, when: &str, parts: &[&str]) -> f64 {
        let ledger = &self.run[when]["ledger_ms"];
        parts.iter().filter_map(|part| ledger[part].as_f64()).sum::<f64>()
            / ledger["total"].as_f64().unwrap()
    }
}

#[test]
fn missing_indexes_are_found_built_and_proven() {
    let demo = demo("oauth", "0.2");
    assert_eq!(demo.status, 0, "{}", demo.run["headline"]);
    let mean = demo.comparison("latency_mean_ms");
    assert_eq!(mean["verdict"], "improved");
    assert!(mean["ci_high"].as_f64().unwrap() < -0.45, "{mean}");
    assert!(demo.run["targets"].as_array().unwrap().iter().all(|target| target["met"] == true));
    let kept = demo.changes("kept");
    assert!(kept.iter().filter(|change| change["kind"] == "create_index").count() >= 3, "{kept:?}");
    assert!(kept.iter().all(|change| !change["undo"].as_array().unwrap().is_empty()));
    assert!(!demo.run["rollback"].as_array().unwrap().is_empty());
    let html = std::fs::read_to_string(demo.folder.path().join("report.html")).unwrap();
    assert!(html.contains("<svg") && !html.contains("http://") && !html.contains("<script"));
}

#[test]
fn where_connecting_is_the_time_the_userlist_is_changed_and_no_index() {
    let demo = demo("reconnect", "0.1");
    assert!(
        demo.ledger_share("before", &["connect", "tls", "auth"]) > 0.5,
        "{}",
        demo.run["before"]["ledger_ms"]
    );
    let kept = demo.changes("kept");
    assert_eq!(kept.len(), 1, "{}", demo.run["changes"]);
    assert_eq!(kept[0]["kind"], "set_pooler");
    assert_eq!(demo.comparison("latency_mean_ms")["verdict"], "improved");
    let execution = demo.run["plan"]["reachable"]
        .as_array()
        .unwrap()
        .iter()
        .find(|lever| lever["lever"] == "execution")
        .unwrap();
    assert!(execution["at_most_share"].as_f64().unwrap() < 0.2);
    let markdown = std::fs::read_to_string(demo.folder.path().join("report.md")).unwrap();
    assert!(markdown.contains("index"), "the report says what no index can win");
    assert!(demo.run["plan"]["recommendations"].to_string().contains("onnection"));
}

#[test]
fn a_healthy_system_is_left_as_it_is() {
    let demo = demo("healthy", "0.1");
    assert!(demo.changes("kept").is_empty(), "{}", demo.run["changes"]);
    assert!(
        demo.run["headline"].as_str().unwrap().starts_with("Nothing to gain"),
        "{}",
        demo.run["headline"]
    );
    assert!(demo.run["rollback"].as_array().unwrap().is_empty());
}

#[test]
fn an_index_that_only_the_planner_likes_is_rolled_back_by_measurement() {
    let demo = demo("regression", "0.5");
    let rolled_back = demo.changes("rolled_back");
    assert_eq!(rolled_back.len(), 1, "{}", demo.run["changes"]);
    assert_eq!(rolled_back[0]["verdict"], "regressed", "{}", rolled_back[0]);
    assert!(demo.changes("kept").is_empty());
}

#[test]
fn an_index_that_costs_writers_more_than_it_gives_readers_is_not_left() {
    let demo = demo("write-heavy", "1");
    assert!(demo.changes("kept").is_empty(), "{}", demo.run["changes"]);
    let refused = demo.not_proposed().contains("updated_at");
    assert!(refused || !demo.changes("rolled_back").is_empty(), "{}", demo.not_proposed());
}
