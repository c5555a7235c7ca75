//! Leaf pages counted on real servers where pgstattuple is at hand: what a rebuild comes to, and who may count.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_postgres::{Session, SessionOptions, dsn, index_leaves};
use pgassay_testkit::{fresh_database, shared};

async fn session(text: &str) -> Session {
    Session::connect(&dsn::resolve(text).unwrap(), SessionOptions::default()).await.unwrap()
}

#[tokio::test]
async fn counted_leaf_pages_tell_the_size_of_a_rebuild_and_who_may_not_count_is_told_the_grant() {
    let server = shared();
    let database = fresh_database(server);
    let value = |sql: &str| server.query(&database, sql).unwrap()[0][0].clone().unwrap_or_default();
    for sql in [
        "CREATE TABLE events (id int PRIMARY KEY, kind int NOT NULL) WITH (autovacuum_enabled = off)",
        "INSERT INTO events SELECT n, n % 50 FROM generate_series(1, 60000) n",
        "CREATE INDEX by_kind ON events (kind)",
        "CREATE INDEX halves ON events (id) WITH (fillfactor = 50)",
        "DELETE FROM events WHERE id % 10 > 0",
        "VACUUM ANALYZE events",
    ] {
        server.execute(&database, sql).unwrap();
    }
    let oid =
        |name: &str| -> u32 { value(&format!("SELECT '{name}'::regclass::oid")).parse().unwrap() };
    let all = ["events_pkey", "by_kind", "halves"];
    let oids: Vec<u32> = all.iter().map(|name| oid(name)).collect();

    let own = session(&server.dsn(&database)).await;
    let without = index_leaves(&own, &oids).await.unwrap();
    assert!(without.counted.is_empty());
    assert_eq!(without.why_not.unwrap().remedy, "CREATE EXTENSION pgstattuple");
    if value("SELECT count(*) FROM pg_available_extensions WHERE name = 'pgstattuple'") == "0" {
        // Some packages of the server come without its contrib modules.
        return;
    }
    server
        .execute(&database, "CREATE SCHEMA \"Ext\"; CREATE EXTENSION pgstattuple SCHEMA \"Ext\"")
        .unwrap();
    let counted = index_leaves(&own, &oids).await.unwrap();
    assert_eq!(counted.why_not, None);
    for (name, oid, fill) in
        [("events_pkey", oids[0], 0.9), ("by_kind", oids[1], 0.9), ("halves", oids[2], 0.5)]
    {
        let leaves = counted.counted[&oid];
        let size = |name: &str| -> f64 {
            value(&format!("SELECT pg_relation_size('{name}') / 8192")).parse().unwrap()
        };
        let before = size(name);
        let above = leaves.internal_pages as f64 / leaves.pages as f64;
        let expected = leaves.pages as f64 * leaves.density / fill * (1.0 + above) + 1.0;
        server.execute(&database, &format!("REINDEX INDEX {name}")).unwrap();
        let after = size(name);
        assert!(before > 2.0 * after, "{name}: {before} -> {after}");
        assert!(
            (expected - after).abs() <= 0.1 * after + 2.0,
            "{name}: {expected} expected, {after} came"
        );
    }

    let role = format!("blind_{}", std::process::id());
    server.execute(&database, &format!("CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA \"Ext\" TO {role}")).unwrap();
    let blind = session(&server.tcp_dsn(&role, "secret", &database)).await;
    let refused = index_leaves(&blind, &oids).await.unwrap();
    assert!(refused.counted.is_empty());
    assert!(refused.why_not.unwrap().remedy.contains("GRANT pg_stat_scan_tables"));
    server.execute(&database, &format!("GRANT pg_stat_scan_tables TO {role}")).unwrap();
    assert_eq!(index_leaves(&blind, &oids).await.unwrap().counted.len(), 3);
    // What is not there any more is left out.
    server.execute(&database, "DROP INDEX halves").unwrap();
    let left = index_leaves(&blind, &oids).await.unwrap();
    assert_eq!((left.counted.len(), left.why_not.is_some()), (2, true));
}
