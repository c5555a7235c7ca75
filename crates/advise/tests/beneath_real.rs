//! Indexes of relations beneath those that a statement names, and of both sides of a join by an operator, on a real
//! server: proposed, built and used.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod real_support;
mod shadow_support;

use pgassay_advise::index::IndexAdvice;
use pgassay_model::workload::WorkloadStatement;
use pgassay_testkit::shared;
use real_support::{ask_in, build, keys};
use shadow_support::OnShadow;

fn statement(sql: &str) -> WorkloadStatement {
    WorkloadStatement {
        id: "asked".into(),
        sql: sql.into(),
        weight: 1.0,
        writes: !sql.starts_with("SELECT"),
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    }
}

fn plan(database: &str, sql: &str) -> String {
    let rows = shared().query(database, &format!("EXPLAIN {sql}")).unwrap();
    rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("\n")
}

/// Builds what is proposed, and sees that every index is used.
fn is_used(database: &str, sql: &str, advice: &IndexAdvice) {
    assert!(!advice.indexes.is_empty(), "{advice:#?}");
    for index in &advice.indexes {
        shared().execute(database, &index.ddl.replace(" CONCURRENTLY", "")).unwrap();
    }
    shared().execute(database, "VACUUM ANALYZE").unwrap();
    let plan = plan(database, sql);
    for index in &advice.indexes {
        assert!(plan.contains(&index.definition.name), "{}\n{plan}", index.ddl);
    }
}

const VIEWS: &str = "
    CREATE SCHEMA books;
    CREATE TABLE books.orders (id int PRIMARY KEY, customer int NOT NULL, state text NOT NULL, placed timestamp NOT NULL);
    CREATE TABLE customers (id int PRIMARY KEY, mail text NOT NULL);
    INSERT INTO books.orders SELECT i, i % 5000, (ARRAY['new', 'sent'])[1 + i % 2], timestamp '2024-01-01' + i * interval '1 min'
      FROM generate_series(1, 50000) i;
    INSERT INTO customers SELECT i, 'c' || i || '@example.com' FROM generate_series(0, 4999) i;
    CREATE VIEW sent AS SELECT o.id, o.customer AS client, c.mail, o.placed FROM books.orders o
      JOIN customers c ON c.id = o.customer WHERE o.state = 'sent';
    CREATE VIEW of_client AS SELECT client, count(*) AS n FROM sent GROUP BY client;
    CREATE VIEW latest AS SELECT * FROM books.orders ORDER BY placed DESC LIMIT 100;";

#[test]
fn a_statement_on_a_view_gets_the_indexes_of_the_relations_under_it() {
    for (sql, wanted) in [
        ("SELECT id, placed FROM sent WHERE client = 77", "orders(customer)"),
        ("SELECT id FROM sent s WHERE s.mail = 'c77@example.com'", "customers(mail)"),
        ("SELECT n FROM of_client WHERE client = 77", "orders(customer)"),
    ] {
        let database = build(VIEWS, true);
        let advice = ask_in(&database, vec![statement(sql)]);
        assert_eq!(advice.engine, "hypopg");
        assert!(
            keys(&advice).iter().any(|index| index.starts_with(wanted.trim_end_matches(')'))),
            "{sql}: {advice:#?}"
        );
        is_used(&database, sql, &advice);
    }
    let database = build(VIEWS, false);
    let on = OnShadow::of(&database);
    let advice = on.ask(vec![statement("SELECT id, placed FROM sent WHERE client = 77")], None);
    assert_eq!(advice.engine, "shadow");
    assert!(!advice.indexes.is_empty(), "{advice:#?}");
    let advice = on.ask(vec![statement("SELECT id FROM latest WHERE customer = 77")], None);
    assert!(keys(&advice).iter().all(|index| !index.contains("customer")), "{advice:#?}");
}

#[test]
fn children_by_inheritance_get_their_own_indexes() {
    let database = build(
        "CREATE TABLE logs (id int, host int, line text);
         CREATE TABLE logs_old (LIKE logs) INHERITS (logs);
         CREATE TABLE logs_new (extra int) INHERITS (logs);
         INSERT INTO logs_old SELECT i, i % 3000, 'line ' || i FROM generate_series(1, 30000) i;
         INSERT INTO logs_new SELECT i, i % 3000, 'line ' || i, 1 FROM generate_series(1, 30000) i;",
        true,
    );
    let sql = "SELECT line FROM logs WHERE host = 77";
    let advice = ask_in(&database, vec![statement(sql)]);
    assert_eq!(keys(&advice), ["logs_new(host)", "logs_old(host)"], "{advice:#?}");
    is_used(&database, sql, &advice);
}

#[test]
fn a_parent_alone_says_that_its_children_need_their_own() {
    let database = build(
        "CREATE TABLE logs (id int, host int, line text);
         CREATE TABLE logs_old () INHERITS (logs);
         INSERT INTO logs SELECT i, i % 3, repeat('x', 200) FROM generate_series(1, 30000) i;",
        true,
    );
    let advice = ask_in(&database, vec![statement("SELECT line FROM logs WHERE host < 77")]);
    let why = &advice.rejected[0].why;
    assert!(
        why.contains("tables inherit from public.logs") && why.contains("each needs its own"),
        "{why}"
    );
}

#[test]
fn a_join_on_overlapping_ranges_gets_gist() {
    let schema = "
        CREATE TABLE stays (id int PRIMARY KEY, room int NOT NULL, during tsrange NOT NULL);
        INSERT INTO stays SELECT i, i % 40, tsrange(timestamp '2024-01-01' + i * interval '1 hour',
            timestamp '2024-01-01' + i * interval '1 hour' + interval '2 hours') FROM generate_series(1, 20000) i;
        CREATE TABLE faults (id int PRIMARY KEY, begins timestamp NOT NULL, ends timestamp NOT NULL, tags text[] NOT NULL);
        INSERT INTO faults SELECT i, timestamp '2024-01-01' + i * interval '9 days',
            timestamp '2024-01-01' + i * interval '9 days 1 min', ARRAY['t' || i] FROM generate_series(1, 80) i;
        CREATE TABLE notes (id int PRIMARY KEY, tags text[] NOT NULL);
        INSERT INTO notes SELECT i, ARRAY['t' || i, 'u' || i % 100] FROM generate_series(1, 20000) i;";
    let database = build(schema, false);
    for (sql, wanted) in [
        (
            "SELECT s.id, f.id FROM faults f JOIN stays s ON s.during && tsrange(f.begins, f.ends)",
            "USING gist (during)",
        ),
        ("SELECT n.id FROM faults f, notes n WHERE n.tags && f.tags", "USING gin (tags)"),
    ] {
        let on = OnShadow::of(&database);
        let advice = on.ask(vec![statement(sql)], None);
        let ddl: Vec<&str> = advice.indexes.iter().map(|index| index.ddl.as_str()).collect();
        assert!(matches!(ddl.as_slice(), [one] if one.contains(wanted)), "{advice:#?}");
        is_used(&database, sql, &advice);
    }
}

#[test]
fn rows_that_a_query_gives_to_an_insert_are_all_charged_to_its_indexes() {
    let database = build(
        "CREATE TABLE items (id int, kind int, body text);
         INSERT INTO items SELECT i, i % 400, 'item ' || i FROM generate_series(1, 40000) i;
         CREATE TABLE archive (id int, kind int, body text);
         INSERT INTO archive SELECT * FROM items;",
        true,
    );
    let reads = || WorkloadStatement {
        id: "reads".into(),
        ..statement("SELECT body FROM archive WHERE kind = 7")
    };
    let alone = ask_in(&database, vec![reads()]);
    assert_eq!(keys(&alone), ["archive(kind)"], "{alone:#?}");
    for writes in [
        "INSERT INTO archive SELECT * FROM items WHERE id > 100",
        "WITH moved AS (INSERT INTO archive SELECT * FROM items RETURNING id) SELECT count(*) FROM moved",
    ] {
        let advice = ask_in(&database, vec![reads(), statement(writes)]);
        assert!(advice.indexes.is_empty(), "{writes}: {advice:#?}");
        let paid = advice.rejected.iter().any(|one| one.why.contains("but cost writers"));
        assert!(paid, "{advice:#?}");
    }
}
