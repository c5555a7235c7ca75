//! The throw-away server that a shadow lives on.

use crate::ShadowError;
use crate::blueprint::Database;
use pgassay_model::connection::ConnectionSettings;
use pgassay_postgres::{Session, SessionOptions};
use pgassay_sql::{quote_identifier, quote_literal};
use pgassay_testkit::{Postgres, PostgresOptions, find_postgres_major};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = "pgassay-shadow-";
const DATABASE: &str = "shadow";

/// A running server with one database, removed when dropped; one whose process was killed is removed by the
/// watcher that the server has beside it, and what that leaves by the next one.
#[derive(Debug)]
pub(crate) struct Server {
    postgres: Postgres,
    // Dropped last, after the server in it has stopped.
    _directory: tempfile::TempDir,
}

impl Server {
    /// Starts one of `major` version. Blocks.
    pub(crate) fn start(bin: Option<&Path>, major: u32) -> Result<Server, ShadowError> {
        let installation =
            find_postgres_major(bin, major).ok_or(ShadowError::NoServer { major })?;
        let parent = place();
        remove_left_over(&parent);
        let directory = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .tempdir_in(&parent)
            .map_err(ShadowError::file(&parent))?;
        let on = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut settings = vec![
            on("listen_addresses", "''"),
            // Its socket trusts whom it lets in.
            on("unix_socket_permissions", "0700"),
            on("autovacuum", "off"),
            on("allow_system_table_mods", "on"),
            // An index made and used only by what commits with it is on disk at the commit, not in the WAL.
            on("wal_level", "minimal"),
            on("max_wal_senders", "0"),
            on("wal_skip_threshold", "0"),
            on("shared_buffers", "'64MB'"),
            on("max_locks_per_transaction", "1024"),
            on("checkpoint_timeout", "'1d'"),
            on("max_wal_size", "'16GB'"),
            on("track_counts", "off"),
            on("track_activities", "off"),
            on("huge_pages", "off"),
            on("log_min_messages", "fatal"),
            on("log_min_error_statement", "panic"),
        ];
        if major >= 18 {
            settings.push(on("io_method", "sync"));
        }
        let postgres = Postgres::start(PostgresOptions {
            bin_dir: Some(installation.bin_dir),
            settings,
            durable: false,
            directory: Some(directory.path().to_path_buf()),
            stop_with_process: true,
        })?;
        Ok(Server { postgres, _directory: directory })
    }

    /// Creates the database as the source's, or with the nearest collation there is; then says so.
    pub(crate) async fn create_database(
        &self,
        like: &Database,
    ) -> Result<Option<String>, ShadowError> {
        let session = self.connect("postgres").await?;
        let collations = if like.provider == "c" {
            format!(
                " LC_COLLATE {} LC_CTYPE {}",
                quote_literal(&like.collate),
                quote_literal(&like.ctype)
            )
        } else {
            let provider = if like.provider == "i" { "icu" } else { "builtin" };
            let name = if like.provider == "i" { "ICU_LOCALE" } else { "BUILTIN_LOCALE" };
            format!(
                " LOCALE_PROVIDER {provider} {name} {} LC_COLLATE {} LC_CTYPE {}",
                quote_literal(like.locale.as_deref().unwrap_or_default()),
                quote_literal(&like.collate),
                quote_literal(&like.ctype),
            )
        };
        let create = |collations: &str| {
            format!(
                "CREATE DATABASE {DATABASE} TEMPLATE template0 ENCODING {}{collations} /* pgassay */",
                quote_literal(&like.encoding)
            )
        };
        let refused = match session.client().batch_execute(&create(&collations)).await {
            Ok(()) => return Ok(None),
            Err(error) => error,
        };
        let message = refused
            .as_db_error()
            .map_or_else(|| refused.to_string(), |error| error.message().to_owned());
        let is_c = matches!(like.collate.as_str(), "C" | "POSIX");
        if !is_c && session.client().batch_execute(&create("")).await.is_ok() {
            return Ok(Some(format!(
                "the collation {} is not to be had here ({message}); ranges of text are estimated in another order",
                like.locale.as_deref().unwrap_or(&like.collate)
            )));
        }
        Err(ShadowError::Locale {
            encoding: like.encoding.clone(),
            collation: like.collate.clone(),
            message,
        })
    }

    /// Puts the source's parameters in force for every session that comes; returns those that are refused.
    pub(crate) async fn set(
        &self,
        settings: &[(String, String)],
    ) -> Result<Vec<String>, ShadowError> {
        let session = self.connect("postgres").await?;
        let mut refused = Vec::new();
        for (name, value) in settings {
            // A list of identifiers as one literal would be one identifier.
            let value = if name == "search_path" { value.clone() } else { quote_literal(value) };
            let sql = format!(
                "ALTER DATABASE {DATABASE} SET {} TO {value} /* pgassay */",
                quote_identifier(name)
            );
            if let Err(error) = session.client().batch_execute(&sql).await {
                if error.as_db_error().is_none() {
                    return Err(ShadowError::Unexpected {
                        doing: "setting parameters",
                        message: error.to_string(),
                    });
                }
                refused.push(name.clone());
            }
        }
        Ok(refused)
    }

    /// A session on the shadow's database.
    pub(crate) async fn session(&self) -> Result<Session, ShadowError> {
        self.connect(DATABASE).await
    }

    async fn connect(&self, database: &str) -> Result<Session, ShadowError> {
        let directory = self.postgres.socket_directory().to_path_buf();
        let settings =
            ConnectionSettings::local(directory, self.postgres.port(), "postgres", database);
        let options = SessionOptions {
            read_only: false,
            statement_timeout: Duration::from_secs(60),
            lock_timeout: Duration::from_secs(10),
            idle_in_transaction_timeout: Duration::ZERO,
        };
        Ok(Session::connect(&settings, options).await?)
    }

    /// The data directory.
    pub(crate) fn data_directory(&self) -> PathBuf {
        self.postgres.data_directory()
    }
}

/// TMPDIR, unless a socket's path in it would be longer than the 107 bytes that one may have.
fn place() -> PathBuf {
    let temporary = std::env::temp_dir();
    if temporary.as_os_str().len() <= 50 { temporary } else { PathBuf::from("/tmp") }
}

/// Removes directories of processes that are gone, unless a server still runs in one.
fn remove_left_over(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_string_lossy()
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let Some(process) = process else { continue };
        let is_gone = |id: u32| !Path::new(&format!("/proc/{id}")).exists();
        if !Path::new("/proc/self").exists() || !is_gone(process) {
            continue;
        }
        let lock =
            std::fs::read_to_string(entry.path().join("data/postmaster.pid")).unwrap_or_default();
        let postmaster = lock.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
        if postmaster.is_none_or(is_gone) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
