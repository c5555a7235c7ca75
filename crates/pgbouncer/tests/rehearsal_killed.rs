//! A rehearsal holds the pooler's secrets: nobody else may read them, and nothing of it outlives its process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use pgassay_pgbouncer::{Candidate, rehearse};
use pgassay_testkit::{PgBouncer, PgBouncerOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Not a test: the process that is killed, which rehearses one configuration again and again.
#[tokio::test]
async fn victim() {
    let Ok(ini) = std::env::var("VICTIM_INI") else { return };
    let candidate = Candidate {
        binary: std::env::var("VICTIM_BINARY").unwrap().into(),
        content: std::fs::read(&ini).unwrap(),
        ini: ini.into(),
        userlist: None,
        pid: std::env::var("VICTIM_PID").unwrap().parse().ok(),
    };
    loop {
        rehearse(&candidate).await.unwrap();
    }
}

/// The throw-away PgBouncer that `parent` runs just now, and its directory.
fn throw_away(parent: u32) -> Option<(PathBuf, PathBuf)> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.map(|process| process.path()).find_map(|process| {
        let stat = std::fs::read_to_string(process.join("stat")).ok()?;
        let of: u32 = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
        let command = std::fs::read_to_string(process.join("cmdline")).ok()?;
        let ini = command.split('\0').find(|word| word.starts_with("/tmp/pgassay-rehearsal-"))?;
        let directory = Path::new(ini).parent()?.to_path_buf();
        (of == parent && directory.join("pid").exists()).then_some((process, directory))
    })
}

fn within_ten_seconds<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn rehearsing(pooler: &PgBouncer) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim"])
        .env("VICTIM_INI", pooler.ini_path())
        .env("VICTIM_BINARY", pooler.binary())
        .env("VICTIM_PID", pooler.pid().map(|pid| pid.to_string()).unwrap_or_default())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_rehearsal_leaves_no_pgbouncer_and_no_secrets() {
    let pooler = PgBouncer::start(PgBouncerOptions {
        users: vec![("app".into(), "plain".into())],
        ..PgBouncerOptions::default()
    })
    .unwrap();
    let mut victim = rehearsing(&pooler);
    let (process, directory) =
        within_ten_seconds("a throw-away PgBouncer", || throw_away(victim.id()));
    let mode = std::fs::metadata(&directory).map(|found| found.permissions().mode() & 0o777);
    victim.kill().unwrap();
    victim.wait().unwrap();

    assert_eq!(mode.unwrap(), 0o700, "its userlist is for nobody else");
    within_ten_seconds("the end of the throw-away PgBouncer", || {
        (!process.join("exe").exists() && !directory.exists()).then_some(())
    });
}
