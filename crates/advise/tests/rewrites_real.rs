//! Rewrites on a real server: what is rewritten parses, returns the same rows of random data with NULLs, and is
//! planned cheaper where that is what it is for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::{Session, SessionOptions};
use pgassay_sql::{Relations, Rewrite, Rule, rewrites, rewrites_of_calls, with_literals};
use pgassay_testkit::{Postgres, fresh_database, shared};
use std::fmt::Write as _;

/// Values that come back, NULLs, duplicates, borders of days, months and years.
const SETUP: &str = "
    CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, referrer int, code uuid);
    CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int NOT NULL, maybe int, quantity int,
                         created timestamp NOT NULL, paid timestamp, shipped timestamptz, state smallint NOT NULL);
    SELECT setseed(0.42);
    INSERT INTO customers SELECT n, 'c' || n % 37, nullif((random() * 400)::int, 7),
           ('00000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid FROM generate_series(1, 400) n;
    INSERT INTO orders SELECT n, 1 + (random() * 399)::int, nullif((random() * 20)::int, 3), (random() * 50)::int,
           timestamp '2024-01-01' + (n % 700) * interval '1 day' + CASE n % 3 WHEN 0 THEN interval '0' WHEN 1 THEN
             interval '86399.999999 seconds' ELSE random() * interval '1 day' END,
           CASE WHEN n % 5 > 0 THEN timestamp '2024-02-28' + (n % 400) * interval '12 hours' END,
           timestamptz '2024-03-01 00:00+00' + n * interval '3 hours', n % 4
      FROM generate_series(1, 12000) n;
    CREATE INDEX ON orders (created);
    CREATE INDEX ON orders (customer_id);
    CREATE INDEX ON orders (quantity);
    CREATE INDEX ON customers (name);
    CREATE INDEX ON customers (code);
    CREATE TABLE parent (id int PRIMARY KEY, kind int);
    CREATE TABLE child () INHERITS (parent);
    INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (1, 1);
    VACUUM ANALYZE";

struct Shop {
    server: &'static Postgres,
    database: String,
    snapshot: Snapshot,
}

impl Shop {
    fn open() -> Shop {
        Shop::with(SETUP.split(";\n"))
    }

    /// The same relations, empty.
    fn without_rows() -> Shop {
        Shop::with(SETUP.split(";\n").filter(|sql| !sql.trim_start().starts_with("INSERT")))
    }

    fn with<'s>(setup: impl Iterator<Item = &'s str>) -> Shop {
        let server = shared();
        let database = fresh_database(server);
        for sql in setup {
            server.execute(&database, sql).unwrap();
        }
        let settings = pgassay_postgres::dsn::resolve(&server.dsn(&database)).unwrap();
        let snapshot = tokio::runtime::Runtime::new().unwrap().block_on(async {
            let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
            pgassay_postgres::snapshot(&session).await.unwrap()
        });
        Shop { server, database, snapshot }
    }

    fn rows(&self, sql: &str, values: &[&str]) -> Vec<String> {
        let values: Vec<Option<String>> = values.iter().map(|v| Some((*v).to_owned())).collect();
        let sql = with_literals(sql, &values).unwrap();
        let found = self.server.query(&self.database, &sql);
        let mut rows: Vec<String> = found
            .unwrap_or_else(|e| panic!("{sql}: {e}"))
            .iter()
            .map(|row| format!("{row:?}"))
            .collect();
        rows.sort();
        rows
    }

    fn cost(&self, sql: &str, values: &[&str]) -> f64 {
        let values: Vec<Option<String>> = values.iter().map(|v| Some((*v).to_owned())).collect();
        let sql = with_literals(sql, &values).unwrap();
        let plan =
            self.server.query(&self.database, &format!("EXPLAIN (FORMAT JSON) {sql}")).unwrap();
        let text = plan[0][0].clone().unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json[0]["Plan"]["Total Cost"].as_f64().unwrap()
    }

    /// The best of five executions, ms: what the machine does besides only adds.
    fn time(&self, sql: &str, values: &[&str]) -> f64 {
        let values: Vec<Option<String>> = values.iter().map(|v| Some((*v).to_owned())).collect();
        let sql = with_literals(sql, &values).unwrap();
        let once = || {
            let sql = format!("EXPLAIN (ANALYZE, TIMING off, FORMAT JSON) {sql}");
            let plan = self.server.query(&self.database, &sql).unwrap();
            let json: serde_json::Value =
                serde_json::from_str(plan[0][0].as_deref().unwrap()).unwrap();
            json[0]["Execution Time"].as_f64().unwrap()
        };
        (0..5).map(|_| once()).fold(f64::INFINITY, f64::min)
    }

    fn only(&self, sql: &str) -> Rewrite {
        let mut all = rewrites(sql, &self.snapshot).unwrap();
        assert_eq!(all.len(), 1, "{sql}: {all:#?}");
        all.remove(0)
    }
}

/// Statements, values of their parameters, and whether the other form has to be planned cheaper.
const CASES: &[(&str, &[&str], bool)] = &[
    ("SELECT id FROM orders WHERE date(created) = $1", &["2024-02-29"], true),
    ("SELECT id FROM orders WHERE created::date = '2024-12-31'", &[], true),
    ("SELECT id FROM orders o WHERE date(o.created) <= $1 AND o.state = 1", &["2024-01-07"], true),
    ("SELECT id FROM orders WHERE date(created) > '2025-11-20'", &[], true),
    ("SELECT id FROM orders WHERE date(created) < '2024-01-05'", &[], true),
    ("SELECT id FROM orders WHERE date(created) >= '2025-11-25'", &[], true),
    ("SELECT id FROM orders WHERE '2024-01-03' > date(created)", &[], true),
    (
        "SELECT id FROM orders WHERE date(created) BETWEEN '2024-02-28' AND $1",
        &["2024-03-01"],
        true,
    ),
    ("SELECT id FROM orders WHERE NOT (date(paid) = $1)", &["2024-02-29"], false),
    ("SELECT id FROM orders WHERE date(paid) = $1 OR paid IS NULL", &["2024-03-05"], false),
    ("SELECT id FROM orders WHERE date_trunc('month', created) = $1", &["2024-02-01"], true),
    ("SELECT id FROM orders WHERE date_trunc('month', created) = $1", &["2024-02-03"], true),
    ("SELECT id FROM orders WHERE date_trunc('week', created) = '2024-02-26'", &[], true),
    ("SELECT count(*) FROM orders WHERE extract(year FROM created) = 2025", &[], false),
    ("DELETE FROM orders WHERE date(created) < $1", &["2023-01-05"], true),
    ("SELECT name FROM customers WHERE id::text = '42'", &[], true),
    ("SELECT name FROM customers WHERE id::text = $1", &["42"], true),
    (
        "SELECT name FROM customers WHERE code::text = '00000000-0000-0000-0000-000000000009'",
        &[],
        true,
    ),
    ("SELECT id FROM orders WHERE quantity = 7.0", &[], true),
    ("SELECT id FROM orders WHERE quantity > $1::numeric", &["49"], true),
    ("SELECT id FROM orders WHERE 48::float8 < quantity", &[], true),
    ("SELECT id FROM orders WHERE quantity + 10 > 59", &[], true),
    ("SELECT id FROM orders WHERE $1 <= quantity - 1", &["48"], true),
    (
        "SELECT id FROM orders WHERE created + interval '7 days' < date '2024-01-09' + interval '1 day'",
        &[],
        false,
    ),
    (
        "SELECT id FROM orders WHERE customer_id NOT IN (SELECT id FROM customers WHERE name = 'c1')",
        &[],
        false,
    ),
    (
        "SELECT name FROM customers c WHERE id NOT IN (SELECT o.maybe FROM orders o WHERE o.maybe IS NOT NULL)",
        &[],
        false,
    ),
    (
        "SELECT name FROM customers WHERE id NOT IN (SELECT customer_id FROM orders WHERE state = 1 OR quantity > 3)",
        &[],
        false,
    ),
    (
        "SELECT name FROM customers c WHERE (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) > 0",
        &[],
        true,
    ),
    (
        "SELECT name FROM customers c WHERE 1 > (SELECT count(o.id) FROM orders o WHERE o.customer_id = c.id AND o.quantity = 50)",
        &[],
        true,
    ),
    (
        "SELECT c.id, CASE WHEN (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) = 0 THEN 'none' END AS has FROM customers c",
        &[],
        false,
    ),
    ("SELECT count(*) > 0 FROM orders WHERE state = 2", &[], true),
    ("SELECT count(*) >= 1 AS has FROM orders WHERE state = 9", &[], false),
    (
        "SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = 50 OR c.id = 3",
        &[],
        true,
    ),
    (
        "SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON c.id = o.maybe WHERE (o.maybe = 3 OR c.referrer = 5) AND o.state < 3",
        &[],
        false,
    ),
    (
        "SELECT id FROM orders WHERE id = 5 OR customer_id IN (SELECT id FROM customers WHERE id = 9)",
        &[],
        true,
    ),
    ("SELECT DISTINCT id, name FROM customers WHERE id < 300", &[], true),
    (
        "SELECT DISTINCT o.*, c.id FROM orders o LEFT JOIN customers c ON c.referrer = o.maybe",
        &[],
        true,
    ),
    (
        "SELECT 'customer' AS what, id::bigint FROM customers UNION SELECT 'order', id FROM orders",
        &[],
        false,
    ),
    ("SELECT 1 AS what, id FROM customers UNION SELECT 2, id FROM customers", &[], true),
    (
        "SELECT id, state FROM orders WHERE state = 1 UNION SELECT id, state FROM orders WHERE state = 2",
        &[],
        true,
    ),
    (
        "WITH big AS (SELECT DISTINCT id FROM orders WHERE quantity > 40) SELECT count(*) FROM big",
        &[],
        true,
    ),
    // As pg_stat_statements shows them: constants are parameters.
    (
        "SELECT name FROM customers c WHERE (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) > $1",
        &["0"],
        true,
    ),
    (
        "SELECT name FROM customers c WHERE $1 > (SELECT count(o.id) FROM orders o WHERE o.customer_id = c.id AND o.quantity = $2)",
        &["1", "50"],
        true,
    ),
    ("SELECT count(*) > $1 FROM orders WHERE state = $2", &["0", "2"], true),
    ("SELECT count(*) >= $1 FROM orders WHERE state = $2", &["1", "9"], false),
    ("SELECT $1 AS what, id FROM customers UNION SELECT $2, id FROM customers", &["a", "b"], true),
    (
        "SELECT id, state FROM orders WHERE state = $1 UNION SELECT id, state FROM orders WHERE state = $2",
        &["1", "2"],
        true,
    ),
    ("SELECT id FROM orders WHERE quantity + $1 > $2", &["10", "59"], true),
    ("SELECT id FROM orders WHERE state - $1 = $2", &["1", "2"], false),
    ("SELECT id FROM orders WHERE created + interval '7 days' < $1", &["2024-01-10 12:00"], true),
    ("SELECT id FROM orders WHERE created - interval '1 day' >= '2025-11-28'", &[], true),
    ("SELECT count(*) FROM orders WHERE extract(year FROM created) = $1", &["2025"], false),
];

#[test]
fn rewritten_statements_return_the_same_rows_and_cost_less_where_that_is_claimed() {
    let (shop, empty) = (Shop::open(), Shop::without_rows());
    let (mut text, mut timed) = (String::new(), 0);
    for (sql, values, cheaper) in CASES {
        let rewrite = shop.only(sql);
        writeln!(text, "{}\n  {sql}\n  {}", rewrite.rule.name(), rewrite.after).unwrap();
        if let Some(check) = &rewrite.check {
            writeln!(text, "  check: {check}").unwrap();
        }
        assert_eq!(
            shop.rows(sql, values),
            shop.rows(&rewrite.after, values),
            "{sql}\n{}",
            rewrite.after
        );
        assert_eq!(
            empty.rows(sql, values),
            empty.rows(&rewrite.after, values),
            "without rows: {sql}\n{}",
            rewrite.after
        );
        let (before, after) = (shop.cost(sql, values), shop.cost(&rewrite.after, values));
        assert!(!cheaper || after < before, "{sql}: {before} -> {after}\n{}", rewrite.after);
        // A cost is no time: where it is much less, the time has to be less, too.
        if after * 4.0 < before && !sql.starts_with("DELETE") {
            let (before, after) = (shop.time(sql, values), shop.time(&rewrite.after, values));
            assert!(after < before, "{sql}: {before} ms -> {after} ms\n{}", rewrite.after);
            timed += 1;
        }
    }
    assert!(timed > 10, "{timed}");
    insta::assert_snapshot!("rewrites", text);
}

#[test]
fn calls_that_were_seen_rule_a_rewrite_out_or_speak_for_it() {
    let shop = Shop::open();
    let calls = |sets: &[&[&str]]| -> Vec<Vec<Option<String>>> {
        let set = |set: &&[&str]| set.iter().map(|value| Some((*value).to_owned())).collect();
        sets.iter().map(set).collect()
    };
    for (sql, rule, agreeing, contradicting, check) in [
        (
            "SELECT name FROM customers c WHERE (SELECT count(*) FROM orders o WHERE o.customer_id = c.id) > $1 AND c.id < $2",
            Rule::CountForExistence,
            &[&["0", "50"][..], &["0", "90"]][..],
            &[&["0", "50"][..], &["5", "50"]][..],
            "$1 is always 0, as in all 2 calls seen",
        ),
        (
            "SELECT $1 AS what, id FROM customers UNION SELECT $2, id FROM customers",
            Rule::UnionOfDisjoint,
            &[&["a", "b"][..]],
            &[&["a", "b"][..], &["a", "a"]],
            "$1 and $2 are never equal, as in the one call seen",
        ),
        (
            "SELECT id FROM orders WHERE quantity + $1 > $2",
            Rule::ArithmeticOnColumn,
            &[&["10", "59"][..]],
            &[&["10", "58.5"][..]],
            "$2 is always a whole number, as in the one call seen",
        ),
        (
            "SELECT id FROM orders WHERE date_trunc($1, created) = $2",
            Rule::FunctionOnColumn,
            &[&["month", "2024-02-01"][..], &["month", "2024-02-03"]],
            &[&["month", "2024-02-01"][..], &["day", "2024-02-01"]],
            "$1 is always month, as in all 2 calls seen",
        ),
        (
            "SELECT id FROM orders WHERE extract($1 FROM created) = $2",
            Rule::FunctionOnColumn,
            &[&["year", "2025"][..]],
            &[&["month", "7"][..]],
            "$1 is always year, as in the one call seen",
        ),
    ] {
        let seen = calls(agreeing);
        let mut found = rewrites_of_calls(sql, &Relations::of(&shop.snapshot), &seen).unwrap();
        assert_eq!(found.len(), 1, "{sql}: {found:#?}");
        let rewrite = found.remove(0);
        assert_eq!(rewrite.rule, rule);
        assert!(rewrite.check.as_deref().unwrap().contains(check), "{:?}", rewrite.check);
        for set in agreeing {
            // `extract($1 FROM …)` is how it is shown, and no SQL.
            let asked = sql.replace("extract($1", "extract(year");
            assert_eq!(shop.rows(&asked, set), shop.rows(&rewrite.after, set), "{}", rewrite.after);
        }
        let other =
            rewrites_of_calls(sql, &Relations::of(&shop.snapshot), &calls(contradicting)).unwrap();
        assert_eq!(other, [], "{sql}");
    }
    // Which unit it is only calls tell.
    let unknown = "SELECT id FROM orders WHERE date_trunc($1, created) = $2";
    assert_eq!(rewrites(unknown, &shop.snapshot).unwrap(), []);
}

#[test]
fn what_is_not_proven_says_what_to_check_and_the_rest_is_left_alone() {
    let shop = Shop::open();
    // NULLs in the list, and NULLs looked for.
    let listed = shop.only("SELECT id FROM customers WHERE id NOT IN (SELECT maybe FROM orders)");
    assert!(listed.check.as_deref().unwrap().contains("orders.maybe is NULL"), "{listed:?}");
    let sought = shop.only("SELECT id FROM orders WHERE maybe NOT IN (SELECT id FROM customers)");
    assert!(sought.check.as_deref().unwrap().contains("orders.maybe IS NOT NULL"), "{sought:?}");
    // Midnight is the session's.
    let zoned = shop.only("SELECT id FROM orders WHERE date(shipped) = '2024-03-05'");
    assert!(zoned.check.as_deref().unwrap().contains("time zone"), "{zoned:?}");
    for sql in [
        "SELECT id FROM orders WHERE created >= '2024-01-01'",
        "SELECT id FROM orders WHERE date(created) = date(paid)",
        "SELECT id FROM orders WHERE date(created) = (SELECT max(date(paid)) FROM orders)",
        "SELECT date(created) = '2024-01-01' FROM orders",
        "SELECT id FROM orders WHERE date(unknown_column) = '2024-01-01'",
        "SELECT id FROM missing WHERE date(created) = '2024-01-01'",
        "SELECT name FROM customers WHERE id::text = '042'",
        "SELECT name FROM customers WHERE id::text = '99999999999'",
        "SELECT name FROM customers WHERE name::text = '1'",
        "SELECT id FROM orders WHERE quantity = 7.5",
        "SELECT id FROM orders WHERE quantity + maybe > 5",
        "SELECT id FROM orders WHERE quantity + 1 > 5.5",
        "SELECT id FROM customers c WHERE id NOT IN (SELECT c.id FROM orders)",
        "SELECT id FROM customers WHERE id NOT IN (SELECT customer_id FROM orders LIMIT 3)",
        "SELECT id FROM customers WHERE id IN (SELECT customer_id FROM orders)",
        "SELECT count(*) > 1 FROM orders",
        "SELECT count(maybe) > 0 FROM orders",
        "SELECT count(*) > 0 FROM orders GROUP BY state",
        "SELECT id FROM orders WHERE quantity = 3 OR state = 1",
        "SELECT count(*) FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.quantity = 50 OR c.name = 'c3'",
        "SELECT o.id, random() FROM orders o, customers c WHERE o.quantity = 50 OR c.name = 'c3'",
        "SELECT DISTINCT customer_id FROM orders",
        "SELECT DISTINCT o.id FROM orders o JOIN customers c ON c.referrer = o.maybe",
        "SELECT DISTINCT ON (id) id FROM orders",
        "SELECT DISTINCT id FROM parent",
        "SELECT DISTINCT maybe, count(*) FROM orders GROUP BY maybe, id",
        "SELECT id FROM customers UNION SELECT id FROM orders",
        "SELECT 1 AS what, name FROM customers UNION SELECT 2, name FROM customers",
        "SELECT id, state FROM orders WHERE state = 1 UNION SELECT id, state FROM orders WHERE state < 3",
    ] {
        assert_eq!(rewrites(sql, &shop.snapshot).unwrap(), [], "{sql}");
    }
}

#[test]
fn walking_pages_by_key_returns_what_offset_pages_return() {
    let shop = Shop::open();
    for (sql, keys) in [
        (
            "SELECT id, customer_id FROM orders WHERE state = 1 ORDER BY customer_id LIMIT 500 OFFSET $1",
            [1, 0],
        ),
        (
            "SELECT id, customer_id FROM orders WHERE state = 1 ORDER BY customer_id DESC, id DESC LIMIT 500 OFFSET $1",
            [1, 0],
        ),
        ("SELECT id FROM orders WHERE state = 1 ORDER BY id LIMIT 500 OFFSET $1", [0, 0]),
    ] {
        let page = shop.only(sql);
        assert_eq!(page.rule, Rule::OffsetPages);
        assert!(page.check.is_some());
        let query = |sql: &str, values: &[&str]| {
            let values: Vec<Option<String>> =
                values.iter().map(|v| Some((*v).to_owned())).collect();
            shop.server.query(&shop.database, &with_literals(sql, &values).unwrap()).unwrap()
        };
        // The order has to be total, as that of the other form is.
        let total = if sql.contains("ORDER BY customer_id LIMIT") {
            sql.replace("ORDER BY customer_id", "ORDER BY customer_id, id")
        } else {
            sql.to_owned()
        };
        let mut last = query(&total, &["0"]).pop().unwrap();
        for offset in ["500", "1000", "1500", "2000", "2500", "3000"] {
            let expected = query(&total, &[offset]);
            let values: Vec<&str> = keys.iter().map(|&key| last[key].as_deref().unwrap()).collect();
            assert_eq!(query(&page.after, &values), expected, "{}", page.after);
            match expected.last() {
                Some(row) => last = row.clone(),
                None => break,
            }
        }
        let first = query(&sql.replace("$1", "0"), &[]).pop().unwrap();
        let values: Vec<&str> = keys.iter().map(|&key| first[key].as_deref().unwrap()).collect();
        assert!(shop.cost(&page.after, &values) < shop.cost(sql, &["2500"]), "{}", page.after);
    }
    for sql in [
        "SELECT id FROM orders ORDER BY maybe LIMIT 10 OFFSET $1",
        "SELECT id FROM orders ORDER BY customer_id, id DESC LIMIT 10 OFFSET $1",
        "SELECT id FROM orders ORDER BY id OFFSET $1",
        "SELECT state, count(*) FROM orders GROUP BY state ORDER BY state LIMIT 10 OFFSET 5",
    ] {
        assert_eq!(rewrites(sql, &shop.snapshot).unwrap(), [], "{sql}");
    }
}

#[test]
fn one_statement_for_all_keys_returns_what_one_for_each_returned() {
    let shop = Shop::open();
    let sql = "SELECT quantity FROM orders WHERE customer_id = $1 AND state < 3";
    let many = pgassay_sql::for_many_keys(sql, &Relations::of(&shop.snapshot)).unwrap();
    insta::assert_snapshot!(many.after, @"SELECT quantity, orders.customer_id FROM orders WHERE orders.customer_id = ANY($1) AND state < 3");
    let mut each: Vec<String> = Vec::new();
    for key in ["3", "7", "11"] {
        let with_key = sql.replace("quantity FROM", &format!("quantity, {key} FROM"));
        each.extend(shop.rows(&with_key, &[key]));
    }
    each.sort();
    assert_eq!(shop.rows(&many.after, &["{3,7,11}"]), each);
    for sql in [
        "SELECT count(*) FROM orders WHERE customer_id = $1",
        "SELECT id FROM orders WHERE customer_id > $1",
        "SELECT id FROM orders WHERE customer_id = $1 LIMIT 1",
        "UPDATE orders SET state = 1 WHERE id = $1",
    ] {
        assert_eq!(pgassay_sql::for_many_keys(sql, &Relations::of(&shop.snapshot)), None, "{sql}");
    }
}

#[test]
fn an_order_that_no_index_serves_returns_the_same_rows() {
    let shop = Shop::open();
    let sql = "SELECT id FROM orders WHERE customer_id = $1 ORDER BY id DESC LIMIT 5";
    let other = pgassay_sql::without_order_index(sql, &Relations::of(&shop.snapshot)).unwrap();
    insta::assert_snapshot!(other.after, @"SELECT id FROM orders WHERE customer_id = $1 ORDER BY id + 0 DESC LIMIT 5");
    assert_eq!(shop.rows(sql, &["17"]), shop.rows(&other.after, &["17"]));
}

#[test]
fn rules_within_alternatives_and_negations_return_the_same_rows() {
    let shop = Shop::open();
    let parts = [
        "date(o.paid) = '2024-03-05'",
        "o.quantity + 1 > 49",
        "o.maybe = 3.0",
        "c.id::text = '42'",
        "(SELECT count(*) FROM customers x WHERE x.referrer = o.quantity) = 0",
        "o.id NOT IN (SELECT x.id FROM customers x WHERE x.name = 'c1' OR x.name = 'c2')",
        "c.referrer IS NULL",
    ];
    let mut compared = 0;
    for (place, a) in parts.iter().enumerate() {
        let b = parts[(place + 1) % parts.len()];
        let c = parts[(place + 3) % parts.len()];
        for condition in [
            format!("{a} OR {b}"),
            format!("NOT ({a} AND {b})"),
            format!("{a} AND ({b} OR {c})"),
            format!("({a} OR {b}) AND NOT ({c} OR {a})"),
            format!("({a} AND {b}) OR ({b} AND {c}) OR NOT {a}"),
        ] {
            let sql = format!(
                "SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON c.id = o.maybe WHERE o.id < 3000 AND ({condition})"
            );
            let before = shop.rows(&sql, &[]);
            for rewrite in rewrites(&sql, &shop.snapshot).unwrap() {
                assert_eq!(shop.rows(&rewrite.after, &[]), before, "{sql}\n{}", rewrite.after);
                compared += 1;
            }
        }
    }
    assert!(compared > 60, "{compared}");
}
