//! Indexes of every access method with the shadow as engine, on a real server: proposed, built, used and faster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod real_support;
mod shadow_support;

use pgassay_model::workload::WorkloadStatement;
use pgassay_testkit::shared;
use real_support::build;
use shadow_support::OnShadow;
use std::collections::BTreeMap;

/// Long unique tokens, documents, tags, periods and text; readings in the order of insertion; rooms that an
/// exclusion constraint keeps from being booked twice.
const SCHEMA: &str = "
    CREATE EXTENSION pg_trgm;
    CREATE EXTENSION btree_gin;
    CREATE EXTENSION btree_gist;
    CREATE TABLE events (
        id integer PRIMARY KEY,
        token text NOT NULL,
        kind integer NOT NULL,
        region integer NOT NULL,
        document jsonb NOT NULL,
        tags text[] NOT NULL,
        period int4range NOT NULL,
        begins timestamptz NOT NULL,
        ends timestamptz NOT NULL,
        address inet NOT NULL,
        words tsvector NOT NULL,
        body text NOT NULL,
        name text NOT NULL
    );
    INSERT INTO events
    SELECT i,
        md5(i::text) || md5((i + 1)::text) || md5((i + 2)::text),
        (i * 7919) % 1000,
        (i * 31) % 12,
        jsonb_build_object('user', i % 2000, 'page', 'page ' || i % 37),
        ARRAY['tag' || (i * 17) % 3000, 'team' || (i * 7) % 23],
        int4range(i * 10, i * 10 + 15),
        timestamptz '2024-01-01 00:00+00' + ((i * 7919) % 20000) * interval '10 min',
        timestamptz '2024-01-01 00:15+00' + ((i * 7919) % 20000) * interval '10 min',
        ('10.' || i % 200 || '.' || (i / 200) % 200 || '.' || i % 250)::inet,
        to_tsvector('english', 'word' || i % 4000 || ' and some more'),
        'message ' || md5((i % 5000)::text) || ' was sent',
        'user' || md5(i::text)
    FROM generate_series(1, 20000) i;
    CREATE TABLE readings (id integer NOT NULL, at timestamp NOT NULL, value integer, padding text);
    INSERT INTO readings SELECT i, timestamp '2024-01-01' + i * interval '1 minute', i % 100,
        repeat(md5(i::text), 30) FROM generate_series(1, 20000) i;
    CREATE TABLE bookings (
        room integer NOT NULL, during tsrange NOT NULL, guest text,
        EXCLUDE USING gist (room WITH =, during WITH &&)
    );
    INSERT INTO bookings SELECT i % 50, tsrange(timestamp '2024-01-01' + (i / 50) * interval '1 day',
        timestamp '2024-01-02' + (i / 50) * interval '1 day'), 'guest ' || i FROM generate_series(1, 10000) i;";

/// A statement with its value, what is to be proposed, and the bytes it may take.
struct Case {
    sql: &'static str,
    value: &'static str,
    /// Part of the DDL.
    index: &'static str,
    budget: Option<u64>,
}

const fn case(sql: &'static str, value: &'static str, index: &'static str) -> Case {
    Case { sql, value, index, budget: None }
}

const CASES: &[Case] = &[
    case("SELECT id FROM events WHERE kind = $1", "77", "USING btree (kind)"),
    case(
        "SELECT id FROM events WHERE name LIKE $1",
        "user1679%",
        "USING btree (name text_pattern_ops)",
    ),
    case("SELECT id FROM events WHERE token = $1", "x", "USING hash (token)"),
    case(
        "SELECT id FROM events WHERE document @> $1",
        "{\"user\": 77}",
        "USING gin (document jsonb_path_ops)",
    ),
    case("SELECT id FROM events WHERE tags @> $1", "{tag77}", "USING gin (tags)"),
    case("SELECT id FROM events WHERE tags && $1", "{tag77,tag78}", "USING gin (tags)"),
    case(
        "SELECT id, token FROM events WHERE region = $1 AND tags @> '{team5}'",
        "7",
        "USING gin (region, tags)",
    ),
    case(
        "SELECT id FROM events WHERE words @@ to_tsquery('english', $1)",
        "word77",
        "USING gin (words)",
    ),
    case(
        "SELECT id FROM events WHERE to_tsvector('english', body) @@ to_tsquery('english', $1)",
        "1679091c5a880faf6fb5e6087eb1b2dc",
        "USING gin ((to_tsvector('english', body)))",
    ),
    case(
        "SELECT id FROM events WHERE body LIKE $1",
        "%1679091c5a880faf%",
        "USING gin (body gin_trgm_ops)",
    ),
    case("SELECT id FROM events WHERE period && $1", "[70000,70003)", "USING gist (period)"),
    case(
        "SELECT id FROM events WHERE tstzrange(begins, ends) && $1",
        "[\"2024-02-01 00:00+00\",\"2024-02-01 00:20+00\")",
        "USING gist ((tstzrange(begins, ends)))",
    ),
    case(
        "SELECT id FROM events WHERE address <<= $1",
        "10.77.0.0/16",
        "USING gist (address inet_ops)",
    ),
    Case {
        sql: "SELECT count(*) FROM readings WHERE at BETWEEN '2024-01-10' AND '2024-01-10 06:00'",
        value: "",
        index: "USING brin (at) WITH (pages_per_range = ",
        budget: Some(64 << 10),
    },
    Case {
        sql: "SELECT count(*) FROM readings WHERE at < '2024-01-07 19:20' AND id < 9700",
        value: "",
        index: "USING brin (at, id)",
        budget: Some(64 << 10),
    },
];

/// Served by what there is.
const SERVED: &[(&str, &str)] = &[
    (
        "SELECT guest FROM bookings WHERE room = 7 AND during && tsrange('2024-03-01', '2024-03-02')",
        "bookings_room_during_excl",
    ),
    ("SELECT id FROM events WHERE id = 77", "events_pkey"),
];

fn statement(id: &str, sql: &str, value: &str) -> WorkloadStatement {
    WorkloadStatement {
        id: id.into(),
        sql: sql.into(),
        weight: 1.0,
        parameters: if value.is_empty() { Vec::new() } else { vec![vec![Some(value.to_owned())]] },
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    }
}

/// The plan, and the least of some execution times in milliseconds.
fn run(database: &str, case: &Case) -> (String, f64) {
    let text = case.sql.replace("$1", &format!("'{}'", case.value));
    let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}");
    let mut best = f64::INFINITY;
    let mut plan = String::new();
    for _ in 0..3 {
        plan = shared().query(database, &explain).unwrap()[0][0].clone().unwrap();
        let document: serde_json::Value = serde_json::from_str(&plan).unwrap();
        best = best.min(document[0]["Execution Time"].as_f64().unwrap());
    }
    (plan, best)
}

#[test]
fn every_access_method_is_proposed_built_used_and_faster_and_nothing_is_left_to_propose() {
    let database = build(SCHEMA, false);
    let on = OnShadow::of(&database);
    let mut built: BTreeMap<String, String> = BTreeMap::new();
    let mut before = Vec::new();
    let mut wrong = Vec::new();
    for case in CASES {
        let advice = on.ask(vec![statement("asked", case.sql, case.value)], case.budget);
        assert_eq!(advice.engine, "shadow");
        let ddl: Vec<&str> = advice.indexes.iter().map(|index| index.ddl.as_str()).collect();
        match advice.indexes.as_slice() {
            [one] if one.ddl.contains(case.index) => {
                assert!(one.reason.contains("estimates of the planner"), "{}", one.reason);
                built.insert(one.ddl.clone(), one.definition.name.clone());
            }
            _ => wrong.push(format!(
                "{}\n  wanted {}\n  got {ddl:?}\n  {:#?}{:#?}",
                case.sql, case.index, advice.rejected, advice.considered
            )),
        }
        // Each candidate that is not proposed has its reason.
        for considered in &advice.considered {
            assert!(
                !considered.why.is_empty() && !considered.statements.is_empty(),
                "{considered:?}"
            );
        }
        before.push(run(&database, case).1);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (sql, index) in SERVED {
        let advice = on.ask(vec![statement("asked", sql, "")], None);
        assert!(advice.indexes.is_empty(), "{advice:#?}");
        assert!(advice.rejected[0].why.contains(index), "{:#?}", advice.rejected);
    }
    drop(on);
    for ddl in built.keys() {
        shared().execute(&database, &ddl.replace(" CONCURRENTLY", "")).unwrap();
    }
    shared().execute(&database, "VACUUM ANALYZE").unwrap();
    for (case, before) in CASES.iter().zip(before) {
        let (plan, after) = run(&database, case);
        let used = built.values().any(|name| plan.contains(name.as_str()));
        eprintln!("{before:8.2} ms → {after:8.3} ms  {}", case.sql);
        if !used || after >= before {
            wrong.push(format!("{} {before} ms → {after} ms\n{plan}", case.sql));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let on = OnShadow::of(&database);
    for case in CASES {
        let advice = on.ask(vec![statement("asked", case.sql, case.value)], case.budget);
        if !advice.indexes.is_empty() {
            wrong.push(format!("{}: {:#?}", case.sql, advice.indexes));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn functions_that_the_application_declares_immutable_are_on_the_shadow_too() {
    let database = build(
        "CREATE FUNCTION f_unaccent(text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS
             $$BEGIN RETURN translate($1, 'äöü', 'aou'); END$$;
         CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, filler text);
         INSERT INTO people SELECT i, 'Jürgen ' || i, repeat('x', 200) FROM generate_series(1, 20000) i",
        false,
    );
    let statement = WorkloadStatement {
        id: "by_name".into(),
        sql: "SELECT id FROM people WHERE f_unaccent(lower(name)) = $1".into(),
        weight: 1.0,
        parameters: vec![vec![Some("jurgen 77".into())]],
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    };
    let advice = OnShadow::of(&database).ask(vec![statement], None);
    assert_eq!(real_support::keys(&advice), ["people(f_unaccent(lower(name)))"], "{advice:#?}");
    assert!(!advice.indexes[0].by_rule, "{advice:#?}");
    shared().execute(&database, &advice.indexes[0].ddl).unwrap();
}
