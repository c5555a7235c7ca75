//! Advice beyond new indexes on a real server: estimates that get right, deletes that no longer scan, indexes that
//! can go, sizes that a rebuild comes to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_advise::{Beyond, DropRule, beyond_indexes};
use pgassay_model::Timestamp;
use pgassay_model::extended_statistics::StatisticsKind;
use pgassay_model::index_size::{self, BLOCK, ExpressionFacts};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_postgres::{Session, SessionOptions, snapshot, what_if};
use pgassay_sql::{Rule, with_literals};
use pgassay_testkit::{Postgres, fresh_database, shared};
use std::fmt::Write as _;

struct Server {
    server: &'static Postgres,
    database: String,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    fn new(setup: &[&str]) -> Server {
        let server = shared();
        let database = fresh_database(server);
        for sql in setup {
            server.execute(&database, sql).unwrap();
        }
        Server { server, database, runtime: tokio::runtime::Runtime::new().unwrap() }
    }

    fn execute(&self, sql: &str) {
        self.server.execute(&self.database, sql).unwrap();
    }

    fn snapshot(&self) -> (Session, Snapshot) {
        let settings = pgassay_postgres::dsn::resolve(&self.server.dsn(&self.database)).unwrap();
        self.runtime.block_on(async {
            let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
            let snapshot = snapshot(&session).await.unwrap();
            (session, snapshot)
        })
    }

    fn advice(&self, workload: &Workload) -> Beyond {
        let (session, snapshot) = self.snapshot();
        let mut engine = what_if(self.runtime.handle().clone(), session, &snapshot);
        let none = pgassay_advise::index::IndexAdvice {
            engine: String::new(),
            estimates: String::new(),
            what_if_calls: 0,
            cost_before: 0.0,
            cost_after: 0.0,
            indexes: Vec::new(),
            rejected: Vec::new(),
            considered: Vec::new(),
            skipped: Vec::new(),
        };
        let (now, interrupt) = (Timestamp::now(), Interrupt::default());
        beyond_indexes(&snapshot, workload, engine.as_mut(), &none, now, &interrupt)
    }

    /// The application's calls, which pg_stat_statements counts.
    fn call(&self, statement: &WorkloadStatement, times: usize) {
        for round in 0..times {
            let values = statement.parameters.get(round % statement.parameters.len().max(1));
            let sql = with_literals(&statement.sql, values.map_or(&[], Vec::as_slice)).unwrap();
            self.server.query(&self.database, &sql).unwrap();
        }
    }

    /// The planner's estimate of a statement's rows.
    fn estimate(&self, statement: &WorkloadStatement) -> f64 {
        let values = statement.parameters.first().map_or(&[][..], Vec::as_slice);
        let sql = with_literals(&statement.sql, values).unwrap();
        let plan = self.server.query(&self.database, &format!("EXPLAIN (FORMAT JSON) {sql}"));
        let json: serde_json::Value =
            serde_json::from_str(plan.unwrap()[0][0].as_deref().unwrap()).unwrap();
        json[0]["Plan"]["Plan Rows"].as_f64().unwrap()
    }
}

fn statement(id: &str, sql: &str, values: &[&[&str]]) -> WorkloadStatement {
    WorkloadStatement {
        id: id.into(),
        sql: sql.into(),
        weight: 1.0,
        writes: !sql.starts_with("SELECT"),
        parameters: values
            .iter()
            .map(|set| set.iter().map(|value| Some((*value).to_owned())).collect())
            .collect(),
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    }
}

fn workload(statements: &[WorkloadStatement]) -> Workload {
    Workload {
        schema: SCHEMA.into(),
        generated_at: Timestamp::UNIX_EPOCH,
        source: "test".into(),
        statements: statements.to_vec(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

/// A zip code has one city.
const CUSTOMERS: &[&str] = &[
    "CREATE EXTENSION pg_stat_statements",
    "CREATE TABLE customers (id int PRIMARY KEY, city text NOT NULL, zip int NOT NULL, note text, kind int NOT NULL, family int NOT NULL) WITH (autovacuum_enabled = off)",
    "INSERT INTO customers SELECT n, 'city' || (n % 200) / 10, n % 200, 'n', n % 40, (n % 40) / 2 FROM generate_series(1, 40000) n",
    "VACUUM ANALYZE customers",
];

#[test]
fn statistics_of_columns_that_go_together_make_estimates_right() {
    let server = Server::new(CUSTOMERS);
    let pair = statement(
        "pair",
        "SELECT id FROM customers WHERE city = $1 AND zip = $2",
        &[&["city3", "37"], &["city7", "71"]],
    );
    let groups =
        statement("groups", "SELECT city, zip, count(*) FROM customers GROUP BY zip, city", &[]);
    let few = statement(
        "few",
        "SELECT id FROM customers WHERE kind = $1 AND family = $2",
        &[&["7", "3"], &["8", "4"]],
    );
    let none = statement(
        "none",
        "SELECT zip FROM customers WHERE family = $1 AND kind = $2",
        &[&["1", "39"], &["9", "2"]],
    );
    let seventh = statement("seventh", "SELECT id FROM customers WHERE id % 7 = $1", &[&["3"]]);
    let known = statement("known", "SELECT id FROM customers WHERE zip = $1", &[&["37"]]);
    let limited = statement(
        "limited",
        "SELECT id FROM customers WHERE city = $1 AND zip = $2 LIMIT 1",
        &[&["city3", "37"]],
    );
    let all = [pair, groups, seventh, known, limited, few, none];
    for statement in &all {
        server.call(statement, 20);
    }
    let found = server.advice(&workload(&all)).statistics;
    let by = |id: &str| found.iter().find(|object| object.statements.iter().any(|s| s == id));
    assert_eq!(
        found.len(),
        if server.server.version_num() < 140_000 { 2 } else { 3 },
        "{found:#?}"
    );
    use StatisticsKind::{Dependencies, Mcv, Ndistinct};
    // Both want an object of the same columns: one serves them.
    assert_eq!(by("pair").unwrap().statements, ["pair", "groups"]);
    assert_eq!(
        by("pair").unwrap().definition.kinds,
        [Ndistinct, Dependencies],
        "a list would not hold 200 pairs"
    );
    assert_eq!(by("few").unwrap().definition.kinds, [Dependencies, Mcv]);
    assert_eq!(
        by("pair").unwrap().ddl,
        "CREATE STATISTICS public.customers_city_zip_stat (ndistinct, dependencies) ON city, zip FROM public.customers"
    );
    for object in &found {
        server.execute(&object.ddl);
        server.execute(&object.analyze);
    }
    // Every pair has 200 rows, and there are as many pairs.
    for (id, statement) in [
        ("pair", &all[0]),
        ("groups", &all[1]),
        ("seventh", &all[2]),
        ("few", &all[5]),
        ("none", &all[6]),
    ] {
        let Some(object) = by(id) else { continue };
        let after = server.estimate(statement);
        let rows = object.rows.iter().find(|rows| rows.statement == id).unwrap();
        let off = (after / rows.actual.max(1.0)).max(rows.actual / after);
        assert!(off < 1.5, "{after} expected with statistics: {rows:?}");
    }
    assert_eq!(server.advice(&workload(&all)).statistics, [], "what is right is left alone");
}

#[test]
fn where_other_relations_are_joined_the_conditions_of_the_only_restricted_one_are_what_is_wrong() {
    let server = Server::new(CUSTOMERS);
    for sql in [
        "CREATE TABLE families (family int PRIMARY KEY, name text NOT NULL)",
        "INSERT INTO families SELECT n, 'family ' || n FROM generate_series(0, 19) n",
        "VACUUM ANALYZE families",
    ] {
        server.execute(sql);
    }
    let joined = statement(
        "joined",
        "SELECT c.id, f.name FROM customers c JOIN families f ON f.family = c.family WHERE c.city = $1 AND c.zip = $2",
        &[&["city3", "37"], &["city7", "71"]],
    );
    // Both have conditions: whose are wrong can't be told.
    let both = statement(
        "both",
        "SELECT c.id FROM customers c JOIN families f ON f.family = c.family WHERE c.city = $1 AND c.kind = $2 AND f.name = $3",
        &[&["city3", "37", "family 18"]],
    );
    let crossed = statement(
        "crossed",
        "SELECT c.id FROM customers c, families f WHERE c.city = $1 AND c.zip = $2",
        &[&["city3", "37"]],
    );
    let all = [joined, both, crossed];
    for statement in &all {
        server.call(statement, 20);
    }
    let found = server.advice(&workload(&all)).statistics;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].statements, ["joined"]);
    assert_eq!(found[0].definition.columns, ["city", "zip"]);
    server.execute(&found[0].ddl);
    server.execute(&found[0].analyze);
    let after = server.estimate(&all[0]);
    assert!((100.0..400.0).contains(&after), "200 rows come, {after} are expected");
}

#[test]
fn a_foreign_key_without_an_index_gets_one_where_the_other_side_is_deleted_from() {
    let server = Server::new(CUSTOMERS);
    for sql in [
        "CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers ON DELETE CASCADE, other int REFERENCES customers)",
        "INSERT INTO orders SELECT n, 1 + n % 40000, NULL FROM generate_series(1, 40000) n",
        "CREATE INDEX ON orders (other, id)",
        "VACUUM ANALYZE orders",
    ] {
        server.execute(sql);
    }
    let read = statement("read", "SELECT note FROM customers WHERE id = $1", &[&["7"]]);
    let rename =
        statement("rename", "UPDATE customers SET note = $1 WHERE id = $2", &[&["x", "7"]]);
    let delete = statement("delete", "DELETE FROM customers WHERE id = $1", &[&["7"]]);
    let quiet = workload(&[read.clone(), rename.clone()]);
    assert_eq!(server.advice(&quiet).foreign_keys, [], "nobody deletes");

    let found = server.advice(&workload(&[read, rename, delete.clone()])).foreign_keys;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].statements, ["delete"]);
    assert_eq!(
        found[0].ddl,
        "CREATE INDEX CONCURRENTLY orders_customer_id_idx ON public.orders USING btree (customer_id)"
    );
    let pages = |id: u32| -> f64 {
        let sql = format!(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) DELETE FROM orders WHERE customer_id = {id}"
        );
        let plan = server.server.query(&server.database, &sql).unwrap();
        let json: serde_json::Value = serde_json::from_str(plan[0][0].as_deref().unwrap()).unwrap();
        json[0]["Plan"]["Shared Hit Blocks"].as_f64().unwrap()
            + json[0]["Plan"]["Shared Read Blocks"].as_f64().unwrap()
    };
    // The check of the constraint reads what a DELETE by the same column reads.
    let before = pages(100);
    server.execute(&found[0].ddl);
    let after = pages(101);
    assert!(after < before / 10.0, "{before} -> {after}");
    assert_eq!(server.advice(&workload(&[delete])).foreign_keys, []);
}

#[test]
fn indexes_that_another_one_covers_can_go_and_come_back_the_same() {
    let server = Server::new(CUSTOMERS);
    for sql in [
        "CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers, state text, at timestamptz)",
        "CREATE INDEX covered ON orders (customer_id)",
        "CREATE INDEX longer ON orders (customer_id, at DESC)",
        "CREATE INDEX longest ON orders (customer_id, at DESC, state)",
        "CREATE INDEX other_way ON orders (at)",
        "CREATE INDEX other_opclass ON orders (state text_pattern_ops)",
        "CREATE INDEX plain ON orders (state, id)",
        "CREATE INDEX partial ON orders (at) WHERE state = 'open'",
        "CREATE INDEX once ON orders (lower(state), at)",
        "CREATE INDEX twice ON orders (lower(state), at)",
        "CREATE UNIQUE INDEX exact ON orders (at, id)",
        "CREATE INDEX hashed ON orders USING hash (customer_id)",
    ] {
        server.execute(sql);
    }
    server.execute("CREATE INDEX broken ON orders (id, state, at)");
    server.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass");
    let advice = server.advice(&workload(&[]));
    let mut text = String::new();
    for drop in &advice.drops {
        writeln!(
            text,
            "{}: {}\n  {}\n  undo {}",
            drop.rule.name(),
            drop.reason,
            drop.ddl,
            drop.undo
        )
        .unwrap();
    }
    insta::assert_snapshot!("drops", text);
    for drop in advice.drops.iter().filter(|drop| drop.rule != DropRule::Invalid) {
        let ddl = format!("SELECT pg_get_indexdef('{}'::regclass)", drop.index);
        let before = server.server.query(&server.database, &ddl).unwrap();
        server.execute(&drop.ddl);
        server.execute(&drop.undo);
        assert_eq!(server.server.query(&server.database, &ddl).unwrap(), before);
    }
}

#[test]
fn a_bloated_index_is_estimated_at_what_a_rebuild_makes_of_it() {
    let server = Server::new(&[
        "CREATE TABLE events (id bigint PRIMARY KEY, kind int NOT NULL, name text NOT NULL) WITH (autovacuum_enabled = off)",
        "INSERT INTO events SELECT n, n % 50, md5(n::text) FROM generate_series(1, 60000) n",
        "CREATE INDEX by_kind ON events (kind)",
        "CREATE INDEX by_name ON events (name)",
        "DELETE FROM events WHERE id % 10 > 0",
        "VACUUM ANALYZE events",
    ]);
    let sizes = |snapshot: &Snapshot| -> Vec<(String, f64)> {
        let indexes = &snapshot.relations[0].indexes;
        indexes.iter().map(|i| (i.definition.name.clone(), i.size.0 as f64)).collect()
    };
    let (_, bloated) = server.snapshot();
    for (name, _) in sizes(&bloated) {
        server.execute(&format!("REINDEX INDEX CONCURRENTLY {name}"));
    }
    let (_, rebuilt) = server.snapshot();
    let relation = &bloated.relations[0];
    for (((name, before), (_, after)), index) in
        sizes(&bloated).iter().zip(sizes(&rebuilt)).zip(&relation.indexes)
    {
        let unknown = |_: &str| ExpressionFacts::UNKNOWN;
        let rows = relation.rows.unwrap();
        let pages = index_size::pages(relation, &index.definition, rows, &unknown, None).unwrap();
        let expected = pages * BLOCK;
        assert!(*before > 2.0 * expected, "{name}: {before} is mostly empty, {expected} expected");
        assert!((expected / after - 1.0).abs() < 0.15, "{name}: {expected} expected, {after} came");
    }
}

#[test]
fn rewrites_are_kept_where_the_planner_finds_them_cheaper() {
    let server = Server::new(CUSTOMERS);
    for sql in [
        "CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL, state int NOT NULL, wide text NOT NULL)",
        "INSERT INTO orders SELECT n, 1 + n % 40000, n % 3, repeat('x', 250) FROM generate_series(1, 20000) n",
        "CREATE INDEX ON orders (state, customer_id)",
        "ALTER TABLE orders ADD COLUMN at timestamp NOT NULL DEFAULT timestamp '2024-05-06 07:08'",
        "VACUUM ANALYZE orders",
    ] {
        server.execute(sql);
    }
    let all = [
        statement("distinct", "SELECT DISTINCT id, city FROM customers", &[]),
        statement(
            "exists",
            "SELECT id FROM customers c WHERE (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) > 0 AND c.zip = $1",
            &[&["7"]],
        ),
        statement("once", "SELECT DISTINCT id FROM customers WHERE id = $1", &[&["7"]]),
        statement("cast", "SELECT city FROM customers WHERE id::text = $1", &[&["7"]]),
        statement("page", "SELECT id FROM customers ORDER BY id LIMIT 10 OFFSET $1", &[&["1000"]]),
        statement("pattern", "SELECT id FROM customers WHERE city LIKE '%ty3'", &[]),
        statement(
            "star",
            "SELECT * FROM orders WHERE state = $1 AND customer_id < $2",
            &[&["1", "50"]],
        ),
        statement("fine", "SELECT city FROM customers WHERE id = $1", &[&["7"]]),
        // As pg_stat_statements shows them, with the values of calls that were seen.
        statement("like", "SELECT id FROM customers WHERE city LIKE $1", &[&["%ty3"], &["%ty7"]]),
        statement("begins", "SELECT id FROM customers WHERE city LIKE $1", &[&["ci%"], &["%ty7"]]),
        statement(
            "some",
            "SELECT id FROM customers c WHERE (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) > $1 AND c.zip = $2",
            &[&["0", "7"], &["0", "9"]],
        ),
        statement("plus", "SELECT id FROM customers WHERE zip + $1 > $2", &[&["1", "198"]]),
        statement("day", "SELECT id FROM orders WHERE date(at) = $1", &[&["2024-05-06"]]),
    ];
    let found = server.advice(&workload(&all)).rewrites;
    let kinds: Vec<(&str, &str, bool)> = found
        .iter()
        .map(|rewrite| (rewrite.statement.as_str(), rewrite.rule.name(), rewrite.after.is_some()))
        .collect();
    assert_eq!(
        kinds,
        [
            ("distinct", "distinct-on-unique", true),
            ("exists", "count-for-existence", true),
            ("cast", "cast-on-column", true),
            ("page", "offset-pages", true),
            ("pattern", "leading-wildcard", false),
            ("star", "select-star", false),
            ("like", "leading-wildcard", false),
            ("some", "count-for-existence", true),
            ("plus", "arithmetic-on-column", true),
            ("day", "function-on-column", true),
        ],
        "{found:#?}"
    );
    let cast = found.iter().find(|rewrite| rewrite.rule == Rule::CastOnColumn).unwrap();
    let (before, after) = cast.costs.unwrap();
    assert!(after < before / 10.0, "{before} -> {after}");
    let some = found.iter().find(|rewrite| rewrite.statement == "some").unwrap();
    assert!(some.costs.is_some_and(|(before, after)| after < before), "{some:?}");
    let day = found.iter().find(|rewrite| rewrite.statement == "day").unwrap();
    assert!(day.reason.contains("it pays with an index on the column"), "{day:?}");
}

#[test]
fn an_order_that_is_walked_past_many_rows_is_seen_in_the_pages_read() {
    let server = Server::new(&[
        "CREATE EXTENSION pg_stat_statements",
        "CREATE TABLE jobs (id int PRIMARY KEY, owner int NOT NULL, note text NOT NULL)",
        // The owner's rows are all at the far end of the order.
        "INSERT INTO jobs SELECT n, CASE WHEN n <= 2000 THEN 7 ELSE 100 + n % 20 END, repeat('x', 60) FROM generate_series(1, 60000) n",
        "CREATE INDEX ON jobs (owner)",
        "VACUUM ANALYZE jobs",
    ]);
    let newest = statement(
        "newest",
        "SELECT id FROM jobs WHERE owner = $1 ORDER BY id DESC LIMIT 5",
        &[&["7"]],
    );
    server.call(&newest, 5);
    let found = server.advice(&workload(std::slice::from_ref(&newest))).rewrites;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].rule, Rule::OrderByLimit);
    assert!(found[0].reason.contains("pages for each row returned"), "{}", found[0].reason);
    let read = |sql: &str| -> f64 {
        let sql = with_literals(sql, &newest.parameters[0]).unwrap();
        let sql = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}");
        let plan = server.server.query(&server.database, &sql).unwrap();
        let json: serde_json::Value = serde_json::from_str(plan[0][0].as_deref().unwrap()).unwrap();
        json[0]["Plan"]["Shared Hit Blocks"].as_f64().unwrap()
    };
    let (before, after) = (read(&newest.sql), read(found[0].after.as_deref().unwrap()));
    assert!(after < before / 5.0, "{before} -> {after} pages");
}
