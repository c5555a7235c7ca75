//! Each design on a real server: which is taken, when it ends, and what it leaves on the server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use crate::changing::{Access, Changing};
use crate::judging::Judging;
use crate::judging::concurrent::Halves;
use crate::measure::bench::{Bench, Side};
use crate::measure::{self, Options};
use crate::progress::Progress;
use crate::target::{Target, resolve_dsn};
use pgassay_load::LoadMode;
use pgassay_model::change::Change;
use pgassay_model::comparison::Verdict;
use pgassay_model::index::{IndexDefinition, IndexKey, RelationName};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::Connect;
use pgassay_model::plan::{self, Expected, ExpectedSource, Plan, PlannedChange, Risk, RiskLevel};
use pgassay_model::run::{ChangeOutcome, ChangeState};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_testkit::{PgBouncer, PgBouncerOptions, Postgres, PostgresOptions};
use std::collections::BTreeMap;
use std::time::Duration;

/// Hashed only where `work_mem` holds the list, else compared one by one.
const LISTED: &str =
    "SELECT pg_catalog.count(*) FROM item WHERE id <= 50 AND id NOT IN (SELECT id FROM listed)";
const LOOK_UP: &str = "SELECT id FROM item WHERE code = $1";

struct Scene {
    server: Postgres,
    target: Target,
    _state: tempfile::TempDir,
}

impl Scene {
    fn open() -> Scene {
        let server = Postgres::start(PostgresOptions {
            settings: vec![("work_mem".into(), "64kB".into())],
            stop_with_process: true,
            ..PostgresOptions::default()
        })
        .unwrap();
        for sql in [
            "CREATE TABLE item AS SELECT n AS id, n AS code, repeat('x', 200) AS filler FROM generate_series(1, 20000) n",
            "CREATE TABLE listed AS SELECT n AS id FROM generate_series(100, 6100) n",
            "CREATE INDEX item_id ON item (id)",
            "CREATE ROLE other LOGIN PASSWORD 'secret'",
            "ALTER ROLE other SET work_mem = '1MB'",
            "VACUUM ANALYZE",
        ] {
            server.execute("postgres", sql).unwrap();
        }
        let state = tempfile::tempdir().unwrap();
        let settings = resolve_dsn(&server.dsn("postgres")).unwrap();
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
        Scene { server, target, _state: state }
    }

    fn setting(&self, name: &str) -> String {
        self.server.query("postgres", &format!("SHOW {name}")).unwrap()[0][0].clone().unwrap()
    }

    async fn snapshot(&self) -> Snapshot {
        self.target.snapshot(&self.target.observe().await.unwrap()).await.unwrap()
    }

    /// Judges one change on a workload of one statement.
    async fn judge(&self, sql: &str, change: PlannedChange) -> (Vec<ChangeOutcome>, Option<Side>) {
        let snapshot = self.snapshot().await;
        let session = self.target.observe().await.unwrap();
        let workload = workload(sql);
        let bench = Bench {
            target: &self.target,
            session: &session,
            console: None,
            workload: &workload,
            options: Options {
                mode: LoadMode::Closed { clients: 2 },
                connect: Connect::Reuse,
                protocol: Default::default(),
                writes: Default::default(),
                duration: Duration::from_secs(4),
                warmup: Duration::from_millis(200),
                block: Duration::from_millis(250),
                seed: 1,
                postmaster: None,
                awaited_indexes: Vec::new(),
            },
            rare: BTreeMap::new(),
        };
        let whole = measure::measure(&self.target, Some(&session), None, &workload, &bench.options);
        let mut before = Side { whole: whole.await.unwrap(), rare: BTreeMap::new() };
        let plan = plan(&self.target, &snapshot, change);
        let access = Access::open(&self.target).await.unwrap();
        let mut changing = Changing::begin(&self.target, &access, &plan).await.unwrap();
        let judging = Judging {
            bench: &bench,
            snapshot: &snapshot,
            group: "test",
            keep_inconclusive: false,
            rehearsed: false,
        };
        let members: Vec<&PlannedChange> = plan.changes.iter().collect();
        let mut outcomes = Vec::new();
        let side = judging.run(&mut changing, &members, &mut before, &mut outcomes).await.unwrap();
        (outcomes, side)
    }
}

fn workload(sql: &str) -> Workload {
    let parameters = match sql {
        LOOK_UP => (1..2000).step_by(37).map(|code| vec![Some(code.to_string())]).collect(),
        _ => vec![Vec::new()],
    };
    Workload {
        schema: SCHEMA.into(),
        generated_at: jiff::Timestamp::now(),
        source: "test".into(),
        statements: vec![WorkloadStatement {
            id: "q".into(),
            sql: sql.into(),
            weight: 1.0,
            parameters,
            parameter_source: "given".into(),
            ..WorkloadStatement::default()
        }],
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

fn plan(target: &Target, snapshot: &Snapshot, change: PlannedChange) -> Plan {
    Plan {
        schema: plan::SCHEMA.into(),
        generated_at: jiff::Timestamp::now(),
        target: crate::advising::planning::identity(target, snapshot),
        ledger_ms: None,
        reachable: Vec::new(),
        findings: Vec::new(),
        changes: vec![change],
        not_proposed: Vec::new(),
        recommendations: Vec::new(),
        engine: String::new(),
        measurement: None,
        engine_notes: Vec::new(),
        elsewhere: Vec::new(),
        workload: None,
    }
}

fn planned(change: Change) -> PlannedChange {
    PlannedChange {
        id: "c1".into(),
        change,
        title: "the change".into(),
        group: "test".into(),
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
        statements: vec!["q".into()],
        mechanism: String::new(),
    }
}

fn parameter(name: &str, from: &str, to: &str) -> PlannedChange {
    planned(Change::SetParameter { name: name.into(), from: from.into(), to: to.into() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_helps_is_proven_on_half_of_the_connections_and_then_applied() {
    let scene = Scene::open();
    let (outcomes, side) = scene.judge(LISTED, parameter("work_mem", "64kB", "8MB")).await;
    let outcome = outcomes.first().unwrap();
    assert_eq!(outcome.state, ChangeState::Kept, "{}", outcome.reason);
    assert_eq!(outcome.verdict, Some(Verdict::Improved));
    assert!(outcome.reason.contains("half of the connections with it"), "{}", outcome.reason);
    let cpu = outcome.comparison.iter().find(|one| one.metric == "server_cpu_ms_per_request");
    assert!(cpu.is_some_and(|cpu| cpu.before.is_none() && cpu.method.contains("both halves")));
    assert!(outcome.comparison.iter().any(|one| one.metric == "latency_p50_ms"));
    assert_eq!(scene.setting("work_mem"), "8MB");
    assert!(side.is_some(), "what follows is compared with it in force");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_harms_on_half_of_the_connections_never_reaches_the_server() {
    let scene = Scene::open();
    let sql = "SELECT code FROM item WHERE id = 77";
    let from = scene.setting("seq_page_cost");
    let (outcomes, side) = scene.judge(sql, parameter("seq_page_cost", &from, "0")).await;
    let outcome = outcomes.first().unwrap();
    // Free pages make the planner read the whole relation, or not; then it is none the better for it.
    assert_eq!(outcome.state, ChangeState::Skipped, "{}", outcome.reason);
    assert!(outcome.reason.starts_with("not applied"), "{}", outcome.reason);
    assert!(outcome.verdict.is_some() && !outcome.comparison.is_empty());
    assert_eq!(scene.setting("seq_page_cost"), from);
    assert!(side.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_judged_by_blocks_before_and_after_and_ends_at_the_first_clear_look() {
    let scene = Scene::open();
    let change = planned(Change::CreateIndex {
        definition: IndexDefinition {
            relation: RelationName { schema: "public".into(), name: "item".into() },
            name: "item_code".into(),
            method: "btree".into(),
            unique: false,
            keys: vec![IndexKey::column("code")],
            include: Vec::new(),
            predicate: None,
            pages_per_range: None,
        },
        estimated_size: Bytes(1 << 20),
    });
    let (outcomes, side) = scene.judge(LOOK_UP, change).await;
    let outcome = outcomes.first().unwrap();
    assert_eq!(outcome.state, ChangeState::Kept, "{}", outcome.reason);
    assert!(outcome.reason.contains("an index can't be switched off"), "{}", outcome.reason);
    let blocks = side.unwrap().whole.blocks.len();
    assert!([8, 16, 32].contains(&blocks), "{blocks}");
    assert_eq!(outcome.comparison.first().unwrap().n as usize, blocks.min(16));
}

#[tokio::test(flavor = "multi_thread")]
async fn halves_are_refused_where_a_session_can_not_have_the_value_for_itself() {
    let mut scene = Scene::open();
    let snapshot = scene.snapshot().await;
    let mode = LoadMode::Closed { clients: 4 };
    let why = async |target: &Target, change: PlannedChange| {
        Halves::of(target, &snapshot, &mode, &[&change]).await.err().unwrap_or_default()
    };
    let work_mem = || parameter("work_mem", "64kB", "8MB");
    assert_eq!(why(&scene.target, work_mem()).await, "");
    let reason = why(&scene.target, parameter("checkpoint_timeout", "5min", "15min")).await;
    assert!(reason.contains("context is sighup"), "{reason}");
    let tcp = scene.server.tcp_dsn("other", "secret", "postgres");
    scene.target.server = resolve_dsn(&tcp).unwrap();
    scene.target.application = resolve_dsn(&tcp).unwrap();
    let reason = why(&scene.target, work_mem()).await;
    assert!(reason.contains("its role or database sets"), "{reason}");
    let reason = why(&scene.target, parameter("session_replication_role", "origin", "local")).await;
    assert!(reason.contains("permission denied"), "{reason}");
    let pooler = PgBouncer::start(PgBouncerOptions {
        databases: vec![(
            "postgres".into(),
            format!("host=127.0.0.1 port={} dbname=postgres", scene.server.port()),
        )],
        users: vec![("other".into(), "secret".into())],
        ..PgBouncerOptions::default()
    })
    .unwrap();
    scene.target.application = resolve_dsn(&pooler.dsn("other", "secret", "postgres")).unwrap();
    let reason = why(&scene.target, work_mem()).await;
    assert!(reason.contains("through a pooler"), "{reason}");
}
