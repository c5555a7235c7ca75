//! What the index advisor proposes in scenes built of values: with rules, and with a table of planner costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod index_support;

use index_support::*;
use pgassay_advise::index::{IndexOptions, advise};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::relation::RelationActivity;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::workload::WorkloadStatement;

fn users_and_tokens() -> Snapshot {
    let mut is_active = column("is_active", "boolean", 1, 2.0);
    is_active.statistics.as_mut().unwrap().most_common = vec![("t".into(), 0.9), ("f".into(), 0.1)];
    let mut expiry = column("token_expiry", "timestamp with time zone", 8, -1.0);
    expiry.statistics.as_mut().unwrap().histogram =
        (0..=100).map(|day| format!("2024-{:02}-{:02}", 1 + day / 28, 1 + day % 28)).collect();
    snapshot(vec![
        relation(
            "users",
            500_000.0,
            6_500,
            vec![
                column("id", "bigint", 8, -1.0),
                column("username", "text", 12, -1.0),
                column("email", "text", 24, -1.0),
                is_active,
                column("created_at", "timestamp with time zone", 8, -1.0),
            ],
        ),
        relation(
            "user_oauth_tokens",
            1_500_000.0,
            20_000,
            vec![
                column("id", "bigint", 8, -1.0),
                column("user_id", "bigint", 8, -0.33),
                column("service", "text", 8, 3.0),
                expiry,
                column("access_token", "text", 44, -1.0),
            ],
        ),
    ])
}

fn login_workload() -> Vec<WorkloadStatement> {
    let expired = WorkloadStatement {
        parameters: vec![vec![Some("2024-01-01".into())]],
        ..statement(
            "expired",
            0.5,
            "DELETE FROM user_oauth_tokens WHERE id IN (SELECT id FROM user_oauth_tokens \
             WHERE token_expiry < $1 LIMIT 100)",
        )
    };
    vec![
        statement("name", 30.0, "SELECT id, username FROM users WHERE username = $1"),
        statement("email", 20.0, "SELECT id, username FROM users WHERE email = $1"),
        statement(
            "token",
            30.0,
            "SELECT * FROM user_oauth_tokens WHERE user_id = $1 AND service = $2",
        ),
        statement(
            "refresh",
            10.0,
            "UPDATE user_oauth_tokens SET access_token = $1, token_expiry = $2 \
             WHERE user_id = $3 AND service = $4",
        ),
        statement(
            "insert",
            5.0,
            "INSERT INTO user_oauth_tokens (user_id, service, token_expiry) VALUES ($1, $2, $3)",
        ),
        expired,
        statement(
            "recent",
            2.0,
            "SELECT id, username FROM users WHERE is_active ORDER BY created_at DESC LIMIT 20",
        ),
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
fn rules_find_the_indexes_of_a_login_service() {
    let advice = with_rules(&users_and_tokens(), login_workload());
    assert_eq!(keys(&advice), LOGIN_INDEXES, "{advice:#?}");
    assert_eq!(advice.engine, "rule");
    assert!(advice.cost_after < advice.cost_before / 100.0, "{advice:#?}");
    let names: Vec<_> =
        advice.indexes.iter().map(|proposed| proposed.definition.name.as_str()).collect();
    assert!(names.contains(&"users_email_idx"), "{names:?}");
    let email = advice.indexes.iter().find(|p| p.definition.name == "users_email_idx").unwrap();
    assert_eq!(email.statements, ["email"]);
    assert_eq!(
        email.ddl,
        "CREATE INDEX CONCURRENTLY users_email_idx ON public.users USING btree (email)"
    );
    assert!(email.reason.contains("500,000 rows of users"), "{}", email.reason);
    assert!(email.benefit > 0.0 && email.benefit < 1.0);
    assert!(email.warning.is_none());
    let insert = advice.rejected.iter().find(|rejected| rejected.what == "insert").unwrap();
    assert!(insert.why.contains("every index makes it slower"));
}

#[test]
fn advice_is_the_same_every_time() {
    let snapshot = users_and_tokens();
    assert_eq!(with_rules(&snapshot, login_workload()), with_rules(&snapshot, login_workload()));
}

#[test]
fn nothing_is_proposed_where_every_index_exists() {
    let mut snapshot = users_and_tokens();
    for (relation, keys) in [
        (0, vec!["username"]),
        (0, vec!["email"]),
        (0, vec!["created_at"]),
        (1, vec!["user_id", "service"]),
        (1, vec!["token_expiry"]),
    ] {
        let known = &mut snapshot.relations[relation];
        let added = index(&known.name.name.clone(), &keys);
        known.indexes.push(added);
    }
    let advice = with_rules(&snapshot, login_workload());
    assert_eq!(keys(&advice), Vec::<String>::new(), "{advice:#?}");
    assert_eq!(advice.rejected.len(), login_workload().len(), "{:#?}", advice.rejected);
}

#[test]
fn an_invalid_index_serves_nothing_and_its_name_is_not_used_again() {
    let mut snapshot = users_and_tokens();
    let mut invalid = index("users", &["email"]);
    invalid.valid = false;
    invalid.definition.name = "users_email_idx".into();
    snapshot.relations[0].indexes.push(invalid);
    let advice =
        with_rules(&snapshot, vec![statement("q", 1.0, "SELECT id FROM users WHERE email = $1")]);
    assert_eq!(advice.indexes[0].definition.name, "users_email_idx1");
}

/// 20,000 counters, updated without end, read now and then by the time of their last update.
fn counters(activity: RelationActivity) -> (Snapshot, Vec<WorkloadStatement>) {
    let mut updated = column("updated_at", "timestamp with time zone", 8, -1.0);
    updated.statistics.as_mut().unwrap().histogram =
        (10..=60).map(|minute| format!("2024-05-01 10:{minute}")).collect();
    let mut counters = relation(
        "counters",
        20_000.0,
        170,
        vec![column("id", "integer", 4, -1.0), column("value", "bigint", 8, -0.5), updated],
    );
    counters.activity = activity;
    let reader = WorkloadStatement {
        parameters: vec![vec![Some("2024-05-01 10:59".into())]],
        ..statement(
            "reader",
            0.001,
            "SELECT id, value FROM counters WHERE updated_at > $1 ORDER BY updated_at DESC",
        )
    };
    let writer = statement(
        "writer",
        0.999,
        "UPDATE counters SET value = value + $2, updated_at = now() WHERE id = $1",
    );
    (snapshot(vec![counters]), vec![writer, reader])
}

#[test]
fn an_index_that_ends_hot_updates_is_rejected_with_both_figures() {
    let activity =
        RelationActivity { updated: 100_000, hot_updated: 99_000, ..RelationActivity::default() };
    for activity in [RelationActivity::default(), activity] {
        let (snapshot, statements) = counters(activity);
        let advice = with_rules(&snapshot, statements.clone());
        assert_eq!(keys(&advice), Vec::<String>::new(), "{advice:#?}");
        let mut table = Table {
            rows: vec![
                ("writer", &[], 8.3),
                ("reader", &[], 450.0),
                ("reader", &["updated_at"], 12.0),
            ],
            calls: 0,
        };
        let advice = advise(
            &snapshot,
            &workload(statements),
            &mut table,
            &IndexOptions::default(),
            &Interrupt::default(),
        );
        assert_eq!(keys(&advice), Vec::<String>::new(), "{advice:#?}");
        let rejected = advice
            .rejected
            .iter()
            .find(|rejected| rejected.what.contains("counters_updated_at_idx"))
            .unwrap_or_else(|| panic!("{advice:#?}"));
        assert!(rejected.why.contains("would save readers"), "{}", rejected.why);
        assert!(rejected.why.contains("cost writers"), "{}", rejected.why);
        assert!(rejected.why.contains("HOT"), "{}", rejected.why);
    }
}

#[test]
fn the_same_index_is_proposed_where_hardly_anyone_writes() {
    let (snapshot, mut statements) = counters(RelationActivity::default());
    statements[0].weight = 0.001;
    statements[1].weight = 0.999;
    assert_eq!(keys(&with_rules(&snapshot, statements)), ["counters(updated_at)"]);
}

fn articles() -> Snapshot {
    snapshot(vec![relation(
        "articles",
        300_000.0,
        30_000,
        vec![
            column("id", "integer", 4, -1.0),
            column("title", "text", 30, -1.0),
            column("body", "text", 300, -1.0),
            column("published_at", "timestamp with time zone", 8, -1.0),
        ],
    )])
}

#[test]
fn an_order_by_limit_index_under_a_filter_it_cannot_serve_is_proposed_with_a_warning() {
    let sql = "SELECT id, title FROM articles WHERE body LIKE '%' || $1 || '%' \
               ORDER BY published_at DESC LIMIT 10";
    let mut table = Table {
        rows: vec![("search", &[], 35_000.0), ("search", &["published_at"], 900.0)],
        calls: 0,
    };
    let advice = advise(
        &articles(),
        &workload(vec![statement("search", 1.0, sql)]),
        &mut table,
        &IndexOptions::default(),
        &Interrupt::default(),
    );
    assert_eq!(keys(&advice), ["articles(published_at)"], "{advice:#?}");
    let warning = advice.indexes[0].warning.as_deref().unwrap();
    assert!(warning.contains("bet") && warning.contains("body"), "{warning}");
    assert_eq!(
        keys(&with_rules(&articles(), vec![statement("search", 1.0, sql)])),
        ["articles(published_at)"]
    );
}

#[test]
fn every_statement_without_an_index_is_told_why() {
    let mut tiny = relation("settings", 40.0, 2, vec![column("id", "integer", 4, -1.0)]);
    tiny.columns.push(column("name", "text", 10, -1.0));
    let mut snapshot = articles();
    snapshot.relations.push(tiny);
    let advice = with_rules(
        &snapshot,
        vec![
            statement("all", 1.0, "SELECT count(*) FROM articles"),
            statement("inside", 1.0, "SELECT id FROM articles WHERE body LIKE '%word%'"),
            statement("not", 1.0, "SELECT id FROM articles WHERE title <> $1"),
            statement(
                "day",
                1.0,
                "SELECT id FROM articles WHERE date_trunc('day', published_at) = $1",
            ),
            statement("chance", 1.0, "SELECT id FROM articles WHERE mystery(title) = $1"),
            statement("known", 1.0, "SELECT title FROM articles WHERE id = $1"),
            statement("setting", 500.0, "SELECT id FROM settings WHERE name = $1"),
        ],
    );
    assert_eq!(keys(&advice), Vec::<String>::new());
    let why = |id: &str| {
        let found = advice.rejected.iter().find(|rejected| rejected.what == id);
        found.map(|rejected| rejected.why.clone()).unwrap_or_else(|| panic!("{id}: {advice:#?}"))
    };
    assert!(why("all").contains("reads all rows"), "{}", why("all"));
    assert!(why("inside").contains("does not begin with constant text"), "{}", why("inside"));
    assert!(why("not").contains("keeps nearly every row"), "{}", why("not"));
    assert!(why("day").contains("time zone"), "{}", why("day"));
    assert!(why("chance").contains("not known to be immutable"), "{}", why("chance"));
    assert!(why("known").contains("cheap already"), "{}", why("known"));
    assert!(
        why("setting").contains("cheap already") || why("setting").contains("pages"),
        "{}",
        why("setting")
    );
}

#[test]
fn expressions_prefixes_and_rare_constants_get_indexes_of_their_own_form() {
    let mut snapshot = users_and_tokens();
    let mut deleted = column("deleted_at", "timestamp with time zone", 8, -0.9);
    deleted.statistics.as_mut().unwrap().null_fraction = 0.02;
    snapshot.relations[0].columns.push(deleted);
    let prefix = WorkloadStatement {
        parameters: vec![vec![Some("ann%".into())]],
        ..statement("prefix", 1.0, "SELECT id FROM users WHERE username LIKE $1")
    };
    let advice = with_rules(
        &snapshot,
        vec![
            statement("lower", 1.0, "SELECT id FROM users WHERE lower(email) = lower($1)"),
            prefix,
            statement(
                "rare",
                1.0,
                "SELECT id FROM users WHERE deleted_at IS NULL ORDER BY created_at LIMIT 10",
            ),
        ],
    );
    let ddl: Vec<_> = advice.indexes.iter().map(|proposed| proposed.ddl.as_str()).collect();
    let has = |text: &str| ddl.iter().any(|ddl| ddl.contains(text));
    assert!(has("((lower(email)))") || has("(lower(email))"), "{ddl:#?}");
    assert!(has("(username text_pattern_ops)"), "{ddl:#?}");
    assert!(has("WHERE deleted_at IS NULL") || has("(deleted_at, created_at)"), "{ddl:#?}");
    assert_eq!(ddl.len(), 3, "{ddl:#?}");
}

#[test]
fn a_value_written_into_a_statement_makes_no_index_for_that_value_alone() {
    let advice = with_rules(
        &users_and_tokens(),
        vec![statement("pasted", 1.0, "SELECT * FROM users WHERE username = 'user7'")],
    );
    let ddl: Vec<_> = advice.indexes.iter().map(|proposed| proposed.ddl.as_str()).collect();
    assert!(ddl.len() == 1 && ddl[0].ends_with("(username)"), "{ddl:#?}");
}

#[test]
fn a_wider_index_replaces_the_one_it_begins_with() {
    let mut table = Table {
        rows: vec![
            ("one", &[], 30_000.0),
            ("one", &["user_id"], 16.0),
            ("two", &[], 35_000.0),
            ("two", &["user_id"], 200.0),
            ("two", &["user_id", "service"], 8.4),
        ],
        calls: 0,
    };
    let advice = advise(
        &users_and_tokens(),
        &workload(vec![
            statement("one", 1.0, "SELECT id FROM user_oauth_tokens WHERE user_id = $1"),
            statement(
                "two",
                1.0,
                "SELECT id FROM user_oauth_tokens WHERE user_id = $1 AND service = $2",
            ),
        ]),
        &mut table,
        &IndexOptions::default(),
        &Interrupt::default(),
    );
    assert_eq!(keys(&advice), ["user_oauth_tokens(user_id,service)"], "{advice:#?}");
    assert_eq!(advice.indexes[0].statements, ["two", "one"]);
    assert!(advice.what_if_calls > 0 && advice.what_if_calls < 30);
}

#[test]
fn a_budget_is_kept_and_what_does_not_fit_is_named() {
    let snapshot = users_and_tokens();
    let run = |budget| {
        let options = IndexOptions { budget, ..IndexOptions::default() };
        advise(
            &snapshot,
            &workload(login_workload()),
            &mut NoPlanner,
            &options,
            &Interrupt::default(),
        )
    };
    let all: u64 = run(None).indexes.iter().map(|proposed| proposed.size.0).sum();
    let budget = Bytes(all / 2);
    let half = run(Some(budget));
    let size: u64 = half.indexes.iter().map(|proposed| proposed.size.0).sum();
    assert!(size <= budget.0 && !half.indexes.is_empty(), "{half:#?}");
    assert!(half.rejected.iter().any(|rejected| rejected.why.contains("budget")), "{half:#?}");
    assert!(run(Some(Bytes(0))).indexes.is_empty());
}

#[test]
fn an_interrupt_or_a_time_limit_ends_the_search_with_what_there_is() {
    let snapshot = users_and_tokens();
    let interrupt = Interrupt::default();
    interrupt.request();
    let options = IndexOptions::default();
    let advice =
        advise(&snapshot, &workload(login_workload()), &mut NoPlanner, &options, &interrupt);
    assert!(advice.indexes.is_empty());
    assert_eq!(advice.skipped.len(), login_workload().len());
    let options =
        IndexOptions { time_limit: Some(std::time::Duration::ZERO), ..IndexOptions::default() };
    let advice = advise(
        &snapshot,
        &workload(login_workload()),
        &mut NoPlanner,
        &options,
        &Interrupt::default(),
    );
    assert!(advice.indexes.is_empty());
}

#[test]
fn a_search_that_is_stopped_chooses_among_the_plans_it_knows() {
    let mut table = Table {
        rows: vec![
            ("name", &[], 16_000.0),
            ("name", &["username"], 8.4),
            ("email", &[], 16_000.0),
            ("email", &["email"], 8.4),
        ],
        calls: 0,
    };
    // Two plans of today, and the first round with candidates, which goes on to its end: one question for each statement.
    let interrupt = Interrupt::default();
    let mut stopping = StopsAfter { engine: &mut table, calls: 3, interrupt: interrupt.clone() };
    let mut statements = login_workload();
    statements.truncate(2);
    let advice = advise(
        &users_and_tokens(),
        &workload(statements),
        &mut stopping,
        &IndexOptions::default(),
        &interrupt,
    );
    assert_eq!(keys(&advice), ["users(email)", "users(username)"], "{advice:#?}");
    assert_eq!(table.calls, 4);
}

#[test]
fn statements_that_cannot_be_read_are_skipped_with_the_reason() {
    let advice = with_rules(
        &users_and_tokens(),
        vec![
            statement("broken", 1.0, "SELEC 1"),
            statement("missing", 1.0, "SELECT 1 FROM nowhere WHERE a = $1"),
        ],
    );
    assert_eq!(advice.skipped.len(), 2, "{advice:#?}");
    assert!(advice.indexes.is_empty() && advice.cost_before == 0.0);
}
