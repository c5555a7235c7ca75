//! Runs the binary as a user would.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

pub mod advising;
pub mod waiting;

use pgassay_testkit::{PgBouncer, PgBouncerOptions, Postgres, PostgresOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a run of the binary printed, and its exit status.
pub struct Answer {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// The one JSON document on standard output.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("not one JSON document ({error}): {}\n{}", self.stdout, self.stderr)
        })
    }
}

/// Runs pgassay with its state in `state`.
pub fn pgassay(state: &Path, arguments: &[&str]) -> Answer {
    answer(command(state).args(arguments))
}

/// Runs a command to its end.
pub fn answer(command: &mut Command) -> Answer {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Answer {
        status: status.code().unwrap_or(-1),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// The binary with an environment of its own.
pub fn command(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgassay"));
    command.env("PGASSAY_STATE", state);
    for name in ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSERVICE", "PGSSLMODE"]
    {
        command.env_remove(name);
    }
    command
}

/// Role, password and database of the application.
pub const ROLE: &str = "app";
pub const PASSWORD: &str = "app-secret";
pub const DATABASE: &str = "shop";

/// An ordinary server with an application's relations, primary keys only, and a PgBouncer in front of it.
pub struct Shop {
    pub server: Postgres,
    pub pooler: PgBouncer,
    pub directory: tempfile::TempDir,
}

impl Shop {
    /// Starts both; `rows` users and three times as many tokens.
    pub fn open(rows: u32) -> Shop {
        let server = Postgres::start(PostgresOptions {
            settings: vec![("shared_preload_libraries".into(), "'pg_stat_statements'".into())],
            durable: true,
            stop_with_process: true,
            ..PostgresOptions::default()
        })
        .unwrap();
        server
            .execute("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"))
            .unwrap();
        server.execute("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {ROLE}")).unwrap();
        server.execute(DATABASE, "CREATE EXTENSION pg_stat_statements").unwrap();
        server
            .execute(
                DATABASE,
                &format!(
                    "SET ROLE {ROLE};
                     CREATE TABLE users (id bigint PRIMARY KEY, username text NOT NULL, email text NOT NULL,
                                         is_active boolean NOT NULL, created_at timestamptz NOT NULL);
                     INSERT INTO users SELECT n, 'user' || n, 'user' || n || '@example.com', n % 5 > 0,
                            now() - n % 1000 * interval '1 day' FROM generate_series(1, {rows}) AS n;
                     CREATE TABLE tokens (id bigint PRIMARY KEY, user_id bigint NOT NULL, service text NOT NULL,
                                          token text NOT NULL, expiry timestamptz NOT NULL);
                     INSERT INTO tokens SELECT n, 1 + n % {rows}, (ARRAY['a', 'b', 'c'])[1 + n / {rows}],
                            md5(n::text), now() + (n % 30 - 3) * interval '1 day'
                            FROM generate_series(0, {rows} * 3 - 1) AS n;
                     RESET ROLE"
                ),
            )
            .unwrap();
        server.execute(DATABASE, "VACUUM ANALYZE").unwrap();
        let secret = server
            .query(
                "postgres",
                &format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{ROLE}'"),
            )
            .unwrap()[0][0]
            .clone()
            .unwrap();
        let pooler = PgBouncer::start(PgBouncerOptions {
            databases: vec![(
                DATABASE.into(),
                format!("host=127.0.0.1 port={} dbname={DATABASE}", server.port()),
            )],
            users: vec![(ROLE.into(), secret)],
            settings: vec![("default_pool_size".into(), "20".into())],
            ..PgBouncerOptions::default()
        })
        .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let workload = directory.path().join("workload");
        std::fs::create_dir(&workload).unwrap();
        for (name, text) in [
            ("by_name.sql", "-- weight: 5\nSELECT id, email FROM users WHERE username = $1"),
            (
                "token.sql",
                "-- weight: 5\nSELECT token FROM tokens WHERE user_id = $1 AND service = $2",
            ),
            ("user.sql", "-- weight: 2\nSELECT username FROM users WHERE id = $1"),
        ] {
            std::fs::write(workload.join(name), text).unwrap();
        }
        Shop { server, pooler, directory }
    }

    /// The superuser's DSN.
    pub fn dsn(&self) -> String {
        self.server.dsn(DATABASE)
    }

    /// The application's DSN, through PgBouncer.
    pub fn app_dsn(&self) -> String {
        self.pooler.dsn(ROLE, PASSWORD, DATABASE)
    }

    /// The workload's folder.
    pub fn workload(&self) -> String {
        self.directory.path().join("workload").display().to_string()
    }

    /// A file in the test's own folder.
    pub fn file(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Runs pgassay with the pooler's flags.
    pub fn pgassay(&self, arguments: &[&str]) -> Answer {
        let console = self.pooler.console_dsn();
        let ini = self.pooler.ini_path().display().to_string();
        let app = self.app_dsn();
        let mut all = arguments.to_vec();
        all.extend(["--pgbouncer", &console, "--pgbouncer-ini", &ini, "--app-dsn", &app]);
        pgassay(&self.state(), &all)
    }

    /// Everything that a roll-back has to restore: indexes, postgresql.auto.conf, PgBouncer's files.
    pub fn everything(&self) -> Everything {
        let indexes = self
            .server
            .query(
                DATABASE,
                "SELECT pg_get_indexdef(indexrelid) || indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                 WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1",
            )
            .unwrap();
        let settings = self
            .server
            .query("postgres", "SELECT name, setting FROM pg_settings ORDER BY name")
            .unwrap();
        Everything {
            indexes,
            settings,
            auto_conf: std::fs::read(self.server.data_directory().join("postgresql.auto.conf"))
                .unwrap(),
            ini: std::fs::read(self.pooler.ini_path()).unwrap(),
            userlist: std::fs::read(self.pooler.userlist_path()).unwrap(),
        }
    }
}

/// What is compared byte for byte.
#[derive(PartialEq)]
pub struct Everything {
    indexes: Vec<Vec<Option<String>>>,
    settings: Vec<Vec<Option<String>>>,
    auto_conf: Vec<u8>,
    ini: Vec<u8>,
    userlist: Vec<u8>,
}

impl std::fmt::Debug for Everything {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Everything")
            .field("indexes", &self.indexes)
            .field("auto_conf", &String::from_utf8_lossy(&self.auto_conf))
            .field("ini", &String::from_utf8_lossy(&self.ini))
            .finish_non_exhaustive()
    }
}
