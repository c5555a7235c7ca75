//! The demonstration's scenarios, smaller and shorter, each on its own throw-away servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Mutex, PoisonError};

/// Measurements beside each other would measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Demo {
    run: Value,
    folder: tempfile::TempDir,
    status: i32,
}

fn demo(scenario: &str, scale: &str) -> Demo {
    demo_with(scenario, scale, &[])
}

fn demo_with(scenario: &str, scale: &str, flags: &[&str]) -> Demo {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let mut arguments = vec![
        "demo",
        "--scenario",
        scenario,
        "--scale",
        scale,
        "--duration",
        "8s",
        "--out",
        &out,
        "--json",
    ];
    arguments.extend(flags);
    // Copies go where TMPDIR says; their servers may run as another account.
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let answer = support::answer(
        support::command(&folder.path().join("state")).env("TMPDIR", &temporary).args(&arguments),
    );
    assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left behind");
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
    // No copy has a pooler, so none is made, and that is said.
    let demo = demo_with("reconnect", "0.1", &["--rehearse"]);
    assert!(demo.run["notes"].to_string().contains("not rehearsed"), "{}", demo.run["notes"]);
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
fn what_is_slower_on_a_copy_never_reaches_the_server() {
    let demo = demo_with("regression", "0.1", &["--rehearse"]);
    let changes = demo.run["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0]["state"], "skipped", "{}", changes[0]);
    assert_eq!(changes[0]["verdict"], "regressed", "{}", changes[0]);
    assert!(changes[0]["comparison"].to_string().contains("two copies"));
    let notes = demo.run["notes"].to_string();
    assert!(notes.contains("rehearsal") && notes.contains("A/A on the two copies"), "{notes}");
}

#[test]
fn an_index_that_costs_writers_more_than_it_gives_readers_is_not_left() {
    // Where it is proposed at all, a copy may show it before the server does.
    let demo = demo_with("write-heavy", "1", &["--rehearse"]);
    assert!(demo.changes("kept").is_empty(), "{}", demo.run["changes"]);
    let refused = demo.not_proposed().contains("updated_at");
    let on_copy = demo.changes("skipped").iter().any(|change| !change["verdict"].is_null());
    let taken_back = on_copy || !demo.changes("rolled_back").is_empty();
    assert!(refused || taken_back, "{}", demo.not_proposed());
}

#[test]
fn the_printed_command_takes_a_kept_demonstration_back_exactly() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().display().to_string();
    let state = folder.path().join("state");
    let answer = support::pgassay(
        &state,
        &["demo", "--scale", "0.05", "--duration", "8s", "--out", &out, "--keep", "--json"],
    );
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let stop = answer
        .stderr
        .lines()
        .find_map(|line| line.trim().strip_prefix("stop them with: "))
        .expect("it says how to stop what it keeps")
        .to_owned();
    let _stop = Stop(stop);
    let run = answer.json();
    let backup = |name: &str| {
        let path = run["backups"]
            .as_array()
            .unwrap()
            .iter()
            .map(|path| path.as_str().unwrap())
            .find(|path| path.ends_with(name))
            .unwrap_or_else(|| panic!("no backup of {name}"));
        std::fs::read(path).unwrap()
    };
    let undo = run["rollback"][0].as_str().unwrap();
    let flag = |name: &str| {
        let rest = undo.split(&format!("{name} '")).nth(1).unwrap();
        rest.split('\'').next().unwrap().to_owned()
    };
    let dsn = undo.split('\'').nth(1).unwrap().to_owned();
    assert_eq!(indexes(&dsn).len(), 2 + kept_indexes(&run));

    let pgassay = env!("CARGO_BIN_EXE_pgassay");
    let command = undo.replacen("pgassay", pgassay, 1);
    let taken_back = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
    assert!(taken_back.status.success(), "{}", String::from_utf8_lossy(&taken_back.stderr));

    assert_eq!(indexes(&dsn), ["user_oauth_tokens_pkey", "users_pkey"]);
    let ini = std::path::PathBuf::from(flag("--pgbouncer-ini"));
    assert_eq!(std::fs::read(&ini).unwrap(), backup("pgbouncer.ini"));
    assert_eq!(std::fs::read(ini.with_file_name("userlist.txt")).unwrap(), backup("userlist.txt"));
    let socket = dsn.split("host=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let auto_conf = std::path::Path::new(&socket).join("data/postgresql.auto.conf");
    assert_eq!(std::fs::read(auto_conf).unwrap(), backup("postgresql.auto.conf"));
}

/// Stops what a kept demonstration left running.
struct Stop(String);

impl Drop for Stop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("sh").args(["-c", &self.0]).status();
    }
}

fn kept_indexes(run: &Value) -> usize {
    let changes = run["changes"].as_array().unwrap();
    changes
        .iter()
        .filter(|change| change["kind"] == "create_index" && change["state"] == "kept")
        .count()
}

fn indexes(dsn: &str) -> Vec<String> {
    let dsn = dsn.to_owned();
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
        async move {
            let (client, connection) =
                tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client
                .query(
                    "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
                    &[],
                )
                .await
                .unwrap()
                .iter()
                .map(|row| row.get(0))
                .collect()
        },
    )
}
