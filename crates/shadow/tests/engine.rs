//! Candidate indexes of every access method on a shadow, beside the same ones really built on its source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_model::index::{IndexDefinition, IndexKey, RelationName};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::what_if::{Hypothesis, WhatIf, WhatIfError};
use pgassay_model::workload::WorkloadStatement;
use pgassay_postgres::{Session, SessionOptions, dsn, snapshot};
use pgassay_shadow::{BuildOptions, ReadOptions, Shadow};
use pgassay_testkit::{Postgres, fresh_database, shared};
use std::sync::Arc;

const SCHEMA: [&str; 5] = [
    "CREATE TABLE visits (id int PRIMARY KEY, person int NOT NULL, site int NOT NULL, at timestamptz NOT NULL,
       price numeric(10, 2), mail text, tags text[], body jsonb, stay tsrange, token uuid)",
    "INSERT INTO visits SELECT g, (g * 7919::bigint) % 20011, g % 50, timestamptz '2026-01-01 00:00+00' + g * interval '1 min',
       (g * 37 % 100000) / 100.0, 'user' || g || '@example.com', ARRAY['t' || g % 7, 't' || g % 1000],
       jsonb_build_object('plan', g % 20, 'n', g % 100),
       tsrange(timestamp '2026-01-01' + g * interval '1 min', timestamp '2026-01-01' + (g + g % 700) * interval '1 min'),
       md5(g::text)::uuid
     FROM generate_series(1, 100000) g",
    "CREATE TABLE parts (at date NOT NULL, n int NOT NULL, note text) PARTITION BY RANGE (at);
     CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
     CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
     INSERT INTO parts SELECT date '2026-01-01' + g % 59, g, 'note ' || g FROM generate_series(1, 40000) g",
    "ALTER TABLE visits SET (autovacuum_enabled = off); ALTER TABLE parts_1 SET (autovacuum_enabled = off);
     ALTER TABLE parts_2 SET (autovacuum_enabled = off)",
    "VACUUM ANALYZE",
];

fn statement(sql: &str) -> WorkloadStatement {
    WorkloadStatement { id: sql.into(), sql: sql.into(), parameter_source: "given".into(), ..one() }
}

/// A statement as a workload document has it, whatever fields there are.
fn one() -> WorkloadStatement {
    serde_json::from_str(r#"{"id": "s", "sql": "SELECT 1", "weight": 1.0, "writes": false}"#)
        .unwrap()
}

fn index(relation: &str, method: &str, keys: &[&str]) -> IndexDefinition {
    IndexDefinition {
        relation: RelationName { schema: "public".into(), name: relation.into() },
        name: format!("{relation}_{method}_{}", keys.join("_")),
        method: method.into(),
        unique: false,
        keys: keys.iter().map(|key| IndexKey::column(*key)).collect(),
        include: Vec::new(),
        predicate: None,
        pages_per_range: None,
    }
}

fn with(indexes: &[&IndexDefinition]) -> Hypothesis {
    Hypothesis {
        indexes: indexes.iter().map(|index| (*index).clone()).collect(),
        ..Hypothesis::default()
    }
}

fn filled(server: &Postgres) -> String {
    let database = fresh_database(server);
    for sql in SCHEMA {
        server.execute(&database, sql).unwrap();
    }
    database
}

async fn observed(server: &Postgres, database: &str) -> (Session, Snapshot, Arc<Shadow>) {
    let settings = dsn::resolve(&server.dsn(database)).unwrap();
    let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
    let snapshot = snapshot(&session).await.unwrap();
    let blueprint = pgassay_shadow::read(&session, &ReadOptions::default()).await.unwrap();
    let shadow = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap();
    assert_eq!(shadow.lacking(), []);
    (session, snapshot, Arc::new(shadow))
}

/// Asks on a thread that may block, as the callers do.
async fn ask<R: Send + 'static>(
    shadow: &Arc<Shadow>,
    snapshot: &Snapshot,
    questions: impl FnOnce(&mut dyn WhatIf) -> R + Send + 'static,
) -> R {
    let runtime = tokio::runtime::Handle::current();
    let mut engine = shadow.engine(runtime, snapshot).await.unwrap();
    tokio::task::spawn_blocking(move || questions(engine.as_mut())).await.unwrap()
}

/// Cost and size with the index really there, in a transaction that is rolled back.
fn real(server: &Postgres, database: &str, index: &IndexDefinition, sql: &str) -> (f64, f64, bool) {
    let ddl = pgassay_sql::index_ddl(index, false);
    let rows = server
        .query(
            database,
            &format!(
                "BEGIN; {ddl}; EXPLAIN (FORMAT JSON) {sql}; \
                 SELECT greatest(pg_relation_size('{0}'), (SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree('{0}'))); \
                 ROLLBACK",
                index.name
            ),
        )
        .unwrap();
    let text = |row: usize| rows[row][0].clone();
    let plan = text(0).unwrap();
    let document: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let cost = document[0]["Plan"]["Total Cost"].as_f64().unwrap();
    // A plain index is in no partition tree.
    let size = text(1).and_then(|size| size.parse().ok()).unwrap_or(0.0);
    (cost, size, plan.contains(&index.name) || plan.contains("parts_"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_candidate_of_every_method_costs_what_it_costs_when_really_built() {
    let server = shared();
    let database = filled(server);
    let (_session, snapshot, shadow) = observed(server, &database).await;
    let mut including = index("visits", "btree", &["person"]);
    including.include = vec!["price".into()];
    let mut partial = index("visits", "btree", &["at"]);
    partial.predicate = Some("site = 7".into());
    let mut expression = index("visits", "btree", &["mail"]);
    expression.name = "visits_lower".into();
    expression.keys[0] =
        IndexKey { column: None, expression: Some("lower(mail)".into()), ..IndexKey::column("") };
    let mut descending = index("visits", "btree", &["site", "price"]);
    descending.keys[1].descending = true;
    descending.keys[1].nulls_first = true;
    // The third is how far off the cost may be: GIN and GiST by a rule of thumb for the size.
    let cases = [
        (
            index("visits", "btree", &["mail"]),
            "SELECT * FROM visits WHERE mail = 'user77@example.com'",
            0.1,
        ),
        (index("visits", "btree", &["person"]), "SELECT * FROM visits WHERE person = 12", 0.1),
        (index("visits", "btree", &["site"]), "SELECT count(*) FROM visits WHERE site = 12", 0.1),
        (
            index("visits", "btree", &["person", "id"]),
            "SELECT person, id FROM visits WHERE person < 300",
            0.1,
        ),
        (
            index("visits", "btree", &["at"]),
            "SELECT * FROM visits WHERE at > '2026-03-09' ORDER BY at LIMIT 20",
            0.1,
        ),
        (including, "SELECT price FROM visits WHERE person BETWEEN 12 AND 40", 0.1),
        (partial, "SELECT * FROM visits WHERE site = 7 AND at > '2026-03-01'", 0.1),
        (expression, "SELECT * FROM visits WHERE lower(mail) = 'user77@example.com'", 0.1),
        (descending, "SELECT * FROM visits WHERE site = 3 ORDER BY price DESC LIMIT 10", 0.1),
        (
            index("visits", "hash", &["token"]),
            "SELECT * FROM visits WHERE token = 'c4ca4238-a0b9-2382-0dcc-509a6f75849b'",
            0.1,
        ),
        (
            index("visits", "brin", &["at"]),
            "SELECT sum(price) FROM visits WHERE at BETWEEN '2026-02-01' AND '2026-02-02'",
            0.1,
        ),
        (
            index("visits", "gin", &["tags"]),
            "SELECT * FROM visits WHERE tags @> ARRAY['t700']",
            0.25,
        ),
        (
            index("visits", "gin", &["body"]),
            "SELECT * FROM visits WHERE body @> '{\"n\": 77}'",
            0.25,
        ),
        (
            index("visits", "gist", &["stay"]),
            "SELECT * FROM visits WHERE stay @> timestamp '2026-01-03'",
            0.25,
        ),
        (index("parts", "btree", &["n"]), "SELECT * FROM parts WHERE n = 4711", 0.1),
    ];
    let asked = cases.clone();
    let (costs, calls) = ask(&shadow, &snapshot, move |engine| {
        assert!(engine.engine() == "shadow" && engine.plans_indexes());
        let costs: Vec<_> = asked
            .iter()
            .map(|(index, sql, _)| {
                let cost = engine.cost(&statement(sql), &with(&[index])).unwrap();
                (cost, engine.index_size(index))
            })
            .collect();
        // Rolled back, it is off again.
        let plain = engine.cost(&statement(cases_first()), &Hypothesis::default()).unwrap();
        assert!(plain.shape.contains("Seq Scan") && plain.indexes.is_empty(), "{plain:?}");
        (costs, engine.calls())
    })
    .await;
    assert!(calls > 0);
    let mut wrong = Vec::new();
    for ((index, sql, tolerance), (cost, size)) in cases.iter().zip(&costs) {
        let (real_cost, real_size, used) = real(server, &database, index, sql);
        let off = cost.total_cost / real_cost - 1.0;
        let size = size.map_or(0.0, |size| size.0 as f64);
        let line = format!(
            "{:28} cost {:10.2} real {real_cost:10.2} ({:+.1} %), size {size:.0} real {real_size:.0} (× {:.2}), used {used} {:?}",
            index.name,
            cost.total_cost,
            off * 100.0,
            size / real_size.max(1.0),
            cost.indexes
        );
        eprintln!("{line}");
        if off.abs() > *tolerance || used != cost.indexes.contains(&index.name) {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn cases_first() -> &'static str {
    "SELECT * FROM visits WHERE mail = 'user77@example.com'"
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_hidden_parameters_tried_and_several_engines_asked_at_once() {
    let server = shared();
    let database = filled(server);
    let (_session, snapshot, shadow) = observed(server, &database).await;
    let by_id = statement("SELECT * FROM visits WHERE id = 77");
    let by_person = statement("SELECT * FROM visits WHERE person = 77");
    let person = index("visits", "btree", &["person"]);
    let hidden = Hypothesis {
        hidden: vec![("public".into(), "visits_pkey".into())],
        ..Hypothesis::default()
    };
    let answers = {
        let (by_id, by_person, person, hidden) =
            (by_id.clone(), by_person.clone(), person.clone(), hidden.clone());
        move |engine: &mut dyn WhatIf| {
            let mut costs = Vec::new();
            let plain = engine.cost(&by_id, &Hypothesis::default()).unwrap();
            assert_eq!(plain.indexes, ["visits_pkey"]);
            let without = engine.cost(&by_id, &hidden).unwrap();
            assert!(without.shape.contains("Seq Scan"), "{without:?}");
            let serial = Hypothesis {
                parameters: vec![("max_parallel_workers_per_gather".into(), "0".into())],
                ..Hypothesis::default()
            };
            costs.push(engine.cost(&by_person, &serial).unwrap().total_cost);
            for width in 1..20 {
                // Another partial index each time, so that each is created and planned with.
                let mut index = person.clone();
                index.name = format!("person_{width}");
                index.predicate = Some(format!("person < {}", 1000 + width));
                costs.push(engine.cost(&by_person, &with(&[&index])).unwrap().total_cost);
                assert!(engine.cost(&by_id, &hidden).unwrap().shape.contains("Seq Scan"));
            }
            let absent = Hypothesis {
                parameters: vec![("no_such_parameter".into(), "0".into())],
                ..Hypothesis::default()
            };
            assert!(matches!(engine.cost(&by_id, &absent), Err(WhatIfError::Unsupported { .. })));
            let mut odd = person.clone();
            odd.keys[0].opclass = Some("no_such_ops".into());
            let refused = engine.cost(&by_person, &with(&[&odd]));
            assert!(
                matches!(&refused, Err(WhatIfError::Unsupported { reason, .. }) if reason.contains("no_such_ops")),
                "{refused:?}"
            );
            costs
        }
    };
    let (one, two) =
        tokio::join!(ask(&shadow, &snapshot, answers.clone()), ask(&shadow, &snapshot, answers));
    assert_eq!(one, two);
    // None of it reached the source.
    let indexes = server
        .query(&database, "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public'")
        .unwrap();
    assert_eq!(indexes[0][0].as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_engine_answers_within_milliseconds() {
    let server = shared();
    let database = filled(server);
    let (_session, snapshot, shadow) = observed(server, &database).await;
    let milliseconds = ask(&shadow, &snapshot, |engine| {
        let person = index("visits", "btree", &["person"]);
        let site = index("visits", "btree", &["site"]);
        let statements: Vec<_> = (0..200)
            .map(|n| statement(&format!("SELECT * FROM visits WHERE person = {n}")))
            .collect();
        engine.cost(&statements[0], &with(&[&person, &site])).unwrap();
        let began = std::time::Instant::now();
        for statement in &statements {
            engine.cost(statement, &with(&[&person, &site])).unwrap();
        }
        began.elapsed().as_secs_f64() * 1000.0 / statements.len() as f64
    })
    .await;
    eprintln!("{milliseconds:.3} ms per question");
    assert!(milliseconds < 50.0, "{milliseconds} ms per question");
}

/// Bytes that a directory takes on disk.
fn on_disk(directory: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => on_disk(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relation_of_hundreds_of_gigabytes_takes_no_disk_and_its_candidates_no_time() {
    const PAGES: u64 = 40_000_000;
    let server = shared();
    let database = filled(server);
    let settings = dsn::resolve(&server.dsn(&database)).unwrap();
    let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
    let mut snapshot = snapshot(&session).await.unwrap();
    let mut blueprint = pgassay_shadow::read(&session, &ReadOptions::default()).await.unwrap();
    let visits = blueprint.sizes.iter_mut().find(|size| size.name == "visits").unwrap();
    (visits.pages, visits.relpages, visits.reltuples) = (PAGES, PAGES as i32, 2e9);
    let key = blueprint.sizes.iter_mut().find(|size| size.name == "visits_pkey").unwrap();
    (key.pages, key.relpages, key.reltuples, key.height) = (5_500_000, 5_500_000, 2e9, Some(3));
    for relation in &mut snapshot.relations {
        if relation.name.name == "visits" {
            (relation.pages, relation.rows) = (PAGES, Some(2e9));
        }
    }
    let shadow = Arc::new(Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap());
    assert_eq!(shadow.lacking(), []);
    let (plain, person, candidate, again, size, took) = ask(&shadow, &snapshot, |engine| {
        let by_person = statement("SELECT * FROM visits WHERE person = 77");
        let by_id = statement("SELECT * FROM visits WHERE id = 77");
        let index = index("visits", "btree", &["token"]);
        let by_token =
            statement("SELECT * FROM visits WHERE token = 'c4ca4238-a0b9-2382-0dcc-509a6f75849b'");
        let plain = engine.cost(&by_id, &Hypothesis::default()).unwrap();
        let person = engine.cost(&by_person, &Hypothesis::default()).unwrap();
        let began = std::time::Instant::now();
        let candidate = engine.cost(&by_token, &with(&[&index])).unwrap();
        let took = began.elapsed();
        let mut other = index.clone();
        other.method = "hash".into();
        engine.cost(&by_token, &with(&[&other])).unwrap();
        // As long as it was, also to a session that saw it cut.
        let serial = Hypothesis {
            parameters: vec![("work_mem".into(), "4MB".into())],
            ..Hypothesis::default()
        };
        let again = engine.cost(&by_person, &serial).unwrap();
        (plain, person, candidate, again, engine.index_size(&index).unwrap(), took)
    })
    .await;
    eprintln!("{plain:?}\n{person:?}\n{candidate:?}\n{size} in {took:?}");
    assert_eq!(plain.indexes, ["visits_pkey"]);
    assert!(person.total_cost > PAGES as f64, "{person:?}");
    assert_eq!(again.total_cost, person.total_cost);
    assert_eq!(candidate.indexes, ["visits_btree_token"]);
    // 16 bytes of key, 8 of header and 4 of line pointer, 90 % full.
    let expected = 2e9 * 28.0 / 0.9;
    assert!((size.0 as f64 / expected - 1.0).abs() < 0.1, "{size}");
    assert!(took < std::time::Duration::from_secs(20), "{took:?}");
    let disk = on_disk(&shadow.data_directory());
    assert!(disk < 300 << 20, "{disk} bytes on disk");
}
