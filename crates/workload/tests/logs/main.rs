//! Workloads captured from logs that a real server wrote.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod bad_input;
mod cut_off;
mod formats;
mod packed;
mod syslog;
mod transactions;
mod versions;

use pgassay_model::workload::{RecordedRequest, Workload, WorkloadStatement};
use pgassay_testkit::{Postgres, PostgresOptions, TestkitError, fresh_database};
use pgassay_workload::{LogCapture, LogOptions, capture_logs};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

const PREFIX: &str = "%m [%p] %q%u@%d/%a %c %Q ";

static SERVER: OnceLock<Postgres> = OnceLock::new();

fn server() -> &'static Postgres {
    SERVER.get_or_init(|| start(None).unwrap())
}

/// Starts a server that logs every statement, in all formats that its version has.
fn start(bin_dir: Option<PathBuf>) -> Result<Postgres, TestkitError> {
    let json = pgassay_testkit::find_postgres(bin_dir.as_deref())?.major >= 15;
    let destination = if json { "'stderr,csvlog,jsonlog'" } else { "'stderr,csvlog'" };
    let settings = [
        ("logging_collector", "on"),
        ("log_destination", destination),
        ("log_filename", "'all.log'"),
        ("log_line_prefix", &format!("'{PREFIX}'")),
        ("log_min_duration_statement", "0"),
        ("compute_query_id", "on"),
        ("log_timezone", "'Asia/Kolkata'"),
    ];
    Postgres::start(PostgresOptions {
        bin_dir,
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        stop_with_process: true,
        ..PostgresOptions::default()
    })
}

/// The log of a format ("log", "csv", "json") when all that was run before is in it.
fn written(server: &Postgres, extension: &str, name: &str) -> PathBuf {
    let marker = format!("SELECT 'end of {name} in {extension}'");
    server.execute("postgres", &marker).unwrap();
    let file = server.data_directory().join("log").join(format!("all.{extension}"));
    let start = Instant::now();
    // The collector writes when it gets to it.
    loop {
        let text = std::fs::read(&file).unwrap_or_default();
        if String::from_utf8_lossy(&text).contains(&marker) {
            return file;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "{} is behind", file.display());
        std::thread::yield_now();
    }
}

async fn connect(server: &Postgres, database: &str) -> Client {
    let dsn = format!(
        "host={} port={} user=postgres dbname={database}",
        server.socket_directory().display(),
        server.port()
    );
    let (client, connection) = tokio_postgres::connect(&dsn, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A database of a test's own, and the logs of what runs there.
struct Logged {
    database: String,
}

impl Logged {
    fn with(schema: &str) -> Self {
        let database = fresh_database(server());
        server().execute(&database, schema).unwrap();
        Logged { database }
    }

    async fn client(&self) -> Client {
        connect(server(), &self.database).await
    }

    fn file(&self, extension: &str) -> PathBuf {
        written(server(), extension, &self.database)
    }

    fn options(&self) -> LogOptions {
        LogOptions {
            log_line_prefix: PREFIX.into(),
            database: Some(self.database.clone()),
            parameters_whole: true,
            ..LogOptions::default()
        }
    }

    fn capture(&self, extension: &str) -> LogCapture {
        capture_logs(&[self.file(extension)], &self.options()).unwrap()
    }
}

fn extensions() -> &'static [&'static str] {
    formats(server())
}

fn formats(server: &Postgres) -> &'static [&'static str] {
    if server.version_num() >= 150_000 { &["log", "csv", "json"] } else { &["log", "csv"] }
}

/// The statement whose text holds `part`.
fn find<'a>(workload: &'a Workload, part: &str) -> (usize, &'a WorkloadStatement) {
    let mut found = workload
        .statements
        .iter()
        .enumerate()
        .filter(|(_, statement)| statement.sql.contains(part));
    let first =
        found.next().unwrap_or_else(|| panic!("{part} is not in {:#?}", workload.statements));
    assert!(found.next().is_none(), "{part} is there twice");
    first
}

/// The values of a request.
fn values<'a>(workload: &'a Workload, request: &RecordedRequest) -> Vec<Option<&'a str>> {
    let sets = &workload.statements[request.statement].parameters;
    sets.get(request.parameters).into_iter().flatten().map(Option::as_deref).collect()
}
