//! Opening a connection step by step, each step timed, and sending requests on it.

use crate::LoadError;
use crate::login::{CancelKey, log_in, startup};
use crate::wire::{Transport, Wire, is_timeout};
use bytes::BytesMut;
use pgassay_model::connection::{ConnectionSettings, Host, SslMode};
use postgres_protocol::message::frontend;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use crate::wire::{ConnectionError, LastRow, Patience, Reading, Ready, ServerError};

/// How often a waiting client looks whether it should give up.
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// How long sending a cancel request may take: it is a courtesy to the server.
const CANCEL: Duration = Duration::from_millis(300);

/// What each step of opening a connection took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Opening {
    /// Resolving the name and opening the socket.
    pub(crate) connect: Duration,
    /// From the request for TLS to the end of its handshake, or to the answer that there is none.
    pub(crate) tls: Duration,
    /// From the start-up message to the first ReadyForQuery.
    pub(crate) auth: Duration,
}

/// Opens connections to one target.
#[derive(Debug)]
pub(crate) struct Dialer {
    settings: ConnectionSettings,
    startup: BytesMut,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    poll: Duration,
}

impl Dialer {
    /// Resolves what is the same for every connection. `poll`: how often waiting is interrupted.
    pub(crate) fn new(settings: &ConnectionSettings, poll: Duration) -> Result<Self, LoadError> {
        let target = || settings.to_string();
        // libpq, too, leaves TLS out on a Unix-domain socket.
        let tls = match (&settings.host, settings.ssl_mode) {
            (Host::Unix(_), _) | (_, SslMode::Disable) => None,
            (Host::Tcp(_), _) => {
                let failed = |error: pgassay_postgres::PostgresError| LoadError::Tls {
                    target: target(),
                    reason: error.to_string(),
                };
                let mut config = pgassay_postgres::tls::client_config(settings)
                    .map_err(failed)?
                    .as_ref()
                    .clone();
                // A resumed session costs less than what an application's new connection costs: libpq does
                // not resume, and PostgreSQL issues no tickets.
                config.resumption = Resumption::disabled();
                let name = pgassay_postgres::tls::server_name(settings).map_err(failed)?;
                Some((Arc::new(config), name))
            }
        };
        let startup = startup(settings).map_err(|error| LoadError::opening(target(), &error))?;
        Ok(Dialer { settings: settings.clone(), startup, tls, poll })
    }

    /// How long opening may take, as [`Patience`] wants it.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        Some(self.settings.connect_timeout).filter(|timeout| !timeout.is_zero())
    }

    /// How often waiting is interrupted.
    pub(crate) fn poll(&self) -> Duration {
        self.poll
    }

    /// Opens a connection and logs in.
    pub(crate) fn open(
        &self,
        patience: Patience<'_>,
    ) -> Result<(Connection, Opening), ConnectionError> {
        let mut opening = Opening::default();
        let begin = Instant::now();
        let mut transport = self.connect()?;
        let connected = Instant::now();
        opening.connect = connected - begin;
        if let (Transport::Tcp(stream), Some((config, name))) = (&mut transport, &self.tls) {
            if self.request_tls(stream, patience)? {
                transport = handshake(transport, config, name, patience)?;
            }
            opening.tls = connected.elapsed();
        }
        let begin = Instant::now();
        let mut wire = Wire::new(transport);
        let key = log_in(&mut wire, &self.startup, &self.settings, patience)?;
        opening.auth = begin.elapsed();
        Ok((Connection { wire, key, prepared: Vec::new() }, opening))
    }

    fn connect(&self) -> Result<Transport, ConnectionError> {
        let failed = |source| ConnectionError::Io { doing: "connecting", source };
        match &self.settings.host {
            Host::Tcp(host) => {
                let stream = self.connect_tcp(host, self.timeout()).map_err(failed)?;
                stream.set_nodelay(true).map_err(failed)?;
                stream.set_read_timeout(Some(self.poll)).map_err(failed)?;
                stream.set_write_timeout(Some(self.poll)).map_err(failed)?;
                Ok(Transport::Tcp(stream))
            }
            Host::Unix(directory) => {
                let path = directory.join(format!(".s.PGSQL.{}", self.settings.port));
                let stream = UnixStream::connect(path).map_err(failed)?;
                stream.set_read_timeout(Some(self.poll)).map_err(failed)?;
                stream.set_write_timeout(Some(self.poll)).map_err(failed)?;
                Ok(Transport::Unix(stream))
            }
        }
    }

    /// Tries every address of the name, as libpq does.
    fn connect_tcp(&self, host: &str, timeout: Option<Duration>) -> io::Result<TcpStream> {
        let mut last = None;
        for address in (host, self.settings.port).to_socket_addrs()? {
            let attempt = match timeout {
                Some(timeout) => TcpStream::connect_timeout(&address, timeout),
                None => TcpStream::connect(address),
            };
            match attempt {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(error),
            }
        }
        Err(last
            .unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address")))
    }

    /// Asks for TLS; whether the server has it. Anything sent before the handshake is left unread, so that
    /// nobody on the way can slip bytes into the encrypted stream.
    fn request_tls(
        &self,
        stream: &mut TcpStream,
        patience: Patience<'_>,
    ) -> Result<bool, ConnectionError> {
        let failed = |source| ConnectionError::Io { doing: "asking for TLS", source };
        let mut bytes = BytesMut::new();
        frontend::ssl_request(&mut bytes);
        stream.write_all(&bytes).map_err(failed)?;
        let mut answer = [0u8];
        loop {
            match stream.read(&mut answer) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(_) => break,
                Err(error) if is_timeout(&error) => patience.check()?,
                Err(error) => return Err(failed(error)),
            }
        }
        let required = matches!(
            self.settings.ssl_mode,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull
        );
        match answer {
            [b'S'] => Ok(true),
            [b'N'] if required => {
                Err(ConnectionError::Tls("the server has none, and sslmode asks for it".into()))
            }
            [b'N'] => Ok(false),
            _ => {
                Err(ConnectionError::Protocol("an unexpected answer to the request for TLS".into()))
            }
        }
    }

    /// Asks the server to cancel what a connection is doing; best effort, since a client that only goes away
    /// leaves its statement running.
    pub(crate) fn cancel(&self, key: CancelKey) {
        let mut bytes = BytesMut::new();
        frontend::cancel_request(key.process_id, key.secret, &mut bytes);
        let sent = match &self.settings.host {
            Host::Tcp(host) => self.connect_tcp(host, Some(CANCEL)).and_then(|mut stream| {
                stream.set_write_timeout(Some(CANCEL))?;
                stream.set_read_timeout(Some(CANCEL))?;
                stream.write_all(&bytes)?;
                stream.read(&mut [0]).map(|_| ())
            }),
            Host::Unix(directory) => {
                UnixStream::connect(directory.join(format!(".s.PGSQL.{}", self.settings.port)))
                    .and_then(|mut stream| {
                        stream.set_read_timeout(Some(CANCEL))?;
                        stream.write_all(&bytes)?;
                        stream.read(&mut [0]).map(|_| ())
                    })
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "a cancel request could not be sent");
        }
    }
}

fn handshake(
    transport: Transport,
    config: &Arc<ClientConfig>,
    name: &ServerName<'static>,
    patience: Patience<'_>,
) -> Result<Transport, ConnectionError> {
    let Transport::Tcp(mut stream) = transport else { return Ok(transport) };
    let refused = |error: rustls::Error| ConnectionError::Tls(error.to_string());
    let mut session = ClientConnection::new(Arc::clone(config), name.clone()).map_err(refused)?;
    while session.is_handshaking() {
        match session.complete_io(&mut stream) {
            Ok(_) => {}
            Err(error) if is_timeout(&error) => patience.check()?,
            Err(error) => return Err(ConnectionError::Tls(error.to_string())),
        }
    }
    Ok(Transport::Tls(Box::new(StreamOwned::new(session, stream))))
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    key: Option<CancelKey>,
    /// Numbers of the statements that were prepared on it.
    prepared: Vec<bool>,
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.transport.as_fd()
    }
}

impl Connection {
    /// Sends messages that end in Sync and reads until ReadyForQuery; the server's error, if it sent one.
    /// After an `Err` the connection can't be used any more.
    pub(crate) fn request(
        &mut self,
        messages: &[u8],
        patience: Patience<'_>,
    ) -> Result<Option<ServerError>, ConnectionError> {
        self.ask(messages, &mut Reading::default(), patience).map(|ready| ready.refusal)
    }

    /// As [`Connection::request`], with the session's state after it, and rows where `reading` wants them.
    pub(crate) fn ask(
        &mut self,
        messages: &[u8],
        reading: &mut Reading,
        patience: Patience<'_>,
    ) -> Result<Ready, ConnectionError> {
        self.send(messages, patience)?;
        let ready = self.wire.read_to_end(reading, patience)?;
        self.tidy(ready, patience)
    }

    /// Sends messages that end in Sync, whose answer is then read by [`Connection::read_on`].
    pub(crate) fn send(
        &mut self,
        messages: &[u8],
        patience: Patience<'_>,
    ) -> Result<(), ConnectionError> {
        match self.wire.send(messages, patience) {
            // Its last words may be there to read: why it ended the session.
            Err(ConnectionError::Closed) => {
                Err(self.wire.until_ready(patience).err().unwrap_or(ConnectionError::Closed))
            }
            sent => sent,
        }
    }

    /// Reads what has come, without waiting where the socket is readable; None where more is to come.
    pub(crate) fn read_on(
        &mut self,
        reading: &mut Reading,
        patience: Patience<'_>,
    ) -> Result<Option<Ready>, ConnectionError> {
        match self.wire.read_on(reading, patience)? {
            Some(ready) => self.tidy(ready, patience).map(Some),
            None => Ok(None),
        }
    }

    /// Ends a failed transaction: without this every later request would fail.
    fn tidy(&mut self, ready: Ready, patience: Patience<'_>) -> Result<Ready, ConnectionError> {
        if ready.in_failed_transaction() {
            self.roll_back(patience)?;
        }
        Ok(ready)
    }

    /// Whether a statement was prepared.
    pub(crate) fn knows(&self, statement: usize) -> bool {
        self.prepared.get(statement).copied().unwrap_or(false)
    }

    /// Remembers that a statement was prepared.
    pub(crate) fn learn(&mut self, statement: usize) {
        if self.prepared.len() <= statement {
            self.prepared.resize(statement + 1, false);
        }
        if let Some(known) = self.prepared.get_mut(statement) {
            *known = true;
        }
    }

    /// Ends the transaction that the session is in.
    pub(crate) fn roll_back(&mut self, patience: Patience<'_>) -> Result<(), ConnectionError> {
        let mut bytes = BytesMut::new();
        frontend::query("ROLLBACK /* pgassay */", &mut bytes)
            .map_err(|error| ConnectionError::Protocol(error.to_string()))?;
        self.wire.send(&bytes, patience)?;
        self.wire.until_ready(patience).map(|_| ())
    }

    /// By which its statement can be cancelled.
    pub(crate) fn cancel_key(&self) -> Option<CancelKey> {
        self.key
    }

    /// Says good-bye.
    pub(crate) fn close(mut self, patience: Patience<'_>) {
        self.wire.terminate(patience);
    }

    /// Says good-bye on all and waits for the other side to close: by then an ending backend has published its
    /// statistics, which the caller is about to read.
    pub(crate) fn close_and_wait(mut all: Vec<Connection>, patience: Patience<'_>) {
        for connection in &mut all {
            connection.wire.terminate(patience);
        }
        for connection in &mut all {
            connection.wire.until_closed(patience);
        }
    }
}
