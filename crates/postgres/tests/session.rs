//! Sessions on real servers and through a real PgBouncer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_model::what_if::Hypothesis;
use pgassay_model::workload::WorkloadStatement;
use pgassay_postgres::{PostgresError, Session, SessionOptions, dsn};
use pgassay_testkit::{PgBouncer, PgBouncerOptions, Postgres, fresh_database, shared};
use std::net::TcpListener;
use std::time::Duration;

async fn connect(text: &str, options: SessionOptions) -> Result<Session, PostgresError> {
    Session::connect(&dsn::resolve(text).unwrap(), options).await
}

async fn setting(session: &Session, name: &str) -> String {
    let sql = "SELECT pg_catalog.current_setting($1)";
    session.client().query_one(sql, &[&name]).await.unwrap().get(0)
}

fn role(server: &Postgres, name: &str) -> String {
    let sql = format!(
        "DO $$ BEGIN CREATE ROLE {name} LOGIN PASSWORD 'pw'; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
    );
    server.execute("postgres", &sql).unwrap();
    name.to_owned()
}

#[tokio::test]
async fn a_session_is_guarded_from_its_first_moment() {
    let server = shared();
    let database = fresh_database(server);
    let session = connect(&server.dsn(&database), SessionOptions::default()).await.unwrap();
    assert!(!session.pooled());
    assert_eq!(session.version_num(), server.version_num());
    assert_eq!(setting(&session, "application_name").await, "pgassay");
    assert_eq!(setting(&session, "default_transaction_read_only").await, "on");
    assert_eq!(setting(&session, "statement_timeout").await, "30s");
    assert_eq!(setting(&session, "lock_timeout").await, "2s");
    assert_eq!(setting(&session, "idle_in_transaction_session_timeout").await, "1min");
    let refused = session.client().batch_execute("CREATE TABLE t (i int)").await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "25006");
}

#[tokio::test]
async fn a_session_that_may_write_writes_and_keeps_the_options_of_the_dsn() {
    let server = shared();
    let database = fresh_database(server);
    let options = SessionOptions {
        read_only: false,
        statement_timeout: Duration::from_secs(5),
        ..SessionOptions::default()
    };
    let text = format!("{}&options=-c%20work_mem%3D7MB", server.dsn(&database));
    let session = connect(&text, options).await.unwrap();
    assert_eq!(setting(&session, "work_mem").await, "7MB");
    assert_eq!(setting(&session, "statement_timeout").await, "5s");
    session.client().batch_execute("CREATE TABLE t (i int)").await.unwrap();
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let server = shared();
    let database = fresh_database(server);
    let user = role(server, "refused_login");
    let default = SessionOptions::default;
    let good = server.tcp_dsn(&user, "pw", &database);
    assert!(connect(&good, default()).await.is_ok());

    let wrong = connect(&server.tcp_dsn(&user, "hunter2", &database), default()).await.unwrap_err();
    assert!(
        matches!(&wrong, PostgresError::LoginRefused { sqlstate, .. } if sqlstate.as_deref() == Some("28P01")),
        "{wrong:?}"
    );
    assert!(!format!("{wrong:?} {wrong} {}", wrong.hint()).contains("hunter2"));

    let missing = connect(&server.tcp_dsn(&user, "pw", "no_such"), default()).await.unwrap_err();
    assert!(
        matches!(&missing, PostgresError::LoginRefused { sqlstate, .. } if sqlstate.as_deref() == Some("3D000")),
        "{missing:?}"
    );
    assert!(missing.hint().contains("psql -l"));

    let no_password = format!(
        "host=127.0.0.1 port={} user={user} dbname={database} passfile=/nonexistent",
        server.port()
    );
    let refused = connect(&no_password, default()).await.unwrap_err();
    assert!(matches!(refused, PostgresError::LoginRefused { .. }), "{refused:?}");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = connect(&format!("host=127.0.0.1 port={free}"), default()).await.unwrap_err();
    assert!(
        matches!(&nobody, PostgresError::Unreachable { server, .. } if server.contains(&free.to_string())),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_unreachable_after_the_time_out() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut settings =
        dsn::resolve(&format!("host=127.0.0.1 port={port} sslmode=disable")).unwrap();
    settings.connect_timeout = Duration::from_millis(200);
    let error = Session::connect(&settings, SessionOptions::default()).await.unwrap_err();
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_starts_up_says_so() {
    // A standby without hot_standby answers, and takes no sessions until it is promoted.
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    let place = directory.path().join("server");
    let options = |hot: &str| pgassay_testkit::PostgresOptions {
        settings: vec![("hot_standby".into(), hot.into())],
        directory: Some(place.clone()),
        ..Default::default()
    };
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    let server = Postgres::start(options("on")).unwrap();
    let database = "postgres";
    let dsn = server.dsn(database);
    server.stop().unwrap();
    std::fs::write(server.data_directory().join("standby.signal"), "").unwrap();
    server.start_again().unwrap();

    let session = connect(&dsn, SessionOptions::default()).await.unwrap();
    let snapshot = pgassay_postgres::snapshot(&session).await.unwrap();
    assert!(snapshot.server.in_recovery, "a standby is read like any other server");
    drop(session);

    let conf = server.data_directory().join("postgresql.conf");
    let text =
        std::fs::read_to_string(&conf).unwrap().replace("hot_standby = on", "hot_standby = off");
    std::fs::write(&conf, text).unwrap();
    server.restart().unwrap();
    let error = connect(&dsn, SessionOptions::default()).await.unwrap_err();
    assert!(
        matches!(&error, PostgresError::StartingUp { sqlstate, .. } if sqlstate == "57P03"),
        "{error:?}"
    );
}

fn pooler(server: &Postgres, database: &str, user: &str, settings: &[(&str, &str)]) -> PgBouncer {
    let target = format!("host=127.0.0.1 port={} dbname={database}", server.port());
    let mut settings: Vec<(String, String)> =
        settings.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    settings.push(("pool_mode".into(), "transaction".into()));
    settings.push(("default_pool_size".into(), "1".into()));
    PgBouncer::start(PgBouncerOptions {
        settings,
        databases: vec![("app".into(), target)],
        users: vec![(user.to_owned(), "pw".into())],
        ..PgBouncerOptions::default()
    })
    .unwrap()
}

/// What a session through the pooler's only server connection finds there.
async fn found_by_the_application(pooler: &PgBouncer, user: &str) -> Vec<String> {
    let config: tokio_postgres::Config = pooler.dsn(user, "pw", "app").parse().unwrap();
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT pg_catalog.current_setting('default_transaction_read_only'),
                      pg_catalog.current_setting('statement_timeout'),
                      pg_catalog.current_setting('lock_timeout'),
                      pg_catalog.current_setting('work_mem')";
    let row = client.query_typed_one(sql, &[]).await.unwrap();
    (0..4).map(|column| row.get(column)).collect()
}

#[tokio::test]
async fn nothing_leaks_into_the_application_through_a_pooler() {
    let server = shared();
    let database = fresh_database(server);
    let user = role(server, "pooled_reader");
    server.execute(&database, "CREATE TABLE t (i int PRIMARY KEY)").unwrap();
    server.execute(&database, &format!("GRANT SELECT ON t TO {user}")).unwrap();
    // PgBouncer refuses `options` unless told to ignore it; then the guards are not in force either.
    for settings in [&[][..], &[("ignore_startup_parameters", "options,extra_float_digits")][..]] {
        let pooler = pooler(server, &database, &user, settings);
        let before = found_by_the_application(&pooler, &user).await;
        assert_eq!(before[..3], ["off", "0", "0"]);
        let text = pooler.dsn(&user, "pw", "app");
        let session = connect(&text, SessionOptions::default()).await.unwrap();
        assert!(session.pooled());
        let snapshot = pgassay_postgres::snapshot(&session).await.unwrap();
        assert_eq!(snapshot.relations.len(), 1);
        assert!(snapshot.unseen.iter().any(|unseen| unseen.why.contains("pooler")));
        let own_options =
            connect(&format!("{text}?options=-c%20jit%3Doff"), SessionOptions::default()).await;
        if let Err(refused) = own_options {
            assert!(refused.hint().contains("ignore_startup_parameters"), "{refused:?}");
        }
        pgassay_postgres::counters(&session).await.unwrap();
        pgassay_postgres::index_scans(&session).await.unwrap();
        assert_eq!(found_by_the_application(&pooler, &user).await, before);

        let reading = session.read("testing").await.unwrap();
        let refused = reading.rows("CREATE TABLE x (i int)", &[]).await.unwrap_err();
        assert_eq!(refused.sqlstate(), Some("25006"));
        drop(reading);
        pgassay_postgres::counters(&session)
            .await
            .expect("a reading dropped half-way is ended before the next");
        assert_eq!(found_by_the_application(&pooler, &user).await, before);

        let runtime = tokio::runtime::Handle::current();
        let asked = tokio::task::spawn_blocking(move || {
            let mut engine = pgassay_postgres::what_if(runtime, session, &snapshot);
            assert_eq!(
                engine.engine(),
                "explain",
                "hypothetical indexes would stay in a shared backend"
            );
            let statement = WorkloadStatement {
                id: "q".into(),
                sql: "SELECT * FROM t WHERE i = $1".into(),
                weight: 1.0,
                writes: false,
                parameters: vec![vec![Some("1".into())]],
                parameter_source: String::new(),
                ..WorkloadStatement::default()
            };
            let parameters = vec![("work_mem".to_owned(), "123MB".to_owned())];
            let cost = engine.cost(&statement, &Hypothesis { parameters, ..Hypothesis::default() });
            cost.unwrap().total_cost
        });
        assert!(asked.await.unwrap() > 0.0);
        assert_eq!(found_by_the_application(&pooler, &user).await, before);

        let writer = SessionOptions { read_only: false, ..SessionOptions::default() };
        let refused = connect(&text, writer).await.unwrap_err();
        assert!(matches!(refused, PostgresError::Pooled { .. }), "{refused:?}");
    }
}
