//! The throw-away servers start, answer, survive a kill, and leave nothing behind.
#![allow(clippy::unwrap_used, reason = "tests")]

use pgassay_testkit::{
    PgBouncer, PgBouncerOptions, Postgres, PostgresOptions, fresh_database, shared,
};

#[test]
fn a_killed_server_comes_back_with_its_data_and_a_dropped_one_leaves_nothing() {
    let server = Postgres::start(PostgresOptions::default()).unwrap();
    server.execute("postgres", "CREATE TABLE kept AS SELECT 1 AS n").unwrap();
    server.execute("postgres", "CHECKPOINT").unwrap();
    server.kill9().unwrap();
    assert!(server.query("postgres", "SELECT 1").is_err());
    server.start_again().unwrap();
    assert_eq!(
        server.query("postgres", "SELECT n FROM kept").unwrap(),
        vec![vec![Some("1".to_owned())]]
    );
    let directory = server.socket_directory().to_path_buf();
    drop(server);
    assert!(!directory.exists());
}

#[test]
fn a_role_logs_in_through_pgbouncer_with_the_secret_that_the_server_holds() {
    let server = shared();
    let database = fresh_database(server);
    server.execute("postgres", "CREATE ROLE bouncer_user LOGIN PASSWORD 'secret'").unwrap();
    let secret = server
        .query("postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = 'bouncer_user'")
        .unwrap()
        .remove(0)
        .remove(0)
        .unwrap();
    let pooler = PgBouncer::start(PgBouncerOptions {
        databases: vec![(
            "app".into(),
            format!("host=127.0.0.1 port={} dbname={database}", server.port()),
        )],
        users: vec![("bouncer_user".into(), secret)],
        ..PgBouncerOptions::default()
    })
    .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(
            &pooler.dsn("bouncer_user", "secret", "app"),
            tokio_postgres::NoTls,
        )
        .await
        .unwrap();
        tokio::spawn(connection);
        let row = client.query_one("SELECT current_database()::text", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), database);
    });
    pooler.kill9();
    assert_eq!(pooler.pid(), None);
    pooler.start_again().unwrap();
}
