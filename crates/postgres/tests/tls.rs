//! Every sslmode against a server with a certificate of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_postgres::{PostgresError, Session, SessionOptions, dsn};
use pgassay_testkit::{Postgres, PostgresOptions};
use std::path::Path;
use std::process::Command;

fn openssl(directory: &Path, arguments: &str) {
    let status = Command::new("openssl")
        .current_dir(directory)
        .args(arguments.split_whitespace())
        .output()
        .expect("openssl is installed")
        .status;
    assert!(status.success(), "openssl {arguments}");
}

/// An authority, a certificate for 127.0.0.1 that it signed, one marked as an authority's that signed itself,
/// and another authority.
fn certificates(directory: &Path) {
    let new = "req -x509 -newkey rsa:2048 -nodes -days 2";
    openssl(directory, &format!("{new} -keyout ca.key -out ca.crt -subj /CN=authority"));
    openssl(directory, &format!("{new} -keyout other.key -out other.crt -subj /CN=other"));
    openssl(
        directory,
        &format!(
            "{new} -keyout self.key -out self.crt -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        ),
    );
    openssl(
        directory,
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
    );
    std::fs::write(
        directory.join("names"),
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    openssl(
        directory,
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt",
    );
}

/// The server with that certificate; without one, as the testkit starts it.
fn serve(server: &Postgres, files: &Path, name: &str) {
    let data = server.data_directory();
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&data).unwrap());
    for kind in ["crt", "key"] {
        let to = data.join(format!("server.{kind}"));
        std::fs::copy(files.join(format!("{name}.{kind}")), &to).unwrap();
        std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&to, Some(owner), None).unwrap();
    }
    server.execute("postgres", "ALTER SYSTEM SET ssl = on").unwrap();
    server.execute("postgres", "SELECT pg_reload_conf()").unwrap();
    server.restart().unwrap();
}

/// Whether the connection was made, and encrypted.
async fn connect(server: &Postgres, host: &str, more: &str) -> Result<bool, PostgresError> {
    let text =
        format!("host={host} port={} user=app password=pw dbname=postgres {more}", server.port());
    let session =
        Session::connect(&dsn::resolve(&text).unwrap(), SessionOptions::default()).await?;
    let sql = "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";
    let encrypted: bool = session.client().query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(session.encrypted(), encrypted);
    Ok(encrypted)
}

fn tls_failed(result: Result<bool, PostgresError>, words: &str) {
    match result {
        Err(PostgresError::TlsFailed { message, .. }) => {
            assert!(message.to_lowercase().contains(words), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_sslmode_encrypts_and_checks_as_much_as_libpq_does() {
    let server = Postgres::start(PostgresOptions::default()).unwrap();
    server.execute("postgres", "CREATE ROLE app LOGIN PASSWORD 'pw'").unwrap();
    let files = tempfile::tempdir().unwrap();
    certificates(files.path());
    let root = |name: &str| format!("sslrootcert={}", files.path().join(name).display());

    // Without encryption at the server: prefer and allow go on without, require does not.
    assert_eq!(connect(&server, "127.0.0.1", "sslmode=prefer").await, Ok(false));
    assert_eq!(connect(&server, "127.0.0.1", "sslmode=allow").await, Ok(false));
    tls_failed(connect(&server, "127.0.0.1", "sslmode=require").await, "does not support");

    serve(&server, files.path(), "server");
    assert_eq!(connect(&server, "127.0.0.1", "sslmode=disable").await, Ok(false));
    assert_eq!(connect(&server, "127.0.0.1", "sslmode=allow").await, Ok(false));
    assert_eq!(connect(&server, "127.0.0.1", "sslmode=prefer").await, Ok(true));
    assert_eq!(connect(&server, "127.0.0.1", "sslmode=require").await, Ok(true));
    let with = |mode: &str, name: &str| format!("sslmode={mode} {}", root(name));
    assert_eq!(connect(&server, "127.0.0.1", &with("require", "ca.crt")).await, Ok(true));
    tls_failed(connect(&server, "127.0.0.1", &with("require", "other.crt")).await, "certificate");
    assert_eq!(connect(&server, "127.0.0.1", &with("verify-ca", "ca.crt")).await, Ok(true));
    tls_failed(connect(&server, "127.0.0.1", &with("verify-ca", "other.crt")).await, "certificate");
    assert_eq!(connect(&server, "localhost", &with("verify-full", "ca.crt")).await, Ok(true));
    tls_failed(
        connect(&server, "127.0.0.1", &with("verify-full", "ca.crt")).await,
        "not valid for",
    );
    tls_failed(connect(&server, "localhost", &with("verify-full", "none.crt")).await, "none.crt");

    // pg_hba.conf without a line for this kind: libpq's second attempt.
    let hba = server.data_directory().join("pg_hba.conf");
    let original = std::fs::read_to_string(&hba).unwrap();
    for (kind, mode, encrypted) in [("hostssl", "allow", true), ("hostnossl", "prefer", false)] {
        std::fs::write(&hba, format!("local all all trust\n{kind} all all all scram-sha-256\n"))
            .unwrap();
        server.restart().unwrap();
        assert_eq!(connect(&server, "127.0.0.1", &format!("sslmode={mode}")).await, Ok(encrypted));
    }
    std::fs::write(&hba, original).unwrap();

    // A certificate that signed itself is trusted where it is the root file's, as OpenSSL does.
    serve(&server, files.path(), "self");
    assert_eq!(connect(&server, "localhost", &with("verify-full", "self.crt")).await, Ok(true));
    tls_failed(connect(&server, "localhost", &with("verify-ca", "ca.crt")).await, "certificate");
}
