//! Whole plans for real servers: what is proposed with and without indexes, and nothing where nothing is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_advise::{Input, Options, plan};
use pgassay_model::Timestamp;
use pgassay_model::change::Change;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::plan::{Plan, PlanTarget};
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_postgres::{Session, SessionOptions, snapshot, what_if};
use pgassay_testkit::{fresh_database, shared};

const SETUP: &str = "CREATE EXTENSION hypopg;
    CREATE TABLE users (id bigint PRIMARY KEY, username text NOT NULL, email text NOT NULL);
    INSERT INTO users SELECT n, 'user' || n, md5(n::text) FROM generate_series(1, 30000) AS n;";

fn statement(id: &str, sql: &str, values: &[&str]) -> WorkloadStatement {
    WorkloadStatement {
        id: id.into(),
        sql: sql.into(),
        weight: 1.0,
        writes: false,
        parameters: values.iter().map(|value| vec![Some((*value).to_owned())]).collect(),
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    }
}

fn plan_for(setup: &[&str]) -> Plan {
    let server = shared();
    let database = fresh_database(server);
    for sql in setup {
        server.execute(&database, sql).unwrap();
    }
    let workload = Workload {
        schema: SCHEMA.into(),
        generated_at: Timestamp::UNIX_EPOCH,
        source: "test".into(),
        statements: vec![
            statement("by_id", "SELECT email FROM users WHERE id = $1", &["7", "4711"]),
            statement("by_name", "SELECT id FROM users WHERE username = $1", &["user7", "user81"]),
        ],
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = pgassay_postgres::dsn::resolve(&server.dsn(&database)).unwrap();
    let (session, snapshot) = runtime.block_on(async {
        let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
        let snapshot = snapshot(&session).await.unwrap();
        (session, snapshot)
    });
    let mut engine = what_if(runtime.handle().clone(), session, &snapshot);
    let input = Input {
        snapshot: &snapshot,
        workload: &workload,
        measurement: None,
        counters_delta: None,
        target: PlanTarget {
            system_identifier: snapshot.server.system_identifier,
            database: snapshot.server.database.clone(),
            version_num: snapshot.server.version_num,
            display: settings.to_string(),
        },
        now: Timestamp::now(),
        options: Options::default(),
    };
    plan(&input, engine.as_mut(), &Interrupt::default())
}

fn kinds(plan: &Plan) -> Vec<&'static str> {
    plan.changes.iter().map(|change| change.change.kind()).collect()
}

#[test]
fn a_database_with_its_indexes_gets_no_change() {
    let index = "CREATE INDEX ON users (username)";
    let plan = plan_for(&[SETUP, index, "VACUUM ANALYZE"]);
    assert!(plan.changes.is_empty(), "{:#?}", plan.changes);
    for parameter in [
        "work_mem",
        "maintenance_work_mem",
        "effective_cache_size",
        "shared_buffers",
        "random_page_cost",
        "seq_page_cost",
        "effective_io_concurrency",
        "max_wal_size",
        "checkpoint_completion_target",
        "wal_compression",
        "track_io_timing",
        "jit",
        "default_statistics_target",
    ] {
        let named = plan.not_proposed.iter().filter(|entry| entry.what == parameter).count();
        assert_eq!(named, 1, "{parameter}: {:#?}", plan.not_proposed);
    }
}

#[test]
fn a_missing_index_is_the_only_change() {
    let plan = plan_for(&[SETUP, "VACUUM ANALYZE"]);
    assert_eq!(kinds(&plan), ["create_index"], "{:#?}", plan.changes);
    assert_eq!(plan.engine, "hypopg");
    let Change::CreateIndex { definition, .. } = &plan.changes[0].change else { panic!() };
    assert_eq!(definition.keys[0].column.as_deref(), Some("username"));
    assert_eq!(plan.changes[0].statements, ["by_name"]);
}

#[test]
fn a_relation_that_was_never_analyzed_is_analyzed_first() {
    let off = "ALTER TABLE users SET (autovacuum_enabled = off)";
    let plan = plan_for(&[SETUP, off]);
    assert_eq!(kinds(&plan).first(), Some(&"analyze"), "{:#?}", plan.changes);
}
