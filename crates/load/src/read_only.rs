//! Sessions that can't write, for a load that must not.
//!
//! Start-up options reach the server on a direct connection. A pooler refuses them or drops them (PgBouncer's
//! `ignore_startup_parameters`), and a SET would reach sessions of the application, so none is sent: requests are then
//! wrapped into read-only transactions (`Requests::guard`).

use crate::LoadError;
use crate::connection::{ConnectionError, Dialer, Patience, Reading};
use crate::encode::{self, Frame};
use bytes::BytesMut;
use pgassay_model::connection::ConnectionSettings;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A parameter that only our start-up sets: reading it back tells whether that reached the backend that answers.
const TAG: &str = "pgassay.load";

/// Opens read-only sessions on `target`; None where their start-up does not reach the server.
pub(crate) fn dialer(
    target: &ConnectionSettings,
    poll: Duration,
) -> Result<Option<Dialer>, LoadError> {
    let tag = format!("{:016x}", rand::random::<u64>());
    let own = format!("-c default_transaction_read_only=on -c {TAG}={tag}");
    let options = match &target.options {
        Some(given) => format!("{given} {own}"),
        None => own,
    };
    let dialer =
        Dialer::new(&ConnectionSettings { options: Some(options), ..target.clone() }, poll)?;
    let patient = AtomicBool::new(false);
    let patience = || Patience::new(&patient, dialer.timeout());
    let mut connection = match dialer.open(patience()) {
        Ok((connection, _)) => connection,
        // Of these options or not: without them the load's own connections will tell.
        Err(ConnectionError::Server(_)) => return Ok(None),
        Err(error) => return Err(LoadError::opening(target.to_string(), &error)),
    };
    let sql = format!(
        "SELECT pg_catalog.current_setting('default_transaction_read_only'), \
         pg_catalog.current_setting('{TAG}', true) /* pgassay */"
    );
    let mut outbox = BytesMut::new();
    encode::query(&sql, Frame::default(), &mut outbox);
    let mut reading = Reading::with_row();
    let answered = connection.ask(&outbox, &mut reading, patience()).is_ok();
    connection.close(patience());
    let values = reading.rows.filter(|_| answered).unwrap_or_default().values;
    let in_force = values == [Some("on".to_owned()), Some(tag)];
    Ok(in_force.then_some(dialer))
}
