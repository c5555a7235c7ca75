//! Bundles: what they hold and what they don't, values in disguise, and what is said of all that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_testkit::{fresh_database, shared};
use serde_json::Value;
use support::advising::{TABLE, run, unpacked, workload};
use support::pgassay;

/// Values that nothing else holds.
const SECRETS: [&str; 4] = ["alice@example.com", "bob@example.com", "pentagon", "1987-06-05"];

#[test]
fn a_bundle_without_values_holds_none_and_with_hashes_looks_up_by_equality_as_the_server() {
    let server = shared();
    let database = fresh_database(server);
    for sql in [
        "CREATE TABLE people (id int PRIMARY KEY, mail text, street text, born date, state text NOT NULL
           CHECK (state IN ('open', 'closed')));
         INSERT INTO people SELECT g, CASE WHEN g % 4 = 0 THEN 'alice@example.com' WHEN g % 50 = 1 THEN 'bob@example.com'
             ELSE 'user' || g || '@example.org' END, CASE WHEN g % 3 = 0 THEN 'pentagon' ELSE 'street ' || g % 900 END,
           CASE WHEN g % 5 = 0 THEN date '1987-06-05' ELSE date '1950-01-01' + g % 20000 END,
           CASE WHEN g % 100 = 0 THEN 'open' ELSE 'closed' END FROM generate_series(1, 40000) g;
         CREATE INDEX people_open ON people (born) WHERE state = 'open'",
        "VACUUM ANALYZE people",
    ] {
        server.execute(&database, sql).unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let equal = [
        (
            "alice",
            "SELECT id FROM people WHERE mail = 'alice@example.com' /* for alice@example.com */",
        ),
        ("bob", "SELECT id FROM people WHERE mail IN ('bob@example.com', 'user7@example.org')"),
        ("open", "SELECT id FROM people WHERE state = 'open' AND born IS NOT NULL LIMIT 10"),
        ("parameter", "-- params: [\"bob@example.com\"]\nSELECT id FROM people WHERE mail = $1"),
    ];
    let others = [
        ("born", "SELECT id FROM people WHERE born = date '1987-06-05'"),
        ("street", "SELECT id FROM people WHERE street LIKE 'pentagon%'"),
        ("escaped", "SELECT id FROM people WHERE mail = E'bob@example.com\\n'"),
    ];
    let dsn = server.dsn(&database);
    let cost = |bundle: &str| run(state.path(), &["advise", "--bundle", bundle]).json();
    let export = |name: &str, flags: &[&str], workload: &str| {
        let file = state.path().join(name).display().to_string();
        let arguments = ["bundle", "export", &dsn, "--workload", workload, "-o", &file];
        let exported = run(state.path(), &[&arguments[..], flags].concat());
        assert_eq!(exported.status, 0, "{}", exported.stdout);
        (file, exported.json())
    };
    let workload_of_equal = workload(state.path(), &equal);
    let (kept, _) = export("kept", &["--no-data"], &workload_of_equal);
    assert!(unpacked(&kept).contains("pentagon"));
    let (hashed, said) = export("hashed", &["--hash-values"], &workload_of_equal);
    assert_eq!((&said["values"], &said["left_out"]), (&"hashed".into(), &serde_json::json!([])));
    let (kept, hashed) = (cost(&kept), cost(&hashed));
    assert_eq!(hashed["cost_before"], kept["cost_before"], "{hashed:#}");
    assert!(hashed["notes"].to_string().contains("histograms"), "{hashed:#}");

    let workload_of_all = workload(state.path(), &others);
    for flag in ["--hash-values", "--no-values"] {
        let (file, said) = export("disguised", &[flag], &workload_of_all);
        // A string with an escape is not read, and not let out.
        assert_eq!(said["left_out"].as_array().unwrap().len(), 1, "{said:#}");
        assert_eq!(said["left_out"][0]["statement"], "escaped");
        assert_eq!(said["statements"], 6);
        let text = unpacked(&file);
        for secret in SECRETS {
            assert!(!text.contains(secret), "{flag}: {secret}");
        }
        // The schema's own words stay, or its partial index would be of no use.
        assert!(text.contains("state = 'open'"));
        let advice = cost(&file);
        assert_eq!(advice["engine"], "shadow", "{advice:#}");
        assert_eq!(advice["skipped"], serde_json::json!([]), "{advice:#}");
        if flag == "--no-values" {
            assert!(advice["notes"].to_string().contains("equally common"), "{advice:#}");
        }
    }

    // Cut short on its way, it is refused.
    let file = state.path().join("hashed");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 100]).unwrap();
    let cut = run(state.path(), &["advise", "--bundle", &file.display().to_string()]);
    assert_eq!(cut.status, 2, "{}", cut.stdout);
    assert!(cut.json()["error"].as_str().unwrap().contains("cut short"), "{}", cut.stdout);
}

#[test]
fn a_statement_that_only_its_server_could_plan_is_not_said_to_be_answered() {
    let server = shared();
    let database = fresh_database(server);
    for sql in [
        TABLE[0],
        TABLE[1],
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw;
         CREATE FOREIGN TABLE remote (id int, person int) SERVER far",
    ] {
        server.execute(&database, sql).unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let statements = [
        ("near", "SELECT * FROM visits WHERE person = 77"),
        ("far", "SELECT * FROM remote WHERE person = 77"),
    ];
    let workload = workload(state.path(), &statements);
    let bundle = state.path().join("b").display().to_string();
    let dsn = server.dsn(&database);
    let exported =
        run(state.path(), &["bundle", "export", &dsn, "--workload", &workload, "-o", &bundle]);
    assert_eq!(exported.status, 0, "{}", exported.stdout);
    let advice = run(state.path(), &["advise", "--bundle", &bundle]).json();
    assert_eq!(advice["elsewhere"][0]["statement"], "far", "{advice:#}");
    assert_eq!(advice["elsewhere"][0]["engine"], "none", "{advice:#}");
    assert_eq!(advice["skipped"].as_array().unwrap().len(), 1, "{advice:#}");
    let text = pgassay(state.path(), &["advise", "--bundle", &bundle]).stdout;
    assert!(
        text.contains("not answered for, by shadow or anything else: far (of public.remote"),
        "{text}"
    );
    assert!(!text.contains("rules"), "{text}");

    // HypoPG would need the server.
    let refused = run(state.path(), &["advise", "--bundle", &bundle, "--engine", "hypopg"]);
    assert_eq!(refused.status, 2, "{}", refused.stdout);
    assert!(
        refused.json()["error"].to_string().contains("HypoPG plans on the server"),
        "{}",
        refused.stdout
    );

    // Unpacked by hand there is no digest, and nobody knows who changed it.
    std::fs::write(&bundle, unpacked(&bundle)).unwrap();
    let advice = run(state.path(), &["advise", "--bundle", &bundle]).json();
    assert!(advice["notes"].to_string().contains("no digest"), "{advice:#}");
}

#[test]
fn a_bundle_in_place_of_a_server_is_not_asked_for_beside_one_and_usage_says_how() {
    let state = tempfile::tempdir().unwrap();
    let answer = pgassay(state.path(), &["advise", "postgresql://x/y", "--bundle", "b"]);
    assert_eq!(answer.status, 2);
    let usage = answer.stderr.split("Usage:").nth(1).unwrap();
    assert!(usage.contains("--bundle <FILE>") && !usage.contains("--state"), "{usage}");
    let both = usage.lines().find(|line| line.contains("--bundle") && line.contains("DSN"));
    assert_eq!(both, None, "{usage}");
    let answer = pgassay(
        state.path(),
        &["measure", "x", "--workload", "w", "--clients", "1", "--rate", "1"],
    );
    assert!(!answer.stderr.contains("--state"), "{}", answer.stderr);
}

#[test]
fn bodies_and_keys_that_no_advice_needs_stay_and_who_refuses_a_statement_is_told() {
    let server = shared();
    let database = fresh_database(server);
    for sql in [
        TABLE[0],
        TABLE[1],
        "CREATE FUNCTION payroll() RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT 4711 /* pentagon */ $$;
         CREATE FUNCTION doubled(x int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT x * 2 /* wanted */ $$;
         CREATE VIEW insiders AS SELECT id FROM visits WHERE secret = 'alice@example.com';
         CREATE VIEW outsiders AS SELECT id, doubled(person) AS twice FROM visits;
         CREATE TABLE documents (id int PRIMARY KEY, doc jsonb)",
        "INSERT INTO documents SELECT g, jsonb_build_object('bob@example.com', g) FROM generate_series(1, 1000) g",
        "VACUUM ANALYZE documents",
    ] {
        server.execute(&database, sql).unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let statements = [
        ("seen", "SELECT id FROM outsiders WHERE twice = 12"),
        ("keys", "SELECT id FROM documents WHERE doc @> '{\"bob@example.com\": 77}'"),
        ("wrong", "SELECT id FROM visits WHERE person = 1 / 0"),
        ("unreadable", "SELECT id FROM visits WHERE secret + 1 = 2"),
        ("between", "SELECT id FROM visits WHERE person BETWEEN 1000 AND 1100"),
    ];
    let workload = workload(state.path(), &statements);
    let dsn = server.dsn(&database);
    let file = state.path().join("b").display().to_string();
    for flag in ["--no-data", "--hash-values", "--no-values"] {
        let arguments = ["bundle", "export", &dsn, "--workload", &workload, "-o", &file, flag];
        let exported = run(state.path(), &arguments);
        assert_eq!(exported.status, 0, "{}", exported.stdout);
        let said = exported.json();
        let not_needed = said["not_needed"].to_string();
        assert!(
            not_needed.contains("public.payroll()") && not_needed.contains("public.insiders"),
            "{said:#}"
        );
        assert!(!not_needed.contains("outsiders") && !not_needed.contains("doubled"), "{said:#}");
        let text = unpacked(&file);
        assert!(!text.contains("pentagon") && !text.contains("alice@example.com"), "{flag}");
        assert!(text.contains("wanted") && !text.contains("payroll"), "{flag}");
        let bundled: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            bundled["snapshot"]["immutable_functions"],
            serde_json::json!(["doubled", "public.doubled"])
        );
        if flag == "--no-data" {
            continue;
        }
        assert!(!text.contains("bob@example.com"), "{flag}");
        let left_out = said["left_out"].as_array().unwrap();
        assert_eq!(left_out.len(), 2, "{said:#}");
        assert!(left_out[0]["statement"].to_string().contains("secret +"), "{said:#}");
        assert_eq!(left_out[1]["statement"], "wrong");
        let reason = left_out[1]["reason"].as_str().unwrap();
        assert!(
            reason.starts_with("with its own values and in disguise the server refuses it"),
            "{reason}"
        );
        let bundle: Value = serde_json::from_str(&text).unwrap();
        let statements = bundle["workload"]["statements"].as_array().unwrap();
        let between = statements.iter().find(|one| one["id"] == "between").unwrap();
        let numbers: Vec<i64> = between["sql"]
            .as_str()
            .unwrap()
            .split_whitespace()
            .filter_map(|word| word.parse().ok())
            .collect();
        assert!(numbers.len() == 2 && numbers[0] <= numbers[1], "{between:#}");
        let advice = run(state.path(), &["advise", "--bundle", &file]).json();
        assert_eq!(advice["engine"], "shadow", "{advice:#}");
        assert_eq!(advice["skipped"], serde_json::json!([]), "{advice:#}");
    }
}

#[test]
fn numbers_dates_and_times_in_disguise_are_looked_up_as_on_the_server_and_other_types_are_named() {
    let server = shared();
    let database = fresh_database(server);
    for sql in [
        "CREATE TABLE bills (id int PRIMARY KEY, total numeric(10, 2), due date, at timestamptz, seen timestamp(0), share float8, paid date);
         INSERT INTO bills SELECT g, CASE WHEN g % 4 = 0 THEN 199.99 WHEN g % 9 = 0 THEN 20 ELSE g % 900 + 0.5 END,
           CASE WHEN g % 5 = 0 THEN date '1987-06-05' ELSE date '1990-01-01' + g % 900 END,
           CASE WHEN g % 3 = 0 THEN timestamptz '1987-06-05 10:00:00Z' ELSE timestamptz '1990-01-01' + g % 900 * interval '1 hour' END,
           CASE WHEN g % 6 = 0 THEN timestamp '1987-06-05' ELSE timestamp '1990-01-01' + g % 900 * interval '1 hour' END,
           CASE WHEN g % 7 = 0 THEN 0.1987 ELSE g % 900 END, date '1990-01-01' + g % 900 FROM generate_series(1, 40000) g",
        "VACUUM ANALYZE bills",
    ] {
        server.execute(&database, sql).unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let equal = [
        ("total", "SELECT id FROM bills WHERE total = 199.99"),
        ("whole", "SELECT id FROM bills WHERE total = 20"),
        ("due", "SELECT id FROM bills WHERE due = date '1987-06-05'"),
        ("cast", "SELECT id FROM bills WHERE due = '1987-06-05'::date"),
        ("at", "SELECT id FROM bills WHERE at = '1987-06-05 10:00:00+00'"),
        ("seen", "-- params: [\"1987-06-05 00:00:00\"]\nSELECT id FROM bills WHERE seen = $1"),
    ];
    let dsn = server.dsn(&database);
    let export = |flag: &str, workload: &str| {
        let file = state.path().join(flag).display().to_string();
        let arguments = ["bundle", "export", &dsn, "--workload", workload, "-o", &file, flag];
        let exported = run(state.path(), &arguments);
        assert_eq!(exported.status, 0, "{}", exported.stdout);
        (file, exported.json())
    };
    let workload_of_equal = workload(state.path(), &equal);
    let (kept, _) = export("--no-data", &workload_of_equal);
    let (hashed, said) = export("--hash-values", &workload_of_equal);
    assert_eq!(said["left_out"], serde_json::json!([]), "{said:#}");
    assert_eq!(said["columns_without_values"], serde_json::json!([]), "{said:#}");
    let text = unpacked(&hashed);
    for secret in ["1987-06-05", "199.99"] {
        assert!(!text.contains(secret), "{secret}");
    }
    let advice = |bundle: &str| run(state.path(), &["advise", "--bundle", bundle]).json();
    let (kept, hashed) = (advice(&kept), advice(&hashed));
    assert_eq!(hashed["cost_before"], kept["cost_before"], "{hashed:#}");

    let others = [
        ("share", "SELECT id FROM bills WHERE share = 0.1987"),
        (
            "range",
            "SELECT id FROM bills WHERE paid BETWEEN date '1991-02-03' AND date '1991-02-20'",
        ),
    ];
    let (file, said) = export("--hash-values", &workload(state.path(), &others));
    let without = said["columns_without_values"].as_array().unwrap();
    let why = |column: &str| {
        let found = without.iter().find(|one| one["column"] == column);
        found.map(|one| one["why"].as_str().unwrap().to_owned()).unwrap_or_default()
    };
    assert!(why("share").contains("of its type"), "{said:#}");
    assert!(why("paid").contains("by order"), "{said:#}");
    let bundle: Value = serde_json::from_str(&unpacked(&file)).unwrap();
    let statements = bundle["workload"]["statements"].as_array().unwrap();
    let range =
        statements.iter().find(|one| one["id"] == "range").unwrap()["sql"].as_str().unwrap();
    let dates: Vec<&str> = range.split('\'').filter(|part| part.starts_with("1991-")).collect();
    assert!(dates.len() == 2 && dates[0] <= dates[1], "{range}");
}
