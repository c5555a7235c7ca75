//! What others do while a change is made: locks held, edits of files, an interrupt, a pooler that ends.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod target;

use pgassay_change::{ChangeError, ExecutorOptions, FaultPoint, JournalState};
use pgassay_model::interrupt::Interrupt;
use std::time::Duration;
use target::{Kind, Target, beside, eventually, open, refused};

/// Holds a lock on the table that index builds conflict with.
async fn hold_a_lock(target: &Target) -> tokio_postgres::Client {
    let (client, connection) =
        tokio_postgres::connect(&target.server.dsn(&target.database), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE orders IN ROW EXCLUSIVE MODE").await.unwrap();
    client
}

/// Backends of this database that wait for a lock in a statement that begins so.
fn waiting(target: &Target, statement: &str) -> String {
    target
        .value(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
             AND wait_event_type = 'Lock' AND query LIKE '{statement}%'"
        ))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_lock_is_waited_for_in_short_attempts_and_then_the_index_is_built() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let options = || ExecutorOptions { attempts: 8, ..target.options() };
    let mut executor = open(&journal, &session, options).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let before = target.picture();
    let holder = hold_a_lock(&target).await;
    let change = target.planned(Kind::CreateIndex);
    let applied = beside(executor.apply(&run, &change), || {
        // CREATE INDEX ran into the time-out once its leftover is being dropped.
        eventually("a first attempt", || waiting(&target, "CREATE INDEX") == "1");
        eventually("a second attempt", || waiting(&target, "DROP INDEX") == "1");
        target::on_thread(async move { holder.batch_execute("COMMIT").await.unwrap() });
    });
    let applied = applied.unwrap();
    assert!(applied.notes[0].contains("attempts, since locks were held"), "{:?}", applied.notes);
    executor.rollback_run(&run).await.unwrap();
    assert_eq!(target.picture(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_that_runs_into_a_held_lock_is_tried_again_and_leaves_one_index() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let options = || ExecutorOptions { attempts: 8, ..target.options() };
    let mut executor = open(&journal, &session, options).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let before = target.picture();
    let holder = hold_a_lock(&target).await;
    let change = target.planned(Kind::Reindex);
    let applied = beside(executor.apply(&run, &change), || {
        eventually("a first attempt", || waiting(&target, "REINDEX") == "1");
        eventually("the leftover being dropped", || waiting(&target, "DROP INDEX") == "1");
        target::on_thread(async move { holder.batch_execute("COMMIT").await.unwrap() });
    });
    let applied = applied.unwrap();
    assert!(applied.notes[0].contains("attempts, since locks were held"), "{:?}", applied.notes);
    assert_eq!(target.picture(), before, "the same index, and no leftover");
    executor.rollback(&run, "c1").await.unwrap();
    assert!(journal.change(&run, "c1").unwrap().outcome.contains("no undo"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_stays_held_leaves_the_leftover_to_recovery_and_says_so() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let options = || ExecutorOptions { attempts: 2, ..target.options() };
    let mut executor = open(&journal, &session, options).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let before = target.picture();
    let holder = hold_a_lock(&target).await;
    // The INVALID leftover can't be dropped while the lock is held.
    let error = executor.apply(&run, &target.planned(Kind::CreateIndex)).await.unwrap_err();
    assert!(matches!(error, ChangeError::NotUndone { .. }), "{error}");
    assert_eq!(error.sqlstate(), Some("55P03"));
    assert!(error.hint().unwrap().contains(&format!("pgassay rollback {run}/c1 DSN")), "{error}");
    assert_eq!(journal.change(&run, "c1").unwrap().state, JournalState::RollingBack);
    holder.batch_execute("COMMIT").await.unwrap();
    let recovered = executor.recover(&run).await.unwrap();
    assert_eq!(recovered[0].state, JournalState::RolledBack);
    assert!(recovered[0].found.contains("INVALID"), "{recovered:?}");
    assert_eq!(target.picture(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_cancels_the_build_and_undoes_it() {
    let target = Target::new();
    let interrupt = Interrupt::default();
    let (journal, session) = (target.journal(), target.session().await);
    let options = || ExecutorOptions {
        interrupt: interrupt.clone(),
        lock_timeout: Duration::from_secs(60),
        ..target.options()
    };
    let mut executor = open(&journal, &session, options).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let before = target.picture();
    let holder = hold_a_lock(&target).await;
    let change = target.planned(Kind::CreateIndex);
    let outcome = beside(executor.apply(&run, &change), || {
        eventually("the build", || waiting(&target, "CREATE INDEX") == "1");
        interrupt.request();
        eventually("the undoing", || waiting(&target, "DROP INDEX") == "1");
        target::on_thread(async move { holder.batch_execute("COMMIT").await.unwrap() });
    });
    let error = outcome.unwrap_err();
    assert!(error.interrupted(), "{error}");
    assert_eq!(error.exit_status(), 130);
    assert_eq!(target.picture(), before);
    assert_eq!(journal.change(&run, "c1").unwrap().state, JournalState::Failed);
    assert!(matches!(executor.apply(&run, &change).await, Err(ChangeError::Interrupt)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_somebody_else_is_never_dropped() {
    let target = Target::new();
    // INVALID, since its values are not unique.
    let sql = "CREATE UNIQUE INDEX CONCURRENTLY orders_customer ON orders (customer)";
    target.server.execute(&target.database, sql).unwrap_err();
    let before = target.picture();
    let error = refused(&target, &target.settings(), target.change(Kind::CreateIndex)).await;
    assert!(matches!(error, ChangeError::Stale { .. }), "{error}");
    assert_eq!(target.picture(), before);
    target.execute("DROP INDEX orders_customer");

    // Made by somebody else between the intent and the build, even exactly as planned.
    for sql in
        ["CREATE INDEX orders_customer ON orders (customer)", "CREATE TABLE orders_customer ()"]
    {
        let (journal, session) = (target.journal(), target.session().await);
        let meddle = |point: FaultPoint, _: &str| {
            if point == FaultPoint::AfterIntent {
                target.execute(sql);
            }
            false
        };
        let options = || ExecutorOptions { fault: Some(&meddle), ..target.options() };
        let mut executor = open(&journal, &session, options).await;
        let run = journal.start_run(&executor.target(), None).unwrap();
        let error = executor.apply(&run, &target.planned(Kind::CreateIndex)).await.unwrap_err();
        assert!(matches!(error, ChangeError::Undone { .. }), "{error}");
        assert_eq!(error.sqlstate(), Some("42P07"));
        assert!(target.value("SELECT to_regclass('orders_customer')").is_some());
        assert!(executor.rollback_run(&run).await.unwrap().is_empty());
        assert!(target.value("SELECT to_regclass('orders_customer')").is_some());
        let what = if sql.contains("INDEX") { "INDEX" } else { "TABLE" };
        target.execute(&format!("DROP {what} orders_customer"));
        executor.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_somebody_edits_meanwhile_keeps_their_edit() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let theirs =
        format!("{}\n;; theirs\n", std::fs::read_to_string(target.pooler.ini_path()).unwrap());
    let meddle = |point: FaultPoint, _: &str| {
        if point == FaultPoint::AfterIntent {
            std::fs::write(target.pooler.ini_path(), &theirs).unwrap();
        }
        false
    };
    let options = || ExecutorOptions { fault: Some(&meddle), ..target.options() };
    let mut executor = open(&journal, &session, options).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let error = executor.apply(&run, &target.planned(Kind::PoolerIni)).await.unwrap_err();
    assert!(matches!(error, ChangeError::Undone { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(target.pooler.ini_path()).unwrap(), theirs);
    assert_eq!(target.pool_size(), "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pgbouncer_that_ends_meanwhile_gets_its_file_back() {
    for point in [FaultPoint::AfterIntent, FaultPoint::BeforeUndo] {
        let target = Target::new();
        let before = target.picture();
        let (journal, session) = (target.journal(), target.session().await);
        let end = |at: FaultPoint, _: &str| {
            if at == point {
                target.pooler.kill9();
            }
            false
        };
        let options = || ExecutorOptions { fault: Some(&end), ..target.options() };
        let mut executor = open(&journal, &session, options).await;
        let run = journal.start_run(&executor.target(), None).unwrap();
        let error = match executor.apply(&run, &target.planned(Kind::PoolerIni)).await {
            Err(error) => error,
            Ok(_) => executor.rollback(&run, "c1").await.unwrap_err(),
        };
        assert!(matches!(error, ChangeError::NotUndone { .. }), "{error}");
        assert!(error.to_string().contains("the file is as it was"), "{error}");
        assert_eq!(std::fs::read_to_string(target.pooler.ini_path()).unwrap(), before.ini);
        target.pooler.start_again().unwrap();
        let recovered = executor.recover(&run).await.unwrap();
        assert_eq!(recovered[0].state, JournalState::RolledBack);
        assert_eq!(target.picture(), before);
    }
}
