//! Values for statements that read.

use crate::{Target, connect, values, workload};
use std::collections::BTreeSet;

const SHOP: &str = "
    CREATE TABLE users (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        email varchar(80) NOT NULL,
        plan text,
        tags text[] NOT NULL,
        code char(4) NOT NULL,
        \"Born\" date NOT NULL,
        created_at timestamptz NOT NULL
    );
    INSERT INTO users (email, plan, tags, code, \"Born\", created_at)
    SELECT 'User' || n || '@Example.com', CASE WHEN n % 2 = 0 THEN 'plan ' || n % 5 END,
           ARRAY['a,b', 'it''s \"' || n % 3 || '\"', '\\'], 'c' || n % 10, date '1980-01-01' + n,
           timestamptz '2026-01-01 00:00:00+00' + n * interval '1 hour'
    FROM generate_series(1, 3000) AS n;
    CREATE TABLE tokens (user_id bigint NOT NULL REFERENCES users, service text NOT NULL, secret bytea);
    INSERT INTO tokens SELECT n, 'service' || n % 7, decode(md5(n::text), 'hex') FROM generate_series(1, 3000) AS n;";

#[tokio::test]
async fn values_of_two_columns_are_pairs_that_exist() {
    let target = Target::with(SHOP).await;
    let statement = target.filled("SELECT * FROM tokens WHERE user_id = $1 AND service = $2").await;
    assert_eq!(statement.parameter_source, "rows of public.tokens");
    assert_eq!(statement.parameters.len(), 200);
    for set in &statement.parameters {
        let user: i64 = set[0].as_deref().unwrap().parse().unwrap();
        assert_eq!(set[1].as_deref().unwrap(), format!("service{}", user % 7));
    }
    assert_eq!(target.execute(&statement).len(), 200);
    let users: BTreeSet<&str> = values(&statement, 1).into_iter().collect();
    assert_eq!(users.len(), 200);
}

#[tokio::test]
async fn every_kind_of_comparison_gets_values_that_find_rows() {
    let target = Target::with(SHOP).await;
    for sql in [
        "SELECT 1 FROM users u WHERE lower(u.email) = lower($1)",
        "SELECT 1 FROM users WHERE lower(email) = $1 AND plan = $2",
        "SELECT 1 FROM users WHERE id IN ($1, $2, $3)",
        "SELECT 1 FROM users WHERE id = ANY ($1)",
        "SELECT 1 FROM users WHERE plan = ANY ($1::text[])",
        "SELECT 1 FROM users WHERE tags = $1",
        "SELECT 1 FROM users WHERE tags @> $1",
        "SELECT 1 FROM users WHERE code = $1",
        "SELECT 1 FROM users WHERE \"Born\" BETWEEN $1 AND $2",
        "SELECT 1 FROM users WHERE created_at >= $1 AND created_at < $2",
        "SELECT 1 FROM users WHERE created_at < $1 AND created_at >= $2",
        "SELECT 1 FROM users WHERE created_at::date = $1",
        "SELECT 1 FROM users WHERE created_at >= $1::date",
        "SELECT 1 FROM users WHERE email = $1 OR id = $2",
        "SELECT 1 FROM tokens WHERE secret = $1",
        "SELECT 1 FROM users JOIN tokens ON user_id = id WHERE email = $1",
        "SELECT 1 FROM users WHERE id = (SELECT user_id FROM tokens WHERE user_id = $1 LIMIT 1)",
    ] {
        let statement = target.filled(sql).await;
        let found = target.execute(&statement).len();
        // The greatest value has no neighbour above it: one half-open range may be empty.
        assert!(found + 1 >= statement.parameters.len(), "{sql}: {found} rows");
        assert!(statement.parameter_source.starts_with("rows of public."), "{sql}");
        assert!(!statement.writes);
    }
}

#[tokio::test]
async fn values_of_joined_relations_belong_together() {
    let target = Target::with(&format!("{SHOP} CREATE INDEX ON tokens (user_id)")).await;
    for sql in [
        "SELECT 1 FROM users u JOIN tokens t ON t.user_id = u.id WHERE u.email = $1 AND t.service = $2",
        "SELECT 1 FROM tokens t, users u WHERE u.id = t.user_id AND t.service = $1 AND lower(u.email) = $2",
        "SELECT 1 FROM users WHERE email = $1 AND id IN (SELECT user_id FROM tokens WHERE service = $2)",
    ] {
        let statement = target.filled(sql).await;
        assert!(statement.parameter_source.ends_with(", joined"), "{}", statement.parameter_source);
        assert_eq!(target.execute(&statement).len(), 200, "{sql}");
    }
    let apart =
        target.filled("SELECT 1 FROM users, tokens WHERE email = $1 AND service = $2").await;
    assert_eq!(
        apart.parameter_source,
        "rows of public.tokens and rows of public.users, drawn independently"
    );
}

#[tokio::test]
async fn ranges_lie_between_neighbours_of_the_sample_and_say_so() {
    let target = Target::with(SHOP).await;
    let statement = target.filled("SELECT 1 FROM users WHERE id < $1 AND id >= $2").await;
    let mut widths = 0;
    for set in &statement.parameters {
        let bound = |index: usize| set[index].as_deref().unwrap().parse::<i64>().unwrap();
        assert!(bound(1) <= bound(0));
        widths += bound(0) - bound(1);
    }
    assert!(widths < 3000, "neighbours do not overlap");
    assert!(statement.parameter_source.contains("ranges between neighbours"));
}

#[tokio::test]
async fn a_limit_is_assumed_and_named() {
    let target = Target::with(SHOP).await;
    let statement =
        target.filled("SELECT 1 FROM users WHERE code = $1 ORDER BY id LIMIT $2 OFFSET $3").await;
    assert_eq!(statement.parameters[0][1..], [Some("20".into()), Some("0".into())]);
    assert_eq!(
        statement.parameter_source,
        "rows of public.users; assumed: LIMIT 20; assumed: OFFSET 0"
    );
    let only = target.filled("SELECT 1 FROM users LIMIT $1").await;
    assert_eq!((only.parameters.len(), &*only.parameter_source), (1, "assumed: LIMIT 20"));
}

#[tokio::test]
async fn the_same_seed_gives_the_same_values_and_another_seed_others() {
    let target = Target::with(&format!(
        "{SHOP} CREATE TABLE large AS SELECT n AS id, repeat('x', 900) AS filler FROM generate_series(1, 20000) AS n;
         ALTER TABLE large ALTER filler SET STORAGE plain"
    ))
    .await;
    for sql in ["SELECT 1 FROM users WHERE id = $1", "SELECT 1 FROM large WHERE id = $1"] {
        let first = target.filled(sql).await;
        assert_eq!(first.parameters.len(), 200, "{sql}");
        assert_eq!(first.parameters, target.filled(sql).await.parameters);
        let mut other = workload(sql);
        pgassay_workload::fill_parameters(&mut other, &target.session, &target.snapshot, 8)
            .await
            .unwrap();
        assert_ne!(first.parameters, other.statements[0].parameters);
    }
}

#[tokio::test]
async fn rows_of_partitions_are_sampled() {
    let target = Target::with(
        "CREATE TABLE events (at date NOT NULL, kind int NOT NULL) PARTITION BY RANGE (at);
         CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
         CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
         INSERT INTO events SELECT date '2026-01-01' + n % 59, n FROM generate_series(1, 1000) AS n",
    )
    .await;
    let statement = target.filled("SELECT 1 FROM events WHERE at = $1 AND kind = $2").await;
    assert_eq!(target.execute(&statement).len(), 200);
    assert!(values(&statement, 1).iter().any(|at| at.starts_with("2026-02")));
}

#[tokio::test]
async fn without_the_right_to_read_rows_values_come_from_statistics() {
    let target = Target::with(SHOP).await;
    let role = format!("reader_{}", target.database);
    target
        .server
        .execute(&target.database, &format!("CREATE ROLE {role} LOGIN PASSWORD 'reader'"))
        .unwrap();
    let session = connect(&target.server.tcp_dsn(&role, "reader", &target.database)).await;
    let mut filled = workload("SELECT 1 FROM users WHERE code = $1 AND created_at >= $2");
    pgassay_workload::fill_parameters(&mut filled, &session, &target.snapshot, 7).await.unwrap();
    let statement = &filled.statements[0];
    assert_eq!(statement.parameter_source, "pg_stats; assumed: open ranges begin at any row");
    target.execute(statement);
    let mut hidden = workload("SELECT 1 FROM users WHERE lower(email) = $1");
    pgassay_workload::fill_parameters(&mut hidden, &session, &target.snapshot, 7).await.unwrap();
    let reason = &hidden.skipped[0].reason;
    assert!(reason.contains("42501") && reason.contains("GRANT SELECT"), "{reason}");
    target.server.execute(&target.database, &format!("DROP ROLE {role}")).unwrap();
}

#[tokio::test]
async fn what_can_not_be_used_is_skipped_with_the_reason() {
    let target = Target::with(&format!(
        "{SHOP} CREATE TABLE empty (id int); CREATE VIEW people AS SELECT * FROM users LIMIT 7"
    ))
    .await;
    for (sql, expected) in [
        ("SELECT 1 FROM missing WHERE id = $1", "(42P01); if it lies in another schema"),
        ("SELECT nothing FROM users", "42703"),
        ("SELECT $1", "$1 is compared with no column"),
        ("SELECT 1 FROM users WHERE created_at > now() - $1::interval", "$1 is compared with no"),
        ("SELECT 1 FROM users WHERE email LIKE $1", "LIKE"),
        ("SELECT 1 FROM users WHERE email LIKE 'x' || $1", "$1"),
        ("SELECT 1 FROM empty WHERE id = $1", "public.empty holds no row"),
        ("SELECT 1 FROM people WHERE id = $1", "public.people is a view"),
        ("VACUUM", "only SELECT"),
        ("SELECT 1 FROM users WHERE id = $2", "42P18"),
        ("SELEC", "not SQL"),
    ] {
        let reason = target.reason(sql).await;
        assert!(reason.contains(expected), "{sql}: {reason}");
    }
}

#[tokio::test]
async fn given_sets_are_kept_and_counted() {
    let target = Target::with(SHOP).await;
    let mut given = workload("SELECT 1 FROM users WHERE id = $1");
    given.statements[0].parameters = vec![vec![Some("7".into())]];
    pgassay_workload::fill_parameters(&mut given, &target.session, &target.snapshot, 7)
        .await
        .unwrap();
    assert_eq!(given.statements[0].parameters, [[Some("7".to_owned())]]);
    assert_eq!(given.statements[0].parameter_source, "given");
    given.statements[0].parameters.push(vec![None, None]);
    pgassay_workload::fill_parameters(&mut given, &target.session, &target.snapshot, 7)
        .await
        .unwrap();
    assert_eq!(given.skipped[0].reason, "a set of 2 values is given for 1 parameters");
    let none = target.filled("SELECT count(*) FROM users").await;
    assert_eq!(none.parameter_source, "none needed");
}

#[tokio::test]
async fn nothing_stays_behind_in_the_session() {
    let target = Target::with(SHOP).await;
    target.filled("SELECT 1 FROM users WHERE id = $1").await;
    let prepared = target
        .session
        .client()
        .query_typed("SELECT 1 FROM pg_catalog.pg_prepared_statements", &[])
        .await
        .unwrap();
    assert!(prepared.is_empty());
}
