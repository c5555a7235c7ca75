//! What is laid by before the first change of a run: the schema, the server's configuration, PgBouncer's files.
//!
//! For people, and for comparing afterwards: undoing a change does not read it.

use crate::catalog::{self, column};
use crate::error::ChangeError;
use crate::executor::Executor;
use crate::journal::Journal;
use crate::options::PoolerAccess;
use crate::set_parameter;
use pgassay_model::connection::{ConnectionSettings, Host, SslMode};
use pgassay_pgbouncer::Ini;
use pgassay_sql::quote_literal;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long pg_dump waits for its locks, milliseconds.
const LOCK_WAIT_MS: u32 = 5_000;

/// How often the interrupt flag is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Directory of a run's backups, readable by its owner only.
pub fn directory(journal: &Journal, run: &str) -> Result<PathBuf, ChangeError> {
    let directory = journal.directory().join("backups").join(run);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|source| ChangeError::file("creating", &directory, source))?;
    Ok(directory)
}

/// Writes all of it and returns the files.
pub async fn take(executor: &Executor<'_>, run: &str) -> Result<Vec<PathBuf>, ChangeError> {
    let directory = directory(executor.journal, run)?;
    let mut paths = vec![schema(executor, &directory).await?];
    paths.push(configuration(executor, &directory).await?);
    if let Some(data) = &executor.server.local_data_directory {
        paths.extend(copy(&data.join("postgresql.auto.conf"), &directory));
    }
    if let Some(access) = &executor.options.pooler {
        paths.extend(pooler(access, &directory));
    }
    Ok(paths)
}

/// The schema by pg_dump; where there is none that fits, or it fails, what the catalog says of indexes.
async fn schema(executor: &Executor<'_>, directory: &Path) -> Result<PathBuf, ChangeError> {
    let path = directory.join("schema.sql");
    let server_major = executor.server.version_num / 10_000;
    let reason = match find_pg_dump(executor.options.pg_dump.as_deref(), server_major).await {
        None => format!("no pg_dump of version {server_major} or later was found"),
        Some(program) => {
            match unless_interrupted(executor, dump(&program, executor.settings())).await? {
                Ok(text) => {
                    write(&path, &text)?;
                    return Ok(path);
                }
                Err(reason) => reason,
            }
        }
    };
    tracing::info!(reason, "the schema snapshot is written from the catalog");
    let mut text = format!(
        "-- Indexes and constraints of database {}, from the catalog: {reason}.\n",
        executor.server.database
    );
    let rows = catalog::rows(
        executor.client(),
        "reading the definitions of indexes",
        "SELECT pg_catalog.pg_get_indexdef(i.indexrelid) AS ddl, NOT i.indisvalid AS invalid,
                (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(x.conname) || ' '
                          || pg_catalog.pg_get_constraintdef(x.oid), '; ')
                 FROM pg_catalog.pg_constraint x
                 WHERE x.conindid = i.indexrelid AND x.conrelid = i.indrelid) AS constraints
         FROM pg_catalog.pg_index i
         JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
         ORDER BY n.nspname, c.relname",
        &[],
    )
    .await?;
    for row in &rows {
        // Writing to a String does not fail.
        let _ = write!(text, "{};", column::<String>(row, "ddl")?);
        if column::<bool>(row, "invalid")? {
            text.push_str(" -- INVALID");
        }
        if let Some(constraints) = column::<Option<String>>(row, "constraints")? {
            let _ = write!(text, " -- of constraint {}", constraints.replace('\n', " "));
        }
        text.push('\n');
    }
    write(&path, text.as_bytes())?;
    Ok(path)
}

/// The interrupt ends pg_dump too, which may take long on a large schema.
async fn unless_interrupted<T>(
    executor: &Executor<'_>,
    work: impl Future<Output = T>,
) -> Result<T, ChangeError> {
    tokio::pin!(work);
    loop {
        tokio::select! {
            result = &mut work => return Ok(result),
            () = tokio::time::sleep(LOOK) => {
                if executor.options.interrupt.requested() {
                    return Err(ChangeError::Interrupt);
                }
            }
        }
    }
}

/// The settings in force that are no defaults, and the entries of postgresql.auto.conf where they may be read.
async fn configuration(executor: &Executor<'_>, directory: &Path) -> Result<PathBuf, ChangeError> {
    let client = executor.client();
    let mut text = String::from(
        "-- Settings in force that are not the default's, and where each comes from.\n",
    );
    let rows = catalog::rows(
        client,
        "reading the settings in force",
        "SELECT name, pg_catalog.current_setting(name) AS value, source FROM pg_catalog.pg_settings
         WHERE source NOT IN ('default', 'override', 'client', 'session') ORDER BY name",
        &[],
    )
    .await?;
    for row in &rows {
        let value = column::<Option<String>>(row, "value")?.unwrap_or_default();
        let _ = writeln!(
            text,
            "-- {} = {} ({})",
            column::<String>(row, "name")?,
            quote_literal(&value).replace('\n', " "),
            column::<String>(row, "source")?
        );
    }
    match set_parameter::auto_conf(client, &executor.server).await {
        Ok(entries) => {
            text.push_str("-- postgresql.auto.conf, in its order:\n");
            for (name, setting) in entries {
                let _ = writeln!(text, "{};", set_parameter::set_statement(&name, &setting));
            }
        }
        // Changes of parameters need the right and say so; others don't.
        Err(error) => {
            let _ = writeln!(text, "-- postgresql.auto.conf could not be read: {error}");
        }
    }
    let path = directory.join("configuration.sql");
    write(&path, text.as_bytes())?;
    Ok(path)
}

/// PgBouncer's configuration file, what it includes, and its userlist, as far as they can be read here.
fn pooler(access: &PoolerAccess, directory: &Path) -> Vec<PathBuf> {
    let mut files = vec![access.ini.clone()];
    // Relative paths are PgBouncer's; a service's working directory is the root.
    if let Ok(ini) = Ini::read(&access.ini, Path::new("/")) {
        files.extend(ini.includes());
        files.extend(ini.get("auth_file").map(|path| Path::new("/").join(path)));
    }
    files.iter().filter_map(|file| copy(file, directory)).collect()
}

/// Copies a file that can be read; what holds secrets is no reason to leave it out, nor to let others read it.
fn copy(file: &Path, directory: &Path) -> Option<PathBuf> {
    let content = std::fs::read(file).ok()?;
    let path = directory.join(file.file_name()?);
    match write(&path, &content) {
        Ok(()) => Some(path),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "not backed up");
            None
        }
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), ChangeError> {
    let failed = |source| ChangeError::file("writing", path, source);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// A pg_dump that is not older than the server: as given, else of PATH, else of the usual directories.
async fn find_pg_dump(given: Option<&Path>, server_major: i32) -> Option<PathBuf> {
    let candidates = match given {
        Some(program) => vec![program.to_path_buf()],
        None => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
            for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
                let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
                let named =
                    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
                directories.extend(named.map(|entry| entry.path().join("bin")));
            }
            directories.into_iter().map(|directory| directory.join("pg_dump")).collect()
        }
    };
    for program in candidates.into_iter().filter(|program| program.is_file()) {
        if major_version(&program).await.is_some_and(|major| major >= server_major) {
            return Some(program);
        }
    }
    None
}

/// From `pg_dump (PostgreSQL) 15.18 (Debian …)`.
async fn major_version(program: &Path) -> Option<i32> {
    let output = Command::new(program).arg("--version").output().await.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let number =
        text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Runs pg_dump; how to connect is passed in its environment, which only its own user can read.
async fn dump(program: &Path, settings: &ConnectionSettings) -> Result<Vec<u8>, String> {
    let mut command = Command::new(program);
    command.args(["--schema-only", "--no-password"]);
    command.arg(format!("--lock-wait-timeout={LOCK_WAIT_MS}"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    match &settings.host {
        Host::Tcp(host) => command.env("PGHOST", host),
        Host::Unix(directory) => command.env("PGHOST", directory),
    };
    command
        .env("PGPORT", settings.port.to_string())
        .env("PGUSER", &settings.user)
        .env("PGDATABASE", &settings.database)
        .env("PGAPPNAME", "pgassay")
        .env("PGCONNECT_TIMEOUT", settings.connect_timeout.as_secs().max(1).to_string())
        .env("PGSSLMODE", ssl_mode(settings.ssl_mode))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(password) = &settings.password {
        command.env("PGPASSWORD", password.expose());
    }
    if let Some(file) = &settings.ssl_root_cert {
        command.env("PGSSLROOTCERT", file);
    }
    if let Some(options) = &settings.options {
        command.env("PGOPTIONS", options);
    }
    let output = command
        .output()
        .await
        .map_err(|error| format!("{} could not be started: {error}", program.display()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{} failed: {}", program.display(), complaint.trim().replace('\n', " ")))
}

/// As libpq writes it.
fn ssl_mode(mode: SslMode) -> &'static str {
    match mode {
        SslMode::Disable => "disable",
        SslMode::Allow => "allow",
        SslMode::Prefer => "prefer",
        SslMode::Require => "require",
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull => "verify-full",
    }
}
