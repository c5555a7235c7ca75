//! Every kind of change: in force after applying, exactly as before after taking it back, whatever point
//! the work was cut off at.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod target;

use pgassay_change::{ChangeError, ExecutorOptions, FaultPoint, JournalState};
use pgassay_model::change::{Change, PoolerEdit, PoolerSettingChange, Undo};
use pgassay_model::index::IndexDefinition;
use pgassay_model::run::RunState;
use std::os::unix::fs::MetadataExt;
use target::{Kind, Target, create_index, files, open, planned};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_in_force_when_applied_and_gone_without_a_trace_when_rolled_back() {
    for kind in Kind::ALL {
        let target = Target::new();
        let (journal, session) = (target.journal(), target.session().await);
        let mut executor = open(&journal, &session, || target.options()).await;
        let run = journal.start_run(&executor.target(), None).unwrap();
        let change = target.planned(kind);
        let before = target.picture();
        executor.preflight(std::slice::from_ref(&change)).await.unwrap();
        assert_eq!(target.picture(), before, "{kind:?}: preflight touches nothing");
        assert!(files(&target.state.path().join("backups")).is_empty());

        let applied = executor.apply(&run, &change).await.unwrap();
        assert!(target.in_force(kind, &target.picture()), "{kind:?}: {:?}", target.picture());
        assert!(!applied.pending_restart, "{kind:?}");
        assert_eq!(journal.change(&run, "c1").unwrap().state, JournalState::Applied);
        let twice = executor.apply(&run, &change).await.unwrap_err();
        assert!(matches!(twice, ChangeError::Refused { .. }), "{twice}");

        executor.rollback(&run, "c1").await.unwrap();
        assert_eq!(target.picture(), before, "{kind:?}");
        assert!(target.app_logs_in());
        assert_eq!(journal.change(&run, "c1").unwrap().state, JournalState::RolledBack);
        assert!(
            executor.rollback_run(&run).await.unwrap().is_empty(),
            "nothing is left to take back"
        );
        assert_eq!(journal.run(&run).unwrap().state, RunState::RolledBack);

        // What was taken back can be applied again in the same run, and its backup does not collide.
        executor.apply(&run, &change).await.unwrap();
        assert!(target.in_force(kind, &target.picture()), "{kind:?} again");
        assert_eq!(executor.rollback_run(&run).await.unwrap(), ["c1"]);
        assert_eq!(target.picture(), before, "{kind:?} again");
        executor.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_kinds_in_one_run_are_taken_back_together() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let before = target.picture();
    let mut changes: Vec<_> = Kind::ALL.into_iter().map(|kind| target.change(kind)).collect();
    // A parameter that has no entry yet, and one in the middle of the file.
    for (name, from, to) in
        [("random_page_cost", "4", "1.1"), ("maintenance_work_mem", "48MB", "64MB")]
    {
        changes.push(Change::SetParameter { name: name.into(), from: from.into(), to: to.into() });
    }
    for (number, change) in changes.iter().enumerate() {
        executor.apply(&run, &planned(&format!("c{number}"), change.clone())).await.unwrap();
    }
    for kind in Kind::ALL {
        assert!(target.in_force(kind, &target.picture()), "{kind:?}");
    }
    assert_eq!(target.show("random_page_cost"), "1.1");
    assert_eq!(executor.rollback_run(&run).await.unwrap().len(), changes.len());
    assert_eq!(target.picture(), before);
    assert_eq!(target.show("random_page_cost"), "4");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_the_work_is_cut_off_recovery_finds_before_or_after_and_the_journal_says_which() {
    use FaultPoint::{AfterAct, AfterIntent, AfterOutcome, AfterUndo, BeforeUndo};
    for kind in Kind::ALL {
        for point in [AfterIntent, AfterAct, AfterOutcome, BeforeUndo, AfterUndo] {
            let target = Target::new();
            let before = target.picture();
            let run = {
                let (journal, session) = (target.journal(), target.session().await);
                let stop = |at: FaultPoint, _: &str| at == point;
                let options = || ExecutorOptions { fault: Some(&stop), ..target.options() };
                let mut executor = open(&journal, &session, options).await;
                let run = journal.start_run(&executor.target(), None).unwrap();
                let change = target.planned(kind);
                let error = match executor.apply(&run, &change).await {
                    Err(error) => error,
                    Ok(_) => executor.rollback(&run, "c1").await.unwrap_err(),
                };
                assert!(matches!(error, ChangeError::Fault), "{error}");
                run
            };
            let (journal, session) = (target.journal(), target.session().await);
            let history = journal.history().unwrap();
            let note = &history.runs[0].changes[0].note;
            let open_words = match point {
                AfterIntent | AfterAct => "it may or may not be in force",
                AfterOutcome => "it is in force and was not judged",
                BeforeUndo | AfterUndo => "taking it back was begun and not finished",
            };
            assert!(note.contains(open_words), "{kind:?} {point:?}: {note}");

            let mut executor = open(&journal, &session, || target.options()).await;
            let recovered = executor.recover(&run).await.unwrap();
            let expected = match (point, kind) {
                (AfterIntent, _) | (AfterAct, Kind::Analyze) => JournalState::Failed,
                (AfterAct | AfterOutcome, _) => JournalState::Applied,
                (BeforeUndo | AfterUndo, _) => JournalState::RolledBack,
            };
            let record = journal.change(&run, "c1").unwrap();
            assert_eq!(record.state, expected, "{kind:?} {point:?}: {}", record.outcome);
            assert_eq!(recovered.len(), usize::from(point != AfterOutcome), "{kind:?} {point:?}");
            let picture = target.picture();
            if expected == JournalState::Applied {
                assert!(target.in_force(kind, &picture), "{kind:?} {point:?}");
            } else {
                assert_eq!(picture, before, "{kind:?} {point:?}");
            }
            executor.rollback_run(&run).await.unwrap();
            assert_eq!(target.picture(), before, "{kind:?} {point:?}");
            assert!(executor.recover(&run).await.unwrap().is_empty(), "nothing is open any more");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_waits_for_a_restart_of_pgbouncer_is_said_to_wait() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let before = target.picture();
    let edit = PoolerEdit::Ini {
        ini: target.pooler.ini_path().to_path_buf(),
        settings: vec![PoolerSettingChange {
            key: "listen_backlog".into(),
            from: "128".into(),
            to: "512".into(),
        }],
    };
    let change = planned("c1", Change::SetPooler { edit });
    let applied = executor.apply(&run, &change).await.unwrap();
    assert!(applied.pending_restart);
    assert!(
        applied.notes[0].contains("listen_backlog is 128, expected 512"),
        "{:?}",
        applied.notes
    );
    executor.rollback(&run, "c1").await.unwrap();
    assert_eq!(target.picture(), before);
    assert_eq!(journal.change(&run, "c1").unwrap().outcome, "");

    // Once it was restarted, taking it back waits for a restart as well.
    executor.apply(&run, &change).await.unwrap();
    target.pooler.stop();
    target.pooler.start_again().unwrap();
    executor.rollback(&run, "c1").await.unwrap();
    let outcome = journal.change(&run, "c1").unwrap().outcome;
    assert_eq!(outcome, "listen_backlog stays 512 until PgBouncer is restarted");
    assert_eq!(target.picture(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_pgbouncer_is_not_taken_back_without_its_console() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let run = {
        let mut executor = open(&journal, &session, || target.options()).await;
        let run = journal.start_run(&executor.target(), None).unwrap();
        executor.apply(&run, &target.planned(Kind::PoolerIni)).await.unwrap();
        executor.close().await.unwrap();
        run
    };
    let after = target.picture();
    let options = || ExecutorOptions { pooler: None, ..target.options() };
    let mut executor = open(&journal, &session, options).await;
    let error = executor.rollback_run(&run).await.unwrap_err();
    assert!(error.hint().unwrap().contains("--pgbouncer-ini"), "{error}");
    assert_eq!(target.picture(), after);
    assert_eq!(journal.change(&run, "c1").unwrap().state, JournalState::Applied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_waits_for_a_restart_is_said_to_wait() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let before = target.picture();
    let from = target.show("shared_buffers");
    let change = Change::SetParameter { name: "shared_buffers".into(), from, to: "64MB".into() };
    let applied = executor.apply(&run, &planned("c1", change)).await.unwrap();
    assert!(applied.pending_restart);
    assert!(applied.notes[0].contains("until the server is restarted"), "{:?}", applied.notes);
    executor.rollback(&run, "c1").await.unwrap();
    assert_eq!(target.picture(), before);
    assert_eq!(
        target.value("SELECT count(*) FROM pg_settings WHERE pending_restart").unwrap(),
        "0"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schema_settings_and_pgbouncers_files_are_laid_by_for_the_owner_only() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let before = target.picture();
    let applied = executor.apply(&run, &target.planned(Kind::PoolerUserlist)).await.unwrap();
    let backups = journal.run(&run).unwrap().backups;
    let named = |name: &str| {
        let path = backups.iter().find(|path| path.ends_with(name)).unwrap();
        (std::fs::read_to_string(path).unwrap(), std::fs::metadata(path).unwrap())
    };
    assert!(named("schema.sql").0.contains("CREATE INDEX orders_note"));
    assert!(named("configuration.sql").0.contains("ALTER SYSTEM SET work_mem = '5MB'"));
    assert_eq!(named("postgresql.auto.conf").0, before.auto_conf);
    assert_eq!(named("pgbouncer.ini").0, before.ini);
    assert_eq!(named("userlist.txt").0, before.userlist);
    for path in &backups {
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600, "{path:?}");
    }
    let directory = backups[0].parent().unwrap();
    assert_eq!(std::fs::metadata(directory).unwrap().mode() & 0o777, 0o700);
    let Undo::RestoreFile { backup, .. } = applied.undo else { panic!("{:?}", applied.undo) };
    assert_eq!(std::fs::metadata(&backup).unwrap().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&backup).unwrap(), before.userlist);
    let journal_file = std::fs::read(target.state.path().join("journal.sqlite")).unwrap();
    let journal_text = String::from_utf8_lossy(&journal_file);
    assert!(!journal_text.contains("plain-text") && !journal_text.contains("SCRAM-SHA-256$"));
    executor.rollback_run(&run).await.unwrap();

    // Without a pg_dump that fits, the catalog is written out.
    let options = || ExecutorOptions { pg_dump: Some("/nonexistent".into()), ..target.options() };
    drop(executor);
    session.client().execute("SELECT pg_advisory_unlock_all()", &[]).await.unwrap();
    let executor = open(&journal, &session, options).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    let paths = executor.back_up(&run).await.unwrap();
    let text = std::fs::read_to_string(&paths[0]).unwrap();
    assert!(text.contains("no pg_dump of version"), "{text}");
    assert!(
        text.contains("CREATE INDEX orders_note ON public.orders USING btree (note);"),
        "{text}"
    );
    assert!(text.contains("orders_pkey PRIMARY KEY (id)"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_else_changed_since_is_not_undone_and_said() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    for (id, kind) in
        [("c1", Kind::CreateIndex), ("c2", Kind::SetParameter), ("c3", Kind::PoolerIni)]
    {
        executor.apply(&run, &planned(id, target.change(kind))).await.unwrap();
    }
    executor.apply(&run, &planned("c4", create_index("orders_id_note", "note"))).await.unwrap();
    target.execute("DROP INDEX orders_customer");
    target.execute("CREATE INDEX orders_customer ON orders (customer, id)");
    target.execute("ALTER SYSTEM SET work_mem = '11MB'");
    let ini = std::fs::read_to_string(target.pooler.ini_path()).unwrap();
    std::fs::write(target.pooler.ini_path(), format!("{ini};; my own line\n")).unwrap();
    let before = target.picture();

    for (id, word) in [("c1", "something else"), ("c2", "11MB"), ("c3", "somebody else edited it")]
    {
        let error = executor.rollback(&run, id).await.unwrap_err();
        assert!(matches!(error, ChangeError::NotUndone { .. }), "{error}");
        assert_eq!(error.exit_status(), 6);
        assert!(error.to_string().contains(word), "{error}");
        assert!(error.hint().unwrap().contains("to finish by hand"), "{error}");
        assert_eq!(journal.change(&run, id).unwrap().state, JournalState::Applied);
    }
    assert_eq!(target.picture(), before);
    // The rest of the run is taken back all the same.
    let error = executor.rollback_run(&run).await.unwrap_err();
    assert_eq!(error.exit_status(), 6);
    assert_eq!(journal.change(&run, "c4").unwrap().state, JournalState::RolledBack);
    assert_eq!(journal.run(&run).unwrap().state, RunState::FailedPartly);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_edited_plan_smuggles_in_is_refused_untouched() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let executor = open(&journal, &session, || target.options()).await;
    let before = target.picture();
    let index = |edit: &dyn Fn(&mut IndexDefinition)| {
        let mut change = create_index("smuggled", "customer");
        if let Change::CreateIndex { definition, .. } = &mut change {
            edit(definition);
        }
        planned("c1", change)
    };
    let parameter = |name: &str| {
        let (name, from, to) = (name.to_owned(), target.show(name), "/tmp".to_owned());
        planned("c1", Change::SetParameter { name, from, to })
    };
    let plans = [
        vec![index(&|d| d.predicate = Some("true; DROP TABLE orders".into()))],
        vec![index(&|d| d.keys[0].opclass = Some("int4_ops) WITH (fillfactor = 10) --".into()))],
        vec![index(&|d| d.name = String::new())],
        vec![index(&|d| d.name = "x\0y".into())],
        vec![index(&|d| d.keys.clear())],
        vec![index(&|d| d.unique = true)],
        vec![parameter("dynamic_library_path")],
        vec![parameter("log_directory")],
        vec![planned("../c1", target.change(Kind::CreateIndex))],
        vec![planned("", target.change(Kind::CreateIndex))],
        vec![
            planned("c1", target.change(Kind::CreateIndex)),
            planned("c1", target.change(Kind::SetParameter)),
        ],
    ];
    for plan in plans {
        let refused = executor.preflight(&plan).await.unwrap_err();
        assert!(matches!(refused, ChangeError::Refused { .. }), "{plan:?}: {refused}");
        assert_eq!(refused.exit_status(), 2);
        assert!(refused.hint().is_some());
    }
    assert_eq!(target.picture(), before);
    executor.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_back_a_change_that_never_was_is_bad_input() {
    let target = Target::new();
    let (journal, session) = (target.journal(), target.session().await);
    let mut executor = open(&journal, &session, || target.options()).await;
    let run = journal.start_run(&executor.target(), None).unwrap();
    assert_eq!(executor.rollback(&run, "c9").await.unwrap_err().exit_status(), 2);
    assert_eq!(executor.rollback("never", "c1").await.unwrap_err().exit_status(), 2);
    executor.close().await.unwrap();
}
