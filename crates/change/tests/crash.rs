//! Deaths: of pgassay by SIGKILL, of a backend, of the server; afterwards everything is as before or as after.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod target;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgassay_change::{
    ChangeError, ExecutorOptions, FaultPoint, Journal, JournalState, PoolerAccess,
};
use pgassay_model::plan::PlannedChange;
use pgassay_model::run::RunState;
use pgassay_testkit::{Postgres, PostgresOptions};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use target::{Kind, Target, beside, eventually, open, quick, read_write};

/// Signals a process of the test's own.
fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
}

/// Not a test: the process that is killed. Applies one change as the environment says; the other tests start
/// it by its name.
#[test]
fn victim() {
    let Ok(dsn) = std::env::var("VICTIM_DSN") else { return };
    let text = |name: &str| std::env::var(name).unwrap();
    let change: PlannedChange = serde_json::from_str(&text("VICTIM_CHANGE")).unwrap();
    let stopped: Option<u32> = text("VICTIM_STOPS").parse().ok();
    // Stopping the other side at the intent holds the work up where only that side's answer is missing.
    let stop = |point: FaultPoint, _: &str| {
        if let (FaultPoint::AfterIntent, Some(pid)) = (point, stopped) {
            signal(pid, Signal::SIGSTOP);
        }
        false
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let settings = pgassay_postgres::dsn::resolve(&dsn).unwrap();
        let session = read_write(&settings).await;
        let journal = Journal::open(std::path::Path::new(&text("VICTIM_STATE"))).unwrap();
        let options = || ExecutorOptions {
            pooler: Some(PoolerAccess {
                console: pgassay_postgres::dsn::resolve(&text("VICTIM_CONSOLE")).unwrap(),
                ini: text("VICTIM_INI").into(),
                binary: text("VICTIM_BINARY").into(),
            }),
            fault: Some(&stop),
            lock_timeout: Duration::from_secs(60),
            ..quick()
        };
        let mut executor = open(&journal, &session, options).await;
        let run = journal.start_run(&executor.target(), None).unwrap();
        println!("\nrun={run}");
        let outcome = executor.apply(&run, &change).await;
        panic!("it was to be killed, and ended by itself: {outcome:?}");
    });
}

/// Starts the victim on a change; `stops`: the process that it stops at the intent.
fn victim_of(target: &Target, kind: Kind, stops: Option<u32>) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env("VICTIM_DSN", target.server.dsn(&target.database))
        .env("VICTIM_STATE", target.state.path())
        .env("VICTIM_CHANGE", serde_json::to_string(&target.planned(kind)).unwrap())
        .env("VICTIM_STOPS", stops.map(|pid| pid.to_string()).unwrap_or_default())
        .env("VICTIM_CONSOLE", target.pooler.console_dsn())
        .env("VICTIM_INI", target.pooler.ini_path())
        .env("VICTIM_BINARY", target.pooler.binary())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let run =
        lines.map_while(Result::ok).find_map(|line| line.strip_prefix("run=").map(str::to_owned));
    (child, run.unwrap())
}

fn kill9(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A session that keeps a snapshot open, which CREATE INDEX CONCURRENTLY waits for in its last phase.
async fn hold_a_snapshot(target: &Target) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(&target.server.dsn(&target.database), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
        .await
        .unwrap();
    client
}

/// Waits until the build waits for the snapshot, and returns its backend.
fn building(target: &Target) -> u32 {
    let mut pid = None;
    eventually("the build", || {
        pid = target.value(
            "SELECT pid FROM pg_stat_progress_create_index
             WHERE phase = 'waiting for old snapshots' AND datname = current_database()",
        );
        pid.is_some()
    });
    pid.unwrap().parse().unwrap()
}

/// Kills the victim, checks what the history says, recovers, and takes the run back.
async fn recover_and_take_back(
    target: &Target,
    run: &str,
    before: &target::Picture,
    expected: JournalState,
) {
    let journal = target.journal();
    let session = target.session().await;
    let note = journal.history().unwrap().runs[0].changes[0].note.clone();
    assert!(note.contains(&format!("pgassay rollback {run} DSN finds out")), "{note}");
    assert!(!journal.run(run).unwrap().process_alive());
    let mut executor = open(&journal, &session, || target.options()).await;
    let recovered = executor.recover(run).await.unwrap();
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].state, expected, "{recovered:?}");
    if expected == JournalState::Failed {
        assert_eq!(&target.picture(), before);
    }
    executor.rollback_run(run).await.unwrap();
    assert_eq!(&target.picture(), before);
    assert_eq!(journal.run(run).unwrap().state, RunState::RolledBack);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_an_index_is_built_it_leaves_no_invalid_index() {
    let target = Target::new();
    let before = target.picture();
    let holder = hold_a_snapshot(&target).await;
    let (child, run) = victim_of(&target, Kind::CreateIndex, None);
    let backend = building(&target);
    // Another process works on it: it is left alone.
    let (journal, session) = (target.journal(), target.session().await);
    let locked = pgassay_change::Executor::open(&journal, &session, quick()).await.err().unwrap();
    assert!(
        matches!(&locked, ChangeError::Locked { holder } if holder.contains(&backend.to_string())),
        "{locked}"
    );
    assert!(journal.history().unwrap().runs[0].changes[0].note.contains("is working on it"));
    kill9(child);
    // The backend notices within client_connection_check_interval that its client is gone.
    recover_and_take_back(&target, &run, &before, JournalState::Failed).await;
    holder.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_the_server_goes_on_to_finish_the_index_it_is_in_force_or_undone() {
    let target = Target::new();
    let before = target.picture();
    let holder = hold_a_snapshot(&target).await;
    let (child, run) = victim_of(&target, Kind::CreateIndex, None);
    building(&target);
    kill9(child);
    holder.batch_execute("COMMIT").await.unwrap();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let recovered = executor.recover(&run).await.unwrap();
    let picture = target.picture();
    match recovered[0].state {
        JournalState::Applied => assert!(target.in_force(Kind::CreateIndex, &picture)),
        JournalState::Failed => assert_eq!(picture, before),
        state => panic!("{state:?}"),
    }
    executor.rollback_run(&run).await.unwrap();
    assert_eq!(target.picture(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_an_index_is_dropped_it_is_built_again() {
    let target = Target::new();
    let before = target.picture();
    let (holder, connection) =
        tokio_postgres::connect(&target.server.dsn(&target.database), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    holder.batch_execute("BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE").await.unwrap();
    let (child, run) = victim_of(&target, Kind::DropIndex, None);
    let backends = |condition: &str| {
        let of_database =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
        target
            .value(&format!("{of_database} AND query LIKE 'DROP INDEX%' AND {condition}"))
            .unwrap()
    };
    eventually("the drop", || backends("wait_event_type = 'Lock'") == "1");
    kill9(child);
    eventually("the end of the backend", || backends("true") == "0");
    assert!(target.in_force(Kind::DropIndex, &target.picture()), "it is INVALID");
    holder.batch_execute("COMMIT").await.unwrap();
    recover_and_take_back(&target, &run, &before, JournalState::Failed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_an_index_is_rebuilt_it_leaves_no_second_one_and_others_leftovers_alone() {
    let target = Target::new();
    // Somebody else's, which was there before.
    target.execute("CREATE INDEX orders_pkey_ccnew ON orders (customer)");
    target.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'orders_pkey_ccnew'::regclass",
    );
    let before = target.picture();
    let holder = hold_a_snapshot(&target).await;
    let (child, run) = victim_of(&target, Kind::Reindex, None);
    building(&target);
    kill9(child);
    let second = "SELECT count(*) FROM pg_class WHERE relname = 'orders_pkey_ccnew1'";
    assert_eq!(target.value(second).as_deref(), Some("1"));
    recover_and_take_back(&target, &run, &before, JournalState::Failed).await;
    assert_eq!(target.value(second).as_deref(), Some("0"));
    holder.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_alter_system_and_the_reload_the_parameter_is_finished_or_put_back() {
    let target = Target::new();
    let before = target.picture();
    let postmaster = target.server.postmaster_pid().unwrap();
    // A stopped postmaster takes no reload, and its backends go on.
    let (child, run) = victim_of(&target, Kind::SetParameter, Some(postmaster));
    let auto_conf = target.server.data_directory().join("postgresql.auto.conf");
    eventually("ALTER SYSTEM", || {
        std::fs::read_to_string(&auto_conf).is_ok_and(|text| text.contains("work_mem = '9MB'"))
    });
    kill9(child);
    signal(postmaster, Signal::SIGCONT);
    recover_and_take_back(&target, &run, &before, JournalState::Applied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_pgbouncers_file_and_its_reload_the_setting_is_finished_or_put_back() {
    for kind in [Kind::PoolerIni, Kind::PoolerUserlist] {
        let target = Target::new();
        let before = target.picture();
        let pgbouncer = target.pooler.pid().unwrap();
        let (child, run) = victim_of(&target, kind, Some(pgbouncer));
        eventually("the edit", || {
            let read = |path| std::fs::read_to_string(path).unwrap();
            read(target.pooler.ini_path()) != before.ini
                || read(target.pooler.userlist_path()) != before.userlist
        });
        kill9(child);
        signal(pgbouncer, Signal::SIGCONT);
        recover_and_take_back(&target, &run, &before, JournalState::Applied).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_ended_while_it_builds_leaves_no_invalid_index() {
    let target = Target::new();
    let before = target.picture();
    let holder = hold_a_snapshot(&target).await;
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let change = target.planned(Kind::CreateIndex);
    let outcome = beside(executor.apply(&run, &change), || {
        let backend = building(&target);
        target.execute(&format!("SELECT pg_terminate_backend({backend})"));
    });
    let error = outcome.unwrap_err();
    assert!(matches!(error, ChangeError::Undone { .. }), "{error}");
    assert_eq!(error.exit_status(), 5);
    assert_eq!(target.picture(), before);
    assert_eq!(journal.change(&run, "c1").unwrap().state, JournalState::Failed);
    // The executor goes on, on its new connection.
    holder.batch_execute("COMMIT").await.unwrap();
    executor.apply(&run, &change).await.unwrap();
    executor.rollback_run(&run).await.unwrap();
    assert_eq!(target.picture(), before);
}

/// What is done to the server while it builds, by the backend.
async fn ruin(server: &'static Postgres, what: impl FnOnce(u32) + Send) {
    let target = Target::on(server);
    let before = target.picture();
    let _holder = hold_a_snapshot(&target).await;
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let change = target.planned(Kind::CreateIndex);
    let outcome = beside(executor.apply(&run, &change), || what(building(&target)));
    let error = outcome.unwrap_err();
    assert!(matches!(error, ChangeError::Undone { .. }), "{error}");
    assert_eq!(target.picture(), before);
    assert_eq!(journal.change(&run, "c1").unwrap().state, JournalState::Failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_crashes_or_restarts_while_it_builds_leaves_no_invalid_index() {
    let options = PostgresOptions { stop_with_process: true, ..PostgresOptions::default() };
    let server: &'static Postgres = Box::leak(Box::new(Postgres::start(options).unwrap()));
    ruin(server, |backend| signal(backend, Signal::SIGKILL)).await;
    ruin(server, |_| server.restart().unwrap()).await;
}
