//! PgBouncer's settings and secrets: each proposed with its evidence, and left alone without it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::{Scene, names_everything_once, why};
use crate::fixture;
use pgassay_model::change::{Change, PoolerEdit};
use pgassay_model::measurement::PoolWindow;
use pgassay_model::pooler::SecretKind;
use pgassay_model::snapshot::Snapshot;

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
fn waiting_for_the_clients_own_connections_is_not_for_the_pool_to_cure() {
    let mut scene = waiting(5.0, 4);
    scene.measurement.as_mut().unwrap().pool.as_mut().unwrap().wait_ms = 100.0;
    assert!(why(&scene.plan(), "default_pool_size").contains("client's own connections"));
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
