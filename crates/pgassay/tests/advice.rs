//! Advice beyond new indexes from the command line: drops, statistics, foreign keys and rewrites as text and JSON, and
//! those that can be applied through plan, apply and rollback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use serde_json::Value;
use support::{DATABASE, Shop};

/// Relations with something of everything.
fn neglected() -> (Shop, String) {
    let shop = Shop::open(20_000);
    for sql in [
        "SET ROLE app; ALTER TABLE tokens ADD CONSTRAINT of_user FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE;
         CREATE INDEX by_email ON users (email);
         CREATE TABLE places (id int PRIMARY KEY, city text NOT NULL, zip int NOT NULL);
         INSERT INTO places SELECT n, 'city' || (n % 200) / 10, n % 200 FROM generate_series(1, 40000) n;
         RESET ROLE",
        "VACUUM ANALYZE",
    ] {
        shop.server.execute(DATABASE, sql).unwrap();
    }
    // The one that is used is the one that stays.
    for n in 0..50 {
        let sql = format!("SELECT id FROM users WHERE email = 'user{n}@example.com'");
        shop.server.query(DATABASE, &sql).unwrap();
    }
    shop.server
        .execute(DATABASE, "SET ROLE app; CREATE INDEX by_email_too ON users (email); RESET ROLE")
        .unwrap();
    for n in 1..=25 {
        for sql in [
            format!("SELECT id FROM places WHERE city = 'city3' AND zip = {}", 30 + n % 10),
            format!("DELETE FROM users WHERE id = {n}"),
            format!("UPDATE users SET email = 'new{n}' WHERE id = {}", 100 + n),
            format!("SELECT username FROM users WHERE id::text = '{}'", 100 + n),
        ] {
            shop.server.query(DATABASE, &sql).unwrap();
        }
    }
    let workload = shop.directory.path().join("neglected");
    std::fs::create_dir(&workload).unwrap();
    for (name, text) in [
        (
            "pair.sql",
            "SELECT id FROM places WHERE city = $1 AND zip = $2\n-- params: [\"city3\", 31]",
        ),
        ("leave.sql", "DELETE FROM users WHERE id = $1\n-- params: [5000]"),
        ("mail.sql", "UPDATE users SET email = $1 WHERE id = $2\n-- params: [\"x\", 5001]"),
        ("cast.sql", "SELECT username FROM users WHERE id::text = $1\n-- params: [\"77\"]"),
    ] {
        std::fs::write(workload.join(name), text).unwrap();
    }
    let workload = workload.to_str().unwrap().to_owned();
    (shop, workload)
}

fn list<'v>(document: &'v Value, name: &str) -> &'v Vec<Value> {
    document[name].as_array().unwrap_or_else(|| panic!("{name} of {document:#}"))
}

#[test]
fn advise_lists_what_else_there_is_to_do() {
    let (shop, workload) = neglected();
    let before = shop.everything();
    let answer = shop.pgassay(&["advise", &shop.dsn(), "--workload", &workload, "--json"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let advice = answer.json();
    let drops = list(&advice, "drops");
    assert_eq!(drops.len(), 1, "{advice:#}");
    assert_eq!(drops[0]["ddl"], "DROP INDEX CONCURRENTLY public.by_email_too");
    let undo = "CREATE INDEX CONCURRENTLY by_email_too ON public.users USING btree (email)";
    assert_eq!(drops[0]["undo"], undo);
    assert!(drops[0]["reason"].as_str().unwrap().contains("the same keys"));
    let statistics = list(&advice, "statistics");
    assert_eq!(statistics.len(), 1, "{advice:#}");
    assert!(
        statistics[0]["ddl"]
            .as_str()
            .unwrap()
            .starts_with("CREATE STATISTICS public.places_city_zip_stat")
    );
    let rewrites = list(&advice, "rewrites");
    assert_eq!(rewrites.len(), 1, "{advice:#}");
    assert_eq!(
        (&rewrites[0]["statement"], &rewrites[0]["rule"]),
        (&"cast".into(), &"cast-on-column".into())
    );
    assert_eq!(rewrites[0]["after"], "SELECT username FROM users WHERE id = $1::text::bigint");
    let keys = list(&advice, "foreign_keys");
    assert_eq!(keys.len(), 1, "{advice:#}");
    assert!(keys[0]["ddl"].as_str().unwrap().contains("ON public.tokens USING btree (user_id)"));
    assert_eq!(keys[0]["source"], "rule");

    let text = shop.pgassay(&["advise", &shop.dsn(), "--workload", &workload]).stdout;
    for part in [
        "DROP INDEX CONCURRENTLY public.by_email_too;",
        "  -- undo: CREATE INDEX CONCURRENTLY by_email_too",
        "rewrite cast (cast-on-column)",
        "  after:  SELECT username FROM users WHERE id = $1::text::bigint",
        "  check: $1 is always a whole number",
        "ANALYZE public.places (city, zip);",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let ddl = shop.pgassay(&["advise", &shop.dsn(), "--workload", &workload, "--ddl"]).stdout;
    assert!(!ddl.contains("DROP INDEX") && !ddl.contains("rewrite"), "{ddl}");
    assert_eq!(shop.everything(), before, "nothing is touched");
}

#[test]
fn what_can_be_applied_is_planned_applied_and_taken_back() {
    let (shop, workload) = neglected();
    let before = shop.everything();
    let plan = shop.file("plan.json");
    let answer =
        shop.pgassay(&["plan", &shop.dsn(), "--workload", &workload, "-o", &plan, "--json"]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    let document = answer.json();
    let changes = list(&document, "changes");
    let of =
        |kind: &str| changes.iter().filter(|change| change["kind"] == kind).collect::<Vec<_>>();
    assert_eq!(of("create_statistics").len(), 1, "{document:#}");
    assert_eq!(of("drop_index").len(), 1, "{document:#}");
    let key = of("create_index").into_iter().find(|change| change["group"] == "foreign keys");
    let key = key.unwrap_or_else(|| panic!("{document:#}"));
    assert_eq!(key["expected"]["source"], "rule");
    assert_eq!(key["expected"]["low"], Value::Null);
    assert_eq!(changes[0]["kind"], "create_statistics", "statistics come first");
    assert_eq!(changes[0]["risk"]["level"], "medium");
    let advised = document["recommendations"].to_string();
    assert!(advised.contains("ask cast in another form"), "{advised}");

    let answer = shop.pgassay(&["apply", &plan, &shop.dsn(), "--json"]);
    assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
    let checks = answer.json()["checks"].as_array().unwrap().clone();
    let estimates = checks.iter().find(|check| check["id"] == "row_estimates").unwrap();
    assert_eq!(estimates["passed"], true, "{estimates}");
    assert!(estimates["detail"].as_str().unwrap().starts_with("pair: "), "{estimates}");
    let objects = "SELECT count(*) FROM pg_statistic_ext";
    let count = |sql: &str| shop.server.query(DATABASE, sql).unwrap()[0][0].clone().unwrap();
    assert_eq!(count(objects), "1");
    assert_ne!(shop.everything(), before);
    let second = shop.file("second.json");
    let again = ["plan", &shop.dsn(), "--workload", &workload, "-o", &second, "--json"];
    let again = shop.pgassay(&again).json();
    for kind in ["create_statistics", "drop_index", "create_index"] {
        let left: Vec<_> = list(&again, "changes").iter().filter(|c| c["kind"] == kind).collect();
        assert!(left.is_empty(), "{left:#?}");
    }
    let answer = shop.pgassay(&["rollback", "latest", &shop.dsn()]);
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert_eq!(count(objects), "0");
    assert_eq!(shop.everything(), before);
}

#[test]
fn one_statement_is_advised_on_its_own_relations_alone() {
    let (shop, _) = neglected();
    let advise = |sql: &str| shop.pgassay(&["advise", &shop.dsn(), "--sql", sql, "--json"]).json();
    let tokens = advise("SELECT * FROM tokens WHERE id = 77");
    for what in ["drops", "statistics", "foreign_keys", "reindex", "kept"] {
        assert_eq!(list(&tokens, what).len(), 0, "{what} of {tokens:#}");
    }
    let left = advise("DELETE FROM users WHERE id = 77");
    assert_eq!(list(&left, "foreign_keys")[0]["relation"], "public.tokens", "{left:#}");
    let users = advise("SELECT id FROM users WHERE username = 'user77'");
    assert_eq!(
        users["drops"][0]["ddl"], "DROP INDEX CONCURRENTLY public.by_email_too",
        "{users:#}"
    );
    assert_eq!(list(&users, "foreign_keys").len(), 0, "{users:#}");
}

#[test]
fn advice_on_nothing_says_so_and_a_size_that_nothing_has_is_refused() {
    let shop = Shop::open(1_000);
    let sql = "SELECT * FROM users WHERE username = 'x'";
    let asked = ["advise", &shop.dsn(), "--sql", sql, "--time-limit", "1ms"];
    let answer = shop.pgassay(&asked);
    assert_eq!(answer.status, 1, "{}", answer.stdout);
    let why = "the time limit or an interrupt came before it was looked at";
    assert!(
        answer.stdout.contains(&format!("no statement was looked at: {why}\n")),
        "{}",
        answer.stdout
    );
    assert!(!answer.stdout.contains("0.0 → 0.0"), "{}", answer.stdout);
    let ddl = shop.pgassay(&[&asked[..], &["--ddl"]].concat());
    assert_eq!(ddl.stdout, format!("-- no statement was looked at: {why}\n"));

    let answer = shop.pgassay(&["advise", &shop.dsn(), "--sql", sql, "--budget", "99999999TB"]);
    assert_eq!(answer.status, 2, "{}", answer.stdout);
    assert!(
        answer.stderr.contains("\"99999999TB\" is not a size below 16777216TB"),
        "{}",
        answer.stderr
    );
}
