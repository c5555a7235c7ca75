//! Values for statements that write.

use crate::{Target, values};

const SHOP: &str = "
    CREATE TABLE users (
        id bigint PRIMARY KEY,
        email text NOT NULL UNIQUE CHECK (email LIKE '%@%'),
        name text
    );
    CREATE UNIQUE INDEX ON users (lower(name)) WHERE name IS NOT NULL;
    INSERT INTO users SELECT n, 'u' || n || '@example.com', CASE WHEN n % 2 = 0 THEN 'n' || n END
    FROM generate_series(1, 500) AS n;
    CREATE TABLE tokens (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        user_id bigint NOT NULL REFERENCES users,
        service text NOT NULL,
        hits int,
        UNIQUE (user_id, service)
    );
    INSERT INTO tokens (user_id, service, hits) SELECT n, 's' || n % 3, n FROM generate_series(1, 500) AS n;
    CREATE TABLE follows (a bigint REFERENCES users, b bigint REFERENCES users, PRIMARY KEY (a, b));
    INSERT INTO follows SELECT n, n + 1 FROM generate_series(1, 400) AS n;
    CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id bigint, note text);
    INSERT INTO log (user_id, note) SELECT n, CASE WHEN n > 5 THEN 'note ' || n END FROM generate_series(1, 50) AS n;";

#[tokio::test]
async fn values_for_unique_columns_of_new_rows_are_new() {
    let target = Target::with(SHOP).await;
    for sql in [
        "INSERT INTO users (id, email, name) VALUES ($1, $2, $3)",
        "INSERT INTO users VALUES ($1, $2, 'x' || random())",
        "INSERT INTO users (id, email, name) VALUES ($1, $2, $3), ($4, $5, $6)",
        "INSERT INTO tokens (user_id, service) VALUES ($1, $2)",
        "INSERT INTO tokens (id, user_id, service, hits) VALUES ($1, $2, $3, $4)",
    ] {
        // `filled` runs every set in one transaction: values that are not new would be refused.
        let statement = target.filled(sql).await;
        assert!(statement.writes);
        assert_eq!(statement.parameters.len(), 200, "{sql}");
        assert!(!statement.fresh.is_empty(), "{sql}");
        assert!(statement.parameter_source.contains("anew for each request"), "{sql}");
    }
}

#[tokio::test]
async fn new_values_keep_the_form_of_those_that_exist() {
    let target = Target::with(SHOP).await;
    let statement = target.filled("INSERT INTO users (id, email) VALUES ($1, $2)").await;
    assert!(values(&statement, 2).iter().all(|email| email.ends_with("@example.com")));
    assert!(values(&statement, 1).iter().all(|id| id.parse::<i64>().unwrap() > 500));
}

#[tokio::test]
async fn a_column_without_a_unique_index_gets_values_of_rows_and_their_nulls() {
    let target = Target::with(SHOP).await;
    let statement = target.filled("INSERT INTO log (user_id, note) VALUES ($1, $2)").await;
    assert_eq!(statement.parameter_source, "rows of public.log");
    let nulls = statement.parameters.iter().filter(|set| set[1].is_none()).count();
    assert_eq!((statement.parameters.len(), nulls), (50, 5));
}

#[tokio::test]
async fn on_conflict_gets_the_rows_that_are_in_conflict() {
    let target = Target::with(SHOP).await;
    let statement = target
        .filled(
            "INSERT INTO tokens (user_id, service, hits) VALUES ($1, $2, $3)
             ON CONFLICT (user_id, service) DO UPDATE SET hits = $3 RETURNING hits",
        )
        .await;
    assert_eq!(target.execute(&statement).len(), statement.parameters.len());
}

#[tokio::test]
async fn an_update_finds_its_row_and_writes_the_value_of_another() {
    let target = Target::with(SHOP).await;
    let statement =
        target.filled("UPDATE tokens SET hits = $1 WHERE user_id = $2 AND service = $3").await;
    assert!(statement.parameters.iter().all(|set| set[0] != set[1]));
    let returning = pgassay_model::workload::WorkloadStatement {
        sql: format!("{} RETURNING 1", statement.sql),
        ..statement
    };
    assert_eq!(target.execute(&returning).len(), 200);
    let unique = target.filled("UPDATE users SET email = $2 WHERE id = $1").await;
    assert!(unique.parameter_source.contains("made: values of email"));
}

#[tokio::test]
async fn a_delete_finds_rows() {
    let target = Target::with(SHOP).await;
    let statement = target.filled("DELETE FROM tokens WHERE id = $1 RETURNING 1").await;
    assert_eq!(target.execute(&statement).len(), 200);
}

#[tokio::test]
async fn a_unique_pair_of_foreign_keys_is_skipped() {
    let target = Target::with(SHOP).await;
    let reason = target.reason("INSERT INTO follows (a, b) VALUES ($1, $2)").await;
    assert!(reason.contains("no new value can be made"), "{reason}");
}

#[tokio::test]
async fn values_of_a_log_that_were_written_stay_and_are_named_as_used_up() {
    let target = Target::with(SHOP).await;
    let fill = async |sql: &str, set: &[&str]| {
        let mut workload = crate::workload(sql);
        let set = set.iter().map(|text| Some((*text).to_owned())).collect();
        workload.statements[0].parameters = vec![set];
        workload.statements[0].parameter_source = "log".into();
        pgassay_workload::fill_parameters(&mut workload, &target.session, &target.snapshot, 7)
            .await
            .unwrap();
        workload.statements.remove(0)
    };
    let insert =
        fill("INSERT INTO users (id, email) VALUES ($1, $2)", &["7", "u7@example.com"]).await;
    assert_eq!(insert.parameters[0][0].as_deref(), Some("7"));
    let numbers: Vec<usize> = insert.fresh.iter().map(|parameter| parameter.number).collect();
    assert_eq!((numbers, insert.parameter_source.as_str()), (vec![1, 2], "log"));
    let select = fill("SELECT 1 FROM users WHERE id = $1", &["7"]).await;
    assert!(select.fresh.is_empty());
}
