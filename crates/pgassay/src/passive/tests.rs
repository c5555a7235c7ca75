//! Passive verification on a real server, with buckets shorter than the command line takes. An application of its own
//! connections runs all the while; pgassay drives nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod statistics;

use crate::failure::Exit;
use crate::passive;
use crate::passive::observing::Observer;
use crate::passive::watch::Watch;
use crate::past_runs;
use crate::progress::Progress;
use crate::target::{Target, resolve_dsn};
use pgassay_judge::{baseline, compare_observations};
use pgassay_model::change::Change;
use pgassay_model::comparison::Verdict;
use pgassay_model::index::{IndexDefinition, IndexKey, RelationName};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::observation::Observation;
use pgassay_model::plan::{
    self, Expected, ExpectedSource, Plan, PlanTarget, PlannedChange, Risk, RiskLevel,
};
use pgassay_model::run::{ChangeState, Run, RunState};
use pgassay_model::units::Bytes;
use pgassay_testkit::{Postgres, fresh_database, shared};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// One scene at a time: they share the server, and each measures time.
static TURN: Mutex<()> = Mutex::const_new(());

const ROWS: u32 = 60_000;
const BUCKET: Duration = Duration::from_millis(400);

/// A database with an application's relation, and where pgassay works.
struct Scene {
    server: &'static Postgres,
    database: String,
    target: Target,
    _state: tempfile::TempDir,
}

impl Scene {
    fn open() -> Scene {
        let server = shared();
        let database = fresh_database(server);
        for sql in [
            "CREATE EXTENSION pg_stat_statements",
            "CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, amount int NOT NULL)",
            &format!(
                "INSERT INTO orders SELECT n, n % 2000, n % 97 FROM generate_series(1, {ROWS}) n"
            ),
        ] {
            server.execute(&database, sql).unwrap();
        }
        server.execute(&database, "VACUUM ANALYZE orders").unwrap();
        let state = tempfile::tempdir().unwrap();
        let settings = resolve_dsn(&server.dsn(&database)).unwrap();
        let target = Target {
            application: settings.clone(),
            server: settings,
            console: None,
            ini: None,
            pgbouncer_binary: None,
            postgres_bin: None,
            state: state.path().to_owned(),
            interrupt: Interrupt::default(),
            progress: Progress::new(std::env::var_os("PGASSAY_TEST_PROGRESS").is_none()),
        };
        Scene { server, database, target, _state: state }
    }

    fn indexes(&self) -> usize {
        self.server
            .query(&self.database, "SELECT 1 FROM pg_indexes WHERE tablename = 'orders'")
            .unwrap()
            .len()
    }

    fn setting(&self, name: &str) -> String {
        self.server.query(&self.database, &format!("SHOW {name}")).unwrap()[0][0].clone().unwrap()
    }

    fn plan(&self, changes: Vec<PlannedChange>) -> Plan {
        Plan {
            schema: plan::SCHEMA.into(),
            generated_at: jiff::Timestamp::now(),
            target: PlanTarget {
                system_identifier: None,
                database: self.database.clone(),
                version_num: self.server.version_num(),
                display: self.target.server.to_string(),
            },
            ledger_ms: None,
            reachable: Vec::new(),
            findings: Vec::new(),
            changes,
            not_proposed: Vec::new(),
            recommendations: Vec::new(),
            engine: String::new(),
            measurement: None,
            engine_notes: Vec::new(),
            elsewhere: Vec::new(),
            workload: None,
        }
    }
}

fn planned(id: &str, group: &str, change: Change, statements: &[&str]) -> PlannedChange {
    PlannedChange {
        id: id.into(),
        change,
        title: format!("the change {id}"),
        group: group.into(),
        apply: Vec::new(),
        undo: Vec::new(),
        needs_restart: false,
        expected: Expected {
            effect: String::new(),
            low: None,
            high: None,
            source: ExpectedSource::Rule,
        },
        risk: Risk { level: RiskLevel::Low, reasons: Vec::new() },
        evidence: Vec::new(),
        statements: statements
            .iter()
            .map(|sql| format!("q{}", pgassay_sql::fingerprint(sql).unwrap()))
            .collect(),
        mechanism: String::new(),
    }
}

fn index(name: &str, column: &str) -> Change {
    Change::CreateIndex {
        definition: IndexDefinition {
            relation: RelationName { schema: "public".into(), name: "orders".into() },
            name: name.into(),
            method: "btree".into(),
            unique: false,
            keys: vec![IndexKey::column(column)],
            include: Vec::new(),
            predicate: None,
            pages_per_range: None,
        },
        estimated_size: Bytes(1 << 20),
    }
}

fn parameter(name: &str, from: &str, to: &str) -> Change {
    Change::SetParameter { name: name.into(), from: from.into(), to: to.into() }
}

const BY_ID: &str = "SELECT amount FROM orders WHERE id = $1";
const BY_CUSTOMER: &str = "SELECT amount FROM orders WHERE customer = $1";
/// Sleeping takes as long on a machine that is busy with other things, as one that runs tests is.
const SHORT: &str = "SELECT amount, pg_sleep(0.01) FROM orders WHERE id = $1";
const LONG: &str = "SELECT count(*), pg_sleep(0.04) FROM orders WHERE id = $1";

/// Statements that the application runs again and again, each so often in a round.
#[derive(Clone)]
struct Mix(Arc<Vec<(&'static str, AtomicU32)>>);

impl Mix {
    fn of(statements: &[(&'static str, u32)]) -> Mix {
        Mix(Arc::new(statements.iter().map(|(sql, n)| (*sql, AtomicU32::new(*n))).collect()))
    }

    fn set(&self, statement: &str, count: u32) {
        self.0.iter().filter(|(sql, _)| *sql == statement).for_each(|(_, n)| {
            n.store(count, Ordering::SeqCst);
        });
    }
}

/// An application with a connection of its own, until it is dropped.
struct Application {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Application {
    fn start(scene: &Scene, mix: &Mix) -> Application {
        let stop = Arc::new(AtomicBool::new(false));
        let (dsn, mix, ended) = (scene.server.dsn(&scene.database), mix.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let (client, connection) =
                    tokio_postgres::connect(&dsn, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                let mut n = 1;
                while !ended.load(Ordering::SeqCst) {
                    for (statement, count) in mix.0.iter() {
                        for _ in 0..count.load(Ordering::SeqCst) {
                            n = n % 1999 + 1;
                            let sql = statement.replace("$1", &n.to_string());
                            // The simple protocol: planned anew, under the parameters in force.
                            client.simple_query(&sql).await.unwrap();
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        });
        Application { stop, thread: Some(thread) }
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(buckets: u32) -> Watch {
    Watch { window: BUCKET * buckets, bucket: BUCKET, seed: 42, keep_inconclusive: false }
}

/// Applies a plan until these changes are kept, at most five times: a machine that others keep busy may really change
/// its speed between two windows, and what it does to statements that a change does not touch is no improvement.
async fn apply_until_kept(scene: &Scene, plan: &Plan, watch: &Watch, ids: &[&str]) -> Run {
    let is_kept = |run: &Run, id: &str| {
        run.changes.iter().any(|change| change.id == id && change.state == ChangeState::Kept)
    };
    for _ in 0..4 {
        let run = passive::apply(&scene.target, plan, watch).await.unwrap();
        if ids.iter().all(|id| is_kept(&run, id)) {
            return run;
        }
        past_runs::rollback(&scene.target, &run.run, None).await.unwrap();
    }
    passive::apply(&scene.target, plan, watch).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_index_is_an_improvement_and_is_kept_and_can_be_verified_again() {
    let _turn = TURN.lock().await;
    let scene = Scene::open();
    let mix = Mix::of(&[(SHORT, 1), (BY_CUSTOMER, 8)]);
    let application = Application::start(&scene, &mix);
    let change = planned("c1", "indexes", index("orders_customer", "customer"), &[BY_CUSTOMER]);
    let useless = planned("c2", "indexes", index("orders_amount", "amount"), &[]);
    let plan = scene.plan(vec![change, useless]);
    let run = apply_until_kept(&scene, &plan, &watch(10), &["c1"]).await;

    let state = |id: &str| run.changes.iter().find(|change| change.id == id).unwrap();
    assert_eq!(state("c1").state, ChangeState::Kept, "{run:#?}");
    assert_eq!(state("c1").verdict, Some(Verdict::Improved));
    assert_eq!(state("c2").state, ChangeState::RolledBack, "{:#?}", state("c2"));
    assert!(state("c2").reason.contains("no statement used it"), "{}", state("c2").reason);
    assert_eq!(scene.indexes(), 2);
    assert!(run.before.is_none() && run.after.is_none(), "no percentile is invented");
    let primary = &run.comparison[0];
    assert_eq!(primary.metric, "statement_time_index");
    assert!(primary.change.unwrap() < -0.5 && primary.detectable.is_some(), "{primary:#?}");
    let statement = state("c1").comparison.last().unwrap();
    assert!(statement.metric.starts_with("statement:q"), "{statement:#?}");
    assert!(statement.change.unwrap() < -0.7, "{statement:#?}");
    let notes = run.notes.join("\n");
    assert!(
        notes.contains("blocks touched per call") && notes.contains("calls per second"),
        "{notes}"
    );
    assert!(notes.contains("is SELECT amount FROM orders WHERE customer = $1"), "{notes}");

    // The same again, from what the journal holds of before.
    let stored = past_runs::load_run(&scene.target.state, &run.run).unwrap();
    let again = passive::verify(&scene.target, stored, &watch(8)).await.unwrap();
    assert!(again.headline.contains("improved"), "{}", again.headline);
    assert_eq!(again.changes[0].state, ChangeState::Kept);
    for checked in [&run, &again] {
        let index = checked.checks.iter().find(|one| one.id == "index_effectiveness").unwrap();
        assert!(index.passed == Some(true) && index.detail.contains("scans"), "{index:?}");
    }
    drop(application);
    past_runs::rollback(&scene.target, &run.run, None).await.unwrap();
    assert_eq!(scene.indexes(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parameter_that_does_harm_is_found_by_switching_and_taken_back() {
    let _turn = TURN.lock().await;
    let scene = Scene::open();
    // Look-ups take a percent or two of the time: reading the whole relation for each slows them thirtyfold and all of
    // it by less than the rule that takes a change back at once.
    let mix = Mix::of(&[(SHORT, 1), (BY_ID, 3)]);
    let application = Application::start(&scene, &mix);
    let change = planned("c1", "planner", parameter("random_page_cost", "4", "1000"), &[BY_ID]);
    let plan = scene.plan(vec![change]);
    let watching = Watch { bucket: BUCKET / 2, ..watch(12) };
    let result = passive::apply(&scene.target, &plan, &watching).await;
    drop(application);
    assert_eq!(scene.setting("random_page_cost"), "4");
    let run = match result {
        Ok(run) => run,
        // On a machine that is busy with other things as well, the rule may be faster than the comparison.
        Err(failure) => {
            assert!(failure.message.contains("rose by"), "{failure:?}");
            return;
        }
    };
    assert_eq!(run.changes[0].verdict, Some(Verdict::Regressed), "{run:#?}");
    assert_eq!(run.changes[0].state, ChangeState::RolledBack);
    assert!(run.changes[0].reason.contains("switched on and off"), "{}", run.changes[0].reason);
    let primary = &run.changes[0].comparison[0];
    assert!(primary.method.contains("paired") && primary.n >= 8, "{primary:#?}");
    assert!(run.comparison.is_empty(), "nothing is in force: after is as before");
    assert_eq!(run.state, RunState::RolledBack);
    let slower = run.changes[0].comparison.last().unwrap();
    assert!(
        slower.metric.starts_with("statement:q") && slower.change.unwrap() > 2.0,
        "{slower:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_slows_everything_down_goes_at_once_with_status_5_and_a_report() {
    let _turn = TURN.lock().await;
    let scene = Scene::open();
    let application = Application::start(&scene, &Mix::of(&[(BY_ID, 20)]));
    // Each look-up reads the whole relation.
    let change = planned("c1", "planner", parameter("random_page_cost", "4", "1000"), &[BY_ID]);
    let plan = scene.plan(vec![change]);
    let failure = passive::apply(&scene.target, &plan, &watch(8)).await.unwrap_err();
    drop(application);
    assert_eq!(failure.exit, Exit::Undone, "{failure:?}");
    assert!(failure.message.contains("rose by"), "{failure:?}");
    assert_eq!(scene.setting("random_page_cost"), "4");
    let run = past_runs::load_run(&scene.target.state, "latest").unwrap();
    assert_eq!(run.state, RunState::FailedUndone);
    assert!(run.changes.iter().all(|change| change.state == ChangeState::RolledBack));
    assert!(run.headline.contains("everything was undone"), "{}", run.headline);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shift_of_the_mix_is_no_change() {
    let _turn = TURN.lock().await;
    let scene = Scene::open();
    let mix = Mix::of(&[(SHORT, 2), (LONG, 1)]);
    let application = Application::start(&scene, &mix);
    let watching = watch(8);
    let mut observer = Observer::open(&scene.target, &watching).await.unwrap();
    let mut last = None;
    // A machine that is busy with other things may really change its speed between two windows: then once more.
    for _ in 0..3 {
        mix.set(LONG, 1);
        let before = observer.window("before", None).await.unwrap().observation;
        assert!(baseline(&before).is_ok());
        assert_eq!(before.statements.len(), 2, "only the application's: {:#?}", before.statements);
        // The share of the slow one triples.
        mix.set(LONG, 3);
        let shifted = observer.window("shifted", None).await.unwrap().observation;
        let mean = |side: &Observation| side.total_ms() / side.calls() as f64;
        assert!(mean(&shifted) > 1.2 * mean(&before), "a mean over all calls calls it slower");
        let judgement = compare_observations(&before, &shifted);
        if !matches!(judgement.verdict, Verdict::Improved | Verdict::Regressed) {
            drop(application);
            return;
        }
        last = Some(judgement);
    }
    panic!("{last:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_of_the_statistics_is_said_and_what_it_lost_is_left_out() {
    let _turn = TURN.lock().await;
    let scene = Scene::open();
    let application = Application::start(&scene, &Mix::of(&[(SHORT, 2), (LONG, 1)]));
    let watching = watch(8);
    let mut observer = Observer::open(&scene.target, &watching).await.unwrap();
    let (server, database) = (scene.server, scene.database.clone());
    let reset = std::thread::spawn(move || {
        std::thread::sleep(BUCKET * 7 / 2);
        server.execute(&database, "SELECT pg_stat_statements_reset()").unwrap();
    });
    let observed = observer.window("before", None).await.unwrap().observation;
    reset.join().unwrap();
    drop(application);
    // Before 14 the extension does not tell of a reset.
    if scene.server.version_num() >= 140_000 {
        assert_eq!((observed.resets, observed.buckets.len()), (1, 7));
        let said = crate::passive::document::traffic("g", "before and after", &observed, &observed);
        assert!(said.contains("was reset, 1 bucket is left out"), "{said}");
    }
    for bucket in &observed.buckets {
        let mean = bucket.total_ms() / bucket.calls().max(1) as f64;
        assert!(bucket.calls() > 0 && (10.0..200.0).contains(&mean), "{bucket:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_runs_nothing_is_changed_and_the_reason_is_given() {
    let _turn = TURN.lock().await;
    let scene = Scene::open();
    let change = planned("c1", "indexes", index("orders_customer", "customer"), &[BY_CUSTOMER]);
    let plan = scene.plan(vec![change]);
    let run = passive::apply(&scene.target, &plan, &watch(4)).await.unwrap();
    assert_eq!(run.changes[0].verdict, Some(Verdict::Inconclusive), "{run:#?}");
    assert_eq!(run.changes[0].state, ChangeState::Skipped);
    assert!(run.changes[0].reason.contains("nothing ran in this database"), "{run:#?}");
    assert_eq!(scene.indexes(), 1);
    assert!(!run.run.is_empty(), "its report can be made again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_observed_before_survives_a_run_that_is_cut_off() {
    let _turn = TURN.lock().await;
    let scene = Scene::open();
    let application = Application::start(&scene, &Mix::of(&[(SHORT, 1), (BY_CUSTOMER, 4)]));
    let change = planned("c1", "indexes", index("orders_customer", "customer"), &[BY_CUSTOMER]);
    let plan = scene.plan(vec![change]);
    let watching = watch(5);
    {
        // Dropped while it watches with the change in force: nothing is cleaned up, as after kill -9.
        let applying = passive::apply(&scene.target, &plan, &watching);
        tokio::pin!(applying);
        while scene.indexes() < 2 {
            tokio::select! {
                ended = &mut applying => panic!("{ended:?}"),
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
            }
        }
        let _ = tokio::time::timeout(BUCKET * 2, &mut applying).await;
    }
    drop(application);
    let journal = pgassay_change::Journal::open(&scene.target.state).unwrap();
    let run = journal.runs().unwrap()[0].clone();
    assert_eq!(run.state, RunState::Unfinished);
    assert_eq!(journal.load_observation(&run.run).unwrap().unwrap().buckets.len(), 5);
    past_runs::rollback(&scene.target, &run.run, None).await.unwrap();
    assert_eq!(scene.indexes(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_while_a_change_is_watched_undoes_it() {
    let _turn = TURN.lock().await;
    let scene = Scene::open();
    let application = Application::start(&scene, &Mix::of(&[(SHORT, 1), (BY_CUSTOMER, 4)]));
    let change = planned("c1", "indexes", index("orders_customer", "customer"), &[BY_CUSTOMER]);
    let plan = scene.plan(vec![change]);
    let watching = watch(5);
    let applying = passive::apply(&scene.target, &plan, &watching);
    tokio::pin!(applying);
    let failure = loop {
        tokio::select! {
            ended = &mut applying => break ended.unwrap_err(),
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
        if scene.indexes() == 2 {
            scene.target.interrupt.request();
        }
    };
    drop(application);
    assert_eq!(failure.exit, Exit::Interrupted, "{failure:?}");
    assert_eq!(scene.indexes(), 1);
    let journal = pgassay_change::Journal::open(&scene.target.state).unwrap();
    assert_eq!(journal.runs().unwrap()[0].state, RunState::Interrupted);
}
