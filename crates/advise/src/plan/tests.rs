//! Whole plans, made from values: a healthy target, one that reconnects, one without indexes, one that is too
//! small for its load.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod parameters;
mod pooling;

use crate::fixture::{self, FakeWhatIf};
use crate::{Input, Options};
use pgassay_model::change::{Change, PoolerEdit};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::{Connect, Measurement};
use pgassay_model::plan::{ExpectedSource, Plan, RiskLevel};
use pgassay_model::pooler::SecretKind;
use pgassay_model::snapshot::{Counters, Snapshot};
use pgassay_model::units::Bytes;
use pgassay_model::workload::{SkippedStatement, Workload};

/// Named in every plan, once: proposed, or left alone with the reason.
const ALWAYS: [&str; 24] = [
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
    "default_pool_size",
    "min_pool_size",
    "max_client_conn",
    "reserve_pool_size",
    "reserve_pool_timeout",
    "query_timeout",
    "query_wait_timeout",
    "server_idle_timeout",
    "server_lifetime",
    "listen_backlog",
    "userlist secrets",
];

const POINT: (&str, &str) = ("point", "SELECT id FROM users WHERE id = $1");
const LOGIN: (&str, &str) = ("login", "SELECT id FROM users WHERE username = $1");

struct Scene {
    snapshot: Snapshot,
    workload: Workload,
    measurement: Option<Measurement>,
    delta: Option<Counters>,
    what_if: FakeWhatIf,
}

impl Scene {
    /// Connections reused, look-ups by primary key, nothing waits.
    fn healthy() -> Scene {
        let mut measurement = fixture::measurement(fixture::ledger(0.0, 5.0));
        measurement.statements = vec![fixture::statement_measured("point", 10_000, 10.0)];
        Scene {
            snapshot: fixture::snapshot(),
            workload: fixture::workload(&[POINT]),
            measurement: Some(measurement),
            delta: Some(fixture::quiet()),
            what_if: FakeWhatIf::default().plan("point", 8.0, "Index Scan users users_pkey"),
        }
    }

    fn plan(&mut self) -> Plan {
        let input = Input {
            snapshot: &self.snapshot,
            workload: &self.workload,
            measurement: self.measurement.as_ref(),
            counters_delta: self.delta.as_ref(),
            target: fixture::target(),
            now: fixture::time(),
            options: Options::default(),
        };
        super::plan(&input, &mut self.what_if, &Interrupt::default())
    }
}

fn why<'a>(plan: &'a Plan, what: &str) -> &'a str {
    let entry = plan.not_proposed.iter().find(|entry| entry.what == what);
    &entry.unwrap_or_else(|| panic!("{what} is not in {:#?}", plan.not_proposed)).why
}

fn parameter<'a>(plan: &'a Plan, wanted: &str) -> Option<&'a str> {
    plan.changes.iter().find_map(|change| match &change.change {
        Change::SetParameter { name, to, .. } if name == wanted => Some(to.as_str()),
        _ => None,
    })
}

/// How often a name is proposed or left alone.
fn mentions(plan: &Plan, name: &str) -> usize {
    let left = plan.not_proposed.iter().filter(|entry| entry.what == name).count();
    let proposed = plan.changes.iter().filter(|change| match &change.change {
        Change::SetParameter { name: parameter, .. } => parameter == name,
        Change::SetPooler { edit: PoolerEdit::Ini { settings, .. } } => {
            settings.iter().any(|setting| setting.key == name)
        }
        Change::SetPooler { edit: PoolerEdit::Userlist { .. } } => name == "userlist secrets",
        _ => false,
    });
    left + proposed.count()
}

#[track_caller]
fn names_everything_once(plan: &Plan) {
    for name in ALWAYS {
        assert_eq!(mentions(plan, name), 1, "{name}");
    }
}

#[test]
fn a_healthy_target_gets_no_change() {
    let plan = Scene::healthy().plan();
    assert!(plan.changes.is_empty(), "{:#?}", plan.changes);
    names_everything_once(&plan);
    let text: String =
        plan.not_proposed.iter().map(|entry| format!("{}: {}\n", entry.what, entry.why)).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn everything_is_named_without_a_measurement_too() {
    let mut scene = Scene::healthy();
    (scene.measurement, scene.delta) = (None, None);
    scene.snapshot.host = None;
    let plan = scene.plan();
    assert!(plan.reachable.is_empty() && plan.changes.is_empty(), "{:#?}", plan.changes);
    names_everything_once(&plan);
    assert!(why(&plan, "effective_cache_size").contains("memory is unknown"));
}

#[test]
fn a_reconnecting_application_gets_the_secrets_and_nothing_else() {
    let mut scene = Scene::healthy();
    scene.snapshot.pooler = Some(fixture::pooler(SecretKind::Plain));
    scene.workload = fixture::workload(&[LOGIN]);
    let mut measurement = fixture::measurement(fixture::ledger(9.0, 0.16));
    measurement.mode.connect = Connect::PerRequest;
    scene.measurement = Some(measurement);
    let plan = scene.plan();
    assert_eq!(plan.changes.len(), 1, "{:#?}", plan.changes);
    let Change::SetPooler { edit: PoolerEdit::Userlist { users, userlist, .. } } =
        &plan.changes[0].change
    else {
        panic!("{:#?}", plan.changes);
    };
    assert_eq!(users, &["app"]);
    assert_eq!(userlist.to_str(), Some("/etc/pgbouncer/userlist.txt"));
    let expected = &plan.changes[0].expected;
    // All of the log-in but what a SCRAM secret takes, and what waited for PgBouncer meanwhile.
    assert!((-0.97..-0.94).contains(&expected.low.unwrap()), "{expected:?}");
    assert_eq!(expected.high, Some(-0.45));
    assert_eq!(
        why(&plan, "indexes"),
        "execution is 1.6 % of the response time (1.8 % with what waits behind it): no index or planner setting can win more"
    );
    assert!(why(&plan, "work_mem").contains("execution is 1.6 %"));
    assert!(plan.recommendations[0].title.contains("reuse connections"));
    assert!(plan.findings[0].title.starts_with("opening connections takes 90 %"));
    names_everything_once(&plan);
}

/// `login` scans all of users, and is most of the load.
fn without_indexes() -> Scene {
    let mut scene = Scene::healthy();
    scene.workload = fixture::workload(&[POINT, LOGIN]);
    let mut measurement = fixture::measurement(fixture::ledger(0.0, 9.0));
    measurement.statements = vec![
        fixture::statement_measured("point", 5_000, 1.5),
        fixture::statement_measured("login", 5_000, 18.5),
    ];
    scene.measurement = Some(measurement);
    scene.what_if = FakeWhatIf::default()
        .plan("point", 8.0, "Index Scan users users_pkey")
        .plan("login", 16_000.0, "Seq Scan users")
        .indexed("login", "username", 8.4);
    scene
}

#[test]
fn a_missing_index_is_proposed_with_a_range_bounded_by_execution() {
    let plan = without_indexes().plan();
    let [index] = plan.changes.as_slice() else { panic!("{:#?}", plan.changes) };
    assert!(index.apply[0].starts_with("CREATE INDEX CONCURRENTLY"), "{:?}", index.apply);
    assert!(index.undo[0].starts_with("DROP INDEX CONCURRENTLY"));
    assert_eq!((index.id.as_str(), index.group.as_str()), ("c1", "indexes"));
    assert_eq!(index.expected.source, ExpectedSource::WhatIf);
    // Execution is 90 %, nearly all of it saved: at most all of it and of what waits behind it, at least half.
    assert!((-1.0..-0.9).contains(&index.expected.low.unwrap()), "{:?}", index.expected);
    let least = index.expected.high.unwrap();
    assert!((-0.45..-0.42).contains(&least), "{:?}", index.expected);
    assert_eq!(index.risk.level, RiskLevel::Low);
    assert!(index.mechanism.contains("idx_scan"));
    assert!(plan.findings[0].title.starts_with("login is"));
    names_everything_once(&plan);
}

#[test]
fn without_a_measurement_an_index_has_no_figure_on_the_response_time() {
    let mut scene = without_indexes();
    (scene.measurement, scene.delta) = (None, None);
    let plan = scene.plan();
    let [index] = plan.changes.as_slice() else { panic!("{:#?}", plan.changes) };
    assert_eq!((index.expected.low, index.expected.high), (None, None));
    assert!(index.expected.effect.contains("nothing was measured"));
}

#[test]
fn a_standby_gets_neither_indexes_nor_statistics() {
    let mut scene = without_indexes();
    scene.snapshot.server.in_recovery = true;
    let plan = scene.plan();
    assert!(plan.changes.is_empty(), "{:#?}", plan.changes);
    assert!(why(&plan, "indexes").contains("standby"));
}

#[test]
fn missing_statistics_come_before_everything_else() {
    let mut scene = without_indexes();
    let users = &mut scene.snapshot.relations[0];
    users.activity.last_analyze = None;
    users.columns.iter_mut().for_each(|column| column.statistics = None);
    let plan = scene.plan();
    assert!(matches!(plan.changes[0].change, Change::Analyze { .. }), "{:#?}", plan.changes);
    assert_eq!(plan.changes[0].id, "c1");
    assert!(plan.changes[0].evidence[0].contains("never analyzed"));
}

#[test]
fn statistics_are_stale_only_when_autovacuum_is_far_behind() {
    for (modified, stale) in [(60_000, false), (200_000, true)] {
        let mut scene = Scene::healthy();
        scene.snapshot.relations[0].activity.modified_since_analyze = modified;
        let plan = scene.plan();
        assert_eq!(plan.changes.len(), usize::from(stale), "{modified}");
    }
}

#[test]
fn an_exact_duplicate_is_dropped_only_where_writers_pay_for_it() {
    const WRITE: (&str, &str) = ("write", "UPDATE users SET email = $2 WHERE id = $1");
    let mut scene = Scene::healthy();
    let indexes = &mut scene.snapshot.relations[0].indexes;
    indexes.push(fixture::index("users", "users_email_idx", "email", false));
    indexes.push(fixture::index("users", "users_email_idx1", "email", false));
    let plan = scene.plan();
    assert!(plan.changes.is_empty(), "{:#?}", plan.changes);
    assert!(plan.recommendations.iter().any(|r| r.title.contains("users_email_idx1")));

    scene.workload = fixture::workload(&[POINT, WRITE]);
    scene.measurement.as_mut().unwrap().statements = vec![
        fixture::statement_measured("point", 5_000, 10.0),
        fixture::statement_measured("write", 5_000, 10.0),
    ];
    let plan = scene.plan();
    let [change] = plan.changes.as_slice() else { panic!("{:#?}", plan.changes) };
    assert_eq!(change.apply, ["DROP INDEX CONCURRENTLY public.users_email_idx1"]);
    assert_eq!(
        change.undo,
        ["CREATE INDEX CONCURRENTLY users_email_idx1 ON public.users USING btree (email)"]
    );
}

#[test]
fn what_was_skipped_is_said_once() {
    let mut scene = Scene::healthy();
    let skipped = SkippedStatement { statement: "COPY\n x".into(), reason: "not a query".into() };
    scene.workload.skipped = vec![skipped.clone(), skipped];
    let plan = scene.plan();
    assert_eq!(plan.not_proposed.iter().filter(|entry| entry.what == "COPY x").count(), 1);
}

#[test]
fn repeated_reads_are_for_a_cache_and_primary_keys_are_not() {
    const LIST: (&str, &str) = ("list", "SELECT id FROM users WHERE email <> 'x'");
    let mut scene = Scene::healthy();
    scene.workload = fixture::workload(&[POINT, LIST]);
    scene.measurement.as_mut().unwrap().statements = vec![
        fixture::statement_measured("point", 5_000, 10.0),
        fixture::statement_measured("list", 5_000, 10.0),
    ];
    let plan = scene.plan();
    let cached: Vec<&str> = plan
        .recommendations
        .iter()
        .filter(|r| r.title.starts_with("cache"))
        .map(|r| r.title.as_str())
        .collect();
    assert_eq!(cached, ["cache the result of list"]);
}

#[test]
fn a_clean_up_by_age_of_a_large_relation_is_for_partitions() {
    const CLEAN: (&str, &str) = ("clean", "DELETE FROM users WHERE last_login < $1");
    let mut scene = Scene::healthy();
    scene.workload = fixture::workload(&[POINT, CLEAN]);
    let users = &mut scene.snapshot.relations[0];
    let mut column = users.columns[0].clone();
    (column.name, column.type_name) = ("last_login".into(), "timestamp with time zone".into());
    users.columns.push(column);
    assert!(!scene.plan().recommendations.iter().any(|r| r.title.starts_with("partition")));
    scene.snapshot.relations[0].size = Bytes(40 << 30);
    let plan = scene.plan();
    assert!(
        plan.recommendations
            .iter()
            .any(|r| r.title == "partition public.users by range of last_login")
    );
}
