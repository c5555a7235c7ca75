//! What-if questions on a real server, with and without HypoPG.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_model::index::{IndexDefinition, IndexKey, RelationName};
use pgassay_model::what_if::{Hypothesis, WhatIf, WhatIfError};
use pgassay_model::workload::WorkloadStatement;
use pgassay_postgres::{Session, SessionOptions, dsn, snapshot, what_if};
use pgassay_testkit::{Postgres, fresh_database, shared};

fn statement(id: &str, sql: &str, parameters: &[&[Option<&str>]]) -> WorkloadStatement {
    WorkloadStatement {
        id: id.into(),
        sql: sql.into(),
        weight: 1.0,
        writes: false,
        parameters: parameters
            .iter()
            .map(|set| set.iter().map(|value| value.map(str::to_owned)).collect())
            .collect(),
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    }
}

fn index(name: &str, method: &str, keys: &[&str]) -> IndexDefinition {
    IndexDefinition {
        relation: RelationName { schema: "public".into(), name: "users".into() },
        name: name.into(),
        method: method.into(),
        unique: false,
        keys: keys.iter().map(|key| IndexKey::column(*key)).collect(),
        include: Vec::new(),
        predicate: None,
        pages_per_range: None,
    }
}

fn with(indexes: &[IndexDefinition]) -> Hypothesis {
    Hypothesis { indexes: indexes.to_vec(), ..Hypothesis::default() }
}

fn setting(name: &str, value: &str) -> Hypothesis {
    Hypothesis { parameters: vec![(name.into(), value.into())], ..Hypothesis::default() }
}

/// The servers of other major versions come without it.
fn has_hypopg(server: &Postgres) -> bool {
    let sql = "SELECT 1 FROM pg_available_extensions WHERE name = 'hypopg'";
    !server.query("postgres", sql).unwrap().is_empty()
}

fn filled(server: &Postgres, hypopg: bool) -> String {
    let database = fresh_database(server);
    for sql in [
        if hypopg { "CREATE SCHEMA hypo; CREATE EXTENSION hypopg SCHEMA hypo" } else { "SELECT 1" },
        "CREATE TABLE users (id int PRIMARY KEY, email text, city int, at timestamptz, note text)",
        "INSERT INTO users SELECT g, 'user' || g || '@example.com', g % 50, timestamptz '2026-01-01' + g * interval '1 min', repeat('x', 100) FROM generate_series(1, 50000) g",
        "VACUUM ANALYZE users",
        "CREATE TABLE others (id int PRIMARY KEY)",
    ] {
        server.execute(&database, sql).unwrap();
    }
    database
}

/// Asks on a thread that may block, as the callers do.
async fn ask<R: Send + 'static>(
    server: &Postgres,
    database: &str,
    questions: impl FnOnce(&mut dyn WhatIf) -> R + Send + 'static,
) -> R {
    let settings = dsn::resolve(&server.dsn(database)).unwrap();
    let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
    let snapshot = snapshot(&session).await.unwrap();
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let mut engine = what_if(runtime, session, &snapshot);
        questions(engine.as_mut())
    })
    .await
    .unwrap()
}

fn indexes_there(server: &Postgres, database: &str) -> Vec<Vec<Option<String>>> {
    server
        .query(database, "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
        .unwrap()
}

#[tokio::test]
async fn a_hypothetical_index_is_planned_with_under_its_own_name_and_leaves_nothing() {
    let server = shared();
    if !has_hypopg(server) {
        eprintln!("this server has no HypoPG to test with");
        return;
    }
    let database = filled(server, true);
    let before = indexes_there(server, &database);
    ask(server, &database, |engine| {
        assert!(engine.engine() == "hypopg" && engine.plans_indexes());
        let by_email = statement(
            "q1",
            "SELECT id FROM users WHERE email = $1",
            &[&[Some("user7@example.com")], &[None]],
        );
        let plain = engine.cost(&by_email, &Hypothesis::default()).unwrap();
        assert!(plain.shape.contains("Seq Scan users") && plain.indexes.is_empty(), "{plain:?}");
        let email = index("users_email_idx", "btree", &["email"]);
        let city = index("users_city_idx", "btree", &["city"]);
        let indexed = engine.cost(&by_email, &with(&[city.clone(), email.clone()])).unwrap();
        assert_eq!(indexed.indexes, ["users_email_idx"]);
        assert!(
            indexed.shape.contains("using users_email_idx") && !indexed.shape.contains('<'),
            "{indexed:?}"
        );
        assert!(indexed.total_cost < plain.total_cost / 10.0);

        // The same question again, in another order, is not asked again; nor is one about a relation that
        // the statement does not name.
        let calls = engine.calls();
        assert_eq!(engine.cost(&by_email, &with(&[email.clone(), city.clone()])).unwrap(), indexed);
        let mut elsewhere = email.clone();
        elsewhere.relation.name = "others".into();
        assert_eq!(engine.cost(&by_email, &with(&[elsewhere])).unwrap(), plain);
        assert_eq!(engine.calls(), calls);

        // One that is gone from the hypothesis is gone from the session.
        let without = engine.cost(&by_email, &with(&[city])).unwrap();
        assert_eq!(without.total_cost, plain.total_cost);
        let write =
            statement("w1", "UPDATE users SET note = 'y' WHERE email = $1", &[&[Some("a")]]);
        assert_eq!(engine.cost(&write, &with(&[email])).unwrap().indexes, ["users_email_idx"]);

        let gin = engine.cost(&by_email, &with(&[index("g", "gin", &["email"])]));
        assert!(
            matches!(&gin, Err(WhatIfError::Unsupported { reason, .. }) if reason.contains("gin")),
            "{gin:?}"
        );
        let hidden = Hypothesis {
            hidden: vec![("public".into(), "users_pkey".into())],
            ..Hypothesis::default()
        };
        let by_id = statement("q2", "SELECT email FROM users WHERE id = $1", &[&[Some("7")]]);
        match engine.cost(&by_id, &hidden) {
            Ok(cost) => assert!(cost.indexes.is_empty()),
            Err(WhatIfError::Unsupported { reason, .. }) => {
                assert!(reason.contains("1.4"), "{reason}")
            }
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    assert_eq!(indexes_there(server, &database), before);
    let unchanged = server.query(&database, "SELECT count(*) FROM users WHERE note = 'y'").unwrap();
    assert_eq!(unchanged[0][0].as_deref(), Some("0"));
}

#[tokio::test]
async fn parameters_are_tried_without_hypopg_and_stay_as_they_were() {
    let server = shared();
    let database = filled(server, false);
    ask(server, &database, |engine| {
        assert!(engine.engine() == "explain" && !engine.plans_indexes());
        let sort = statement("q", "SELECT * FROM users ORDER BY note, id", &[]);
        let plain = engine.cost(&sort, &Hypothesis::default()).unwrap();
        let more = engine.cost(&sort, &setting("work_mem", "256MB")).unwrap();
        assert!(more.total_cost < plain.total_cost, "{plain:?} {more:?}");
        let fresh = statement("q again", "SELECT * FROM users ORDER BY note, id", &[]);
        assert_eq!(engine.cost(&fresh, &Hypothesis::default()).unwrap(), plain);

        for fixed in ["shared_buffers", "no_such_parameter"] {
            let refused = engine.cost(&sort, &setting(fixed, "1GB"));
            assert!(matches!(&refused, Err(WhatIfError::Unsupported { reason, .. }) if reason.contains(fixed)), "{refused:?}");
        }
        let indexed = engine.cost(&sort, &with(&[index("i", "btree", &["note"])]));
        assert!(matches!(indexed, Err(WhatIfError::Unsupported { .. })), "{indexed:?}");
        let broken = engine.cost(&statement("b", "SELECT * FROM nowhere", &[]), &Hypothesis::default());
        assert!(matches!(&broken, Err(WhatIfError::Plan { reason, .. }) if reason.contains("42P01")), "{broken:?}");
        let missing = engine.cost(&statement("m", "SELECT * FROM users WHERE id = $1", &[]), &Hypothesis::default());
        assert!(matches!(missing, Err(WhatIfError::Plan { .. })), "{missing:?}");
    })
    .await;
}

#[tokio::test]
async fn values_of_every_type_are_inferred_from_the_statement() {
    let server = shared();
    let database = filled(server, false);
    ask(server, &database, |engine| {
        for (sql, set) in [
            (
                "SELECT * FROM users WHERE at BETWEEN $1 AND $2",
                vec![Some("2026-01-01"), Some("2026-01-02 03:00+00")],
            ),
            ("SELECT * FROM users WHERE id = ANY ($1) LIMIT $2", vec![Some("{1,2,3}"), Some("10")]),
            (
                "SELECT * FROM users WHERE city = $1 AND note IS NOT DISTINCT FROM $2",
                vec![Some("3"), None],
            ),
            (
                "INSERT INTO users (id, email) VALUES ($1, $2)",
                vec![Some("-1"), Some("'; DROP TABLE users; --")],
            ),
            ("DELETE FROM users WHERE id = $1", vec![Some("1")]),
            ("SELECT * FROM users WHERE id = $1 FOR UPDATE", vec![Some("1")]),
        ] {
            let asked = statement(sql, sql, &[&set]);
            assert!(
                engine.cost(&asked, &Hypothesis::default()).unwrap().total_cost >= 0.0,
                "{sql}"
            );
            assert!(engine.cost(&asked, &setting("random_page_cost", "1.1")).is_ok(), "{sql}");
        }
        // Values steer the plan: it is planned with them, not left open.
        let few = "SELECT * FROM users WHERE id < $1";
        let cost = |engine: &mut dyn WhatIf, to: &str| {
            engine.cost(&statement(to, few, &[&[Some(to)]]), &Hypothesis::default()).unwrap()
        };
        assert!(
            cost(engine, "10").shape.contains("Index Scan")
                && cost(engine, "50000").shape.contains("Seq Scan")
        );
        let both = engine
            .cost(
                &statement("both", few, &[&[Some("10")], &[Some("50000")]]),
                &Hypothesis::default(),
            )
            .unwrap();
        assert!(both.shape.contains(" | "), "a plan for each kind of value: {}", both.shape);

        // At most five sets are asked for.
        let calls = engine.calls();
        let sets: Vec<Vec<Option<&str>>> = vec![vec![Some("1")]; 40];
        let sets: Vec<&[Option<&str>]> = sets.iter().map(Vec::as_slice).collect();
        engine
            .cost(
                &statement("many", "SELECT * FROM users WHERE id = $1", &sets),
                &Hypothesis::default(),
            )
            .unwrap();
        assert_eq!(engine.calls(), calls + 5);
    })
    .await;
}

#[tokio::test]
async fn sizes_come_close_to_those_of_indexes_really_built() {
    let server = shared();
    let database = filled(server, false);
    let mut partial = index("s_partial", "btree", &["at"]);
    partial.predicate = Some("city < 10".into());
    let mut covering = index("s_covering", "btree", &["city"]);
    covering.include = vec!["email".into()];
    let mut expression = index("s_expression", "btree", &[]);
    expression.keys = vec![IndexKey {
        column: None,
        expression: Some("lower(email)".into()),
        ..IndexKey::column("")
    }];
    let tried = vec![
        index("s_id", "btree", &["id"]),
        index("s_email", "btree", &["email"]),
        index("s_city", "btree", &["city"]),
        index("s_city_email", "btree", &["city", "email"]),
        index("s_at", "btree", &["at"]),
        partial,
        covering,
        index("s_hash", "hash", &["email"]),
        index("s_brin", "brin", &["at"]),
    ];
    let asked = tried.clone();
    let sizes = ask(server, &database, move |engine| {
        let none = engine.index_size(&index("g", "spgist", &["note"]));
        assert_eq!(none, None, "no formula, no opinion");
        assert!(engine.index_size(&expression).is_some());
        asked.iter().map(|index| engine.index_size(index).unwrap()).collect::<Vec<_>>()
    })
    .await;
    for (index, size) in tried.iter().zip(sizes) {
        server.execute(&database, &pgassay_sql::index_ddl(index, false)).unwrap();
        let real =
            server.query(&database, &format!("SELECT pg_relation_size('{}')", index.name)).unwrap();
        let real: f64 = real[0][0].as_deref().unwrap().parse().unwrap();
        let ratio = size.0 as f64 / real;
        assert!((0.9..1.1).contains(&ratio), "{}: {} for {real}", index.name, size.0);
    }
}
