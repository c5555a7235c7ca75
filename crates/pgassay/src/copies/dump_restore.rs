//! A copy of one database by pg_dump, streamed into a throw-away server of the same major version: for servers of
//! which no base backup can be made.

use crate::copies::blocking;
use crate::copies::client_program::{self, interrupted, pointed_at};
use crate::copies::database;
use crate::copies::parameters::CopyParameters;
use crate::copies::roles;
use crate::failure::{Exit, Failure, chain};
use crate::target::{Target, postgres_failure};
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::index::RelationName;
use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::{Session, SessionOptions};
use pgassay_sql::quote_identifier;
use pgassay_testkit::{Postgres, PostgresOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a dumped copy can't show beyond what no copy can.
pub const LIMITS: &str = "the copies were restored from a dump of this one database: rows lie densely and indexes are new, without the server's bloat, dead rows and free space, so reads are cheaper than on the server by what its bloat costs, and what works against bloat or fragmentation shows nothing here; statistics of past use are gone";
/// How long pg_dump waits for its ACCESS SHARE locks. While it waits it holds up nobody but those that want an
/// ACCESS EXCLUSIVE lock.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How many names of relations a note lists.
const NAMED: usize = 10;

/// For the time of loading alone: nothing of it needs to survive a crash, and nothing else is to work meanwhile.
const LOADING: [(&str, &str); 6] = [
    ("autovacuum", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("max_wal_size", "1GB"),
    ("unix_socket_permissions", "0700"),
    ("max_prepared_transactions", "0"),
];

/// pg_dump and pg_restore of one version that can read the server.
pub struct DumpPrograms {
    bin: PathBuf,
    /// From 18 on a dump can carry the planner's statistics (`pg_dump --statistics`).
    statistics: bool,
}

impl DumpPrograms {
    /// Finds them; beside the server's programs in `bin` first.
    pub fn find(major: u32, bin: &Path) -> Option<DumpPrograms> {
        let bin = client_program::find(&["pg_dump", "pg_restore"], major, bin)?;
        // Into older servers statistics can't be restored.
        let statistics = major >= 18 && client_program::takes(&bin.join("pg_dump"), "--statistics");
        Some(DumpPrograms { bin, statistics })
    }
}

/// What is copied, and with what.
pub struct Dumping<'a> {
    /// The server that is copied.
    pub target: &'a Target,
    /// As observed.
    pub snapshot: &'a Snapshot,
    /// A session on it.
    pub session: &'a Session,
    /// Directory of the throw-away server's programs.
    pub server_bin: &'a Path,
    /// What dumps and restores.
    pub programs: &'a DumpPrograms,
}

impl Dumping<'_> {
    /// Makes a data directory in `place`, with the database restored in it and no server running on it. Leaves
    /// out of `parameters` what can't be set on this machine. Returns what the reader must know.
    pub async fn make(
        &self,
        place: &Path,
        parameters: &mut CopyParameters,
    ) -> Result<Vec<String>, Failure> {
        let progress = &self.target.progress;
        let database = &self.snapshot.server.database;
        progress.step("starting a throw-away server for the copy");
        let server = self.fitted_server(place, parameters).await?;
        let mut notes = vec![LIMITS.to_owned()];
        let admin = connect(&server, "postgres").await?;
        notes.extend(roles::copy(self.session, &admin).await?);
        let missing = self.missing_extensions(&admin).await?;
        if !missing.is_empty() {
            notes.push(format!(
                "this machine lacks the extensions {}: what needs them is not in the copies",
                missing.join(", ")
            ));
        }
        drop(admin);

        progress.step(format!(
            "copying the database {database} by pg_dump into pg_restore: meanwhile it holds one snapshot, so that VACUUM \
             can't remove what dies after it, and ACCESS SHARE locks (waited for {} s at most); its rate of reading \
             is not bounded",
            LOCK_WAIT.as_secs()
        ));
        let left_out = self.stream(&server).await?;
        progress.step("gathering statistics and the visibility map of the copy");
        let copied = connect(&server, database).await?;
        notes.extend(left_out);
        self.gather(&server, &copied).await?;
        notes.extend(self.lacking(&copied).await?);
        drop(copied);
        stop(server).await?;
        Ok(notes)
    }

    /// A throw-away server, and `parameters` without what it does not know.
    async fn fitted_server(
        &self,
        place: &Path,
        parameters: &mut CopyParameters,
    ) -> Result<Postgres, Failure> {
        let server = self.start(place, &[]).await?;
        self.fit(&connect(&server, "postgres").await?, parameters).await?;
        let preload = |(name, _): &&(String, String)| name == "shared_preload_libraries";
        let preload: Vec<_> = parameters.lines.iter().filter(preload).cloned().collect();
        if preload.is_empty() {
            return Ok(server);
        }
        // Some extensions can only be created where their library was loaded at start.
        stop(server).await?;
        self.start(place, &preload).await
    }

    async fn start(&self, place: &Path, more: &[(String, String)]) -> Result<Postgres, Failure> {
        let settings: Vec<(String, String)> = LOADING
            .iter()
            .map(|(name, value)| ((*name).to_owned(), format!("'{value}'")))
            .chain(more.iter().cloned())
            .collect();
        let (bin, place) = (self.server_bin.to_path_buf(), place.to_path_buf());
        blocking(move || {
            Postgres::start(PostgresOptions {
                bin_dir: Some(bin),
                settings,
                durable: false,
                directory: Some(place),
                stop_with_process: true,
            })
            .map_err(|error| {
                Failure::new(
                    Exit::Missing,
                    format!("no throw-away server for the copy: {error}"),
                    "set TMPDIR to a directory with room and a short name; or go without copies",
                )
            })
        })
        .await
    }

    /// Leaves out of `parameters` what this machine's server does not know, or does not take.
    async fn fit(&self, admin: &Session, parameters: &mut CopyParameters) -> Result<(), Failure> {
        parameters.without_tablespaces();
        let libraries: Option<String> = admin
            .client()
            .query_opt(
                "SELECT setting FROM pg_catalog.pg_config WHERE name = 'PKGLIBDIR' /* pgassay */",
                &[],
            )
            .await
            .map_err(copy_failure)?
            .and_then(|row| row.try_get(0).ok());
        if let Some(directory) = libraries.map(PathBuf::from) {
            parameters.keep_libraries(|library| library_exists(&directory, library));
        }
        for (name, value) in parameters.lines.clone() {
            let set = format!("SET {} = {value} /* pgassay */", quote_identifier(&name));
            let Err(error) = admin.client().batch_execute(&set).await else { continue };
            let code = error.code().map(|code| code.code()).unwrap_or_default();
            // Undefined object, invalid value. Others say that it takes a reload or a restart: then it is known.
            if matches!(code, "42704" | "22023") {
                parameters.leave_out(
                    &name,
                    &error
                        .as_db_error()
                        .map_or_else(|| error.to_string(), |error| error.message().to_owned()),
                );
            }
        }
        Ok(())
    }

    async fn missing_extensions(&self, admin: &Session) -> Result<Vec<String>, Failure> {
        let rows = admin
            .client()
            .query("SELECT name::pg_catalog.text FROM pg_catalog.pg_available_extensions /* pgassay */", &[])
            .await
            .map_err(copy_failure)?;
        let available = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
        Ok(missing_extensions(&self.snapshot.server.extensions, &available))
    }

    /// Dumps and restores in one stream; returns what could not be restored.
    async fn stream(&self, server: &Postgres) -> Result<Option<String>, Failure> {
        let database = self.snapshot.server.database.clone();
        let admin = connect(server, "template1").await?;
        if database == "postgres" {
            // It is made like the others, with the encoding and locale of the server's.
            let drop = "DROP DATABASE postgres /* pgassay */";
            admin.client().batch_execute(drop).await.map_err(copy_failure)?;
        }
        database::create(self.session, &admin).await?;
        drop(admin);
        let mut dump =
            pointed_at(&self.programs.bin.join("pg_dump"), &self.target.server, &database);
        dump.args(["--format=custom", "--compress=0", "--no-password"])
            .args(["--no-publications", "--no-subscriptions", "--no-security-labels"])
            .arg("--no-tablespaces")
            .arg(format!("--lock-wait-timeout={}", LOCK_WAIT.as_millis()));
        if self.programs.statistics {
            dump.arg("--statistics");
        }
        let to = superuser(server, &database);
        let mut restore = pointed_at(&self.programs.bin.join("pg_restore"), &to, &database);
        restore.args(["--no-password", "--no-tablespaces"]);
        restore.arg(format!("--dbname={}", as_connection_string(&database)));
        let interrupt = self.target.interrupt.clone();
        let (dumped, restored) =
            blocking(move || client_program::pipe(&mut dump, &mut restore, &interrupt)).await?;
        if !dumped.well {
            // Where pg_restore has gone first, pg_dump is only ended by it.
            let why = if dumped.said.trim().is_empty() { &restored } else { &dumped };
            return Err(Failure::new(
                Exit::Missing,
                format!("copying {database} by pg_dump failed: {}", first_error(&why.said)),
                "it takes the right to read every relation (GRANT pg_read_all_data TO this role, from 14); or go without copies",
            ));
        }
        Ok(if restored.well { None } else { left_out(&restored.said) })
    }

    /// A dump brings neither the visibility map nor, before 18, the planner's statistics.
    async fn gather(&self, server: &Postgres, copied: &Session) -> Result<(), Failure> {
        let vacuum = if self.programs.statistics {
            "VACUUM /* pgassay */"
        } else {
            "VACUUM (ANALYZE) /* pgassay */"
        };
        let work = copied.client().batch_execute(vacuum);
        tokio::select! {
            done = work => done.map_err(copy_failure)?,
            () = self.interrupted() => return Err(interrupted()),
        }
        let database = &self.snapshot.server.database;
        if self.programs.statistics && self.programs.bin.join("vacuumdb").is_file() {
            // Statistics that no dump carries, as those of CREATE STATISTICS and of expressions.
            let mut rest = pointed_at(
                &self.programs.bin.join("vacuumdb"),
                &superuser(server, database),
                database,
            );
            rest.args(["--analyze-only", "--missing-stats-only", "--no-password"]);
            let interrupt = self.target.interrupt.clone();
            let ended = blocking(move || client_program::run(&mut rest, &interrupt)).await?;
            if !ended.well {
                let analyze = copied.client().batch_execute("ANALYZE /* pgassay */");
                analyze.await.map_err(copy_failure)?;
            }
        }
        Ok(())
    }

    async fn interrupted(&self) {
        while !self.target.interrupt.requested() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Relations of the server that are not in the copy.
    async fn lacking(&self, copied: &Session) -> Result<Option<String>, Failure> {
        let rows = copied
            .client()
            .query(
                "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text
                 FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace /* pgassay */",
                &[],
            )
            .await
            .map_err(copy_failure)?;
        let there: BTreeSet<(String, String)> = rows
            .iter()
            .filter_map(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?)))
            .collect();
        let wanted = self.snapshot.relations.iter().map(|relation| &relation.name);
        Ok(lacking(wanted, &there))
    }
}

/// Extensions of the server that this machine does not have.
fn missing_extensions(
    installed: &BTreeMap<String, String>,
    available: &BTreeSet<String>,
) -> Vec<String> {
    installed.keys().filter(|name| !available.contains(*name)).cloned().collect()
}

/// What to say of relations that are not in the copy.
fn lacking<'a>(
    wanted: impl Iterator<Item = &'a RelationName>,
    there: &BTreeSet<(String, String)>,
) -> Option<String> {
    let names: Vec<String> = wanted
        .filter(|name| !there.contains(&(name.schema.clone(), name.name.clone())))
        .map(|name| format!("{}.{}", name.schema, name.name))
        .collect();
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!names.is_empty()).then(|| {
        format!(
            "these relations are not in the copies, so statements on them fail there: {shown}{more}"
        )
    })
}

/// What to say of errors of pg_restore, which goes on after them.
fn left_out(said: &str) -> Option<String> {
    // A later pg_restore sets parameters that this server does not know yet, which costs nothing.
    let errors: Vec<&str> = said
        .lines()
        .filter_map(|line| line.split_once("pg_restore: error: "))
        .map(|(_, words)| words)
        .filter(|words| !words.contains("unrecognized configuration parameter"))
        .collect();
    let things = if errors.len() == 1 { "thing" } else { "things" };
    let first = errors.first()?;
    Some(format!("pg_restore left out {} {things}; the first: {first}", errors.len()))
}

/// A database's name as a connection string, since `--dbname` takes one with `=` in it for such (manual, "Connection
/// Strings").
fn as_connection_string(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The first error of a program of PostgreSQL, without the program's name.
fn first_error(said: &str) -> &str {
    said.lines()
        .find_map(|line| line.split_once(": error: "))
        .map_or_else(|| said.trim().lines().next().unwrap_or("it said nothing"), |(_, words)| words)
}

/// Whether a library of shared_preload_libraries is on this machine (manual, "Shared Library Preloading").
fn library_exists(directory: &Path, library: &str) -> bool {
    let named = library.strip_prefix("$libdir/").unwrap_or(library);
    let path = directory.join(named);
    path.is_file()
        || ["so", "dylib"]
            .iter()
            .any(|suffix| path.with_file_name(format!("{}.{suffix}", file_name(named))).is_file())
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// How the throw-away server's superuser gets in, over its socket.
fn superuser(server: &Postgres, database: &str) -> ConnectionSettings {
    let directory = server.socket_directory().to_path_buf();
    ConnectionSettings::local(directory, server.port(), "postgres", database)
}

async fn connect(server: &Postgres, database: &str) -> Result<Session, Failure> {
    let options = SessionOptions {
        read_only: false,
        // VACUUM takes what it takes.
        statement_timeout: Duration::ZERO,
        ..SessionOptions::default()
    };
    Session::connect(&superuser(server, database), options).await.map_err(postgres_failure)
}

async fn stop(server: Postgres) -> Result<(), Failure> {
    blocking(move || {
        server.stop().map_err(|error| {
            let hint = "see that TMPDIR has room; or go without copies";
            Failure::new(Exit::Missing, format!("the copy does not stop: {error}"), hint)
        })
    })
    .await
}

/// A failure of the throw-away server.
pub fn copy_failure(error: tokio_postgres::Error) -> Failure {
    Failure::new(
        Exit::Missing,
        format!("making the copy failed: {}", chain(&error)),
        "see the message; or go without copies",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_that_this_machine_lacks_are_named() {
        let installed = ["plpgsql", "postgis", "hypopg"]
            .map(|name| (name.to_owned(), "1.0".to_owned()))
            .into_iter()
            .collect();
        let available = ["plpgsql", "hypopg", "citext"].map(str::to_owned).into_iter().collect();
        assert_eq!(missing_extensions(&installed, &available), ["postgis"]);
    }

    #[test]
    fn relations_that_could_not_be_restored_are_named() {
        let name = |name: &str| RelationName { schema: "public".into(), name: name.into() };
        let wanted: Vec<RelationName> = (0..12).map(|n| name(&format!("map{n}"))).collect();
        let there = BTreeSet::from([("public".to_owned(), "map0".to_owned())]);
        let said = lacking(wanted.iter(), &there).unwrap_or_default();
        assert!(said.contains("public.map1, ") && !said.contains("public.map0"), "{said}");
        assert!(said.ends_with("and 1 more"), "{said}");
        assert_eq!(lacking(wanted.iter().take(1), &there), None);
    }

    #[test]
    fn the_first_error_is_the_one_that_tells() {
        let said = "pg_restore: while PROCESSING TOC:\npg_restore: error: could not execute query: ERROR:  extension \"postgis\" is not available\nDETAIL: x\npg_restore: error: other\n";
        assert_eq!(
            first_error(said),
            "could not execute query: ERROR:  extension \"postgis\" is not available"
        );
        assert_eq!(first_error(""), "it said nothing");
        let noted = left_out(said).unwrap_or_default();
        assert!(noted.contains("2 things") && noted.contains("postgis"), "{noted}");
        let newer = "pg_restore: error: could not execute query: ERROR:  unrecognized configuration parameter \"transaction_timeout\"\n";
        assert_eq!(left_out(newer), None);
    }

    #[test]
    fn no_name_of_a_database_is_taken_for_a_connection_string() {
        assert_eq!(as_connection_string("shop"), "dbname='shop'");
        assert_eq!(as_connection_string("host=x it's \\"), "dbname='host=x it\\'s \\\\'");
    }
}
