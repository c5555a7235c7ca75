//! The advisory lock that keeps a second pgassay off a database.

use crate::catalog::{self, column};
use crate::error::ChangeError;
use tokio_postgres::Client;

/// Class of the lock, `pgas` in ASCII; the object is 0.
const CLASS: i32 = 0x7067_6173;

/// Takes the lock for as long as the session lasts, or says who holds it.
pub(crate) async fn acquire(client: &Client) -> Result<(), ChangeError> {
    let doing = "taking the advisory lock";
    let taken = catalog::row(
        client,
        doing,
        "SELECT pg_catalog.pg_try_advisory_lock($1, 0) AS taken",
        &[&CLASS],
    )
    .await?
    .map_or(Ok(false), |row| column::<bool>(&row, "taken"))?;
    if taken {
        return Ok(());
    }
    // What a session runs is its own business: only what it is, and since when, is told.
    let holder = catalog::row(
        client,
        doing,
        "SELECT a.pid, coalesce(a.usename::pg_catalog.text, '?') AS user, coalesce(a.application_name, '') AS application,
                coalesce(pg_catalog.host(a.client_addr), 'this host') AS address,
                coalesce(pg_catalog.to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ'), '?') AS since
         FROM pg_catalog.pg_locks l
         JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
         LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
         WHERE l.locktype = 'advisory' AND l.classid = $1::pg_catalog.int4::pg_catalog.oid AND l.objid = 0
           AND l.objsubid = 2 AND l.granted LIMIT 1",
        &[&CLASS],
    )
    .await?;
    let holder = match holder {
        Some(row) => format!(
            "backend {} of user {} ({}) from {}, connected since {}",
            column::<Option<i32>>(&row, "pid")?.unwrap_or_default(),
            column::<String>(&row, "user")?,
            column::<String>(&row, "application")?,
            column::<String>(&row, "address")?,
            column::<String>(&row, "since")?
        ),
        None => "it has just ended; try again".to_owned(),
    };
    Err(ChangeError::Locked { holder })
}

/// Gives the lock back before the session ends.
pub(crate) async fn release(client: &Client) -> Result<(), ChangeError> {
    catalog::row(
        client,
        "giving the advisory lock back",
        "SELECT pg_catalog.pg_advisory_unlock($1, 0)",
        &[&CLASS],
    )
    .await
    .map(|_| ())
}
