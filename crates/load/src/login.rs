//! Logging in: trust, clear text, MD5 and SCRAM-SHA-256, from the start-up message to ReadyForQuery.

use crate::wire::{ConnectionError, Patience, Wire, server_error};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use pgassay_model::connection::ConnectionSettings;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;
use std::io;

/// Process id and secret by which a running statement can be cancelled.
#[derive(Clone, Copy)]
pub(crate) struct CancelKey {
    pub(crate) process_id: i32,
    pub(crate) secret: i32,
}

impl std::fmt::Debug for CancelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelKey({}, ********)", self.process_id)
    }
}

fn encoding(error: io::Error) -> ConnectionError {
    ConnectionError::Login(format!("the log-in cannot be encoded: {error}"))
}

/// The start-up message of these settings.
pub(crate) fn startup(settings: &ConnectionSettings) -> Result<BytesMut, ConnectionError> {
    let mut parameters = vec![
        ("user", settings.user.as_str()),
        ("database", settings.database.as_str()),
        ("client_encoding", "UTF8"),
        ("application_name", "pgassay load"),
    ];
    if let Some(options) = &settings.options {
        parameters.push(("options", options));
    }
    let mut bytes = BytesMut::new();
    frontend::startup_message(parameters, &mut bytes).map_err(encoding)?;
    Ok(bytes)
}

/// Logs in on a fresh stream and waits until the server takes statements.
pub(crate) fn log_in(
    wire: &mut Wire,
    startup: &[u8],
    settings: &ConnectionSettings,
    patience: Patience<'_>,
) -> Result<Option<CancelKey>, ConnectionError> {
    wire.send(startup, patience)?;
    let mut key = None;
    loop {
        match wire.message(patience)? {
            Message::AuthenticationOk => {}
            Message::AuthenticationCleartextPassword => {
                send_password(wire, password(settings)?.as_bytes(), patience)?;
            }
            Message::AuthenticationMd5Password(body) => {
                let hash =
                    md5_hash(settings.user.as_bytes(), password(settings)?.as_bytes(), body.salt());
                send_password(wire, hash.as_bytes(), patience)?;
            }
            Message::AuthenticationSasl(body) => scram(wire, &body, password(settings)?, patience)?,
            Message::BackendKeyData(body) => {
                key = Some(CancelKey { process_id: body.process_id(), secret: body.secret_key() });
            }
            Message::ReadyForQuery(_) => return Ok(key),
            Message::ErrorResponse(body) => {
                return Err(ConnectionError::Server(server_error(&body)));
            }
            Message::ParameterStatus(_) | Message::NoticeResponse(_) => {}
            Message::AuthenticationGss
            | Message::AuthenticationSspi
            | Message::AuthenticationKerberosV5
            | Message::AuthenticationScmCredential => {
                return Err(ConnectionError::Login(
                    "the server asks for GSSAPI, SSPI or Kerberos; trust, password, md5, scram-sha-256 \
                     and cert are supported"
                        .into(),
                ));
            }
            _ => {
                return Err(ConnectionError::Protocol(
                    "an unexpected message during log-in".into(),
                ));
            }
        }
    }
}

fn password(settings: &ConnectionSettings) -> Result<&str, ConnectionError> {
    settings.password.as_ref().map(|secret| secret.expose()).ok_or_else(|| {
        ConnectionError::Login("the server asks for a password and none was given".into())
    })
}

fn send_password(
    wire: &mut Wire,
    password: &[u8],
    patience: Patience<'_>,
) -> Result<(), ConnectionError> {
    let mut bytes = BytesMut::new();
    frontend::password_message(password, &mut bytes).map_err(encoding)?;
    wire.send(&bytes, patience)
}

/// SCRAM-SHA-256 (RFC 7677) without channel binding, which is optional for the client.
fn scram(
    wire: &mut Wire,
    body: &AuthenticationSaslBody,
    password: &str,
    patience: Patience<'_>,
) -> Result<(), ConnectionError> {
    let offered =
        body.mechanisms().any(|mechanism| Ok(mechanism == SCRAM_SHA_256)).unwrap_or(false);
    if !offered {
        return Err(ConnectionError::Login("the server does not offer SCRAM-SHA-256".into()));
    }
    let refused =
        |error: io::Error| ConnectionError::Login(format!("SCRAM-SHA-256 failed: {error}"));
    let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
    let mut bytes = BytesMut::new();
    frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut bytes)
        .map_err(encoding)?;
    wire.send(&bytes, patience)?;
    match wire.message(patience)? {
        Message::AuthenticationSaslContinue(body) => scram.update(body.data()).map_err(refused)?,
        Message::ErrorResponse(body) => return Err(ConnectionError::Server(server_error(&body))),
        _ => return Err(ConnectionError::Protocol("an unexpected message during SCRAM".into())),
    }
    bytes.clear();
    frontend::sasl_response(scram.message(), &mut bytes).map_err(encoding)?;
    wire.send(&bytes, patience)?;
    match wire.message(patience)? {
        Message::AuthenticationSaslFinal(body) => scram.finish(body.data()).map_err(refused),
        Message::ErrorResponse(body) => Err(ConnectionError::Server(server_error(&body))),
        _ => Err(ConnectionError::Protocol("an unexpected message during SCRAM".into())),
    }
}
