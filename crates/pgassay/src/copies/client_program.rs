//! PostgreSQL's own client programs: found, pointed at a server, run to their end, and ended by Ctrl-C and with pgassay.

use crate::failure::{Exit, Failure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pgassay_model::connection::{ConnectionSettings, Host};
use pgassay_model::interrupt::Interrupt;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long an interrupted program may take to end by itself: pg_dump and pg_restore cancel what they asked.
const END_WITHIN: Duration = Duration::from_secs(5);

/// What a program ended with.
#[derive(Debug)]
pub struct Ended {
    /// Exit status 0.
    pub well: bool,
    /// What it printed on standard error.
    pub said: String,
}

impl Ended {
    /// The last line that it printed, for one-line errors, without the program's own name.
    pub fn last_words(&self) -> &str {
        let last = self.said.lines().map(str::trim).rfind(|line| !line.is_empty());
        last.map_or("it said nothing", |line| {
            line.split_once(": error: ").map_or(line, |(_, words)| words)
        })
    }
}

/// A directory with all of `programs` in the major version `major` or a later one: `preferred` first, then `PATH`
/// and Debian's and Fedora's versioned directories, the oldest version that will do first.
pub fn find(programs: &[&str], major: u32, preferred: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .unwrap_or_default();
    let versioned = (major..major + 10).flat_map(|version| {
        [format!("/usr/lib/postgresql/{version}/bin"), format!("/usr/pgsql-{version}/bin")]
    });
    [preferred.to_path_buf()]
        .into_iter()
        .chain(versioned.map(PathBuf::from))
        .chain(path)
        .filter(|directory| programs.iter().all(|program| directory.join(program).is_file()))
        .find(|directory| {
            programs.iter().all(|program| version(&directory.join(program)) >= Some(major))
        })
}

/// Major version from `pg_dump (PostgreSQL) 15.18 (Debian …)`.
pub fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number = text.split(')').nth(1)?.trim_start();
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Whether a program has a flag, by what its `--help` lists.
pub fn takes(program: &Path, flag: &str) -> bool {
    let Ok(output) = Command::new(program).arg("--help").output() else { return false };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .any(|line| line.split_whitespace().next() == Some(flag))
}

/// A program that connects as `server` says, by libpq's environment: nothing of it can be read in a process list,
/// and a database's name is never taken for a connection string.
pub fn pointed_at(program: &Path, server: &ConnectionSettings, database: &str) -> Command {
    let host = match &server.host {
        Host::Tcp(host) => host.clone(),
        Host::Unix(directory) => directory.display().to_string(),
    };
    let mut command = Command::new(program);
    for name in ["PGSERVICE", "PGHOSTADDR", "PGOPTIONS", "PGPASSWORD", "PGSSLROOTCERT"] {
        command.env_remove(name);
    }
    command
        .env("PGHOST", host)
        .env("PGPORT", server.port.to_string())
        .env("PGUSER", &server.user)
        .env("PGDATABASE", database)
        .env("PGAPPNAME", "pgassay")
        .env("PGCONNECT_TIMEOUT", server.connect_timeout.as_secs().max(2).to_string());
    if let Some(password) = &server.password {
        command.env("PGPASSWORD", password.expose());
    }
    if let Some(options) = &server.options {
        command.env("PGOPTIONS", options);
    }
    let mode = serde_json::to_value(server.ssl_mode).ok();
    if let Some(mode) = mode.as_ref().and_then(|mode| mode.as_str()) {
        command.env("PGSSLMODE", mode);
    }
    if let Some(root) = &server.ssl_root_cert {
        command.env("PGSSLROOTCERT", root);
    }
    command
}

/// Runs a program to its end.
pub fn run(command: &mut Command, interrupt: &Interrupt) -> Result<Ended, Failure> {
    let mut running = Running::start(command.stdout(Stdio::null()))?;
    loop {
        if let Some(status) = running.ended()? {
            return Ok(running.finish(status));
        }
        if interrupt.requested() {
            running.end();
            return Err(interrupted());
        }
        std::thread::sleep(LOOK);
    }
}

/// Runs two programs to their ends, the standard output of the first being the input of the second.
pub fn pipe(
    from: &mut Command,
    to: &mut Command,
    interrupt: &Interrupt,
) -> Result<(Ended, Ended), Failure> {
    let mut source = Running::start(from.stdout(Stdio::piped()))?;
    if let Some(output) = source.child.stdout.take() {
        to.stdin(output);
    }
    let mut sink = match Running::start(to.stdout(Stdio::null())) {
        Ok(sink) => sink,
        Err(failure) => {
            source.end();
            return Err(failure);
        }
    };
    // The reading end belongs to the second program alone, so that the first one notices when that is gone.
    to.stdin(Stdio::null());
    loop {
        if let (Some(first), Some(second)) = (source.ended()?, sink.ended()?) {
            return Ok((source.finish(first), sink.finish(second)));
        }
        if interrupt.requested() {
            source.end();
            sink.end();
            return Err(interrupted());
        }
        std::thread::sleep(LOOK);
    }
}

/// A program at work, and who reads what it says.
struct Running {
    child: Child,
    program: String,
    said: Option<JoinHandle<String>>,
    _watcher: Option<Watcher>,
}

impl Running {
    fn start(command: &mut Command) -> Result<Running, Failure> {
        let program = command.get_program().to_string_lossy().into_owned();
        // A group of its own, since pg_basebackup has a child that takes the WAL and has to end with it.
        let mut child = command
            .process_group(0)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| cannot_run(&program, &error))?;
        let watcher = Watcher::over(child.id(), std::process::id());
        let said = child.stderr.take().map(|mut stderr| {
            std::thread::spawn(move || {
                let mut said = Vec::new();
                let _ = stderr.read_to_end(&mut said);
                String::from_utf8_lossy(&said).into_owned()
            })
        });
        Ok(Running { child, program, said, _watcher: watcher })
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child.try_wait().map_err(|error| cannot_run(&self.program, &error))
    }

    fn finish(self, status: ExitStatus) -> Ended {
        let said = self.said.and_then(|reader| reader.join().ok()).unwrap_or_default();
        Ended { well: status.success(), said }
    }

    /// Asks the program to end as Ctrl-C does, and makes it end where it does not.
    fn end(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(-pid), Signal::SIGINT);
        }
        let asked = Instant::now();
        while asked.elapsed() < END_WITHIN {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shell that ends a program whose pgassay was killed: it would go on to read the whole server, and fill the disk.
struct Watcher(Child);

impl Watcher {
    /// Watches over the group of `program` for as long as `parent` is there.
    fn over(program: u32, parent: u32) -> Option<Watcher> {
        let script = "while kill -0 \"$2\" 2>/dev/null; do \
                kill -0 \"$1\" 2>/dev/null || exit 0; sleep 0.5; \
            done; \
            kill -s TERM -- \"-$1\" 2>/dev/null && sleep 5 && kill -s KILL -- \"-$1\" 2>/dev/null";
        Command::new("/bin/sh")
            .args(["-c", script, "sh", &program.to_string(), &parent.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C, and whoever kills a whole group, must not take it along.
            .process_group(0)
            .spawn()
            .map(Watcher)
            .ok()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cannot_run(program: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Missing,
        format!("cannot run {program}: {error}"),
        "check that it is installed",
    )
}

/// The failure of work that Ctrl-C ended.
pub fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted", "what had been copied was removed")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn both_ends_of_a_pipe_are_told_apart() {
        let interrupt = Interrupt::default();
        let (first, second) = pipe(
            &mut shell("echo rows; echo program: error: trouble >&2; exit 3"),
            &mut shell("read word; echo got $word >&2"),
            &interrupt,
        )
        .unwrap();
        assert!(!first.well && second.well);
        assert_eq!((first.last_words(), second.last_words()), ("trouble", "got rows"));
    }

    #[test]
    fn an_interrupt_ends_what_is_running() {
        let interrupt = Interrupt::default();
        interrupt.request();
        let began = Instant::now();
        let failure = run(&mut shell("exec sleep 60"), &interrupt).unwrap_err();
        assert_eq!(failure.exit, Exit::Interrupted);
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_ends_with_the_process_that_started_it() {
        let mut parent = shell("exec sleep 60").spawn().unwrap();
        let mut program = shell("exec sleep 60").process_group(0).spawn().unwrap();
        let watcher = Watcher::over(program.id(), parent.id()).unwrap();
        parent.kill().unwrap();
        parent.wait().unwrap();
        let began = Instant::now();
        program.wait().unwrap();
        assert!(began.elapsed() < Duration::from_secs(30));
        drop(watcher);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure =
            run(&mut Command::new("/nowhere/pg_dump"), &Interrupt::default()).unwrap_err();
        assert!(failure.message.contains("/nowhere/pg_dump"), "{}", failure.message);
    }
}
