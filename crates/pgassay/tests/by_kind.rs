//! A plan with a change of every kind, applied by hand and taken back: as a whole, one by one, and after kill -9.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_testkit::{PgBouncer, PgBouncerOptions, Postgres, PostgresOptions};
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::waiting::{Holder, wait_until};
use support::{Answer, DATABASE, PASSWORD, ROLE, command, pgassay};

/// A server and a PgBouncer that may get a change of every kind.
struct Target {
    server: Postgres,
    pooler: PgBouncer,
    directory: tempfile::TempDir,
}

impl Target {
    fn open() -> Target {
        let server = Postgres::start(PostgresOptions {
            stop_with_process: true,
            ..PostgresOptions::default()
        })
        .unwrap();
        let role = format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'");
        server.execute("postgres", &role).unwrap();
        server.execute("postgres", &format!("CREATE DATABASE {DATABASE}")).unwrap();
        for sql in [
            "CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL, city text NOT NULL, zip int NOT NULL)",
            "INSERT INTO orders SELECT n, n % 1000, 'city' || n % 100, n % 100 FROM generate_series(1, 20000) n",
            "CREATE INDEX orders_city ON orders (city)",
            "CREATE INDEX orders_city_too ON orders (city)",
            "ALTER SYSTEM SET log_temp_files = '10MB'",
            "ALTER SYSTEM SET work_mem = '5MB'",
            "ALTER SYSTEM SET maintenance_work_mem = '48MB'",
            "SELECT pg_reload_conf()",
            "VACUUM ANALYZE",
        ] {
            server.execute(DATABASE, sql).unwrap();
        }
        let pooler = PgBouncer::start(PgBouncerOptions {
            databases: vec![(
                DATABASE.into(),
                format!("host=127.0.0.1 port={} dbname={DATABASE}", server.port()),
            )],
            users: vec![(ROLE.into(), PASSWORD.into())],
            settings: vec![("default_pool_size".into(), "7".into())],
            ..PgBouncerOptions::default()
        })
        .unwrap();
        Target { server, pooler, directory: tempfile::tempdir().unwrap() }
    }

    fn dsn(&self) -> String {
        self.server.dsn(DATABASE)
    }

    fn state(&self) -> std::path::PathBuf {
        self.directory.path().join("state")
    }

    fn flags(&self) -> Vec<String> {
        let ini = self.pooler.ini_path().display().to_string();
        vec!["--pgbouncer".into(), self.pooler.console_dsn(), "--pgbouncer-ini".into(), ini]
    }

    fn pgassay(&self, arguments: &[&str]) -> Answer {
        let flags = self.flags();
        let all: Vec<&str> =
            arguments.iter().copied().chain(flags.iter().map(String::as_str)).collect();
        pgassay(&self.state(), &all)
    }

    fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.server.query(DATABASE, sql).unwrap()
    }

    /// All that any change may touch.
    fn everything(&self) -> Vec<String> {
        let mut all = vec![
            std::fs::read_to_string(self.server.data_directory().join("postgresql.auto.conf"))
                .unwrap(),
            std::fs::read_to_string(self.pooler.ini_path()).unwrap(),
            std::fs::read_to_string(self.pooler.userlist_path()).unwrap(),
        ];
        for sql in [
            "SELECT pg_get_indexdef(indexrelid), indisvalid FROM pg_index WHERE indrelid = 'orders'::regclass ORDER BY 1",
            "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext ORDER BY 1",
            "SELECT name, setting FROM pg_settings WHERE name IN ('work_mem', 'log_temp_files', 'maintenance_work_mem')",
        ] {
            all.push(format!("{:?}", self.rows(sql)));
        }
        all
    }

    /// A plan with every kind, in the order in which kinds come.
    fn plan(&self) -> String {
        let relation = json!({"schema": "public", "name": "orders"});
        let ini = self.pooler.ini_path();
        let changes: Vec<Value> = [
            json!({"kind": "analyze", "relation": relation}),
            json!({
                "kind": "create_statistics",
                "definition": {
                    "relation": relation, "name": "orders_city_zip_stat",
                    "kinds": ["dependencies", "mcv"], "columns": ["city", "zip"],
                },
                "rows": [{"statement": "pair", "estimated": 2.0, "actual": 200.0}],
            }),
            json!({
                "kind": "create_index",
                "definition": {
                    "relation": relation, "name": "orders_customer_idx", "method": "btree",
                    "keys": [{"column": "customer", "expression": null}],
                },
                "estimated_size": 500_000,
            }),
            json!({
                "kind": "drop_index", "relation": relation, "name": "orders_city_too",
                "ddl": "CREATE INDEX orders_city_too ON public.orders USING btree (city)",
            }),
            json!({
                "kind": "set_parameter", "name": "work_mem", "from": "5MB", "to": "9MB",
            }),
            json!({
                "kind": "set_pooler",
                "edit": {
                    "file": "ini", "ini": ini,
                    "settings": [{"key": "default_pool_size", "from": "7", "to": "21"}],
                },
            }),
            json!({
                "kind": "set_pooler",
                "edit": {
                    "file": "userlist", "ini": ini, "userlist": self.pooler.userlist_path(),
                    "users": [ROLE],
                },
            }),
            json!({
                "kind": "reindex", "relation": relation, "name": "orders_city",
                "ddl": "CREATE INDEX orders_city ON public.orders USING btree (city)",
                "estimated_size": 500_000,
            }),
        ]
        .into_iter()
        .enumerate()
        .map(|(place, change)| planned(&format!("c{}", place + 1), change))
        .collect();
        let plan = json!({
            "schema": "pgassay/plan/1",
            "generated_at": "2026-01-01T00:00:00Z",
            "target": {
                "system_identifier": null, "database": DATABASE,
                "version_num": self.server.version_num(), "display": "it",
            },
            "ledger_ms": null,
            "reachable": [],
            "changes": changes,
            "not_proposed": [],
            "workload": {
                "schema": "pgassay/workload/1", "generated_at": "2026-01-01T00:00:00Z", "source": "test",
                "statements": [{
                    "id": "pair", "sql": "SELECT id FROM orders WHERE city = $1 AND zip = $2",
                    "weight": 1.0, "writes": false, "parameters": [["city7", "7"]],
                    "parameter_source": "given",
                }],
                "skipped": [],
            },
        });
        let file = self.directory.path().join("plan.json");
        std::fs::write(&file, plan.to_string()).unwrap();
        file.display().to_string()
    }
}

fn planned(id: &str, mut change: Value) -> Value {
    let rest = json!({
        "id": id, "title": format!("the change {id}"), "group": id,
        "apply": [], "undo": ["what a person would run"], "needs_restart": false,
        "expected": {"effect": "", "low": null, "high": null, "source": "rule"},
        "risk": {"level": "low", "reasons": []}, "evidence": [], "mechanism": "",
    });
    let fields = change.as_object_mut().unwrap();
    fields.extend(rest.as_object().unwrap().clone());
    change
}

fn states(history: &Value) -> Vec<String> {
    let changes = history["runs"][0]["changes"].as_array().unwrap();
    changes.iter().map(|change| change["state"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_kind_is_applied_by_hand_checked_and_taken_back_as_a_whole_and_one_by_one() {
    let target = Target::open();
    let plan = target.plan();
    let before = target.everything();
    let dry = target.pgassay(&["apply", &plan, &target.dsn(), "--dry-run", "--json"]);
    assert_eq!(dry.status, 0, "{}{}", dry.stdout, dry.stderr);
    assert_eq!(target.everything(), before, "a dry run touches nothing");

    let answer = target.pgassay(&["apply", &plan, &target.dsn(), "--json"]);
    assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
    let run = answer.json();
    let kinds: Vec<&str> = run["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["state"] == "applied")
        .map(|change| change["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "analyze",
            "create_statistics",
            "create_index",
            "drop_index",
            "set_parameter",
            "set_pooler",
            "set_pooler",
            "reindex"
        ]
    );
    let in_force = target.everything();
    for (place, what) in [
        (0, "work_mem = '9MB'"),
        (1, "default_pool_size = 21"),
        (2, "SCRAM-SHA-256$"),
        (3, "orders_customer_idx"),
        (4, "orders_city_zip_stat"),
    ] {
        assert!(in_force[place].contains(what), "{what}: {}", in_force[place]);
    }
    assert!(!in_force[3].contains("orders_city_too"), "{}", in_force[3]);
    let check = |id: &str| {
        let checks = run["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("{id}: {checks:?}"))
    };
    assert_eq!(check("row_estimates")["passed"], true, "{}", check("row_estimates"));
    assert_eq!(check("settings_applied")["passed"], true, "{}", check("settings_applied"));

    let rollback = target.pgassay(&["rollback", "latest", &target.dsn()]);
    assert_eq!(rollback.status, 0, "{}", rollback.stderr);
    assert_eq!(target.everything(), before);

    // And one by one, in any order.
    let answer = target.pgassay(&["apply", &plan, &target.dsn(), "--json"]);
    assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
    let run = answer.json()["run"].as_str().unwrap().to_owned();
    for id in ["c4", "c2", "c8", "c1", "c7", "c5", "c3", "c6"] {
        let one = format!("{run}/{id}");
        let answer = target.pgassay(&["rollback", &one, &target.dsn()]);
        assert_eq!(answer.status, 0, "{id}: {}", answer.stderr);
    }
    assert_eq!(target.everything(), before);
    let history = target.pgassay(&["history", "--json"]).json();
    assert!(states(&history).iter().all(|state| state == "rolled_back"), "{history}");
}

#[test]
fn killed_in_the_middle_of_a_rebuild_all_that_was_applied_before_it_is_taken_back_too() {
    let target = Target::open();
    let plan = target.plan();
    let before = target.everything();
    // REINDEX CONCURRENTLY waits for its snapshot.
    let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
    let snapshot = Holder::hold(&target.server, &target.dsn(), sql);
    // Only the rebuild, and what waits for no snapshot before it.
    let mut child = command(&target.state())
        .args(["apply", &plan, &target.dsn()])
        .args(["--change", "c1", "--change", "c2", "--change", "c5", "--change", "c6"])
        .args(["--change", "c8"])
        .args(target.flags())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the rebuild", || {
        let waiting =
            "SELECT 1 FROM pg_stat_progress_create_index WHERE phase = 'waiting for old snapshots'";
        !target.rows(waiting).is_empty()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(target.everything()[3].contains("_ccnew"), "{}", target.everything()[3]);
    assert!(target.everything()[4].contains("orders_city_zip_stat"));

    let history = target.pgassay(&["history", "--json"]);
    assert!(history.stderr.contains("was cut off"), "{}", history.stderr);
    let run = history.json()["runs"][0].clone();
    assert_eq!(run["state"], "unfinished");
    let run = run["run"].as_str().unwrap().to_owned();
    // The server may be busy with the dead process's statement for a while, and holds the lock for it.
    let started = Instant::now();
    let answer = loop {
        let answer = target.pgassay(&["rollback", &run, &target.dsn()]);
        if !answer.stderr.contains("another pgassay") || started.elapsed() > Duration::from_secs(30)
        {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_eq!(target.everything(), before);
    snapshot.release(&target.server);
}
