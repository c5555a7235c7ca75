//! The console, the rehearsal and the edits, against a real PgBouncer.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use pgassay_model::change::PoolerSettingChange;
use pgassay_model::connection::{ConnectionSettings, Host, Secret, SslMode};
use pgassay_model::pooler::SecretKind;
use pgassay_pgbouncer::{
    Candidate, Console, Ini, PgBouncerError, Userlist, edit_file_safely, read_back, rehearse,
    snapshot, window,
};
use pgassay_testkit::{PgBouncer, PgBouncerOptions, fresh_database, shared};
use std::path::Path;
use std::time::Duration;

fn pooler(settings: &[(&str, &str)]) -> PgBouncer {
    PgBouncer::start(PgBouncerOptions {
        settings: settings
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect(),
        users: vec![
            ("app".into(), "plain".into()),
            ("old".into(), format!("md5{}", "0".repeat(32))),
        ],
        ..PgBouncerOptions::default()
    })
    .unwrap()
}

fn settings(pooler: &PgBouncer, password: &str) -> ConnectionSettings {
    ConnectionSettings {
        host: Host::Tcp("127.0.0.1".into()),
        port: pooler.port(),
        user: "pgbouncer_admin".into(),
        password: Some(Secret::new(password)),
        database: "pgbouncer".into(),
        ssl_mode: SslMode::Prefer,
        ssl_root_cert: None,
        connect_timeout: Duration::from_secs(5),
        options: None,
    }
}

/// The console's password as the testkit's DSN has it.
async fn console(pooler: &PgBouncer) -> Console {
    let dsn = pooler.console_dsn();
    let password =
        dsn.split(':').nth(2).and_then(|rest| rest.split('@').next()).unwrap().to_string();
    Console::connect(&settings(pooler, &password)).await.unwrap()
}

fn candidate(pooler: &PgBouncer, content: Vec<u8>) -> Candidate {
    Candidate {
        binary: pooler.binary().to_path_buf(),
        ini: pooler.ini_path().to_path_buf(),
        content,
        userlist: None,
        pid: pooler.pid(),
    }
}

#[tokio::test]
async fn the_console_shows_what_the_file_says() {
    let pooler = pooler(&[("default_pool_size", "7")]);
    let console = console(&pooler).await;
    let seen = snapshot(&console, Some(pooler.ini_path())).await.unwrap();
    assert!(seen.version.starts_with("1."), "{}", seen.version);
    assert_eq!(seen.number("default_pool_size"), Some(7.0));
    assert!(seen.config["default_pool_size"].changeable);
    assert!(!seen.config["listen_port"].changeable);
    assert_eq!(seen.ini.as_deref(), Some(pooler.ini_path()), "{:?}", seen.ini_problem);
    assert_eq!(seen.pid, pooler.pid());
    assert!(seen.open_files_limit.is_some() && seen.somaxconn.is_some());
    let secrets = seen.userlist.unwrap();
    assert_eq!(secrets["app"], SecretKind::Plain);
    assert_eq!(secrets["old"], SecretKind::Md5);
    assert!(seen.pools.is_empty() && seen.databases.is_empty());
}

#[tokio::test]
async fn a_file_that_does_not_run_is_no_file_to_edit() {
    let pooler = pooler(&[]);
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("pgbouncer.ini");
    std::fs::copy(pooler.ini_path(), &other).unwrap();
    let console = console(&pooler).await;
    let seen = snapshot(&console, Some(&other)).await.unwrap();
    assert_eq!(seen.ini, None);
    assert!(seen.ini_problem.unwrap().contains("runs on"));
}

#[tokio::test]
async fn a_wrong_password_and_a_closed_port_are_told_apart() {
    let pooler = pooler(&[]);
    let wrong = settings(&pooler, "wrong");
    let error = Console::connect(&wrong).await.unwrap_err();
    assert!(matches!(error, PgBouncerError::LoginRefused { .. }), "{error}");
    pooler.stop();
    let error = Console::connect(&wrong).await.unwrap_err();
    assert!(matches!(error, PgBouncerError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn set_lasts_until_reload_and_takes_values_with_dots_and_quotes() {
    let pooler = pooler(&[("server_check_delay", "30")]);
    let console = console(&pooler).await;
    let value = async || console.show_config().await.unwrap()["server_check_delay"].value.clone();
    let before = value().await;
    console.set("server_check_delay", "0.5").await.unwrap();
    assert_ne!(value().await, before);
    console.reload().await.unwrap();
    assert_eq!(value().await, before);
    assert!(matches!(console.set("x = 1; y", "1").await, Err(PgBouncerError::Command { .. })));
    assert!(console.set("server_check_delay", "it's").await.is_err());
    assert!(console.set("no_such_key", "1").await.is_err());
    console.reconnect(None).await.unwrap();
    console.pause(None, Duration::from_secs(5)).await.unwrap();
    console.resume(None).await.unwrap();
}

#[tokio::test]
async fn traffic_is_counted_and_pools_and_databases_are_read() {
    let server = shared();
    let database = fresh_database(server);
    let target = format!(
        "host={} port={} dbname={database} user=postgres",
        server.socket_directory().display(),
        server.port()
    );
    let pooler = PgBouncer::start(PgBouncerOptions {
        databases: vec![("shop".into(), target)],
        users: vec![("app".into(), "plain".into())],
        // In session mode PAUSE would wait for the client to leave.
        settings: vec![("pool_mode".into(), "transaction".into())],
        ..PgBouncerOptions::default()
    })
    .unwrap();
    let console = console(&pooler).await;
    let before = console.totals().await.unwrap();
    let (client, connection) =
        tokio_postgres::connect(&pooler.dsn("app", "plain", "shop"), tokio_postgres::NoTls)
            .await
            .unwrap();
    tokio::spawn(connection);
    for _ in 0..3 {
        client.simple_query("SELECT 1").await.unwrap();
    }
    let after = console.totals().await.unwrap();
    assert_eq!(window(&before, &after, 1.0, 0, 1).transactions, 3);
    let pools = console.pools().await.unwrap();
    assert_eq!(pools.len(), 1);
    assert_eq!((pools[0].database.as_str(), pools[0].clients_active), ("shop", 1));
    let databases = console.databases().await.unwrap();
    assert_eq!(databases.len(), 1);
    assert_eq!(databases[0].database, database);
    console.reconnect(Some("shop")).await.unwrap();
    console.pause(Some("shop"), Duration::from_secs(5)).await.unwrap();
    console.resume(Some("shop")).await.unwrap();
}

#[tokio::test]
async fn an_edit_is_rehearsed_written_reloaded_and_read_back() {
    let pooler =
        pooler(&[("default_pool_size", "7"), ("min_pool_size", "3"), ("query_wait_timeout", "60")]);
    let console = console(&pooler).await;
    let before = std::fs::read(pooler.ini_path()).unwrap();
    let mut ini = Ini::parse(&before, pooler.ini_path(), Path::new("/")).unwrap();
    ini.set("default_pool_size", "21").unwrap();
    ini.set("reserve_pool_size", "4").unwrap();

    let rehearsed = rehearse(&candidate(&pooler, ini.to_bytes())).await.unwrap();
    assert_eq!(rehearsed["default_pool_size"].value, "21");
    assert_eq!(rehearsed["min_pool_size"].value, "3");
    assert_eq!(
        console.show_config().await.unwrap()["default_pool_size"].value,
        "7",
        "the running one is as it was"
    );
    let changed = [PoolerSettingChange {
        key: "default_pool_size".into(),
        from: "7".into(),
        to: "21".into(),
    }];
    let differences = read_back(&console, &rehearsed, &changed).await.unwrap();
    let keys: Vec<_> = differences.iter().map(|difference| difference.key.as_str()).collect();
    assert_eq!(keys, ["default_pool_size", "reserve_pool_size"]);

    let backup = pooler.ini_path().with_extension("backup");
    edit_file_safely(pooler.ini_path(), &before, &ini.to_bytes(), &backup).unwrap();
    console.reload().await.unwrap();
    assert_eq!(read_back(&console, &rehearsed, &changed).await.unwrap(), []);
    assert_eq!(std::fs::read(&backup).unwrap(), before);
}

#[tokio::test]
async fn a_rehearsal_finds_what_reload_would_swallow() {
    let pooler = pooler(&[]);
    let original = std::fs::read_to_string(pooler.ini_path()).unwrap();
    for line in [
        "default_pool_size = twenty",
        "no_such_key = 1",
        "pool_mode = whenever",
        "auth_type = maybe",
    ] {
        let error = rehearse(&candidate(&pooler, format!("{original}{line}\n").into_bytes()))
            .await
            .unwrap_err();
        let key = line.split(' ').next().unwrap();
        assert!(
            matches!(&error, PgBouncerError::RehearsalFailed(text) if text.contains(key)),
            "{line}: {error}"
        );
    }
}

#[tokio::test]
async fn a_new_userlist_is_rehearsed_and_lets_its_users_in() {
    let pooler = pooler(&[]);
    let console = console(&pooler).await;
    let before = std::fs::read(pooler.userlist_path()).unwrap();
    let mut list = Userlist::parse(&before, pooler.userlist_path()).unwrap();
    let scram = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2E=$c3RvcmVka2V5c3RvcmVka2V5c3RvcmVka2V5c3RvcmU=:c2VydmVya2V5c2VydmVya2V5c2VydmVya2V5c2VydmU=";
    assert!(list.replace_secret("app", &Secret::new(scram)));
    let mut candidate = candidate(&pooler, std::fs::read(pooler.ini_path()).unwrap());
    candidate.userlist = Some(list.clone());
    rehearse(&candidate).await.unwrap();
    edit_file_safely(
        pooler.userlist_path(),
        &before,
        &list.to_bytes(),
        &pooler.userlist_path().with_extension("bak"),
    )
    .unwrap();
    console.reload().await.unwrap();
    let seen = snapshot(&console, Some(pooler.ini_path())).await.unwrap();
    assert_eq!(seen.userlist.unwrap()["app"], SecretKind::Scram);
}
