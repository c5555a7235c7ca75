//! Parameters: each proposed with its evidence, and left alone without it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::{Scene, names_everything_once, parameter, why};
use crate::fixture::{self, FakeWhatIf};
use pgassay_model::plan::RiskLevel;
use pgassay_model::snapshot::{Counters, StatementStatistics};
use pgassay_model::units::Bytes;

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
