//! Whole plans, made from values: a healthy target, one that reconnects, one without indexes, one that is too
//! small for its load.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use crate::fixture::{self, FakeWhatIf};
use crate::{Input, Options};
use pgassay_model::change::{Change, PoolerEdit};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::{Connect, Measurement, PoolWindow};
use pgassay_model::plan::{ExpectedSource, Plan, RiskLevel};
use pgassay_model::pooler::SecretKind;
use pgassay_model::snapshot::{Counters, Snapshot, StatementStatistics};
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

#[test]
fn secrets_that_cannot_be_replaced_are_left_with_the_way_by_hand() {
    let reconnecting = |change: &dyn Fn(&mut Snapshot)| {
        let mut scene = Scene::healthy();
        scene.snapshot.pooler = Some(fixture::pooler(SecretKind::Plain));
        scene.measurement = Some(fixture::measurement(fixture::ledger(9.0, 0.16)));
        change(&mut scene.snapshot);
        let plan = scene.plan();
        assert!(plan.changes.is_empty());
        why(&plan, "userlist secrets").to_owned()
    };
    let no_ini = reconnecting(&|snapshot| {
        snapshot.pooler.as_mut().unwrap().ini = None;
    });
    assert!(no_ini.contains("--pgbouncer-ini") && no_ini.contains("by hand"), "{no_ini}");
    let no_superuser = reconnecting(&|snapshot| snapshot.server.superuser = false);
    assert!(no_superuser.contains("pg_authid"), "{no_superuser}");
    let relative = reconnecting(&|snapshot| {
        let config = &mut snapshot.pooler.as_mut().unwrap().config;
        config.get_mut("auth_file").unwrap().value = "userlist.txt".into();
    });
    assert!(relative.contains("relative"), "{relative}");
    let md5 = reconnecting(&|snapshot| {
        let config = &mut snapshot.pooler.as_mut().unwrap().config;
        config.get_mut("auth_type").unwrap().value = "md5".into();
    });
    assert!(md5.contains("auth_type is md5"), "{md5}");
}

#[test]
fn reused_connections_leave_a_plain_userlist_alone() {
    let mut scene = Scene::healthy();
    scene.snapshot.pooler = Some(fixture::pooler(SecretKind::Plain));
    let plan = scene.plan();
    assert!(plan.changes.is_empty());
    assert!(why(&plan, "userlist secrets").contains("connections are reused"));
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

/// `sort` spills 10 MB a call and is all of the load.
fn spilling() -> Scene {
    const SQL: &str = "SELECT username, count(*) FROM users GROUP BY username";
    let mut scene = Scene::healthy();
    scene.workload = fixture::workload(&[("sort", SQL)]);
    scene.measurement.as_mut().unwrap().statements =
        vec![fixture::statement_measured("sort", 10_000, 10.0)];
    scene.snapshot.statements = Some(vec![StatementStatistics {
        query: SQL.into(),
        calls: 10,
        total_exec_ms: 50.0,
        temp_written: 10 * 1280,
        ..StatementStatistics::default()
    }]);
    scene.delta = Some(Counters { temp_bytes: 100 << 20, ..fixture::quiet() });
    scene.what_if = FakeWhatIf::default().plan("sort", 100.0, "Sort(Seq Scan users)").under(
        "work_mem",
        "16MB",
        "sort",
        60.0,
        "HashAggregate(Seq Scan users)",
    );
    scene
}

#[test]
fn work_mem_follows_a_spill_that_matters_and_a_plan_that_changes() {
    let plan = spilling().plan();
    assert_eq!(parameter(&plan, "work_mem"), Some("16MB"));
    assert_eq!(plan.changes[0].statements, ["sort"]);
    assert_eq!(plan.changes[0].risk.level, RiskLevel::Medium);
    assert_eq!(plan.changes[0].apply[0], "ALTER SYSTEM SET work_mem = '16MB'");
    assert_eq!(plan.changes[0].undo[0], "ALTER SYSTEM RESET work_mem");
    names_everything_once(&plan);
}

#[test]
fn a_spill_that_is_not_counted_by_statement_is_estimated_from_plans_that_sort() {
    let mut scene = spilling();
    scene.snapshot.statements = None;
    scene.delta = Some(Counters { temp_bytes: 100 << 30, ..fixture::quiet() });
    scene.what_if =
        scene.what_if.under("work_mem", "17MB", "sort", 60.0, "HashAggregate(Seq Scan users)");
    let plan = scene.plan();
    assert_eq!(parameter(&plan, "work_mem"), Some("17MB"));
    assert!(plan.changes[0].evidence[0].contains("estimate"), "{:?}", plan.changes[0].evidence);
}

#[test]
fn work_mem_stays_without_a_spill_memory_or_a_plan_that_changes() {
    let mut quiet = spilling();
    quiet.delta = Some(fixture::quiet());
    assert!(why(&quiet.plan(), "work_mem").contains("no statement wrote a temporary file"));

    let mut blind = spilling();
    blind.snapshot.host = None;
    assert!(why(&blind.plan(), "work_mem").contains("memory is unknown"));

    let mut small = spilling();
    small.snapshot.host.as_mut().unwrap().available = Bytes(300 << 20);
    assert!(why(&small.plan(), "work_mem").contains("at most"));

    let mut unmoved = spilling();
    unmoved.what_if = FakeWhatIf::default().plan("sort", 100.0, "Sort(Seq Scan users)");
    assert!(why(&unmoved.plan(), "work_mem").contains("no plan of the workload"));

    let mut fixed = spilling();
    fixed.snapshot.parameters.get_mut("work_mem").unwrap().source = "command line".into();
    assert!(why(&fixed.plan(), "work_mem").contains("command line"));
}

#[test]
fn random_page_cost_needs_a_plan_that_flips() {
    assert!(why(&Scene::healthy().plan(), "random_page_cost").contains("no plan of the workload"));
    let flip = |before: &str, after: &str| {
        let mut scene = Scene::healthy();
        scene.what_if = FakeWhatIf::default().plan("point", 50.0, before).under(
            "random_page_cost",
            "1.1",
            "point",
            30.0,
            after,
        );
        scene.plan()
    };
    // On cached pages a bitmap scan is as good as an index scan.
    let bitmap = flip("Bitmap Heap Scan users", "Index Scan users");
    assert_eq!(parameter(&bitmap, "random_page_cost"), None);
    let plan = flip("Seq Scan users", "Index Scan users");
    assert_eq!(parameter(&plan, "random_page_cost"), Some("1.1"));
    assert!(plan.changes[0].evidence.iter().any(|fact| fact.contains("Seq Scan users → Index")));
    assert_eq!(plan.changes[0].expected.low, None);
}

#[test]
fn effective_cache_size_matters_only_for_a_database_larger_than_it() {
    let mut scene = Scene::healthy();
    assert!(why(&scene.plan(), "effective_cache_size").contains("fits into either value"));
    scene.snapshot.server.database_size = Bytes(50 << 30);
    assert!(why(&scene.plan(), "effective_cache_size").contains("within a factor of 2"));
    scene.snapshot.host.as_mut().unwrap().page_cache = Bytes(12 << 30);
    let to = Bytes((12 << 30) + (128 << 20)).to_parameter();
    scene.what_if = scene.what_if.under("effective_cache_size", &to, "point", 7.0, "Other");
    assert_eq!(parameter(&scene.plan(), "effective_cache_size"), Some(to.as_str()));
}

/// Two pages read in each request, `read_ms` each, with track_io_timing on.
fn reading(read_ms: f64) -> Scene {
    let mut scene = Scene::healthy();
    scene.snapshot.parameters.get_mut("track_io_timing").unwrap().setting = "on".into();
    scene.delta = Some(Counters {
        blocks_hit: 30_000,
        blocks_read: 20_000,
        block_read_ms: 20_000.0 * read_ms,
        ..fixture::quiet()
    });
    scene
}

#[test]
fn shared_buffers_is_proposed_only_where_reading_takes_a_real_share() {
    let plan = reading(0.5).plan();
    assert_eq!(parameter(&plan, "shared_buffers"), Some("4GB"));
    let change = plan.changes.iter().find(|c| c.title.starts_with("shared_buffers")).unwrap();
    assert!(change.needs_restart);
    assert_eq!(change.risk.level, RiskLevel::High);

    let cached = reading(0.01).plan();
    assert!(why(&cached, "shared_buffers").contains("page cache"), "{:#?}", cached.not_proposed);
    let mut untimed = reading(0.5);
    untimed.snapshot.parameters.get_mut("track_io_timing").unwrap().setting = "off".into();
    assert!(why(&untimed.plan(), "shared_buffers").contains("track_io_timing off"));
}

#[test]
fn prefetching_needs_bitmap_scans_that_read_from_disk() {
    let mut scene = reading(0.5);
    assert!(why(&scene.plan(), "effective_io_concurrency").contains("no plan of the workload"));
    scene.what_if = scene.what_if.plan("point", 9.0, "Bitmap Heap Scan users");
    assert_eq!(parameter(&scene.plan(), "effective_io_concurrency"), Some("200"));
    scene.snapshot.host.as_mut().unwrap().rotational = Some(true);
    assert!(why(&scene.plan(), "effective_io_concurrency").contains("spins"));
}

#[test]
fn max_wal_size_needs_requested_checkpoints_and_a_rate_that_fills_it() {
    let mut scene = Scene::healthy();
    let fast = Counters { wal_bytes: Some(200 << 20), ..fixture::quiet() };
    scene.delta = Some(fast.clone());
    assert!(why(&scene.plan(), "max_wal_size").contains("no evidence"));
    scene.delta = Some(Counters { checkpoints_requested: Some(1), ..fast });
    // 1.2 × 10 MB/s × 300 s × 1.9 = 6.7 GB
    assert_eq!(parameter(&scene.plan(), "max_wal_size"), Some("7GB"));
    scene.snapshot.host.as_mut().unwrap().disk_free = Some(Bytes(4 << 30));
    assert!(why(&scene.plan(), "max_wal_size").contains("free on disk"));
}

/// A pool that a load of `busy` servers makes wait for 40 % of the response time.
fn waiting(busy: f64, cores: u32) -> Scene {
    let mut scene = Scene::healthy();
    let measurement = scene.measurement.as_mut().unwrap();
    measurement.ledger_ms.pool_wait = Some(4.0);
    measurement.ledger_ms.network = Some(1.0);
    let (wait_ms, held_ms) = (40_000.0, busy * 20_000.0);
    measurement.pool = Some(PoolWindow {
        wait_ms,
        xact_ms: wait_ms + held_ms,
        query_ms: wait_ms + held_ms,
        max_waiting: 9,
        ..measurement.pool.unwrap()
    });
    let pooler = scene.snapshot.pooler.as_mut().unwrap();
    pooler.config.get_mut("default_pool_size").unwrap().value = "6".into();
    pooler.databases[0].pool_size = 6;
    scene.snapshot.host.as_mut().unwrap().cores = cores;
    scene
}

#[test]
fn a_pool_grows_to_what_erlang_c_asks_for() {
    let plan = waiting(5.0, 4).plan();
    let [change] = plan.changes.as_slice() else { panic!("{:#?}", plan.changes) };
    let Change::SetPooler { edit: PoolerEdit::Ini { settings, .. } } = &change.change else {
        panic!("{change:#?}");
    };
    assert_eq!((settings[0].key.as_str(), settings[0].to.as_str()), ("default_pool_size", "10"));
    assert_eq!(change.expected.low, Some(-0.4));
    names_everything_once(&plan);
}

#[test]
fn a_pool_does_not_grow_beyond_cores_connections_or_need() {
    assert!(why(&waiting(5.0, 2).plan(), "default_pool_size").contains("inside PostgreSQL"));
    assert!(why(&waiting(1.0, 4).plan(), "default_pool_size").contains("Erlang C asks for"));
    let mut full = waiting(5.0, 4);
    full.snapshot.parameters.get_mut("max_connections").unwrap().setting = "12".into();
    assert!(why(&full.plan(), "default_pool_size").contains("leaves room for 4"));
    let mut restart = waiting(5.0, 4);
    let config = &mut restart.snapshot.pooler.as_mut().unwrap().config;
    config.get_mut("default_pool_size").unwrap().changeable = false;
    assert!(why(&restart.plan(), "default_pool_size").contains("restart"));
    let mut foreign = waiting(5.0, 4);
    foreign.snapshot.pooler.as_mut().unwrap().ini = None;
    assert!(why(&foreign.plan(), "default_pool_size").contains("default_pool_size = 10 in"));
}

#[test]
fn without_pgbouncer_its_settings_are_one_entry() {
    let mut scene = Scene::healthy();
    scene.snapshot.pooler = None;
    assert!(why(&scene.plan(), "PgBouncer").contains("--pgbouncer"));
}

#[test]
fn clients_near_the_limit_raise_it_within_the_descriptors() {
    let mut scene = Scene::healthy();
    scene.snapshot.pooler.as_mut().unwrap().pools[0].clients_active = 450;
    let plan = scene.plan();
    assert!(plan.changes[0].title.contains("max_client_conn 500 → 750"), "{:#?}", plan.changes);
    scene.snapshot.pooler.as_mut().unwrap().open_files_limit = Some(600);
    assert!(why(&scene.plan(), "max_client_conn").contains("LimitNOFILE"));
}

#[test]
fn traps_of_pgbouncer_are_found_and_not_touched() {
    let mut scene = Scene::healthy();
    scene.snapshot.parameters.get_mut("statement_timeout").unwrap().setting = "0".into();
    let pooler = scene.snapshot.pooler.as_mut().unwrap();
    pooler.config.get_mut("query_timeout").unwrap().value = "90".into();
    pooler.config.get_mut("listen_backlog").unwrap().value = "8192".into();
    pooler.databases[0].pool_size = 200;
    let plan = scene.plan();
    assert!(plan.changes.is_empty(), "{:#?}", plan.changes);
    for title in ["query_timeout without", "listen_backlog is larger", "more servers than"] {
        assert!(plan.findings.iter().any(|f| f.title.contains(title)), "{title}");
    }
    assert!(why(&plan, "listen_backlog").contains("somaxconn = 4096"));
    assert!(plan.recommendations.iter().any(|r| r.title.contains("statement_timeout")));
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
