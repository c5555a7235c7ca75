//! Every way to log in, on real servers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_load::{LoadError, LoadMode, Protocol};
use pgassay_model::connection::SslMode;
use pgassay_model::measurement::Connect;
use pgassay_testkit::{PgBouncer, PgBouncerOptions, Postgres, PostgresOptions, shared};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use support::{drive, options, select_one, statement, workload};

#[test]
fn trust_and_scram_log_in_and_answer() {
    let server = shared();
    server.execute("postgres", "CREATE ROLE scram_user LOGIN PASSWORD 'right'").unwrap();
    for dsn in [server.dsn("postgres"), server.tcp_dsn("scram_user", "right", "postgres")] {
        let driven = drive(&select_one(), &options(&dsn)).unwrap();
        let measurement = driven.measurement;
        assert!(measurement.requests > 50, "{measurement:?}");
        assert_eq!(measurement.errors, 0);
        assert!(!format!("{measurement:?}").contains("right"));
    }
}

#[test]
fn a_wrong_or_missing_password_is_refused_with_a_hint() {
    let server = shared();
    server.execute("postgres", "CREATE ROLE refused_user LOGIN PASSWORD 'right'").unwrap();
    let error =
        drive(&select_one(), &options(&server.tcp_dsn("refused_user", "wrong!", "postgres")))
            .unwrap_err();
    assert!(
        matches!(&error, LoadError::LoginRefused { sqlstate: Some(code), .. } if code == "28P01"),
        "{error:?}"
    );
    assert!(error.hint().contains("password"));
    assert!(!format!("{error:?} {error}").contains("wrong!"));

    let mut passwordless = options(&server.tcp_dsn("refused_user", "x", "postgres"));
    passwordless.target.password = None;
    let error = drive(&select_one(), &passwordless).unwrap_err();
    assert!(matches!(error, LoadError::LoginRefused { .. }), "{error:?}");
}

#[test]
fn nobody_listening_is_unreachable() {
    let server = shared();
    let mut nowhere = options(&server.tcp_dsn("postgres", "x", "postgres"));
    nowhere.target.port = 1;
    let error = drive(&select_one(), &nowhere).unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no connection to postgresql://postgres@127.0.0.1:1/"));
}

/// A server of its own: it asks for MD5, clear text and TLS by user.
#[test]
fn md5_clear_text_and_tls_log_in_and_answer() {
    let server = Postgres::start(PostgresOptions::default()).unwrap();
    let data = server.data_directory();
    certificate(&data);
    std::fs::write(
        data.join("pg_hba.conf"),
        "local all all trust\n\
         host all md5_user 127.0.0.1/32 md5\n\
         host all clear_user 127.0.0.1/32 password\n\
         hostssl all tls_user 127.0.0.1/32 scram-sha-256\n",
    )
    .unwrap();
    server
        .execute(
            "postgres",
            "SET password_encryption = 'md5'; CREATE ROLE md5_user LOGIN PASSWORD 'm'; \
             SET password_encryption = 'scram-sha-256'; CREATE ROLE clear_user LOGIN PASSWORD 'c'; \
             CREATE ROLE tls_user LOGIN PASSWORD 't'",
        )
        .unwrap();
    server.execute("postgres", "ALTER SYSTEM SET ssl = on").unwrap();
    server.restart().unwrap();
    for (user, password) in [("md5_user", "m"), ("clear_user", "c")] {
        let driven =
            drive(&select_one(), &options(&server.tcp_dsn(user, password, "postgres"))).unwrap();
        assert_eq!(driven.measurement.errors, 0, "{user}");
    }

    let mut encrypted = options(&server.tcp_dsn("tls_user", "t", "postgres"));
    encrypted.target.ssl_mode = SslMode::Require;
    let reused = drive(&select_one(), &encrypted).unwrap();
    assert_eq!(reused.measurement.errors, 0);
    assert!(reused.measurement.requests > 50);
    encrypted.connect = Connect::PerRequest;
    let driven = drive(&select_one(), &encrypted).unwrap();
    assert_eq!(driven.measurement.errors, 0);
    let parts = driven.client_parts;
    assert!(parts.tls_ms > 0.0 && parts.auth_ms > 0.0 && parts.connect_ms > 0.0, "{parts:?}");

    // Several clients on a thread, and answers of many records.
    let mut crowd = encrypted.clone();
    crowd.connect = Connect::Reuse;
    crowd.mode = LoadMode::Closed { clients: 7 };
    let long = statement("long", "SELECT pg_catalog.repeat('x', 400000)", 1.0);
    let load = workload(vec![statement("short", "SELECT 1", 5.0), long]);
    for protocol in [Protocol::Extended, Protocol::Prepared] {
        crowd.protocol = protocol;
        let measurement = drive(&load, &crowd).unwrap().measurement;
        assert_eq!(measurement.errors, 0, "{:?}", measurement.notes);
        assert!(measurement.statements.iter().all(|own| own.requests > 0), "{measurement:?}");
        // Nothing that has come is left lying until a neighbour's answer or a tick of 100 ms.
        assert!(measurement.latency_ms.p50 < 90.0, "{:?}", measurement.latency_ms);
    }
    encrypted.target.ssl_mode = SslMode::VerifyFull;
    let error = drive(&select_one(), &encrypted).unwrap_err();
    assert!(matches!(error, LoadError::Tls { .. }), "{error:?}");

    encrypted.target.ssl_mode = SslMode::Disable;
    let error = drive(&select_one(), &encrypted).unwrap_err();
    assert!(matches!(error, LoadError::LoginRefused { .. }), "{error:?}");
}

/// A self-signed certificate where the server looks for it, readable by the server's account.
fn certificate(data: &std::path::Path) {
    let (key, certificate) = (data.join("server.key"), data.join("server.crt"));
    let output = Command::new("openssl")
        .args(["req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=127.0.0.1"])
        .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(data).unwrap());
    for file in [&key, &certificate] {
        std::os::unix::fs::chown(file, Some(owner), None).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn pgbouncer_logs_in_by_scram_and_by_clear_text_over_its_pool() {
    let server = shared();
    server.execute("postgres", "CREATE ROLE pooled LOGIN PASSWORD 'p'").unwrap();
    for auth_type in ["scram-sha-256", "plain"] {
        let pooler = PgBouncer::start(PgBouncerOptions {
            auth_type: auth_type.into(),
            databases: vec![(
                "postgres".into(),
                format!("host=127.0.0.1 port={} dbname=postgres", server.port()),
            )],
            users: vec![("pooled".into(), "p".into())],
            settings: vec![("pool_mode".into(), "transaction".into())],
            ..PgBouncerOptions::default()
        })
        .unwrap();
        for connect in [Connect::Reuse, Connect::PerRequest] {
            let mut options = options(&pooler.dsn("pooled", "p", "postgres"));
            options.connect = connect;
            let driven = drive(&select_one(), &options).unwrap();
            assert_eq!(driven.measurement.errors, 0, "{auth_type} {connect:?}");
            assert!(driven.measurement.requests > 5);
            assert_eq!(driven.client_parts.auth_ms > 0.0, connect == Connect::PerRequest);
        }
        let wrong = drive(&select_one(), &options(&pooler.dsn("pooled", "wrong", "postgres")));
        assert!(matches!(wrong, Err(LoadError::LoginRefused { .. })), "{wrong:?}");
    }
}
