//! A throw-away PgBouncer on a candidate configuration: what it would make of the file, seen before the
//! running one is touched.
//!
//! It listens only on a socket in a private directory and opens no server connections. Where this process is
//! killed, a shell beside it ends it and removes the directory, which holds the userlist's secrets.

use crate::account::Account;
use crate::snapshot::working_directory;
use crate::{Console, Ini, PgBouncerError, Userlist};
use pgassay_model::connection::{ConnectionSettings, Host, Secret, SslMode};
use pgassay_model::pooler::PoolerSetting;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

const START: Duration = Duration::from_secs(10);
const ADMIN: &str = "pgassay_rehearsal";
const PORT: u16 = 6432;
/// Becomes the program `$0` on the file `$1`. Its standard input ends without a line where this process is killed:
/// then a shell beside it kills it and removes the directory `$2`.
const GUARDED: &str = r#"exec 3<&0
{ read -r over <&3 || { kill -9 $$; rm -rf -- "$2"; }; } >/dev/null 2>&1 &
exec "$0" "$1" </dev/null 3<&-"#;
/// Tells that shell that there is nothing to do.
const OVER: &[u8] = b"over\n";

/// What is rehearsed.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The program of the running PgBouncer.
    pub binary: PathBuf,
    /// Where the configuration file is (or will be).
    pub ini: PathBuf,
    /// Its new content.
    pub content: Vec<u8>,
    /// The new userlist; None: the file that the configuration names.
    pub userlist: Option<Userlist>,
    /// The running PgBouncer: its owner runs the throw-away one too, its working directory is where relative
    /// paths are looked up.
    pub pid: Option<u32>,
}

/// Boots the candidate and returns its SHOW CONFIG, without the keys that the rehearsal itself needs to set
/// (sockets, log, authentication).
pub async fn rehearse(
    candidate: &Candidate,
) -> Result<BTreeMap<String, PoolerSetting>, PgBouncerError> {
    let account = Account::choose(candidate.pid);
    let cwd = working_directory(candidate.pid);
    let set_up = |what: &str, error: std::io::Error| {
        PgBouncerError::RehearsalSetUp(format!("{what}: {error}"))
    };
    let directory = tempfile::Builder::new()
        .prefix("pgassay-rehearsal-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in("/tmp")
        .map_err(|error| set_up("creating a directory in /tmp", error))?;
    let place = |name: &str| directory.path().join(name);

    let mut ini = Ini::parse(&candidate.content, &candidate.ini, &cwd)?;
    let pool_minimum = ini.get("min_pool_size");
    let given = match (&candidate.userlist, ini.get("auth_file").filter(|path| !path.is_empty())) {
        (Some(userlist), _) => Some(userlist.clone()),
        (None, Some(path)) => Some(Userlist::read(&cwd.join(path))?),
        (None, None) => None,
    };
    let mut users = given.as_ref().map(Userlist::to_bytes).unwrap_or_default();
    users.extend_from_slice(format!("\n\"{ADMIN}\" \"\"\n").as_bytes());
    let path = |name: &str| place(name).display().to_string();
    let overrides = [
        ("listen_addr", String::new()),
        ("listen_port", PORT.to_string()),
        ("so_reuseport", "0".into()),
        ("unix_socket_dir", directory.path().display().to_string()),
        ("unix_socket_mode", "0700".into()),
        ("unix_socket_group", String::new()),
        ("user", String::new()),
        ("pidfile", path("pid")),
        ("logfile", String::new()),
        ("syslog", "0".into()),
        ("verbose", "0".into()),
        ("auth_type", "trust".into()),
        ("auth_file", path("users")),
        ("auth_hba_file", String::new()),
        ("auth_user", String::new()),
        ("admin_users", ADMIN.into()),
        ("stats_users", String::new()),
        // Set back below: until then no server connection may be opened.
        ("min_pool_size", "0".into()),
    ];
    for (key, value) in &overrides {
        ini.append(key, value)?;
    }
    for (name, content) in [("ini", ini.to_bytes()), ("users", users), ("log", Vec::new())] {
        std::fs::write(place(name), content).map_err(|error| set_up("writing", error))?;
    }
    if let Some(account) = account {
        for name in ["ini", "users", "log", ""] {
            account.own(&place(name)).map_err(|error| set_up("handing files over", error))?;
        }
    }

    let mut child = start(candidate, account, &cwd, directory.path()).map_err(|error| {
        PgBouncerError::RehearsalSetUp(format!("starting {}: {error}", candidate.binary.display()))
    })?;
    let guard = child.stdin.take();
    let outcome =
        question(&mut child, directory.path(), pool_minimum.as_deref(), given.as_ref()).await;
    if let Some(mut guard) = guard
        && let Err(error) = guard.write_all(OVER).await
    {
        tracing::debug!(%error, "the shell beside the throw-away PgBouncer had ended by itself");
    }
    // It holds nothing worth an orderly end.
    if let Err(error) = child.kill().await {
        tracing::debug!(%error, "the throw-away PgBouncer had ended by itself");
    }
    let mut config = outcome.map_err(|error| match error {
        // The lines are those of the candidate, as far as the rehearsal's own, which stand at the end.
        PgBouncerError::RehearsalFailed(reason) => PgBouncerError::RehearsalFailed(
            reason.replace(&path("ini"), &candidate.ini.display().to_string()),
        ),
        error => error,
    })?;
    for (key, _) in overrides.iter().filter(|(key, _)| *key != "min_pool_size") {
        config.remove(*key);
    }
    config.remove("conffile");
    Ok(config)
}

fn start(
    candidate: &Candidate,
    account: Option<Account>,
    cwd: &Path,
    directory: &Path,
) -> std::io::Result<Child> {
    let log = std::fs::OpenOptions::new().append(true).open(directory.join("log"))?;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", GUARDED])
        .arg(&candidate.binary)
        .arg(directory.join("ini"))
        .arg(directory)
        .current_dir(cwd)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command.spawn()
}

/// Waits until the throw-away PgBouncer answers and asks for its configuration.
async fn question(
    child: &mut Child,
    directory: &Path,
    pool_minimum: Option<&str>,
    userlist: Option<&Userlist>,
) -> Result<BTreeMap<String, PoolerSetting>, PgBouncerError> {
    let settings = ConnectionSettings {
        host: Host::Unix(directory.to_path_buf()),
        port: PORT,
        user: ADMIN.into(),
        password: Some(Secret::default()),
        database: "pgbouncer".into(),
        ssl_mode: SslMode::Disable,
        ssl_root_cert: None,
        connect_timeout: Duration::from_secs(2),
        options: None,
    };
    let end = Instant::now() + START;
    let console = loop {
        let refused = match Console::connect(&settings).await {
            Ok(console) => break console,
            Err(error) => error,
        };
        if let Ok(Some(status)) = child.try_wait() {
            // The shell's own, of a program that is not there or is none.
            if let Some(126 | 127) = status.code() {
                let log = std::fs::read(directory.join("log")).unwrap_or_default();
                return Err(PgBouncerError::RehearsalSetUp(format!(
                    "starting it: {}",
                    String::from_utf8_lossy(&log).trim()
                )));
            }
            return Err(PgBouncerError::RehearsalFailed(format!(
                "{status}: {}",
                complaints(directory)
            )));
        }
        if Instant::now() > end {
            return Err(PgBouncerError::RehearsalFailed(format!(
                "{refused}: {}",
                complaints(directory)
            )));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    if let Some(value) = pool_minimum {
        console.set("min_pool_size", value).await?;
    }
    let config = console.show_config().await?;
    if let Some(userlist) = userlist {
        let known = console.users().await?;
        if let Some(missing) = userlist.secrets().into_keys().find(|user| !known.contains(user)) {
            return Err(PgBouncerError::RehearsalFailed(format!(
                "it does not know the user {missing}"
            )));
        }
    }
    let complaints = complaints(directory);
    if !complaints.is_empty() {
        return Err(PgBouncerError::RehearsalFailed(complaints));
    }
    Ok(config)
}

/// Errors in the throw-away PgBouncer's log, without their times.
fn complaints(directory: &Path) -> String {
    let log = std::fs::read(directory.join("log")).unwrap_or_default();
    let lines: Vec<String> = String::from_utf8_lossy(&log)
        .lines()
        .filter_map(|line| {
            let at =
                [" ERROR ", " FATAL ", " CRITICAL "].iter().find_map(|level| line.find(level))?;
            line.get(at + 1..).map(str::to_string)
        })
        .collect();
    lines.join("; ")
}
