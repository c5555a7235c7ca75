//! Workloads of every kind measured by hand: pgbench scripts, recorded sessions, what writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::{Value, json};
use support::{DATABASE, Shop};

const SCRIPT: &str = "\
\\set id random(1, 1000)
BEGIN;
SELECT email FROM users WHERE id = :id;
UPDATE users SET is_active = NOT is_active WHERE id = :id;
END;
";

fn active(shop: &Shop) -> String {
    let sql = "SELECT count(*) FILTER (WHERE is_active)::text || ' ' || max(xmin::text::bigint) FROM users";
    shop.server.query(DATABASE, sql).unwrap()[0][0].clone().unwrap()
}

fn sum_of_parts(measurement: &Value) -> f64 {
    let ledger = measurement["ledger_ms"].as_object().unwrap();
    let parts = ledger.iter().filter(|(name, _)| *name != "total");
    parts.filter_map(|(_, part)| part.as_f64()).sum()
}

#[test]
fn a_pgbench_script_is_measured_and_what_it_writes_can_be_rolled_back() {
    let shop = Shop::open(30_000);
    let script = shop.file("shop.pgbench");
    std::fs::write(&script, SCRIPT).unwrap();
    let (dsn, app) = (shop.dsn(), shop.app_dsn());
    let before = active(&shop);
    let measure = |way: &str, more: &[&str]| {
        let common =
            ["measure", way, "--direct", &dsn, "--workload", &script, "--duration", "1s", "--json"];
        shop.pgassay(&[&common[..], more].concat())
    };
    let answer = measure(&app, &[]);
    assert_eq!(answer.status, 2, "{}", answer.stdout);
    let hint = answer.json()["hint"].as_str().unwrap().to_owned();
    assert!(hint.contains("--writes rollback") && hint.contains("--yes"), "{hint}");
    assert_eq!(measure(&app, &["--writes", "refuse"]).status, 2);

    let answer = measure(&app, &["--writes", "rollback"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let measurement = answer.json();
    assert_eq!(measurement["errors"], 0, "{measurement}");
    assert_eq!(measurement["scripts"][0]["id"], "shop");
    let ids: Vec<&str> = measurement["statements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| own["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["shop.1", "shop.2", "shop.3", "shop.4"]);
    let total = measurement["ledger_ms"]["total"].as_f64().unwrap();
    assert!((sum_of_parts(&measurement) - total).abs() < 0.01 * total, "{measurement}");
    assert!(measurement["ledger_ms"]["execute"].as_f64().unwrap() > 0.0);
    assert_eq!(active(&shop), before, "nothing is committed");

    // Its statements are advised on like others.
    let slow = shop.file("slow.pgbench");
    std::fs::write(
        &slow,
        "\\set n random(1, 30000)\nSELECT id FROM users WHERE username = 'user' || :n;\n",
    )
    .unwrap();
    let both = format!("{script}@2,{slow}");
    let plan = shop.file("plan.json");
    let answer = shop.pgassay(&["plan", &dsn, "--workload", &both, "-o", &plan, "--json"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert!(
        answer.json()["changes"].to_string().contains("users_username_idx"),
        "{}",
        answer.stdout
    );

    // Directly, as pgbench -M prepared does it, and in earnest.
    let answer = measure(&dsn, &["--writes", "run", "--protocol", "prepared", "--clients", "2"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_eq!(answer.json()["mode"]["protocol"], "prepared");
    assert_ne!(active(&shop), before);
}

#[test]
fn recorded_sessions_are_replayed_as_they_ran_unless_clients_or_a_rate_are_given() {
    let shop = Shop::open(1_000);
    let requests = |from: u64| -> Vec<Value> {
        (0..20)
            .map(|n| json!({"at_us": from + n * 50_000, "statement": 0, "parameters": n % 2}))
            .collect()
    };
    let workload = json!({
        "schema": "pgassay/workload/1",
        "generated_at": "2026-01-01T00:00:00Z",
        "source": "test",
        "statements": [{
            "id": "user", "sql": "SELECT email FROM users WHERE id = $1", "weight": 1.0, "writes": false,
            "parameters": [["1"], ["2"]], "parameter_source": "log",
        }],
        "sessions": [{"id": "a", "requests": requests(0)}, {"id": "b", "requests": requests(7_000)}],
    });
    let file = shop.file("recorded.json");
    std::fs::write(&file, workload.to_string()).unwrap();
    let dsn = shop.dsn();
    let measure = |more: &[&str]| {
        let answer =
            shop.pgassay(&[&["measure", &dsn, "--workload", &file, "--json"], more].concat());
        assert_eq!(answer.status, 0, "{}", answer.stdout);
        answer.json()
    };
    let replayed = measure(&[]);
    assert_eq!((&replayed["requests"], &replayed["errors"]), (&json!(40), &json!(0)));
    assert_eq!(replayed["mode"]["speed"], 1.0);
    assert_eq!(replayed["mode"]["clients"], 2);
    assert!((replayed["duration_s"].as_f64().unwrap() - 0.958).abs() < 1e-6, "{replayed}");
    let faster = measure(&["--speed", "4", "--clients", "1"]);
    assert_eq!(faster["requests"], 40);
    assert!(faster["notes"].to_string().contains("up to 2 recorded sessions overlap"), "{faster}");
    let drawn = measure(&["--clients", "2", "--duration", "1s"]);
    assert!(drawn["requests"].as_u64().unwrap() > 100 && drawn["mode"]["speed"].is_null());
}

#[test]
fn what_writes_by_a_function_a_view_or_a_sequence_is_refused_or_rolled_back_too() {
    let shop = Shop::open(1_000);
    let definitions = "CREATE TABLE visits (n int); INSERT INTO visits VALUES (0);
        CREATE FUNCTION visit() RETURNS int LANGUAGE sql AS 'UPDATE visits SET n = n + 1 RETURNING n';
        CREATE VIEW visiting AS SELECT visit();
        CREATE SEQUENCE tickets; GRANT ALL ON visits, visiting, tickets TO PUBLIC";
    shop.server.query(DATABASE, definitions).unwrap();
    let (dsn, file) = (shop.dsn(), shop.file("hidden.pgbench"));
    let measure = |script: &str, writes: &str| {
        std::fs::write(&file, script).unwrap();
        let duration = ["--duration", "300ms", "--warmup", "0s", "--clients", "1", "--json"];
        let common = ["measure", &dsn, "--workload", &file, "--writes", writes];
        shop.pgassay(&[&common[..], &duration[..]].concat())
    };
    for script in [
        "SELECT visit();",
        "SELECT * FROM visiting;",
        "SELECT nextval('tickets');",
        "SELECT * INTO other FROM visits;",
        "BEGIN; SELECT visit(); END;",
    ] {
        let refused = measure(script, "refuse");
        assert_eq!(refused.status, 2, "{script}: {}", refused.stdout);
        assert!(refused.stdout.contains("the workload writes (hidden."), "{}", refused.stdout);
    }
    for script in ["SELECT visit();", "SELECT * FROM visiting;", "SELECT 1; SELECT visit();"] {
        let rolled_back = measure(script, "rollback");
        assert_eq!(rolled_back.status, 0, "{script}: {}", rolled_back.stdout);
        assert_eq!(rolled_back.json()["errors"], 0, "{script}: {}", rolled_back.stdout);
    }
    let visits = shop.server.query(DATABASE, "SELECT n FROM visits").unwrap();
    assert_eq!(visits[0][0].as_deref(), Some("0"));
    assert_eq!(measure("SELECT n FROM visits;", "refuse").status, 0);
}

#[test]
fn what_writes_for_values_that_were_not_tried_is_refused_by_the_server_and_named() {
    let shop = Shop::open(1_000);
    let definitions = "CREATE TABLE visits (n int); INSERT INTO visits VALUES (0);
        CREATE FUNCTION visit(id int) RETURNS int LANGUAGE plpgsql AS $$
            BEGIN
                IF id = 3 THEN UPDATE visits SET n = n + 1; END IF;
                RETURN id;
            END $$;
        GRANT ALL ON visits TO PUBLIC";
    shop.server.query(DATABASE, definitions).unwrap();
    let folder = shop.directory.path().join("hidden");
    std::fs::create_dir(&folder).unwrap();
    // Those that are tried are the first, the sixth and the eleventh.
    let sets: String = (0..15).map(|n| format!("-- params: [{n}]\n")).collect();
    std::fs::write(folder.join("visit.sql"), format!("{sets}SELECT visit($1)")).unwrap();
    std::fs::write(folder.join("name.sql"), "SELECT username FROM users WHERE id = 1").unwrap();
    let script = shop.file("hidden.pgbench");
    let text = "\\set id random(0, 14)\nBEGIN;\nSELECT visit(:id);\nEND;\n";
    // The script's own values are drawn with one seed: 3 may be among them, then it is refused beforehand.
    std::fs::write(&script, text).unwrap();
    let folder = folder.display().to_string();
    let measure = |dsn: &str, workload: &str, writes: &str| {
        let duration = ["--duration", "500ms", "--warmup", "0s", "--clients", "2", "--json"];
        let common = ["measure", dsn, "--workload", workload, "--writes", writes];
        support::pgassay(&shop.state(), &[&common[..], &duration[..]].concat())
    };
    for (dsn, wrapped) in [(shop.dsn(), false), (shop.app_dsn(), true)] {
        let answer = measure(&dsn, &folder, "refuse");
        assert_eq!(answer.status, 0, "{}", answer.stdout);
        let measurement = answer.json();
        let statements = measurement["statements"].as_array().unwrap();
        let of = |id: &str| statements.iter().find(|own| own["id"] == id).unwrap();
        assert!(of("visit")["first_error"].as_str().unwrap().starts_with("25006"), "{measurement}");
        assert!(of("visit")["errors"].as_u64() < of("visit")["requests"].as_u64());
        assert_eq!(of("name")["errors"], 0);
        let notes = measurement["notes"].to_string();
        assert!(notes.contains("wanted to write"), "{notes}");
        assert_eq!(notes.contains("in read-only transactions"), wrapped, "{notes}");
    }
    for workload in [&folder, &script] {
        let answer = measure(&shop.app_dsn(), workload, "rollback");
        assert_eq!(answer.status, 0, "{}", answer.stdout);
        assert_eq!(answer.json()["errors"], 0, "{}", answer.stdout);
    }
    let answer = measure(&shop.app_dsn(), &script, "refuse");
    assert!(answer.status == 2 || answer.stdout.contains("25006"), "{}", answer.stdout);
    let visits = shop.server.query(DATABASE, "SELECT n FROM visits").unwrap();
    assert_eq!(visits[0][0].as_deref(), Some("0"));
}
