//! A throw-away PostgreSQL.

use crate::TestkitError;
use crate::account::{Account, run, tail};
use crate::locate::{Installation, find_postgres};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio_postgres::{NoTls, SimpleQueryMessage};

const START_SECONDS: u64 = 60;

/// How to start a throw-away PostgreSQL.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Directory of the server's programs; None: found.
    pub bin_dir: Option<PathBuf>,
    /// Lines of postgresql.conf, values quoted where they need it.
    pub settings: Vec<(String, String)>,
    /// As a server is in production; false turns fsync off, for tests.
    pub durable: bool,
    /// Where it lives, and stays after the end; None: a temporary directory, removed when dropped.
    pub directory: Option<PathBuf>,
    /// Leave a watcher that stops and removes the server when this process is gone without dropping it.
    pub stop_with_process: bool,
}

/// A running PostgreSQL with superuser `postgres`: trusted over its Unix socket, SCRAM over TCP.
#[derive(Debug)]
pub struct Postgres {
    installation: Installation,
    account: Account,
    directory: PathBuf,
    temporary: bool,
    port: u16,
    version_num: u32,
}

impl Postgres {
    /// Creates a cluster and starts it on a free port of 127.0.0.1.
    pub fn start(options: PostgresOptions) -> Result<Self, TestkitError> {
        let installation = find_postgres(options.bin_dir.as_deref())?;
        let account = Account::choose()?;
        let temporary = options.directory.is_none();
        let directory = match &options.directory {
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(TestkitError::file(directory))?;
                directory.clone()
            }
            // A Unix socket's path may have 107 bytes, so not in a TMPDIR of any length.
            None => tempfile::Builder::new()
                .prefix("pgassay-")
                .tempdir_in("/tmp")
                .map_err(TestkitError::file("/tmp"))?
                .keep(),
        };
        let mut server =
            Postgres { installation, account, directory, temporary, port: 0, version_num: 0 };
        server.account.own(&server.directory)?;
        let data = server.data_directory();
        if !data.join("PG_VERSION").exists() {
            server.initialize(options.durable)?;
        }
        if options.stop_with_process {
            server.leave_watcher()?;
        }
        let mut attempts = 0;
        loop {
            attempts += 1;
            server.port = free_port()?;
            server.configure(&options)?;
            match server.start_again() {
                Ok(()) => break,
                Err(error) if attempts >= 3 => return Err(error),
                Err(_) => {}
            }
        }
        server.version_num = server
            .query("postgres", "SHOW server_version_num")?
            .into_iter()
            .flatten()
            .flatten()
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(server.installation.major * 10_000);
        Ok(server)
    }

    fn initialize(&self, durable: bool) -> Result<(), TestkitError> {
        let attempt = |locale: &str| {
            let mut command =
                self.account.command(&self.installation.bin_dir.join("initdb"), &self.directory);
            command.arg("-D").arg(self.data_directory()).args([
                "--username=postgres",
                "--encoding=UTF8",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
            ]);
            command.arg(format!("--locale={locale}"));
            if !durable {
                command.arg("--no-sync");
                // From 18 on pages have checksums unless told otherwise.
                if self.installation.major >= 18 {
                    command.arg("--no-data-checksums");
                }
            }
            run(&mut command)
        };
        if attempt("C.UTF-8").is_err() {
            let _ = std::fs::remove_dir_all(self.data_directory());
            attempt("C")?;
        }
        Ok(())
    }

    /// Writes the settings below those of initdb, once for each port tried.
    fn configure(&self, options: &PostgresOptions) -> Result<(), TestkitError> {
        const MARK: &str = "# --- throw-away server ---\n";
        let file = self.data_directory().join("postgresql.conf");
        let text = std::fs::read_to_string(&file).map_err(TestkitError::file(&file))?;
        let mut text = text.split(MARK).next().unwrap_or_default().to_owned();
        text.push_str(MARK);
        text.push_str(&format!(
            "port = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\n",
            self.port,
            self.directory.display()
        ));
        if !options.durable {
            // Commits are written all the same: until an asynchronous one is, VACUUM takes no page for all-visible, and
            // whether index-only scans are cheap would depend on the time.
            text.push_str("fsync = off\nfull_page_writes = off\n");
        }
        for (name, value) in &options.settings {
            text.push_str(&format!("{name} = {value}\n"));
        }
        std::fs::write(&file, text).map_err(TestkitError::file(&file))
    }

    /// A shell that outlives this process long enough to clean up behind it.
    fn leave_watcher(&self) -> Result<(), TestkitError> {
        let script = "while kill -0 \"$1\" 2>/dev/null; do sleep 0.5; done; \
            \"$2/pg_ctl\" stop -s -m immediate -D \"$3/data\" >/dev/null 2>&1; rm -rf \"$3\"";
        let mut command = self.account.command(Path::new("/bin/sh"), Path::new("/"));
        if std::fs::exists(format!("/proc/{}", std::process::id())).unwrap_or(false) {
            // `kill -0` needs the right to signal, which another account has not.
            command.args(["-c", &script.replace("kill -0 \"$1\" 2>/dev/null", "[ -d /proc/$1 ]")]);
        } else {
            command.args(["-c", script]);
        }
        command
            .arg("sh")
            .arg(std::process::id().to_string())
            .arg(&self.installation.bin_dir)
            .arg(&self.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C, and whoever kills a whole group, must not take it along.
            .process_group(0)
            .spawn()
            .map(|_| ())
            .map_err(TestkitError::file("/bin/sh"))
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Result<(), TestkitError> {
        let mut command =
            self.account.command(&self.installation.bin_dir.join("pg_ctl"), &self.directory);
        command.arg("-D").arg(self.data_directory()).args(arguments);
        // The server inherits these: a pipe would stay open for as long as it runs.
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(TestkitError::file(self.installation.bin_dir.join("pg_ctl")))?;
        if status.success() {
            return Ok(());
        }
        Err(TestkitError::Program {
            program: format!("pg_ctl {}", arguments.join(" ")),
            status: status.to_string(),
            output: self.log_tail(),
        })
    }

    /// Starts a stopped server on the same port and waits until it accepts connections.
    pub fn start_again(&self) -> Result<(), TestkitError> {
        let log = self.log_file();
        let log = log.to_string_lossy();
        let timeout = START_SECONDS.to_string();
        self.pg_ctl(&["start", "-s", "-w", "-t", &timeout, "-l", &log])
    }

    /// Stops the server, ending its sessions (`pg_ctl stop -m fast`).
    pub fn stop(&self) -> Result<(), TestkitError> {
        self.pg_ctl(&["stop", "-s", "-w", "-m", "fast"])
    }

    /// Stops and starts.
    pub fn restart(&self) -> Result<(), TestkitError> {
        self.stop()?;
        self.start_again()
    }

    /// Kills the postmaster with SIGKILL and waits until all its processes are gone.
    pub fn kill9(&self) -> Result<(), TestkitError> {
        let pid = self.postmaster_pid()?;
        let pid = Pid::from_raw(pid as i32);
        kill(pid, Signal::SIGKILL).map_err(|error| TestkitError::File {
            path: self.data_directory(),
            source: error.into(),
        })?;
        let end = Instant::now() + Duration::from_secs(10);
        // Backends notice the postmaster's death and leave; shared memory is free when the last one has.
        while Instant::now() < end && (kill(pid, None).is_ok() || self.start_again().is_err()) {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.pg_ctl(&["stop", "-s", "-w", "-m", "immediate"])
    }

    /// Runs SQL, several statements if need be, as superuser.
    pub fn execute(&self, database: &str, sql: &str) -> Result<(), TestkitError> {
        self.query(database, sql).map(|_| ())
    }

    /// Runs SQL as superuser and returns the rows of all its statements as text, None for NULL.
    pub fn query(
        &self,
        database: &str,
        sql: &str,
    ) -> Result<Vec<Vec<Option<String>>>, TestkitError> {
        let failed = |message: String| TestkitError::Sql { database: database.to_owned(), message };
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.directory)
            .port(self.port)
            .user("postgres")
            .dbname(database)
            .application_name("pgassay testkit");
        // On a thread of its own: the caller may be inside an async runtime.
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()
                        .map_err(|error| failed(error.to_string()))?;
                    runtime.block_on(async {
                        let (client, connection) =
                            config.connect(NoTls).await.map_err(|error| failed(words(&error)))?;
                        let connection = tokio::spawn(connection);
                        let messages = client
                            .simple_query(sql)
                            .await
                            .map_err(|error| failed(words(&error)))?;
                        drop(client);
                        let _ = connection.await;
                        Ok(messages
                            .into_iter()
                            .filter_map(|message| match message {
                                SimpleQueryMessage::Row(row) => Some(
                                    (0..row.len())
                                        .map(|column| row.get(column).map(str::to_owned))
                                        .collect(),
                                ),
                                _ => None,
                            })
                            .collect())
                    })
                })
                .join()
                .unwrap_or_else(|_| Err(failed("the querying thread ended".into())))
        })
    }

    /// DSN of the superuser over the Unix socket, without password.
    pub fn dsn(&self, database: &str) -> String {
        format!(
            "postgresql://postgres@/{database}?host={}&port={}",
            self.directory.display(),
            self.port
        )
    }

    /// DSN over TCP, where a password is asked for (SCRAM-SHA-256).
    pub fn tcp_dsn(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// TCP port, also part of the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `server_version_num`.
    pub fn version_num(&self) -> u32 {
        self.version_num
    }

    /// Directory of the Unix socket.
    pub fn socket_directory(&self) -> &Path {
        &self.directory
    }

    /// Directory of the server's programs.
    pub fn bin_directory(&self) -> &Path {
        &self.installation.bin_dir
    }

    /// The data directory.
    pub fn data_directory(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The server's log.
    pub fn log_file(&self) -> PathBuf {
        self.directory.join("postgresql.log")
    }

    fn log_tail(&self) -> String {
        tail(&std::fs::read_to_string(self.log_file()).unwrap_or_default())
    }

    /// Process id from postmaster.pid.
    pub fn postmaster_pid(&self) -> Result<u32, TestkitError> {
        let file = self.data_directory().join("postmaster.pid");
        let text = std::fs::read_to_string(&file).map_err(TestkitError::file(&file))?;
        text.lines().next().and_then(|line| line.trim().parse().ok()).ok_or_else(|| {
            TestkitError::NotReady { program: "PostgreSQL", seconds: 0, log: self.log_tail() }
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.pg_ctl(&["stop", "-s", "-w", "-m", "immediate"]);
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// A TCP port of 127.0.0.1 that nobody listens on now.
pub(crate) fn free_port() -> Result<u16, TestkitError> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(TestkitError::file("127.0.0.1"))
}

fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), error.message()),
        None => {
            let source = std::error::Error::source(error)
                .map(|source| format!(": {source}"))
                .unwrap_or_default();
            format!("{error}{source}")
        }
    }
}
