//! Drops on real servers: what rests on an index, how old its counters are, who else scans it, and partitioned tables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_advise::{Beyond, DropRule, beyond_indexes};
use pgassay_model::Timestamp;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::plan::RiskLevel;
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_postgres::{Session, SessionOptions, snapshot, what_if};
use pgassay_testkit::{Postgres, PostgresOptions, fresh_database, shared};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn advice(server: &Postgres, database: &str, statements: &[&str], days: i64) -> Beyond {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = pgassay_postgres::dsn::resolve(&server.dsn(database)).unwrap();
    let (session, snapshot) = runtime.block_on(async {
        let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
        let snapshot = snapshot(&session).await.unwrap();
        (session, snapshot)
    });
    let workload = Workload {
        schema: SCHEMA.into(),
        generated_at: Timestamp::UNIX_EPOCH,
        source: "test".into(),
        statements: statements
            .iter()
            .enumerate()
            .map(|(place, sql)| WorkloadStatement {
                id: format!("s{place}"),
                sql: (*sql).into(),
                weight: 1.0,
                writes: !sql.starts_with("SELECT"),
                ..WorkloadStatement::default()
            })
            .collect(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    };
    let mut engine = what_if(runtime.handle().clone(), session, &snapshot);
    let none = pgassay_advise::index::IndexAdvice {
        engine: String::new(),
        estimates: String::new(),
        what_if_calls: 0,
        cost_before: 0.0,
        cost_after: 0.0,
        indexes: Vec::new(),
        rejected: Vec::new(),
        skipped: Vec::new(),
        considered: Vec::new(),
    };
    let later = Timestamp::from_second(Timestamp::now().as_second() + days * 86_400).unwrap();
    beyond_indexes(&snapshot, &workload, engine.as_mut(), &none, later, &Interrupt::default())
}

fn dropped(advice: &Beyond) -> Vec<(&'static str, &str)> {
    advice.drops.iter().map(|drop| (drop.rule.name(), drop.index.as_str())).collect()
}

/// Indexes of 10 MB each that nothing scans, whatever rests on them.
const IDLE: &[&str] = &[
    "CREATE TABLE others (a int NOT NULL UNIQUE)",
    "CREATE TABLE items (a int NOT NULL, b int NOT NULL, c int NOT NULL, d int, e int4range, f int REFERENCES others (a)) WITH (autovacuum_enabled = off)",
    "INSERT INTO items SELECT n, n, n, n, int4range(n, n + 1), NULL FROM generate_series(1, 60000) n",
    "CREATE INDEX idle ON items (d) WITH (fillfactor = 10)",
    "CREATE UNIQUE INDEX idle_unique ON items (a) WITH (fillfactor = 10)",
    "ALTER TABLE items ADD CONSTRAINT of_constraint UNIQUE (b) WITH (fillfactor = 10)",
    "CREATE UNIQUE INDEX idle_identity ON items (c) WITH (fillfactor = 10)",
    "ALTER TABLE items REPLICA IDENTITY USING INDEX idle_identity",
    "CREATE INDEX of_key ON items (f) WITH (fillfactor = 10, deduplicate_items = off)",
    "CREATE INDEX small ON items (a, d)",
    "CREATE INDEX scanned ON items ((d + 1)) WITH (fillfactor = 10)",
    "CREATE TABLE parts (k int NOT NULL, v int NOT NULL) PARTITION BY RANGE (k)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100000)",
    "INSERT INTO parts SELECT n, n FROM generate_series(1, 60000) n",
    "CREATE INDEX of_parts ON parts (v) WITH (fillfactor = 10)",
    "VACUUM ANALYZE",
];

#[test]
fn only_what_nothing_rests_on_can_go_once_the_counters_are_old_enough_and_standbys_raise_the_risk()
{
    let server =
        Postgres::start(PostgresOptions { stop_with_process: true, ..PostgresOptions::default() })
            .unwrap();
    let database = "postgres";
    for sql in IDLE {
        server.execute(database, sql).unwrap();
    }
    let kept = |advice: &Beyond, index: &str| -> String {
        let entry = advice.kept.iter().find(|kept| kept.what == format!("dropping public.{index}"));
        entry.unwrap_or_else(|| panic!("{index}: {:#?}", advice.kept)).why.clone()
    };
    let unknown = advice(&server, database, &[], 90);
    assert_eq!(dropped(&unknown), [], "{unknown:#?}");
    assert!(kept(&unknown, "idle").contains("since when is not known"));

    server.execute(database, "SELECT pg_stat_reset()").unwrap();
    server
        .execute(database, "SET enable_seqscan = off; SELECT 1 FROM items WHERE d + 1 = 7")
        .unwrap();
    let started = Instant::now();
    while server
        .query(database, "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'scanned'")
        .unwrap()[0][0]
        .as_deref()
        != Some("1")
    {
        assert!(started.elapsed() < Duration::from_secs(30), "the scan is not counted");
        std::thread::sleep(Duration::from_millis(20));
    }
    let young = advice(&server, database, &[], 10);
    assert_eq!(dropped(&young), []);
    assert!(kept(&young, "idle").contains("only 10 days old"), "{}", kept(&young, "idle"));

    let old = advice(&server, database, &[], 90);
    assert_eq!(dropped(&old), [("unused", "idle")], "{old:#?}");
    assert!(kept(&old, "of_key").contains("the only index that serves foreign key"));
    assert!(kept(&old, "parts_1_v_idx").contains("a part of a partitioned index"));
    let drop = &old.drops[0];
    assert_eq!(drop.risk.level, RiskLevel::Medium);
    assert!(drop.reason.contains("No standby is connected"), "{}", drop.reason);
    // What is said of those that stay is true: the server refuses.
    for index in ["of_constraint", "parts_1_v_idx"] {
        assert!(server.execute(database, &format!("DROP INDEX {index}")).is_err(), "{index}");
    }

    // A standby that is away has a slot, and one that is there a walsender.
    let slot = "SELECT pg_create_physical_replication_slot('standby')";
    server.query(database, slot).unwrap();
    let with_slot = advice(&server, database, &[], 90);
    assert_eq!(with_slot.drops[0].risk.level, RiskLevel::High);
    assert!(
        with_slot.drops[0].reason.contains("this server has one"),
        "{}",
        with_slot.drops[0].reason
    );
    server.query(database, "SELECT pg_drop_replication_slot('standby')").unwrap();
    let receiver = server.bin_directory().join("pg_receivewal");
    if receiver.is_file() {
        let directory = server.socket_directory().join("received");
        std::fs::create_dir(&directory).unwrap();
        let connection = format!(
            "host={} port={} user=postgres application_name=standby1",
            server.socket_directory().display(),
            server.port()
        );
        let mut receiver = Command::new(receiver)
            .args(["-D", &directory.display().to_string(), "-d", &connection])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while server.query(database, "SELECT 1 FROM pg_stat_replication").unwrap().is_empty() {
            assert!(started.elapsed() < Duration::from_secs(30), "no walsender came");
            std::thread::sleep(Duration::from_millis(20));
        }
        let connected = advice(&server, database, &[], 90);
        receiver.kill().unwrap();
        receiver.wait().unwrap();
        assert_eq!(connected.drops[0].risk.level, RiskLevel::High, "{:#?}", connected.drops);
    }

    // It goes and comes back as it was.
    let ddl = "SELECT pg_get_indexdef('idle'::regclass)";
    let before = server.query(database, ddl).unwrap();
    server.execute(database, &drop.ddl).unwrap();
    server.execute(database, &drop.undo).unwrap();
    assert_eq!(server.query(database, ddl).unwrap(), before);
}

const PARTITIONED: &[&str] = &[
    "CREATE TABLE customers (id int PRIMARY KEY)",
    "CREATE TABLE visits (id int NOT NULL, customer_id int NOT NULL REFERENCES customers, at date NOT NULL) PARTITION BY RANGE (at)",
    "CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')",
    "CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
    "INSERT INTO customers SELECT generate_series(1, 1000)",
    "INSERT INTO visits SELECT n, 1 + n % 1000, date '2024-01-01' + n % 700 FROM generate_series(1, 40000) n",
    "CREATE INDEX by_id ON visits (id)",
    "CREATE INDEX by_id_too ON visits (id)",
    "VACUUM ANALYZE",
];

#[test]
fn a_duplicate_on_a_partitioned_table_is_for_people_with_the_lock_that_it_takes() {
    let server = shared();
    let database = fresh_database(server);
    for sql in PARTITIONED {
        server.execute(&database, sql).unwrap();
    }
    let found = advice(server, &database, &[], 0);
    assert!(found.drops.iter().all(|drop| drop.rule == DropRule::Invalid), "{:#?}", found.drops);
    let entry = found.kept.iter().find(|kept| kept.what == "dropping public.by_id_too").unwrap();
    for part in [
        "can't be dropped CONCURRENTLY",
        "DROP INDEX public.by_id_too locks public.visits and all of its partitions",
        "CREATE INDEX by_id_too ON public.visits USING btree (id) brings it back",
    ] {
        assert!(entry.why.contains(part), "{part}: {}", entry.why);
    }
    // It is so: the server refuses the one, takes the other, and both ways are exact.
    let refused = server.execute(&database, "DROP INDEX CONCURRENTLY public.by_id_too");
    assert!(refused.unwrap_err().to_string().contains("concurrently"));
    let all = "SELECT pg_get_indexdef(i.indexrelid), i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname LIKE 'by_id%' ORDER BY 1";
    let before = server.query(&database, all).unwrap();
    server.execute(&database, "DROP INDEX public.by_id_too").unwrap();
    server.execute(&database, "CREATE INDEX by_id_too ON public.visits USING btree (id)").unwrap();
    assert_eq!(server.query(&database, all).unwrap(), before);
}

#[test]
fn the_steps_for_a_foreign_key_of_a_partitioned_table_build_a_valid_index() {
    let server = shared();
    let database = fresh_database(server);
    for sql in PARTITIONED {
        server.execute(&database, sql).unwrap();
    }
    let found = advice(server, &database, &["DELETE FROM customers WHERE id = 7"], 0).foreign_keys;
    let whole = found.iter().find(|key| key.relation().name == "visits").unwrap();
    let (parent, rest) = whole.ddl.split_once("; and for each partition p: ").unwrap();
    let (build, attach) = rest.split_once("; ").unwrap();
    assert!(
        parent.starts_with("CREATE INDEX visits_customer_id_idx ON ONLY public.visits"),
        "{parent}"
    );
    // As a whole the server refuses it.
    let at_once = "CREATE INDEX CONCURRENTLY x ON public.visits USING btree (customer_id)";
    assert!(server.execute(&database, at_once).is_err());
    server.execute(&database, parent).unwrap();
    for partition in ["visits_1", "visits_2"] {
        let named = |step: &str| {
            step.replace("p_idx", &format!("{partition}_key"))
                .replace(" ON p ", &format!(" ON {partition} "))
        };
        server.execute(&database, &named(build)).unwrap();
        server.execute(&database, &named(attach)).unwrap();
    }
    let valid =
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'visits_customer_id_idx'::regclass";
    assert_eq!(server.query(&database, valid).unwrap()[0][0].as_deref(), Some("t"));
    let again = advice(server, &database, &["DELETE FROM customers WHERE id = 7"], 0).foreign_keys;
    assert_eq!(again, [], "the partitions have theirs too");
    server.execute(&database, &whole.undo).unwrap();
}
