//! Two copies of a server to try changes on: a base backup, twice, started on this machine with the server's own
//! parameters, and removed afterwards.

use crate::failure::{Exit, Failure};
use crate::target::Target;
use pgassay_model::connection::{ConnectionSettings, Host, SslMode};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_postgres::Session;
use pgassay_testkit::{Installation, Postgres, PostgresOptions, TestkitError};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Disk that is to stay free beside the copies.
const KEPT_FREE: u64 = 1 << 30;

/// Parameters that a copy must not take over: where the server lives and listens, whom it talks to, what it
/// logs. A copy with the source's archive or standbys would write into the one and wait for the others.
const NOT_COPIED: [&str; 22] = [
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "port",
    "listen_addresses",
    "unix_socket_directories",
    "unix_socket_group",
    "unix_socket_permissions",
    "bonjour",
    "cluster_name",
    "event_source",
    "synchronous_standby_names",
    "hot_standby",
    "restore_command",
    "logging_collector",
    "restart_after_crash",
    "session_preload_libraries",
    "local_preload_libraries",
    "dynamic_library_path",
    "application_name",
];
const NOT_COPIED_PREFIXES: [&str; 8] =
    ["ssl", "archive_", "primary_", "recovery_", "log_", "syslog_", "krb_", "promote_"];

/// Two running copies; dropped, they are stopped and removed.
pub struct Copies {
    /// The side that stays as it is.
    pub without: Copy,
    /// The side that changes are made on.
    pub with: Copy,
    // Dropped last, after the servers in it have stopped.
    _directory: tempfile::TempDir,
}

/// One copy.
pub struct Copy {
    /// How it is reached, as the target is.
    pub target: Target,
    /// Its postmaster.
    pub postmaster: Option<u32>,
    _server: Postgres,
}

impl Copies {
    /// Makes and starts two copies of the server behind `session`. Refused before anything is written where
    /// the disk or the programs do not allow it.
    pub async fn make(
        target: &Target,
        session: &Session,
        snapshot: &Snapshot,
    ) -> Result<Copies, Failure> {
        let installation = installation(snapshot.server.version_num / 10_000)?;
        let directory = tempfile::Builder::new()
            .prefix("pgassay-copies-")
            .tempdir_in(std::env::temp_dir())
            .map_err(|error| {
                Failure::input(
                    format!("no place for copies: {error}"),
                    "set TMPDIR to a directory with room for two copies",
                )
            })?;
        // Its servers run as another account where we are root.
        open_to_all(directory.path())?;
        check_space(session, directory.path()).await?;
        target.progress.step("copying the server (pg_basebackup), twice");
        let (first, second) = (directory.path().join("a"), directory.path().join("b"));
        let server = target.server.clone();
        let bin = installation.bin_dir.clone();
        let made = (first.clone(), second.clone());
        blocking(move || {
            base_backup(&bin, &server, &made.0)?;
            copy_tree(&made.0, &made.1)
        })
        .await?;
        let settings = settings(snapshot);
        target.progress.step("starting the copies");
        let start = |place: PathBuf| {
            let (settings, bin) = (settings.clone(), installation.bin_dir.clone());
            blocking(move || start(place, bin, settings))
        };
        let without = start(first).await?;
        let with = start(second).await?;
        Ok(Copies {
            without: Copy::new(target, without, directory.path().join("a-state")),
            with: Copy::new(target, with, directory.path().join("b-state")),
            _directory: directory,
        })
    }
}

impl Copy {
    fn new(target: &Target, server: Postgres, state: PathBuf) -> Copy {
        let reach = |user: &str| ConnectionSettings {
            host: Host::Unix(server.socket_directory().to_path_buf()),
            port: server.port(),
            user: user.to_owned(),
            password: None,
            database: target.server.database.clone(),
            ssl_mode: SslMode::Disable,
            ..target.server.clone()
        };
        Copy {
            target: Target {
                server: reach(&target.server.user),
                application: reach(&target.application.user),
                console: None,
                ini: None,
                pgbouncer_binary: None,
                state,
                interrupt: target.interrupt.clone(),
                progress: target.progress.clone(),
            },
            postmaster: server.postmaster_pid().ok(),
            _server: server,
        }
    }
}

/// A server installation of the source's own major version: another could not read its files.
fn installation(major: u32) -> Result<Installation, Failure> {
    let usual = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    [pgassay_testkit::find_postgres(Some(&usual)), pgassay_testkit::find_postgres(None)]
        .into_iter()
        .flatten()
        .find(|found| found.major == major && found.bin_dir.join("pg_basebackup").is_file())
        .ok_or_else(|| {
            Failure::new(
                Exit::Missing,
                format!("no PostgreSQL {major} with pg_basebackup on this machine to start a copy with"),
                format!("install it (Debian/Ubuntu: apt install postgresql-{major}), or leave --rehearse out"),
            )
        })
}

/// Two copies, and the WAL written meanwhile, must fit.
async fn check_space(session: &Session, directory: &Path) -> Result<(), Failure> {
    let size: i64 = session
        .client()
        .query_one(
            "SELECT pg_catalog.sum(pg_catalog.pg_database_size(oid))::pg_catalog.int8 FROM pg_catalog.pg_database /* pgassay */",
            &[],
        )
        .await
        .and_then(|row| row.try_get(0))
        .map_err(|error| {
            Failure::new(Exit::Missing, format!("the size of the server is not known: {error}"), "GRANT pg_read_all_stats TO this role")
        })?;
    let free = nix::sys::statvfs::statvfs(directory)
        .map(|space| space.blocks_available() * space.fragment_size())
        .map_err(|error| {
            Failure::input(format!("{}: {error}", directory.display()), "set TMPDIR")
        })?;
    let needed = u64::try_from(size).unwrap_or(0) * 2 + KEPT_FREE;
    if free < needed {
        return Err(Failure::input(
            format!(
                "two copies of the server take about {} and {} are free in {}",
                Bytes(needed),
                Bytes(free),
                directory.display()
            ),
            "set TMPDIR to a directory with more room, or leave --rehearse out",
        ));
    }
    Ok(())
}

fn base_backup(bin: &Path, server: &ConnectionSettings, place: &Path) -> Result<(), Failure> {
    let host = match &server.host {
        Host::Tcp(host) => host.clone(),
        Host::Unix(directory) => directory.display().to_string(),
    };
    let mut command = Command::new(bin.join("pg_basebackup"));
    command
        .arg("--pgdata")
        .arg(place.join("data"))
        .args(["--wal-method=stream", "--checkpoint=fast", "--no-sync", "--no-password"])
        .env("PGHOST", host)
        .env("PGPORT", server.port.to_string())
        .env("PGUSER", &server.user)
        .env("PGAPPNAME", "pgassay")
        .env_remove("PGDATABASE");
    if let Some(password) = &server.password {
        command.env("PGPASSWORD", password.expose());
    }
    let mode = serde_json::to_value(server.ssl_mode).ok();
    if let Some(mode) = mode.as_ref().and_then(|mode| mode.as_str()) {
        command.env("PGSSLMODE", mode);
    }
    if let Some(root) = &server.ssl_root_cert {
        command.env("PGSSLROOTCERT", root);
    }
    std::fs::create_dir_all(place).map_err(cannot("create", place))?;
    let output = command.output().map_err(cannot("run", &bin.join("pg_basebackup")))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(Failure::new(
        Exit::Missing,
        format!(
            "pg_basebackup failed: {}",
            words.trim().lines().last().unwrap_or("it said nothing")
        ),
        "it takes a role with REPLICATION, a replication line in pg_hba.conf, wal_level = replica and a free max_wal_senders; or leave --rehearse out",
    ))
}

/// Copies a data directory, cloning blocks where the file system can.
fn copy_tree(from: &Path, to: &Path) -> Result<(), Failure> {
    let status = Command::new("cp")
        .args(["--archive", "--reflink=auto"])
        .args([from, to])
        .status()
        .map_err(cannot("copy", from))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::input(
        format!("copying {} to {} failed", from.display(), to.display()),
        "set TMPDIR to a directory with more room",
    ))
}

/// What the source has set and a copy may have too, as lines of postgresql.conf.
fn settings(snapshot: &Snapshot) -> Vec<(String, String)> {
    snapshot
        .parameters
        .values()
        .filter(|parameter| {
            matches!(
                parameter.source.as_str(),
                "configuration file" | "command line" | "environment variable"
            )
        })
        .filter(|parameter| parameter.context != "internal")
        .filter(|parameter| {
            !NOT_COPIED.contains(&parameter.name.as_str())
                && !NOT_COPIED_PREFIXES.iter().any(|prefix| parameter.name.starts_with(prefix))
        })
        .map(|parameter| {
            (parameter.name.clone(), format!("'{}'", parameter.current.replace('\'', "''")))
        })
        // A copy holds what the server holds and trusts its socket: for this account alone.
        .chain([("unix_socket_permissions".to_owned(), "0700".to_owned())])
        .collect()
}

fn start(
    place: PathBuf,
    bin: PathBuf,
    settings: Vec<(String, String)>,
) -> Result<Postgres, Failure> {
    let data = place.join("data");
    // The source's files may lie elsewhere, or name its archive and standbys.
    for (name, text) in [
        ("postgresql.conf", ""),
        ("postgresql.auto.conf", ""),
        ("pg_hba.conf", "local all all trust\n"),
        ("pg_ident.conf", ""),
    ] {
        let file = data.join(name);
        std::fs::write(&file, text).map_err(cannot("write", &file))?;
    }
    let started = pgassay_testkit::give_to_server(&place).and_then(|()| {
        Postgres::start(PostgresOptions {
            bin_dir: Some(bin),
            settings,
            durable: true,
            directory: Some(place),
            stop_with_process: true,
        })
    });
    started.map_err(|error: TestkitError| {
        Failure::new(
            Exit::Missing,
            format!("a copy of the server does not start: {error}"),
            "a copy needs what the server needs: shared_preload_libraries, memory, locales; or leave --rehearse out",
        )
    })
}

fn open_to_all(directory: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o711))
        .map_err(cannot("open", directory))
}

fn cannot<'a>(what: &'a str, path: &'a Path) -> impl Fn(std::io::Error) -> Failure + 'a {
    move |error| {
        Failure::input(
            format!("cannot {what} {}: {error}", path.display()),
            "set TMPDIR to a directory with room for two copies",
        )
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Failure::new(Exit::Missing, format!("making the copies stopped: {error}"), "report this")
    })?
}
