//! A copy of a server's files by pg_basebackup: the whole server as it is on disk, bloat and order of rows included.

use crate::copies::client_program::{self, pointed_at};
use crate::copies::space::{self, Needed};
use crate::failure::{Failure, chain};
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_postgres::Session;
use std::path::{Path, PathBuf};
use tokio_postgres::types::Type;

/// What a base backup starts from.
pub struct BaseBackup {
    /// pg_basebackup of the server's own major version, or a later one.
    program: PathBuf,
}

impl BaseBackup {
    /// Whether a base backup of the server behind `session` can be made into `place`; else why not. Asks, and
    /// writes nothing.
    pub async fn possible(
        session: &Session,
        snapshot: &Snapshot,
        bin: &Path,
        place: &Path,
        copies: u64,
    ) -> Result<Result<BaseBackup, String>, Failure> {
        let major = snapshot.server.version_num / 10_000;
        let Some(programs) = client_program::find(&["pg_basebackup"], major, bin) else {
            return Ok(Err(format!(
                "there is no pg_basebackup of PostgreSQL {major} or later here"
            )));
        };
        match tablespaces(session).await {
            Ok(names) if names.is_empty() => {}
            // Their files would be written to the same paths of this machine, where the server's own may lie, and
            // both copies would share them.
            Ok(names) => {
                return Ok(Err(format!("the server has tablespaces ({})", names.join(", "))));
            }
            Err(why) => return Ok(Err(why)),
        }
        let size = match whole_size(session).await {
            Ok(size) => size,
            Err(why) => return Ok(Err(why)),
        };
        let needed = Needed::new(size, snapshot, copies);
        if let Some(too_much) = needed.beyond(space::free(place)?, place) {
            return Ok(Err(format!("of the whole server, {too_much}")));
        }
        Ok(Ok(BaseBackup { program: programs.join("pg_basebackup") }))
    }

    /// Makes it into `data`; else says why it could not be made.
    pub fn make(
        &self,
        server: &ConnectionSettings,
        data: &Path,
        interrupt: &Interrupt,
    ) -> Result<Result<(), String>, Failure> {
        let mut command = pointed_at(&self.program, server, &server.database);
        command
            .arg("--pgdata")
            .arg(data)
            .args(["--wal-method=stream", "--checkpoint=fast", "--no-sync", "--no-password"])
            // A physical replication connection has no database.
            .env_remove("PGDATABASE");
        let ended = client_program::run(&mut command, interrupt)?;
        Ok(if ended.well {
            Ok(())
        } else {
            Err(format!("pg_basebackup failed: {}", ended.last_words()))
        })
    }
}

/// What to say of unlogged relations: a base backup has them empty (manual, "pg_basebackup").
pub async fn unlogged(session: &Session) -> Option<String> {
    let rows = rows(
        session,
        "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
         FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         WHERE c.relpersistence = 'u' AND c.relkind = 'r' ORDER BY 1 /* pgassay */",
    )
    .await
    .ok()?;
    let names: Vec<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
    (!names.is_empty())
        .then(|| format!("these unlogged relations are empty in the copies: {}", names.join(", ")))
}

/// Tablespaces beside the two that every server has.
async fn tablespaces(session: &Session) -> Result<Vec<String>, String> {
    let rows = rows(
        session,
        "SELECT spcname::pg_catalog.text FROM pg_catalog.pg_tablespace
         WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY 1 /* pgassay */",
    )
    .await?;
    rows.iter().map(|row| row.try_get(0).map_err(|error| error.to_string())).collect()
}

/// The size of all databases.
async fn whole_size(session: &Session) -> Result<Bytes, String> {
    let rows = rows(
        session,
        "SELECT pg_catalog.sum(pg_catalog.pg_database_size(oid))::pg_catalog.int8
         FROM pg_catalog.pg_database /* pgassay */",
    )
    .await
    .map_err(|error| {
        format!("the size of the whole server is not known (GRANT pg_read_all_stats TO this role shows it): {error}")
    })?;
    let size: Option<i64> = rows.first().and_then(|row| row.try_get(0).ok());
    size.and_then(|size| u64::try_from(size).ok())
        .map(Bytes)
        .ok_or_else(|| "the size of the whole server is not known".to_owned())
}

async fn rows(session: &Session, sql: &str) -> Result<Vec<tokio_postgres::Row>, String> {
    let none: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)] = &[];
    let reading =
        session.read("looking at what a copy would hold").await.map_err(|error| chain(&error))?;
    let rows = reading.rows(sql, none).await.map_err(|error| chain(&error))?;
    reading.end().await.map_err(|error| chain(&error))?;
    Ok(rows)
}
