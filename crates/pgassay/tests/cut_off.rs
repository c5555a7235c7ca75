//! pgassay killed, interrupted, or started twice: the target ends exactly before or exactly after.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgassay_model::plan::PlanTarget;
use pgassay_model::run::RunState;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::waiting::{Holder, wait_until};
use support::{DATABASE, Shop, command};

fn plan(shop: &Shop) -> String {
    let plan = shop.file("plan.json");
    let answer = shop.pgassay(&["plan", &shop.dsn(), "--workload", &shop.workload(), "-o", &plan]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert!(answer.stdout.contains("users"), "{}", answer.stdout);
    plan
}

fn building(shop: &Shop) -> bool {
    !shop.server.query(DATABASE, "SELECT 1 FROM pg_stat_progress_create_index").unwrap().is_empty()
}

/// Holds locks on both relations until it is released.
fn hold(shop: &Shop) -> Holder {
    let sql = "BEGIN; LOCK TABLE users, tokens IN ROW EXCLUSIVE MODE";
    Holder::hold(&shop.server, &shop.dsn(), sql)
}

fn apply(shop: &Shop, plan: &str) -> Child {
    command(&shop.state())
        .args(["apply", plan, &shop.dsn()])
        .args(["--pgbouncer", &shop.pooler.console_dsn()])
        .args(["--pgbouncer-ini", &shop.pooler.ini_path().display().to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn after_kill_9_the_next_command_says_so_and_a_rollback_restores() {
    let shop = Shop::open(5_000);
    let plan = plan(&shop);
    let before = shop.everything();
    let holder = hold(&shop);
    let mut child = apply(&shop, &plan);
    wait_until("the build", || building(&shop));

    // A second pgassay is kept out, and says by whom.
    let second = shop.pgassay(&["apply", &plan, &shop.dsn(), "--json"]);
    assert_eq!(second.status, 2, "{}", second.stdout);
    assert!(
        second.json()["error"].as_str().unwrap().contains("another pgassay"),
        "{}",
        second.stdout
    );

    // It is not waited for yet: a first process of a container that never does that keeps nobody out.
    child.kill().unwrap();
    holder.release(&shop.server);
    wait_until("its end", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        stat.contains(") Z ")
    });

    let history = shop.pgassay(&["history", "--json"]);
    assert!(history.stderr.contains("was cut off"), "{}", history.stderr);
    let run = history.json()["runs"][0].clone();
    assert_eq!(run["state"], "unfinished");
    assert_eq!(run["changes"][0]["state"], "intended");
    let run = run["run"].as_str().unwrap().to_owned();

    // The server may be busy with the dead process's statement for a while, and holds the lock for it.
    let mut answer = shop.pgassay(&["rollback", &run, &shop.dsn()]);
    let started = Instant::now();
    while answer.stderr.contains("another pgassay") && started.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
        answer = shop.pgassay(&["rollback", &run, &shop.dsn()]);
    }
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    child.wait().unwrap();
    assert_eq!(shop.everything(), before);
    assert_eq!(shop.pgassay(&["history", "--json"]).json()["runs"][0]["state"], "rolled_back");

    // And the same plan can be applied again.
    let again = shop.pgassay(&["apply", &plan, &shop.dsn(), "--json"]);
    assert_eq!(again.status, 0, "{}{}", again.stdout, again.stderr);
    assert_eq!(shop.pgassay(&["rollback", "latest", &shop.dsn()]).status, 0);
    assert_eq!(shop.everything(), before);
}

#[test]
fn a_rollback_that_is_killed_is_told_by_the_next_command_and_goes_on_where_it_stopped() {
    let shop = Shop::open(5_000);
    let plan = plan(&shop);
    let before = shop.everything();
    for change in ["", "/c1"] {
        assert_eq!(shop.pgassay(&["apply", &plan, &shop.dsn()]).status, 0);
        let run = shop.pgassay(&["history", "--json"]).json()["runs"][0]["run"].clone();
        let what = format!("{}{change}", run.as_str().unwrap());
        let holder = hold(&shop);
        let mut child = command(&shop.state())
            .args(["rollback", &what, &shop.dsn()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the drop", || {
            let dropping = "SELECT 1 FROM pg_stat_activity
                            WHERE query LIKE 'DROP INDEX%' AND wait_event_type = 'Lock'";
            !shop.server.query(DATABASE, dropping).unwrap().is_empty()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        holder.release(&shop.server);

        let history = shop.pgassay(&["history"]);
        let told = format!("`pgassay rollback {what} DSN`");
        assert!(history.stderr.contains(&told), "{}", history.stderr);
        let mut finished = String::new();
        wait_until("the rollback", || {
            let answer = shop.pgassay(&["rollback", &what, &shop.dsn()]);
            finished = answer.stdout;
            answer.status == 0
        });
        // The change that was cut off is named too: c1 is the last to be taken back.
        assert!(finished.contains("is taken back") && finished.contains("c1"), "{finished}");
        let history = shop.pgassay(&["history"]);
        assert_eq!(history.stderr, "", "nothing is open");
        if change.is_empty() {
            assert_eq!(shop.everything(), before);
        }
    }
    assert_eq!(shop.pgassay(&["rollback", "latest", &shop.dsn()]).status, 0);
    assert_eq!(shop.everything(), before);
}

#[test]
fn ctrl_c_during_a_build_undoes_everything_and_ends_with_130() {
    let shop = Shop::open(5_000);
    let plan = plan(&shop);
    let before = shop.everything();
    let holder = hold(&shop);
    let mut child = apply(&shop, &plan);
    wait_until("the build", || building(&shop));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    // Dropping the index has to wait for the open transaction too.
    holder.release(&shop.server);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(shop.everything(), before);
    let history = shop.pgassay(&["history", "--json"]).json();
    assert_eq!(history["runs"][0]["state"], "interrupted");
}

#[test]
fn ctrl_c_while_measuring_changes_nothing_and_ends_with_130() {
    let shop = Shop::open(5_000);
    let before = shop.everything();
    let mut child = command(&shop.state())
        .args([
            "optimize",
            &shop.dsn(),
            "--workload",
            &shop.workload(),
            "--out",
            &shop.file("report"),
        ])
        .args(["--app-dsn", &shop.app_dsn(), "--duration", "30s"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("measuring the response time")));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert_eq!(shop.everything(), before);
}

#[test]
fn a_run_that_failed_and_left_changes_is_told_by_the_next_command() {
    let state = tempfile::tempdir().unwrap();
    let journal = pgassay_change::Journal::open(state.path()).unwrap();
    let target = PlanTarget {
        system_identifier: Some(1),
        database: "shop".into(),
        version_num: 150_000,
        display: "postgresql://db/shop".into(),
    };
    let run = journal.start_run(&target, None).unwrap();
    journal.finish_run(&run, RunState::FailedPartly).unwrap();
    drop(journal);
    let answer = support::pgassay(state.path(), &["history", "--json"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("has left changes"), "{}", answer.stderr);
    assert!(answer.stderr.contains(&run), "{}", answer.stderr);
}

#[test]
fn advice_and_plans_that_are_interrupted_are_none() {
    let shop = Shop::open(5_000);
    let plan = shop.file("cut.json");
    let (dsn, workload) = (shop.dsn(), shop.workload());
    let advise = ["advise", &dsn, "--workload", &workload];
    let planning = ["plan", &dsn, "--workload", &workload, "-o", &plan];
    for arguments in [&advise[..], &planning] {
        let mut child = command(&shop.state())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        said.find(|line| line.as_ref().unwrap().contains("without data")).unwrap().unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let rest: Vec<String> = said.map(Result::unwrap).collect();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{arguments:?}: {rest:?}");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert!(!std::path::Path::new(&plan).exists());
}
