//! Through PgBouncer in transaction mode.

use crate::{Target, connect, workload};
use pgassay_testkit::{PgBouncer, PgBouncerOptions};

#[tokio::test]
async fn parameters_are_filled_through_a_pooler_and_nothing_stays_in_its_backends() {
    let target = Target::with(
        "CREATE TABLE t (a int, b text); INSERT INTO t SELECT n, 'b' || n FROM generate_series(1, 300) AS n",
    )
    .await;
    let role = format!("pooled_{}", target.database);
    target
        .server
        .execute(
            &target.database,
            &format!("CREATE ROLE {role} LOGIN PASSWORD 'pooled'; GRANT SELECT ON t TO {role}"),
        )
        .unwrap();
    let pooler = PgBouncer::start(PgBouncerOptions {
        settings: vec![("pool_mode".into(), "transaction".into())],
        databases: vec![(
            target.database.clone(),
            format!("host=127.0.0.1 port={} dbname={}", target.server.port(), target.database),
        )],
        users: vec![(role.clone(), "pooled".into())],
        ..PgBouncerOptions::default()
    })
    .unwrap();
    let dsn = pooler.dsn(&role, "pooled", &target.database);
    let session = connect(&dsn).await;
    assert!(session.pooled());
    let mut filled = workload("SELECT 1 FROM t WHERE a = $1 AND b = $2");
    pgassay_workload::fill_parameters(&mut filled, &session, &target.snapshot, 7).await.unwrap();
    assert_eq!(filled.statements[0].parameters.len(), 200);
    assert_eq!(target.execute(&filled.statements[0]).len(), 200);
    let mut refused = workload("SELECT 1 FROM missing WHERE a = $1");
    pgassay_workload::fill_parameters(&mut refused, &session, &target.snapshot, 7).await.unwrap();
    assert!(refused.skipped[0].reason.contains("42P01"));
    let left = session
        .client()
        .query_typed("SELECT 1 FROM pg_catalog.pg_prepared_statements WHERE from_sql", &[])
        .await
        .unwrap();
    assert!(left.is_empty());
}
