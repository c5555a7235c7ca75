//! What the collectors see of real servers, and what they say they don't.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_model::index::{IndexKey, RelationName};
use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::{
    Session, SessionOptions, counters, dsn, index_scans, snapshot, statement_statistics,
};
use pgassay_testkit::{Postgres, PostgresOptions, fresh_database, shared};

async fn session(text: &str) -> Session {
    Session::connect(&dsn::resolve(text).unwrap(), SessionOptions::default()).await.unwrap()
}

fn run(server: &Postgres, database: &str, statements: &[&str]) {
    for sql in statements {
        server.execute(database, sql).unwrap();
    }
}

fn unseen<'a>(snapshot: &'a Snapshot, what: &str) -> Option<&'a str> {
    let found = snapshot.unseen.iter().find(|unseen| unseen.what.contains(what))?;
    Some(found.remedy.as_str())
}

fn name(schema: &str, name: &str) -> RelationName {
    RelationName { schema: schema.into(), name: name.into() }
}

#[tokio::test]
async fn every_kind_of_index_is_read_back_as_its_definition() {
    let server = shared();
    let database = fresh_database(server);
    run(server, &database, &[
        "CREATE EXTENSION pg_trgm",
        "CREATE SCHEMA \"Odd schema\"",
        "CREATE TABLE \"Odd schema\".\"T\" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int, b text COLLATE \"C\",
           mail varchar(80) NOT NULL DEFAULT '', doc jsonb, span int4range, at timestamptz,
           EXCLUDE USING gist (span WITH &&))",
        "ALTER TABLE \"Odd schema\".\"T\" DROP COLUMN at, ADD COLUMN at timestamptz",
        "CREATE INDEX i_order ON \"Odd schema\".\"T\" (a DESC, b ASC NULLS FIRST, at DESC NULLS LAST)",
        "CREATE INDEX i_include ON \"Odd schema\".\"T\" (a) INCLUDE (b, mail)",
        "CREATE INDEX i_expression ON \"Odd schema\".\"T\" (lower(b), (a + 1))",
        "CREATE UNIQUE INDEX i_partial ON \"Odd schema\".\"T\" (mail) WHERE a > 0",
        "CREATE INDEX i_hash ON \"Odd schema\".\"T\" USING hash (mail)",
        "CREATE INDEX i_brin ON \"Odd schema\".\"T\" USING brin (at) WITH (pages_per_range = 32)",
        "CREATE INDEX i_gin ON \"Odd schema\".\"T\" USING gin (doc jsonb_path_ops)",
        "CREATE INDEX i_trigram ON \"Odd schema\".\"T\" USING gin (mail gin_trgm_ops)",
        "CREATE INDEX i_pattern ON \"Odd schema\".\"T\" (mail text_pattern_ops)",
        "CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES \"Odd schema\".\"T\")",
        "CREATE MATERIALIZED VIEW m AS SELECT 1 AS one",
        "CREATE TABLE p (k int) PARTITION BY RANGE (k)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "CREATE INDEX p_k ON p (k)",
        "CREATE VIEW v AS SELECT 1",
        "INSERT INTO p SELECT g FROM generate_series(0, 9) g",
        "ANALYZE p",
    ]);
    let snapshot = snapshot(&session(&server.dsn(&database)).await).await.unwrap();
    let names: Vec<String> =
        snapshot.relations.iter().map(|relation| relation.name.to_string()).collect();
    assert_eq!(names, ["Odd schema.T", "public.child", "public.m", "public.p", "public.p1"]);
    let kinds: String = snapshot.relations.iter().map(|relation| relation.kind).collect();
    assert_eq!(kinds, "rrmpr");

    let relation = snapshot.relation(&name("Odd schema", "T")).unwrap();
    assert!(
        relation.column("id").unwrap().has_default && relation.column("mail").unwrap().has_default
    );
    assert_eq!(relation.column("mail").unwrap().type_name, "character varying(80)");
    assert!(relation.column("mail").unwrap().not_null && !relation.column("a").unwrap().not_null);
    assert_eq!(relation.columns.last().unwrap().name, "at", "a dropped column is left out");
    assert_eq!(relation.rows, None, "never analyzed");

    let index =
        |name: &str| relation.indexes.iter().find(|index| index.definition.name == name).unwrap();
    assert!(index("T_pkey").primary && index("T_pkey").replica_identity && index("T_pkey").valid);
    assert_eq!(index("T_pkey").constraint.as_deref(), Some("T_pkey"));
    let exclusion = index("T_span_excl");
    assert_eq!(
        (exclusion.definition.method.as_str(), exclusion.constraint.as_deref()),
        ("gist", Some("T_span_excl"))
    );

    let keys = &index("i_order").definition.keys;
    assert_eq!(
        keys.iter().map(|key| (key.descending, key.nulls_first)).collect::<Vec<_>>(),
        [(true, true), (false, true), (true, false)]
    );
    assert_eq!(index("i_include").definition.keys, [IndexKey::column("a")]);
    assert_eq!(index("i_include").definition.include, ["b", "mail"]);
    let expressions: Vec<_> = index("i_expression")
        .definition
        .keys
        .iter()
        .map(|key| key.expression.clone().unwrap())
        .collect();
    assert_eq!(expressions, ["lower(b)", "a + 1"]);
    assert_eq!(index("i_partial").definition.predicate.as_deref(), Some("a > 0"));
    assert!(index("i_partial").definition.unique && index("i_partial").constraint.is_none());
    let opclass = |name: &str| index(name).definition.keys[0].opclass.clone();
    assert_eq!(opclass("i_gin").as_deref(), Some("jsonb_path_ops"));
    assert_eq!(opclass("i_trigram").as_deref(), Some("gin_trgm_ops"));
    assert_eq!(opclass("i_pattern").as_deref(), Some("text_pattern_ops"));
    assert_eq!(opclass("i_hash"), None);
    assert_eq!(
        (index("i_hash").definition.method.as_str(), index("i_brin").definition.method.as_str()),
        ("hash", "brin")
    );
    assert!(
        index("i_order").size.0 > 0 && index("i_order").ddl.starts_with("CREATE INDEX i_order ON")
    );
    // What is read can be written again: the definition's DDL is the catalog's but for its notation.
    for index in relation.indexes.iter().filter(|index| index.constraint.is_none()) {
        let mut again = index.definition.clone();
        again.name.push_str("_again");
        server.execute(&database, &pgassay_sql::index_ddl(&again, false)).unwrap();
    }

    let child = snapshot.relation(&name("public", "child")).unwrap();
    assert_eq!(child.foreign_keys[0].columns, ["parent"]);
    assert_eq!(child.foreign_keys[0].references, name("Odd schema", "T"));
    let partitioned = snapshot.relation(&name("public", "p")).unwrap();
    assert_eq!(partitioned.indexes[0].definition.name, "p_k");
    assert_eq!(partitioned.column("k").unwrap().statistics.as_ref().unwrap().n_distinct, -1.0);
}

#[tokio::test]
async fn statistics_activity_parameters_and_host_are_those_of_the_server() {
    let server = shared();
    let database = fresh_database(server);
    run(
        server,
        &database,
        &[
            "CREATE TABLE t (id int PRIMARY KEY, kind text, n int)",
            "INSERT INTO t SELECT g, CASE WHEN g % 10 = 0 THEN 'rare, \"odd\"' ELSE 'common' END, nullif(g % 4, 0) FROM generate_series(1, 1000) g",
            "VACUUM ANALYZE t",
        ],
    );
    let reader = session(&server.dsn(&database)).await;
    // Before 15, activity reaches the statistics through a process of its own, some time later.
    let analyzed =
        "SELECT 1 FROM pg_stat_user_tables WHERE relname = 't' AND last_analyze IS NOT NULL";
    for _ in 0..200 {
        if !server.query(&database, analyzed).unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let snapshot = snapshot(&reader).await.unwrap();
    let relation = snapshot.relation(&name("public", "t")).unwrap();
    assert_eq!(relation.rows, Some(1000.0));
    assert_eq!(relation.size.0, relation.pages * 8192);
    assert!(
        relation.all_visible_pages <= relation.pages && relation.activity.last_analyze.is_some()
    );
    let kind = relation.column("kind").unwrap().statistics.clone().unwrap();
    assert_eq!(
        kind.most_common,
        [("common".to_owned(), 0.9_f32.into()), ("rare, \"odd\"".to_owned(), 0.1_f32.into())]
    );
    assert_eq!(relation.column("n").unwrap().statistics.as_ref().unwrap().null_fraction, 0.25);
    let id = relation.column("id").unwrap().statistics.clone().unwrap();
    assert_eq!(
        (
            id.histogram.first().unwrap().as_str(),
            id.histogram.last().unwrap().as_str(),
            id.correlation
        ),
        ("1", "1000", Some(1.0))
    );

    assert_eq!(snapshot.server.version_num, server.version_num());
    assert!(snapshot.server.superuser && snapshot.server.monitor && snapshot.server.read_all_data);
    assert!(snapshot.server.system_identifier.is_some() && !snapshot.server.in_recovery);
    assert!(snapshot.server.available_extensions.contains("pg_stat_statements"));
    assert!(snapshot.server.database_size.0 > 1 << 20);
    // Our own guards don't stand for the server's settings.
    assert_eq!(snapshot.parameter("statement_timeout").unwrap().current, "0");
    assert_eq!(snapshot.parameter("default_transaction_read_only").unwrap().setting, "off");
    assert_eq!(snapshot.parameter("max_connections").unwrap().number(), Some(200.0));
    assert!(snapshot.parameter("max_connections").unwrap().needs_restart());

    let host = snapshot.host.unwrap();
    assert_eq!(host.postmaster_pid, Some(server.postmaster_pid().unwrap()));
    assert!(host.memory.0 >= host.available.0 && host.available.0 > 0 && host.cores > 0);
    assert!(host.disk_free.unwrap().0 > 0);
}

#[tokio::test]
async fn a_role_without_rights_sees_what_it_may_and_is_told_the_grants() {
    let server = shared();
    let database = fresh_database(server);
    run(
        server,
        &database,
        &[
            "CREATE EXTENSION pg_stat_statements",
            "CREATE TABLE t (id int PRIMARY KEY)",
            "INSERT INTO t SELECT generate_series(1, 100)",
            "ANALYZE t",
            "DO $$ BEGIN CREATE ROLE \"Plain role\" LOGIN PASSWORD 'pw'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            "DO $$ BEGIN CREATE ROLE monitoring LOGIN PASSWORD 'pw' IN ROLE pg_monitor; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
        ],
    );
    let text = |user: &str| server.tcp_dsn(user, "pw", &database);
    let plain = session(&text("Plain%20role")).await;
    let snapshot_plain = snapshot(&plain).await.unwrap();
    assert!(!snapshot_plain.server.monitor && !snapshot_plain.server.superuser);
    assert_eq!(
        unseen(&snapshot_plain, "sessions and statements"),
        Some("GRANT pg_monitor TO \"Plain role\";")
    );
    assert_eq!(
        unseen(&snapshot_plain, "column statistics of 1 of 1"),
        Some("GRANT pg_read_all_data TO \"Plain role\";")
    );
    assert!(unseen(&snapshot_plain, "data_directory").unwrap().contains("pg_read_all_settings"));
    let relation = snapshot_plain.relation(&name("public", "t")).unwrap();
    assert_eq!(relation.rows, Some(100.0));
    assert!(relation.column("id").unwrap().statistics.is_none());
    assert!(snapshot_plain.statements.is_some(), "its own statements are readable");
    counters(&plain).await.unwrap();

    let monitor = snapshot(&session(&text("monitoring")).await).await.unwrap();
    assert!(monitor.server.monitor && !monitor.server.read_all_data);
    assert_eq!(unseen(&monitor, "sessions and statements"), None);
    assert!(monitor.server.data_directory.is_some());
    assert!(unseen(&monitor, "column statistics").is_some());
    assert!(monitor.host.is_some(), "the server's processes are seen over loopback TCP too");
}

#[tokio::test]
async fn counters_grow_by_what_was_done() {
    let server = shared();
    let database = fresh_database(server);
    run(
        server,
        &database,
        &[
            "CREATE TABLE t (id int PRIMARY KEY)",
            "INSERT INTO t SELECT generate_series(1, 1000)",
            "VACUUM ANALYZE t",
        ],
    );
    let session = session(&server.dsn(&database)).await;
    let before = counters(&session).await.unwrap();
    let scans_before = index_scans(&session).await.unwrap();
    for _ in 0..5 {
        // Each a session of its own, whose backend reports as it ends.
        server.query(&database, "SET enable_seqscan = off; SELECT * FROM t WHERE id = 7").unwrap();
    }
    // The backend ends after its client has gone.
    let mut scans = 0;
    for _ in 0..200 {
        scans =
            index_scans(&session).await.unwrap()["public.t_pkey"] - scans_before["public.t_pkey"];
        if scans == 5 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(scans, 5);
    let after = counters(&session).await.unwrap();
    assert!(after.commits >= before.commits + 5);
    assert!(after.blocks_hit > before.blocks_hit);
    assert_eq!(after.sessions.is_some(), server.version_num() >= 140_000);
    assert_eq!(after.wal_bytes.is_some(), server.version_num() >= 140_000);
    assert!(after.checkpoints_timed.is_some() && after.checkpoints_requested.is_some());
}

#[tokio::test]
async fn statements_are_those_of_this_database_without_our_own() {
    let server = shared();
    let database = fresh_database(server);
    let reader = session(&server.dsn(&database)).await;
    assert_eq!(statement_statistics(&reader).await.unwrap(), None);
    let without = snapshot(&reader).await.unwrap();
    assert!(without.statements.is_none());
    assert_eq!(
        unseen(&without, "pg_stat_statements"),
        Some("CREATE EXTENSION pg_stat_statements; in this database")
    );

    run(
        server,
        &database,
        &[
            "CREATE SCHEMA \"Stats\"",
            "CREATE EXTENSION pg_stat_statements SCHEMA \"Stats\"",
            "CREATE TABLE marked_by_this_test (id int)",
        ],
    );
    for _ in 0..3 {
        server.query(&database, "SELECT id FROM marked_by_this_test WHERE id = 42").unwrap();
    }
    let statements = statement_statistics(&reader).await.unwrap().unwrap();
    let found: Vec<_> = statements
        .iter()
        .filter(|row| row.query.starts_with("SELECT id FROM marked_by_this_test"))
        .collect();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].calls, found[0].query.as_str()),
        (3, "SELECT id FROM marked_by_this_test WHERE id = $1")
    );
    assert!(found[0].total_exec_ms > 0.0);
    assert!(!statements.iter().any(|row| row.query.contains("pgassay")), "ours are left out");
}

#[tokio::test]
async fn an_extension_older_than_the_server_is_read_by_its_own_columns() {
    let server = shared();
    for version in ["1.4", "1.8", "1.9"] {
        let database = fresh_database(server);
        server
            .execute(&database, &format!("CREATE EXTENSION pg_stat_statements VERSION '{version}'"))
            .unwrap();
        server.query(&database, &format!("SELECT '{database}' AS of_this_test")).unwrap();
        let statements =
            statement_statistics(&session(&server.dsn(&database)).await).await.unwrap().unwrap();
        let found = statements.iter().find(|row| row.query == "SELECT $1 AS of_this_test").unwrap();
        assert!(found.calls == 1 && found.total_exec_ms > 0.0, "{version}");
    }
}

#[tokio::test]
async fn an_extension_that_is_not_preloaded_is_explained_and_a_locked_relation_does_not_hold_up() {
    let server = Postgres::start(PostgresOptions::default()).unwrap();
    run(
        &server,
        "postgres",
        &[
            "CREATE EXTENSION pg_stat_statements",
            "CREATE TABLE t (id int PRIMARY KEY)",
            "INSERT INTO t SELECT generate_series(1, 1000)",
            "VACUUM ANALYZE t",
        ],
    );
    let locker = Session::connect(
        &dsn::resolve(&server.dsn("postgres")).unwrap(),
        SessionOptions { read_only: false, ..SessionOptions::default() },
    )
    .await
    .unwrap();
    locker.client().batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let seen = snapshot(&session(&server.dsn("postgres")).await).await.unwrap();
    assert!(seen.statements.is_none());
    assert!(unseen(&seen, "pg_stat_statements").unwrap().contains("shared_preload_libraries"));
    assert!(unseen(&seen, "time spent reading").unwrap().contains("track_io_timing"));
    assert!(seen.relation(&name("public", "t")).is_none());
    assert!(unseen(&seen, "relations public.t").unwrap().contains("run again"));
    assert_eq!(seen.counters.backends_idle_in_transaction, 1);
    locker.client().batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test]
async fn bytes_that_are_no_utf8_in_a_database_without_encoding_cost_only_their_columns_values() {
    let server = shared();
    let database = format!("{}_bytes", fresh_database(server));
    let created =
        format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'");
    run(server, "postgres", &[&created]);
    run(
        server,
        &database,
        &[
            "CREATE TABLE t (id int PRIMARY KEY, latin text, utf text, \"größe\" int)",
            "INSERT INTO t SELECT g, E'M\\xfcller ' || g % 5, 'Müller ' || g % 5, 1 FROM generate_series(1, 1000) g",
            "ANALYZE t",
        ],
    );
    let session = session(&server.dsn(&database)).await;
    let snapshot = snapshot(&session).await.unwrap();
    let table = snapshot.relation(&name("public", "t")).unwrap();
    let statistics = |column: &str| table.column(column).unwrap().statistics.as_ref().unwrap();
    assert_eq!(statistics("utf").most_common.len(), 5);
    assert!(statistics("utf").most_common[0].0.starts_with("Müller"));
    assert!(statistics("latin").most_common.is_empty());
    assert_eq!(statistics("latin").n_distinct, 5.0);
    assert_eq!(statistics("größe").n_distinct, 1.0);
    let note = snapshot.unseen.iter().find(|unseen| unseen.what.contains("public.t.latin"));
    assert!(note.unwrap().why.contains("SQL_ASCII"), "{:?}", snapshot.unseen);
    assert!(!format!("{:?}", snapshot.unseen).contains("t.utf"));
}
