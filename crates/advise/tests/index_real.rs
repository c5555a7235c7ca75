//! The scenes of `pgassay demo` on a real server: what is proposed with HypoPG, and by rules without it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod real_support;

use pgassay_model::workload::WorkloadStatement;
use pgassay_testkit::{fresh_database, shared};
use real_support::{ask, ask_in, build, keys};

const OAUTH: &str = include_str!("../../pgassay/scenarios/oauth/schema.sql");
const OAUTH_INDEXES: &str = include_str!("../../pgassay/scenarios/oauth/indexes.sql");
const WRITE_HEAVY: &str = include_str!("../../pgassay/scenarios/write-heavy/schema.sql");
const REGRESSION: &str = include_str!("../../pgassay/scenarios/regression/schema.sql");

/// A statement of a scenario with its values.
macro_rules! statement {
    ($path:literal, $weight:expr, $values:expr) => {
        statement($path, include_str!(concat!("../../pgassay/scenarios/", $path)), $weight, $values)
    };
}

fn statement(path: &str, text: &str, weight: f64, values: &[&[&str]]) -> WorkloadStatement {
    let name = path.rsplit('/').next().unwrap().trim_end_matches(".sql");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
    let sql = lines.join("\n");
    WorkloadStatement {
        id: name.into(),
        writes: !sql.starts_with("SELECT"),
        sql,
        weight,
        parameters: values
            .iter()
            .map(|set| set.iter().map(|value| Some((*value).to_owned())).collect())
            .collect(),
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    }
}

fn oauth_workload() -> Vec<WorkloadStatement> {
    let user_service: &[&[&str]] = &[&["77", "google"], &["4711", "gitlab"], &["12345", "slack"]];
    vec![
        statement!(
            "oauth/workload/login_by_username.sql",
            30.0,
            &[&["user77"], &["user4711"], &["user12345"]]
        ),
        statement!(
            "oauth/workload/login_by_email.sql",
            15.0,
            &[&["user77@example.org"], &["user4711@example.edu"]]
        ),
        statement!("oauth/workload/token_of_user.sql", 35.0, user_service),
        statement!(
            "oauth/workload/token_refresh.sql",
            10.0,
            &[&["77", "google", "x"], &["4711", "gitlab", "y"]]
        ),
        statement!("oauth/workload/token_insert.sql", 5.0, &[&["77", "google", "x", "y"]]),
        statement!("oauth/workload/expired_tokens_cleanup.sql", 1.0, &[]),
        statement!("oauth/workload/active_users_newest_first.sql", 4.0, &[]),
    ]
}

const LOGIN_INDEXES: [&str; 5] = [
    "user_oauth_tokens(token_expiry)",
    "user_oauth_tokens(user_id,service)",
    "users(created_at)",
    "users(email)",
    "users(username)",
];

#[test]
fn the_login_service_gets_its_five_indexes_from_either_engine() {
    let schema = OAUTH.replace("{{users}}", "20000");
    for (hypopg, engine) in [(true, "hypopg"), (false, "rule")] {
        let database = build(&schema, hypopg);
        let advice = ask_in(&database, oauth_workload());
        assert_eq!(advice.engine, engine);
        assert_eq!(keys(&advice), LOGIN_INDEXES, "{advice:#?}");
        assert!(advice.skipped.is_empty(), "{:#?}", advice.skipped);
        assert!(advice.cost_after < advice.cost_before / 20.0, "{advice:#?}");
        assert!(advice.what_if_calls > 0);
        assert!(advice.indexes.iter().all(|proposed| proposed.size.0 > 100_000), "{advice:#?}");
        assert!(advice.indexes.iter().all(|proposed| !proposed.statements.is_empty()));

        // Built for real, the planner's cost is what was promised, and there is nothing left to propose.
        for proposed in &advice.indexes {
            shared().execute(&database, &proposed.ddl.replace(" CONCURRENTLY", "")).unwrap();
        }
        let after = ask_in(&database, oauth_workload());
        assert_eq!(keys(&after), Vec::<String>::new(), "{after:#?}");
        let off = after.cost_before / advice.cost_after - 1.0;
        assert!(off.abs() < 0.15, "{off:+.3}: {:.1} {:.1}", advice.cost_after, after.cost_before);
        let sizes = "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relkind = 'i'";
        for row in shared().query(&database, sizes).unwrap() {
            let [Some(name), Some(size)] = row.as_slice() else { panic!("{row:?}") };
            let promised = advice.indexes.iter().find(|proposed| proposed.definition.name == *name);
            if let Some(promised) = promised {
                // The planner takes columns as dependent when it counts groups, so that of a key of two
                // columns too many repeats are expected, and too small an index.
                let ratio = size.parse::<f64>().unwrap() / promised.size.0 as f64;
                assert!((0.5..2.0).contains(&ratio), "{name}: {} built {size}", promised.size.0);
            }
        }
    }
}

#[test]
fn rules_know_how_much_has_expired_by_now() {
    let schema = OAUTH.replace("{{users}}", "20000");
    let sql = "DELETE FROM user_oauth_tokens WHERE token_expiry < now() - interval '70 hours'";
    let advice = ask(&schema, false, vec![statement("clean", sql, 1.0, &[])]);
    assert_eq!(advice.engine, "rule");
    assert_eq!(keys(&advice), ["user_oauth_tokens(token_expiry)"], "{advice:#?}");
}

#[test]
fn a_login_service_with_its_indexes_gets_no_more() {
    let schema = OAUTH.replace("{{users}}", "20000") + OAUTH_INDEXES;
    for hypopg in [true, false] {
        let advice = ask(&schema, hypopg, oauth_workload());
        assert_eq!(keys(&advice), Vec::<String>::new(), "{advice:#?}");
    }
}

#[test]
fn counters_that_are_written_all_the_time_get_no_index_for_their_rare_reader() {
    let schema = WRITE_HEAVY.replace("{{counters}}", "20000");
    let statements = vec![
        statement!("write-heavy/workload/count.sql", 9990.0, &[&["77"], &["4711"]]),
        statement!("write-heavy/workload/recently_counted.sql", 10.0, &[]),
    ];
    for hypopg in [true, false] {
        let advice = ask(&schema, hypopg, statements.clone());
        assert_eq!(keys(&advice), Vec::<String>::new(), "{advice:#?}");
        let rejected = advice.rejected.iter().find(|index| index.what.contains("updated_at"));
        let why = &rejected.unwrap_or_else(|| panic!("{advice:#?}")).why;
        assert!(why.contains("HOT") && why.contains("cost writers"), "{why}");
    }
}

#[test]
fn alternatives_get_their_indexes_together() {
    let schema = OAUTH.replace("{{users}}", "20000");
    let sql = "SELECT id FROM users WHERE username = $1 OR email = $1";
    let either = statement("either", sql, 1.0, &[&["user77"], &["user4711@example.edu"]]);
    for hypopg in [true, false] {
        let advice = ask(&schema, hypopg, vec![either.clone()]);
        assert_eq!(keys(&advice), ["users(email)", "users(username)"], "{advice:#?}");
    }
}

#[test]
fn the_greatest_value_is_found_at_the_end_of_an_index() {
    let schema = OAUTH.replace("{{users}}", "20000");
    let sql = "SELECT max(t.updated_at) FROM user_oauth_tokens t WHERE t.service = $1";
    let newest = statement("newest", sql, 1.0, &[&["google"], &["slack"]]);
    let advice = ask(&schema, true, vec![newest]);
    assert_eq!(keys(&advice), ["user_oauth_tokens(service,updated_at)"], "{advice:#?}");
}

#[test]
fn a_relation_of_one_page_is_read_in_the_order_wanted_where_the_first_rows_are_enough() {
    let schema = "CREATE TABLE depot (id integer PRIMARY KEY, name text NOT NULL);
        INSERT INTO depot SELECT i, 'depot ' || i FROM generate_series(1, 12) i;
        CREATE TABLE stock (depot_id integer NOT NULL, article text NOT NULL, on_hand integer NOT NULL);
        INSERT INTO stock SELECT 1 + i % 12, md5(i::text), i % 100 FROM generate_series(1, 40000) i;";
    let sql = "SELECT d.name, s.article, sum(s.on_hand) FROM depot d JOIN stock s ON s.depot_id = d.id GROUP BY d.name, s.article ORDER BY d.name, s.article LIMIT 100";
    let advice = ask(schema, true, vec![statement("first", sql, 1.0, &[])]);
    assert!(keys(&advice).contains(&"depot(name)".to_owned()), "{advice:#?}");
    let all = sql.replace(" LIMIT 100", "");
    let advice = ask(schema, true, vec![statement("all", &all, 1.0, &[])]);
    assert!(!keys(&advice).contains(&"depot(name)".to_owned()), "{advice:#?}");
}

#[test]
fn expressions_prefixes_and_rare_constants_get_indexes_that_the_server_can_build() {
    let schema = OAUTH.replace("{{users}}", "20000");
    let lower = "SELECT id FROM users WHERE lower(email) = lower($1)";
    let prefix = "SELECT id FROM users WHERE username LIKE $1";
    let rare = "SELECT id FROM users WHERE last_login IS NULL ORDER BY created_at LIMIT 10";
    let statements = vec![
        statement("lower", lower, 1.0, &[&["User77@example.org"]]),
        statement("prefix", prefix, 1.0, &[&["user1999%"]]),
        statement("rare", rare, 1.0, &[]),
    ];
    for hypopg in [true, false] {
        let advice = ask(&schema, hypopg, statements.clone());
        let ddl: Vec<&str> = advice.indexes.iter().map(|index| index.ddl.as_str()).collect();
        let has = |text: &str| ddl.iter().any(|ddl| ddl.contains(text));
        assert!(has("((lower(email)))") || has("(lower(email))"), "{advice:#?}");
        assert!(has("(username text_pattern_ops)"), "{advice:#?}");
        assert!(has("(created_at)") || has("(last_login, created_at)"), "{advice:#?}");
        let server = shared();
        let database = fresh_database(server);
        server.execute(&database, &schema).unwrap();
        for ddl in ddl {
            server.execute(&database, &ddl.replace(" CONCURRENTLY", "")).unwrap();
        }
    }
}

#[test]
fn prefixes_in_a_column_of_the_c_collation_need_no_operator_class_of_their_own() {
    let schema = OAUTH.replace("{{users}}", "20000");
    let plain = "ALTER TABLE users ALTER COLUMN username TYPE text COLLATE \"C\"; ANALYZE users;";
    let sql = "SELECT id FROM users WHERE username LIKE $1";
    let advice = ask(
        &format!("{schema};{plain}"),
        true,
        vec![statement("prefix", sql, 1.0, &[&["user1999%"]])],
    );
    assert_eq!(keys(&advice), ["users(username)"], "{advice:#?}");
}

#[test]
fn a_bet_on_where_matches_lie_is_proposed_and_called_one() {
    let schema = REGRESSION.replace("{{articles}}", "20000");
    let statements = vec![
        statement!("regression/workload/article.sql", 80.0, &[&["77"], &["4711"]]),
        statement!(
            "regression/workload/articles_by_tag.sql",
            20.0,
            &[&["%archive%"], &["%history%"]]
        ),
    ];
    for hypopg in [true, false] {
        let advice = ask(&schema, hypopg, statements.clone());
        assert_eq!(keys(&advice), ["articles(published_at)"], "{advice:#?}");
        let warning = advice.indexes[0].warning.as_deref().unwrap();
        assert!(warning.contains("bet"), "{warning}");
        assert_eq!(advice.indexes[0].statements, ["articles_by_tag"]);
    }
}

#[test]
fn expressions_by_functions_that_the_application_declares_immutable_are_indexed() {
    let schema = "CREATE SCHEMA app;
        CREATE FUNCTION f_unaccent(text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS
            $$BEGIN RETURN translate($1, 'äöü', 'aou'); END$$;
        CREATE FUNCTION app.plain(text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS
            $$BEGIN RETURN upper($1); END$$;
        CREATE FUNCTION of_today(text) RETURNS text LANGUAGE plpgsql STABLE AS
            $$BEGIN RETURN $1 || current_date; END$$;
        CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, filler text);
        INSERT INTO people SELECT i, 'Jürgen ' || i, repeat('x', 200) FROM generate_series(1, 20000) i";
    let ask = |condition: &str| WorkloadStatement {
        id: condition.into(),
        sql: format!("SELECT id FROM people WHERE {condition}"),
        weight: 1.0,
        parameters: vec![vec![Some("jurgen 77".into())]],
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    };
    for hypopg in [true, false] {
        let database = build(schema, hypopg);
        let statements = vec![ask("f_unaccent(lower(name)) = $1"), ask("app.plain(name) = $1")];
        let advice = ask_in(&database, statements);
        assert_eq!(
            keys(&advice),
            ["people(app.plain(name))", "people(f_unaccent(lower(name)))"],
            "{advice:#?}"
        );
        for proposed in &advice.indexes {
            shared().execute(&database, &proposed.ddl).unwrap();
        }
        let advice = ask_in(&database, vec![ask("of_today(name) = $1")]);
        assert!(
            advice.indexes.is_empty() && format!("{advice:?}").contains("not known to be"),
            "{advice:#?}"
        );
    }
}
