//! The console of a PgBouncer that takes encrypted connections only.
#![allow(clippy::unwrap_used, reason = "tests")]

use pgassay_model::connection::{ConnectionSettings, Host, Secret, SslMode};
use pgassay_pgbouncer::{Console, PgBouncerError};
use pgassay_testkit::{PgBouncer, PgBouncerOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A certificate of `localhost` that is its own authority, readable by whom the pooler runs as.
fn certificate(directory: &Path) {
    let made = Command::new("openssl")
        .current_dir(directory)
        .args("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost".split(' '))
        .args("-addext subjectAltName=DNS:localhost -keyout key -out crt".split(' '))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for (name, mode) in [("", 0o755), ("key", 0o644), ("crt", 0o644)] {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(directory.join(name), permissions).unwrap();
    }
}

#[tokio::test]
async fn the_console_is_reached_as_sslmode_asks_for_it() {
    let directory = tempfile::tempdir_in("/tmp").unwrap();
    certificate(directory.path());
    let path = |name: &str| directory.path().join(name).display().to_string();
    let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let pooler = PgBouncer::start(PgBouncerOptions {
        settings: vec![
            setting("client_tls_sslmode", "require"),
            setting("client_tls_key_file", &path("key")),
            setting("client_tls_cert_file", &path("crt")),
        ],
        ..PgBouncerOptions::default()
    })
    .unwrap();
    let dsn = pooler.console_dsn();
    let password = dsn.split(':').nth(2).unwrap().split('@').next().unwrap();
    let settings = |host: &str, ssl_mode| ConnectionSettings {
        host: Host::Tcp(host.into()),
        port: pooler.port(),
        user: "pgbouncer_admin".into(),
        password: Some(Secret::new(password)),
        database: "pgbouncer".into(),
        ssl_mode,
        ssl_root_cert: Some(directory.path().join("crt")),
        connect_timeout: Duration::from_secs(5),
        options: None,
    };
    for mode in [SslMode::Allow, SslMode::Prefer, SslMode::Require, SslMode::VerifyFull] {
        let console = Console::connect(&settings("localhost", mode)).await.unwrap();
        assert!(console.version().await.unwrap().starts_with("1."), "{mode:?}");
    }
    let other_name = Console::connect(&settings("127.0.0.1", SslMode::VerifyFull)).await;
    assert!(matches!(other_name, Err(PgBouncerError::TlsFailed { .. })), "{other_name:?}");
    let plain = Console::connect(&settings("localhost", SslMode::Disable)).await;
    assert!(matches!(plain, Err(PgBouncerError::LoginRefused { .. })), "{plain:?}");
}
