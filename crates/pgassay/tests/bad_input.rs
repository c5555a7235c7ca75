//! Bad input gets a clear error, a hint, the contract's exit status, and one JSON document where asked for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_testkit::{Postgres, PostgresOptions};
use support::{DATABASE, ROLE, Shop, pgassay};

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
fn a_demonstration_too_large_for_any_disk_is_refused() {
    let state = tempfile::tempdir().unwrap();
    for scale in ["1e30", "nan", "0", "inf"] {
        let answer = pgassay(state.path(), &["demo", "--scale", scale]);
        assert_eq!(answer.status, 2, "{scale}: {}", answer.stderr);
    }
}

#[test]
fn a_standard_error_that_nobody_reads_does_not_stop_the_work() {
    let state = tempfile::tempdir().unwrap();
    let mut child = support::command(state.path())
        .args(["demo", "--scenario", "nope"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(2), "not the 101 of a panic");
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
fn an_argument_that_is_missing_is_named_in_json_too() {
    let state = tempfile::tempdir().unwrap();
    let answer = pgassay(state.path(), &["measure", "--json"]);
    assert_eq!(answer.status, 2);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("--workload") && error.contains("<DSN>"), "{error}");
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

fn plan_of(shop: &Shop, name: &str) -> String {
    let plan = shop.file(name);
    let answer = shop.pgassay(&["plan", &shop.dsn(), "--workload", &shop.workload(), "-o", &plan]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    plan
}

fn error_of(answer: &support::Answer) -> String {
    let error = answer.json();
    assert_eq!(error["exit"], answer.status, "{error}");
    format!("{} | {}", error["error"].as_str().unwrap(), error["hint"].as_str().unwrap())
}

#[test]
fn a_wrong_password_is_exit_3_and_not_repeated() {
    let shop = Shop::open(1_000);
    let dsn = shop.server.tcp_dsn(ROLE, "not-the-password", DATABASE);
    let answer = pgassay(
        &shop.state(),
        &["plan", &dsn, "--workload", &shop.workload(), "-o", "p.json", "--json"],
    );
    assert_eq!(answer.status, 3, "{}", answer.stdout);
    assert!(error_of(&answer).contains("password"), "{}", answer.stdout);
    assert!(!answer.stdout.contains("not-the-password"));
}

#[test]
fn a_plan_for_another_database_or_for_what_has_changed_is_refused_untouched() {
    let shop = Shop::open(5_000);
    let plan = plan_of(&shop, "plan.json");
    shop.server.execute("postgres", "CREATE DATABASE other").unwrap();
    let answer = shop.pgassay(&["apply", &plan, &shop.server.dsn("other"), "--json"]);
    assert_eq!(answer.status, 2, "{}", answer.stdout);
    assert!(error_of(&answer).contains("another server or database"), "{}", answer.stdout);

    // Somebody else built one of the indexes meanwhile, under the same name.
    let document: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&plan).unwrap()).unwrap();
    let index = document["changes"]
        .as_array()
        .unwrap()
        .iter()
        .rfind(|change| change["kind"] == "create_index")
        .unwrap();
    let ddl = index["apply"][0].as_str().unwrap().replace("CONCURRENTLY ", "");
    shop.server.execute(DATABASE, &ddl).unwrap();
    let before = shop.everything();
    let answer = shop.pgassay(&["apply", &plan, &shop.dsn(), "--json"]);
    assert_eq!(answer.status, 2, "{}", answer.stdout);
    assert_eq!(shop.everything(), before, "not even the changes before it were made");
    let error = error_of(&answer);
    assert!(error.contains("nothing was changed") && !error.contains("undone"), "{error}");
}

#[test]
fn without_pg_stat_statements_capture_says_how_to_get_it_and_a_folder_still_works() {
    let server =
        Postgres::start(PostgresOptions { stop_with_process: true, ..PostgresOptions::default() })
            .unwrap();
    server
        .execute(
            "postgres",
            "CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 50000) AS n; ANALYZE t",
        )
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let file = folder.path().join("w.json").display().to_string();
    let dsn = server.dsn("postgres");
    let answer = pgassay(&state, &["capture", &dsn, "-o", &file, "--json"]);
    assert_eq!(answer.status, 4, "{}", answer.stdout);
    let error = error_of(&answer);
    assert!(
        error.contains("shared_preload_libraries") && error.contains("CREATE EXTENSION"),
        "{error}"
    );

    std::fs::write(folder.path().join("t.sql"), "SELECT id FROM t WHERE id = $1").unwrap();
    std::fs::write(folder.path().join("broken.sql"), "SELEC id FROM t").unwrap();
    let workload = folder.path().display().to_string();
    let plan = folder.path().join("plan.json").display().to_string();
    let answer = pgassay(&state, &["plan", &dsn, "--workload", &workload, "-o", &plan]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert!(answer.stdout.contains("skipped: SELEC id FROM t"), "{}", answer.stdout);
    assert!(answer.stdout.contains("t_id_idx"), "{}", answer.stdout);
}

#[test]
fn a_role_without_rights_learns_the_grant_and_nothing_is_touched() {
    let shop = Shop::open(5_000);
    let plan = plan_of(&shop, "plan.json");
    shop.server
        .execute(DATABASE, "CREATE ROLE guest LOGIN PASSWORD 'guest'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
        .unwrap();
    let before = shop.everything();
    let guest = shop.server.tcp_dsn("guest", "guest", DATABASE);
    let answer = pgassay(&shop.state(), &["apply", &plan, &guest, "--json"]);
    assert_eq!(answer.status, 4, "{}", answer.stdout);
    assert!(error_of(&answer).contains("GRANT"), "{}", answer.stdout);
    assert_eq!(shop.everything(), before);
}

#[test]
fn a_pooler_that_is_down_or_runs_on_another_file_is_named() {
    let shop = Shop::open(1_000);
    let plan = shop.file("plan.json");
    let nobody = "postgresql://pgbouncer_admin@127.0.0.1:1/pgbouncer";
    let answer = pgassay(
        &shop.state(),
        &[
            "plan",
            &shop.dsn(),
            "--workload",
            &shop.workload(),
            "-o",
            &plan,
            "--pgbouncer",
            nobody,
            "--json",
        ],
    );
    assert_eq!(answer.status, 3, "{}", answer.stdout);
    assert!(error_of(&answer).contains("127.0.0.1:1"), "{}", answer.stdout);

    let copy = shop.file("pgbouncer.ini");
    std::fs::copy(shop.pooler.ini_path(), &copy).unwrap();
    let answer = pgassay(
        &shop.state(),
        &[
            "plan",
            &shop.dsn(),
            "--workload",
            &shop.workload(),
            "-o",
            &plan,
            "--pgbouncer",
            &shop.pooler.console_dsn(),
            "--pgbouncer-ini",
            &copy,
            "--json",
        ],
    );
    assert_eq!(answer.status, 0, "{}", answer.stdout);
    assert!(answer.stderr.contains("runs on"), "{}", answer.stderr);
    let document = answer.json();
    assert!(document["not_proposed"].to_string().contains("default_pool_size"));
    assert!(!document["changes"].to_string().contains("set_pooler"));
}

#[test]
fn a_workload_that_writes_is_not_run_without_consent() {
    let shop = Shop::open(1_000);
    std::fs::write(
        shop.directory.path().join("workload/write.sql"),
        "UPDATE users SET is_active = true WHERE id = $1",
    )
    .unwrap();
    let answer = pgassay(
        &shop.state(),
        &["measure", &shop.dsn(), "--workload", &shop.workload(), "--duration", "1s", "--json"],
    );
    assert_eq!(answer.status, 2, "{}", answer.stdout);
    assert!(error_of(&answer).contains("--yes"), "{}", answer.stdout);
}

#[test]
fn a_load_of_which_every_request_fails_or_none_ends_is_no_measurement() {
    let shop = Shop::open(1_000);
    shop.server.execute(DATABASE, "CREATE ROLE guest LOGIN PASSWORD 'guest'").unwrap();
    let guest = shop.server.tcp_dsn("guest", "guest", DATABASE);
    let denied = tempfile::tempdir().unwrap();
    std::fs::write(denied.path().join("all.sql"), "SELECT count(*) FROM users").unwrap();
    let workload = denied.path().display().to_string();
    for command in ["measure", "optimize"] {
        let answer = pgassay(
            &shop.state(),
            &[command, &guest, "--workload", &workload, "--duration", "2s", "--json"],
        );
        assert_eq!(answer.status, 4, "{command}: {}", answer.stdout);
        assert!(error_of(&answer).contains("permission denied"), "{command}: {}", answer.stdout);
    }

    let slow = tempfile::tempdir().unwrap();
    std::fs::write(slow.path().join("slow.sql"), "SELECT pg_sleep(3)").unwrap();
    let slow = slow.path().display().to_string();
    let answer = pgassay(
        &shop.state(),
        &["measure", &shop.dsn(), "--workload", &slow, "--duration", "1s", "--json"],
    );
    assert_eq!(answer.status, 2, "{}", answer.stdout);
    assert!(error_of(&answer).contains("--duration"), "{}", answer.stdout);
}

#[test]
fn a_settings_file_gives_flags_and_unknown_keys_are_refused() {
    let state = tempfile::tempdir().unwrap();
    let config = state.path().join("pgassay.toml");
    std::fs::write(&config, "json = true\n").unwrap();
    let config = config.display().to_string();
    let answer = pgassay(state.path(), &["history", "--config", &config]);
    assert_eq!(answer.json()["schema"], "pgassay/history/1");
    std::fs::write(&config, "jsn = true\n").unwrap();
    let answer = pgassay(state.path(), &["history", "--config", &config]);
    assert_eq!(answer.status, 2);
    assert!(answer.stderr.contains("jsn"), "{}", answer.stderr);
}

#[test]
fn a_document_of_another_kind_or_version_is_refused_by_its_schema() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.json");
    let name = file.to_str().unwrap();
    for (schema, compared) in [("pgassay/plan/99", false), ("pgassay/run/1", true)] {
        std::fs::write(&file, format!("{{\"schema\": \"{schema}\"}}")).unwrap();
        let answer = match compared {
            true => pgassay(folder.path(), &["compare", name, name, "--json"]),
            false => {
                pgassay(folder.path(), &["apply", name, "postgresql://me@127.0.0.1:1/db", "--json"])
            }
        };
        assert_eq!(answer.status, 2, "{}", answer.stdout);
        assert!(error_of(&answer).contains(schema), "{}", answer.stdout);
    }
}

#[test]
fn an_edit_under_a_relative_path_is_taken_back_from_another_folder() {
    let shop = Shop::open(5_000);
    let plan = plan_of(&shop, "plan.json");
    let ini = shop.pooler.ini_path();
    let mut document: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&plan).unwrap()).unwrap();
    let mut change = document["changes"][0].clone();
    change["kind"] = "set_pooler".into();
    change["edit"] = serde_json::json!({"file": "ini", "ini": ini,
        "settings": [{"key": "default_pool_size", "from": "20", "to": "25"}]});
    document["changes"] = serde_json::json!([change]);
    std::fs::write(&plan, document.to_string()).unwrap();
    let before = shop.everything();
    let console = shop.pooler.console_dsn();
    let run = |arguments: &[&str], folder: &std::path::Path, ini: &str| {
        support::answer(
            support::command(&shop.state())
                .args(arguments)
                .args(["--pgbouncer", &console, "--pgbouncer-ini", ini])
                .current_dir(folder),
        )
    };
    let name = ini.file_name().unwrap().to_str().unwrap();
    let answer = run(&["apply", &plan, &shop.dsn()], ini.parent().unwrap(), name);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_ne!(shop.everything(), before);
    let answer =
        run(&["rollback", "latest", &shop.dsn()], shop.directory.path(), ini.to_str().unwrap());
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_eq!(shop.everything(), before);
}

#[test]
fn a_statement_that_no_index_could_help_is_bad_input_to_advise() {
    let shop = Shop::open(1_000);
    for (sql, reason) in [("DROP TABLE users", "only SELECT"), ("SELECT 1 FROM nowhere", "nowhere")]
    {
        let answer = pgassay(&shop.state(), &["advise", &shop.dsn(), "--sql", sql, "--json"]);
        assert_eq!(answer.status, 2, "{}", answer.stdout);
        assert!(error_of(&answer).contains(reason), "{}", answer.stdout);
    }
}

#[test]
fn a_file_that_can_not_be_written_is_refused_before_the_work() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().display().to_string();
    let nowhere = format!("{folder}/nowhere/file.json");
    // Nobody listens there: the file is looked at first.
    let dsn = "postgresql://me@127.0.0.1:1/db";
    for file in [&nowhere, &folder] {
        for command in [
            &["measure", dsn, "--workload", "w"][..],
            &["plan", dsn, "--workload", "w"],
            &["capture", dsn],
        ] {
            let mut arguments = command.to_vec();
            arguments.extend(["-o", file, "--json"]);
            let answer = pgassay(state.path(), &arguments);
            assert_eq!(answer.status, 2, "{}", answer.stdout);
            assert!(error_of(&answer).contains(file.as_str()), "{}", answer.stdout);
        }
    }
}
