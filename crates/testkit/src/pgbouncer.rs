//! A throw-away PgBouncer.

use crate::TestkitError;
use crate::account::{Account, run, tail};
use crate::locate::find_pgbouncer;
use crate::postgres::free_port;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const START_SECONDS: u64 = 15;
const ADMIN: &str = "pgbouncer_admin";
const ADMIN_PASSWORD: &str = "throw-away";

/// How to start a throw-away PgBouncer.
#[derive(Debug, Clone)]
pub struct PgBouncerOptions {
    /// The program; None: found.
    pub binary: Option<PathBuf>,
    /// Lines of the `[pgbouncer]` section.
    pub settings: Vec<(String, String)>,
    /// Lines of the `[databases]` section: name and connection string.
    pub databases: Vec<(String, String)>,
    /// Lines of the userlist: user and secret.
    pub users: Vec<(String, String)>,
    /// `auth_type`.
    pub auth_type: String,
    /// Where it lives, and stays after the end; None: a temporary directory, removed when dropped.
    pub directory: Option<PathBuf>,
}

impl Default for PgBouncerOptions {
    fn default() -> Self {
        PgBouncerOptions {
            binary: None,
            settings: Vec::new(),
            databases: Vec::new(),
            users: Vec::new(),
            auth_type: "scram-sha-256".into(),
            directory: None,
        }
    }
}

/// A running PgBouncer with console user `pgbouncer_admin`.
#[derive(Debug)]
pub struct PgBouncer {
    binary: PathBuf,
    account: Account,
    directory: PathBuf,
    temporary: bool,
    port: u16,
    ini: PathBuf,
    userlist: PathBuf,
}

impl PgBouncer {
    /// Writes the files and starts PgBouncer on a free port of 127.0.0.1.
    pub fn start(options: PgBouncerOptions) -> Result<Self, TestkitError> {
        let binary = find_pgbouncer(options.binary.as_deref())?;
        let account = Account::choose()?;
        let temporary = options.directory.is_none();
        let directory = match &options.directory {
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(TestkitError::file(directory))?;
                directory.clone()
            }
            None => tempfile::Builder::new()
                .prefix("pgassay-pgbouncer-")
                .tempdir_in("/tmp")
                .map_err(TestkitError::file("/tmp"))?
                .keep(),
        };
        account.own(&directory)?;
        let pooler = PgBouncer {
            ini: directory.join("pgbouncer.ini"),
            userlist: directory.join("userlist.txt"),
            binary,
            account,
            directory,
            temporary,
            port: free_port()?,
        };
        pooler.write_files(&options)?;
        pooler.start_again()?;
        Ok(pooler)
    }

    fn write_files(&self, options: &PgBouncerOptions) -> Result<(), TestkitError> {
        let mut ini = String::from(";; throw-away PgBouncer\n[databases]\n");
        for (name, target) in &options.databases {
            ini.push_str(&format!("{name} = {target}\n"));
        }
        ini.push_str("\n[pgbouncer]\n");
        let directory = self.directory.display();
        ini.push_str(&format!(
            "listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir = {directory}\n\
             logfile = {directory}/pgbouncer.log\npidfile = {directory}/pgbouncer.pid\n\
             auth_type = {}\nauth_file = {}\nadmin_users = {ADMIN}\nstats_users = {ADMIN}\n",
            self.port,
            options.auth_type,
            self.userlist.display(),
        ));
        for (key, value) in &options.settings {
            ini.push_str(&format!("{key} = {value}\n"));
        }
        let mut userlist = format!("\"{ADMIN}\" \"{ADMIN_PASSWORD}\"\n");
        for (user, secret) in &options.users {
            userlist.push_str(&format!(
                "\"{}\" \"{}\"\n",
                user.replace('"', "\"\""),
                secret.replace('"', "\"\"")
            ));
        }
        for (file, text) in [(&self.ini, ini), (&self.userlist, userlist)] {
            std::fs::write(file, text).map_err(TestkitError::file(file))?;
            self.account.own(file)?;
        }
        Ok(())
    }

    /// Starts a stopped PgBouncer on the same port and waits until it accepts connections.
    pub fn start_again(&self) -> Result<(), TestkitError> {
        let _ = std::fs::remove_file(self.directory.join("pgbouncer.pid"));
        let mut command = self.account.command(&self.binary, &self.directory);
        run(command.args(["-q", "-d"]).arg(&self.ini))?;
        let end = Instant::now() + Duration::from_secs(START_SECONDS);
        while Instant::now() < end {
            if self.pid().is_some() && TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(TestkitError::NotReady {
            program: "PgBouncer",
            seconds: START_SECONDS,
            log: self.log_tail(),
        })
    }

    /// Stops it at once (SIGTERM) and waits until it is gone.
    pub fn stop(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill9(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        let Some(pid) = self.pid() else { return };
        let pid = Pid::from_raw(pid as i32);
        let _ = kill(pid, signal);
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end && kill(pid, None).is_ok() && !is_zombie(pid) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = std::fs::remove_file(self.directory.join("pgbouncer.pid"));
    }

    /// Process id from its pidfile; None when it is not running.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.directory.join("pgbouncer.pid")).ok()?.trim().parse().ok()
    }

    /// TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Its configuration file.
    pub fn ini_path(&self) -> &Path {
        &self.ini
    }

    /// Its userlist.
    pub fn userlist_path(&self) -> &Path {
        &self.userlist
    }

    /// DSN of the console.
    pub fn console_dsn(&self) -> String {
        self.dsn(ADMIN, ADMIN_PASSWORD, "pgbouncer")
    }

    /// DSN of a database through this PgBouncer.
    pub fn dsn(&self, user: &str, password: &str, database: &str) -> String {
        format!("postgresql://{user}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    fn log_tail(&self) -> String {
        tail(&std::fs::read_to_string(self.directory.join("pgbouncer.log")).unwrap_or_default())
    }
}

fn is_zombie(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    })
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        self.stop();
        if self.temporary {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
