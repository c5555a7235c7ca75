//! Prepared statements: made ready on each connection, and whether the way to the server keeps them.
//!
//! A pooler that gives a client another server connection for every transaction loses them, unless it tracks
//! them (PgBouncer from 1.21 with max_prepared_statements above 0).

use crate::LoadError;
use crate::connection::{Connection, ConnectionError, Dialer, Patience};
use crate::encode;
use crate::requests::Requests;
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How long the other connection of the check may wait: in session mode with a pool of one it gets no server.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether an SQLSTATE says that a prepared statement is missing or somebody else's: 26000
/// invalid_sql_statement_name, 42P05 duplicate_prepared_statement.
pub(crate) fn lost(sqlstate: &str) -> bool {
    matches!(sqlstate, "26000" | "42P05")
}

/// Prepares all statements on a connection. One that the server refuses is refused again, and counted, with
/// each of its requests; an error that says that prepared statements don't work here is returned.
pub(crate) fn prepare(
    connection: &mut Connection,
    requests: &Requests,
    outbox: &mut BytesMut,
    patience: Patience<'_>,
) -> Result<(), ConnectionError> {
    for statement in 0..requests.len() {
        requests.write_parse(statement, outbox);
        match connection.request(outbox, patience)? {
            None => connection.learn(statement),
            Some(refusal) if lost(&refusal.sqlstate) => {
                return Err(ConnectionError::Server(refusal));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Prepares a statement on one connection and asks for it on another: it must not be there. Nothing is left
/// behind.
pub(crate) fn check(dialer: &Dialer, target: &str) -> Result<(), LoadError> {
    let patient = AtomicBool::new(false);
    let opening = || Patience::new(&patient, dialer.timeout());
    let failed = |error: &ConnectionError| LoadError::opening(target.to_owned(), error);
    let (mut first, _) = dialer.open(opening()).map_err(|error| failed(&error))?;
    let (mut second, _) = dialer.open(opening()).map_err(|error| failed(&error))?;
    let name = format!("pgassay_check_{}", std::process::id());
    let mut bytes = BytesMut::new();
    // None of these texts holds a zero byte, so none can fail.
    let _ = frontend::parse(&name, "SELECT 1 /* pgassay */", std::iter::empty(), &mut bytes);
    frontend::sync(&mut bytes);
    let patience = Patience::new(&patient, dialer.timeout());
    let prepared = first.request(&bytes, patience).map_err(|error| failed(&error))?;

    bytes.clear();
    let _ = encode::bind(&name, &[], &mut bytes);
    frontend::sync(&mut bytes);
    let short = Patience::new(&patient, Some(PATIENCE));
    // An error is what is expected: of the server, or of a pooler that knows its clients' statements.
    let seen_by_another = matches!(second.request(&bytes, short), Ok(None));

    bytes.clear();
    let _ = frontend::close(b'S', &name, &mut bytes);
    frontend::sync(&mut bytes);
    // Only tidiness: a connection that is gone has taken its statement along.
    let _ = first.request(&bytes, patience);
    first.close(patience);
    second.close(patience);
    match prepared {
        Some(refusal) if lost(&refusal.sqlstate) => {
            Err(LoadError::Prepared { reason: refusal.to_string() })
        }
        _ if seen_by_another => Err(LoadError::Prepared {
            reason: "a statement prepared on one connection was there on another".into(),
        }),
        _ => Ok(()),
    }
}
