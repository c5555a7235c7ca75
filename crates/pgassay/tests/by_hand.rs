//! The whole job by hand on an ordinary server: capture, measure, plan, apply, verify, report, rollback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use support::{DATABASE, Shop};

/// Every setting that a plan has to say something of.
const ALWAYS_CONSIDERED: [&str; 19] = [
    "work_mem",
    "maintenance_work_mem",
    "effective_cache_size",
    "shared_buffers",
    "random_page_cost",
    "seq_page_cost",
    "effective_io_concurrency",
    "max_wal_size",
    "checkpoint_completion_target",
    "default_pool_size",
    "min_pool_size",
    "max_client_conn",
    "reserve_pool_size",
    "reserve_pool_timeout",
    "query_timeout",
    "query_wait_timeout",
    "server_idle_timeout",
    "server_lifetime",
    "listen_backlog",
];

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_step_works_by_hand_and_the_rollback_restores_everything() {
    let shop = Shop::open(30_000);
    let before = shop.everything();
    let dsn = shop.dsn();

    // What the server has seen becomes a workload with values.
    for n in 0..20 {
        shop.server
            .execute(DATABASE, &format!("SELECT id, email FROM users WHERE username = 'user{n}'"))
            .unwrap();
    }
    let captured = shop.file("captured.json");
    let answer = shop.pgassay(&["capture", &dsn, "-o", &captured, "--json"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let statements = answer.json()["statements"].as_array().unwrap().clone();
    let seen = statements
        .iter()
        .find(|statement| statement["sql"].as_str().unwrap().contains("username ="))
        .expect("the application's statement is captured");
    assert_eq!(number(&seen["weight"]), 20.0);
    assert!(!seen["parameters"].as_array().unwrap().is_empty());

    // Where the time goes.
    let measured = shop.file("before.json");
    let workload = shop.workload();
    let app = shop.app_dsn();
    let answer = shop.pgassay(&[
        "measure",
        &app,
        "--direct",
        &dsn,
        "--workload",
        &workload,
        "--rate",
        "60",
        "--duration",
        "8s",
        "-o",
        &measured,
        "--json",
    ]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let measurement = answer.json();
    assert_eq!(measurement["schema"], "pgassay/measurement/1");
    assert_eq!(measurement["errors"], 0, "{measurement}");
    let ledger = measurement["ledger_ms"].as_object().unwrap();
    let parts: f64 = ledger
        .iter()
        .filter(|(name, _)| *name != "total")
        .filter_map(|(_, part)| part.as_f64())
        .sum();
    assert!(
        (parts - number(&ledger["total"])).abs() < 0.01 * number(&ledger["total"]),
        "{ledger:?}"
    );

    // What could be won, and by what; nothing is touched.
    let plan = shop.file("plan.json");
    let answer = shop.pgassay(&[
        "plan",
        &dsn,
        "--workload",
        &workload,
        "--measurement",
        &measured,
        "-o",
        &plan,
        "--json",
    ]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let document = answer.json();
    assert_eq!(document["schema"], "pgassay/plan/1");
    assert!(!document["reachable"].as_array().unwrap().is_empty());
    let text = document["changes"].to_string() + &document["not_proposed"].to_string();
    for name in ALWAYS_CONSIDERED {
        assert!(text.contains(name), "{name} is neither proposed nor refused");
    }
    let indexes: Vec<&Value> = document["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["kind"] == "create_index")
        .collect();
    assert_eq!(indexes.len(), 2, "{document:#}");
    assert_eq!(shop.everything(), before);

    let answer = shop.pgassay(&["apply", &plan, &dsn, "--dry-run", "--json"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_eq!(shop.everything(), before);

    let answer = shop.pgassay(&["apply", &plan, &dsn, "--json"]);
    assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
    let run = answer.json()["run"].as_str().unwrap().to_owned();
    assert!(
        answer.json()["backups"]
            .as_array()
            .unwrap()
            .iter()
            .all(|path| { std::path::Path::new(path.as_str().unwrap()).exists() })
    );
    assert_ne!(shop.everything(), before);
    let undo = answer.json()["rollback"][0].as_str().unwrap().to_owned();
    assert!(undo.starts_with(&format!("pgassay rollback {run} ")), "{undo}");
    assert!(answer.json()["server_version"].as_str().unwrap().contains('.'));
    let checks = answer.json()["checks"].as_array().unwrap().clone();
    assert_eq!(checks.len(), 4, "{checks:?}");
    assert!(checks.iter().all(|check| check["passed"] != false), "{checks:?}");

    // Before and after from the journal.
    let answer = shop.pgassay(&["verify", &run, &dsn, "--json"]);
    assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
    let verified = answer.json();
    let mean = verified["comparison"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["metric"] == "latency_mean_ms")
        .unwrap();
    assert_eq!(mean["verdict"], "improved", "{mean}");
    assert!(number(&mean["ci_high"]) < -0.3, "{mean}");
    assert_eq!(verified["checks"].as_array().unwrap().len(), 4);

    for format in ["md", "html", "json"] {
        let file = shop.file(&format!("report.{format}"));
        let answer = shop.pgassay(&["report", &run, "--format", format, "-o", &file]);
        assert_eq!(answer.status, 0, "{}", answer.stderr);
        assert!(std::fs::read_to_string(&file).unwrap().contains(&run));
    }
    let history = shop.pgassay(&["history", &dsn, "--json"]).json();
    assert_eq!(history["runs"][0]["run"], run.as_str());

    let answer = shop.pgassay(&["rollback", "latest", &dsn]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_eq!(shop.everything(), before);
    let history = shop.pgassay(&["history", "--json"]).json();
    assert_eq!(history["runs"][0]["state"], "rolled_back");
    let report = shop.pgassay(&["report", &run, "--format", "json"]).json();
    assert!(report["headline"].as_str().unwrap().starts_with("Taken back on demand"), "{report}");
    assert_eq!(report["risk"]["level"], "low");
    assert_eq!(report["rollback"].as_array().unwrap().len(), 0);
}
