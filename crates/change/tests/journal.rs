//! The journal: durable, readable by its owner, by later versions, and never by earlier ones by mistake.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod target;

use pgassay_change::{Journal, JournalError, JournalState};
use pgassay_model::change::Undo;
use pgassay_model::observation::{self, Bucket, Observation};
use pgassay_model::plan::PlanTarget;
use pgassay_model::run::RunState;
use std::os::unix::fs::MetadataExt;
use target::{create_index, planned};

fn shop() -> PlanTarget {
    PlanTarget {
        system_identifier: Some(7),
        database: "shop".into(),
        version_num: 150_000,
        display: "postgresql://me@db:5432/shop".into(),
    }
}

#[test]
fn what_was_written_is_there_for_the_next_process() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("new");
    let undo = Undo::DropIndex { schema: "public".into(), name: "i".into() };
    let change = planned("c1", create_index("i", "customer"));
    let run = {
        let journal = Journal::open(&directory).unwrap();
        let run = journal.start_run(&shop(), None).unwrap();
        journal.intend(&run, &change, &undo, Some("hash")).unwrap();
        run
    };
    let file = std::fs::metadata(directory.join("journal.sqlite")).unwrap();
    assert_eq!(file.mode() & 0o077, 0, "for its owner only");
    let journal = Journal::open(&directory).unwrap();
    let record = journal.change(&run, "c1").unwrap();
    assert_eq!(record.state, JournalState::Intended);
    assert_eq!((record.planned, record.undo), (change.clone(), Some(undo.clone())));
    assert_eq!(record.expected.as_deref(), Some("hash"));
    assert_eq!(journal.unfinished(Some(&shop())).unwrap().len(), 1);
    let elsewhere = PlanTarget { system_identifier: Some(8), ..shop() };
    assert!(journal.unfinished(Some(&elsewhere)).unwrap().is_empty());

    // What may be in force is not forgotten for a second attempt; what failed may be tried again.
    journal.set_state(&run, "c1", JournalState::Applied, "").unwrap();
    journal.intend(&run, &change, &Undo::Nothing, None).unwrap();
    assert_eq!(journal.change(&run, "c1").unwrap().undo, Some(undo));
    journal.set_state(&run, "c1", JournalState::Failed, "why").unwrap();
    journal.intend(&run, &change, &Undo::Nothing, None).unwrap();
    assert_eq!(journal.change(&run, "c1").unwrap().undo, Some(Undo::Nothing));

    journal.finish_run(&run, RunState::Finished).unwrap();
    let later = journal.start_run(&shop(), None).unwrap();
    assert_ne!(later, run);
    let history = journal.history().unwrap();
    assert_eq!(history.runs[0].run, later, "unfinished runs come first");
    assert!(matches!(journal.run("none"), Err(JournalError::NoRun(_))));
    assert!(matches!(
        journal.set_state(&run, "c9", JournalState::Kept, ""),
        Err(JournalError::NoChange { .. })
    ));
}

#[test]
fn a_journal_of_a_later_pgassay_is_left_alone() {
    let state = tempfile::tempdir().unwrap();
    drop(Journal::open(state.path()).unwrap());
    let file = rusqlite::Connection::open(state.path().join("journal.sqlite")).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    let error = Journal::open(state.path()).unwrap_err();
    assert!(matches!(error, JournalError::TooNew { found: 99, .. }), "{error}");
}

#[test]
fn a_journal_of_the_first_version_goes_on_and_holds_observations_from_then_on() {
    let state = tempfile::tempdir().unwrap();
    let run = Journal::open(state.path()).unwrap().start_run(&shop(), None).unwrap();
    let file = rusqlite::Connection::open(state.path().join("journal.sqlite")).unwrap();
    let first = "DROP TABLE observations; ALTER TABLE runs DROP COLUMN worked_on_since; PRAGMA user_version = 1";
    file.execute_batch(first).unwrap();
    drop(file);
    let journal = Journal::open(state.path()).unwrap();
    assert_eq!(journal.load_observation(&run).unwrap(), None);
    assert!(journal.run(&run).unwrap().process_alive());
    let observed = Observation {
        schema: observation::SCHEMA.into(),
        started_at: pgassay_model::Timestamp::UNIX_EPOCH,
        ended_at: pgassay_model::Timestamp::UNIX_EPOCH,
        target: "postgresql://me@db:5432/shop".into(),
        bucket_s: 60.0,
        statements: Default::default(),
        buckets: vec![Bucket { duration_s: 60.0, commits: 7, ..Bucket::default() }],
        resets: 0,
        evictions: None,
        with_planning: false,
    };
    journal.save_observation(&run, &observed).unwrap();
    drop(journal);
    let journal = Journal::open(state.path()).unwrap();
    assert_eq!(journal.load_observation(&run).unwrap(), Some(observed));
}

#[test]
fn a_run_that_another_process_has_taken_up_is_not_taken_for_left() {
    let state = tempfile::tempdir().unwrap();
    let journal = Journal::open(state.path()).unwrap();
    let run = journal.start_run(&shop(), None).unwrap();
    let file = rusqlite::Connection::open(state.path().join("journal.sqlite")).unwrap();
    // Longer ago than any process that is there: of the same number, and not the same.
    file.execute_batch("UPDATE runs SET started_at = '2001-01-01T00:00:00Z'").unwrap();
    assert!(!journal.run(&run).unwrap().process_alive());
    journal.finish_run(&run, RunState::Finished).unwrap();
    journal.take_up(&run).unwrap();
    let record = journal.run(&run).unwrap();
    assert_eq!((record.state, record.pid), (RunState::Unfinished, std::process::id()));
    assert!(record.process_alive());
}

/// Documents as the first version wrote them: they must load for ever.
#[test]
fn changes_and_undos_of_the_first_version_load() {
    let state = tempfile::tempdir().unwrap();
    let journal = Journal::open(state.path()).unwrap();
    let run = journal.start_run(&shop(), None).unwrap();
    let file = rusqlite::Connection::open(state.path().join("journal.sqlite")).unwrap();
    let rest = r#""title":"t","group":"g","apply":[],"undo":[],"needs_restart":false,
        "expected":{"effect":"e","low":null,"high":null,"source":"what-if"},
        "risk":{"level":"low","reasons":[]},"evidence":[],"statements":[],"mechanism":"m""#;
    let fixtures = [
        (
            r#""kind":"create_index","definition":{"relation":{"schema":"public","name":"orders"},"name":"i","method":"btree","keys":[{"column":"a","expression":null}]},"estimated_size":1024"#,
            r#"{"undo":"drop_index","schema":"public","name":"i"}"#,
        ),
        (
            r#""kind":"drop_index","relation":{"schema":"public","name":"orders"},"name":"i","ddl":"CREATE INDEX i ON public.orders USING btree (a)""#,
            r#"{"undo":"restore_index","schema":"public","name":"i","ddl":"CREATE INDEX i ON public.orders USING btree (a)"}"#,
        ),
        (
            r#""kind":"analyze","relation":{"schema":"public","name":"orders"}"#,
            r#"{"undo":"nothing"}"#,
        ),
        (
            r#""kind":"set_parameter","name":"work_mem","from":"4MB","to":"8MB""#,
            r#"{"undo":"restore_parameter","name":"work_mem","entry":null,"following":[["a","b"]],"effective":"4MB"}"#,
        ),
        (
            r#""kind":"set_pooler","edit":{"file":"ini","ini":"/i","settings":[{"key":"k","from":"1","to":"2"}]}"#,
            r#"{"undo":"restore_file","path":"/i","backup":"/b","sha256":"00"}"#,
        ),
        (
            r#""kind":"set_pooler","edit":{"file":"userlist","ini":"/i","userlist":"/u","users":["app"]}"#,
            r#"{"undo":"restore_file","path":"/u","backup":"/b","sha256":"00"}"#,
        ),
    ];
    for (number, (change, undo)) in (0_i64..).zip(&fixtures) {
        file.execute(
            "INSERT INTO changes (run, position, id, kind, title, state, change, undo, intended_at, changed_at)
             VALUES (?1, ?2, ?3, 'k', 't', 'intended', ?4, ?5, '', '')",
            rusqlite::params![
                run,
                number,
                format!("c{number}"),
                format!(r#"{{"id":"c{number}",{change},{rest}}}"#),
                undo
            ],
        )
        .unwrap();
    }
    assert_eq!(journal.changes(&run).unwrap().len(), fixtures.len());
    // A state of a later pgassay is read as open.
    file.execute("UPDATE changes SET state = 'paused'", []).unwrap();
    assert!(
        journal.changes(&run).unwrap().iter().all(|change| change.state == JournalState::Intended)
    );
}
