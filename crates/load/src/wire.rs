//! A connection's bytes: socket or TLS, a reused inbox, messages skipped without a copy; knows no log-in.

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{self, Message};
use postgres_protocol::message::frontend;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Room for the answers of most requests; grows for a longer message that has to be read as a whole.
const INBOX: usize = 16 * 1024;
/// The longest message that is read as a whole (log-in, errors); rows are skipped, whatever their size.
const LONGEST_MESSAGE: usize = 1 << 20;

/// What a server says when it refuses something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sqlstate} {message}")]
pub(crate) struct ServerError {
    /// SQLSTATE.
    pub(crate) sqlstate: String,
    /// Primary message, in the server's language; may hold values of the statement.
    pub(crate) message: String,
}

/// Why a connection gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The server answered by an error that ends the connection, or refused the log-in.
    #[error(transparent)]
    Server(ServerError),
    /// We can't log in as the server wants it.
    #[error("{0}")]
    Login(String),
    /// The connection could not be encrypted.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The socket failed.
    #[error("{doing} failed: {source}")]
    Io { doing: &'static str, source: io::Error },
    /// The end of the stream.
    #[error("the server closed the connection")]
    Closed,
    /// The deadline passed.
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The measurement ended first, or was interrupted.
    #[error("no answer before the measurement ended")]
    Abandoned,
    /// Not what the protocol allows.
    #[error("the answer is not PostgreSQL's protocol: {0}")]
    Protocol(String),
}

/// The end of an answer.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The first error that the server sent.
    pub(crate) refusal: Option<ServerError>,
    /// Whether the session is in a transaction that has failed.
    pub(crate) in_failed_transaction: bool,
}

/// How long to wait for an answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience<'a> {
    abandon: &'a AtomicBool,
    limit: Option<(Instant, Duration)>,
}

impl<'a> Patience<'a> {
    /// Until `abandon` is set, or `limit` from now has passed; checked whenever the socket's timeout passes.
    pub(crate) fn new(abandon: &'a AtomicBool, limit: Option<Duration>) -> Self {
        let limit = limit.filter(|limit| !limit.is_zero());
        Patience { abandon, limit: limit.map(|limit| (Instant::now() + limit, limit)) }
    }

    pub(crate) fn check(&self) -> Result<(), ConnectionError> {
        if self.abandon.load(Ordering::Relaxed) {
            return Err(ConnectionError::Abandoned);
        }
        match self.limit {
            Some((end, limit)) if Instant::now() >= end => Err(ConnectionError::TimedOut(limit)),
            _ => Ok(()),
        }
    }
}

/// The stream under the protocol. Its read and write timeouts are set, so that waiting can be given up.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.read(buffer),
            Transport::Unix(stream) => stream.read(buffer),
            Transport::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Transport {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Transport::Tcp(stream) => stream.write(bytes),
            Transport::Unix(stream) => stream.write(bytes),
            Transport::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Transport::Tls(stream) => stream.flush(),
            Transport::Tcp(_) | Transport::Unix(_) => Ok(()),
        }
    }
}

/// Whether an error only says that the socket's timeout passed.
pub(crate) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// A socket's error that ends the connection.
fn ended(doing: &'static str, source: io::Error) -> ConnectionError {
    match source.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            ConnectionError::Closed
        }
        _ => ConnectionError::Io { doing, source },
    }
}

/// A stream with its inbox.
#[derive(Debug)]
pub(crate) struct Wire {
    transport: Transport,
    inbox: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wire {
    pub(crate) fn new(transport: Transport) -> Self {
        Wire { transport, inbox: vec![0; INBOX], start: 0, end: 0 }
    }

    /// Sends all bytes.
    pub(crate) fn send(
        &mut self,
        bytes: &[u8],
        patience: Patience<'_>,
    ) -> Result<(), ConnectionError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.transport.write(rest) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(error) if is_timeout(&error) => patience.check()?,
                Err(error) => return Err(ended("sending", error)),
            }
        }
        loop {
            match self.transport.flush() {
                Ok(()) => return Ok(()),
                Err(error) if is_timeout(&error) => patience.check()?,
                Err(error) => return Err(ended("sending", error)),
            }
        }
    }

    /// Reads what is there, at least one byte.
    fn fill(&mut self, patience: Patience<'_>) -> Result<(), ConnectionError> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.end == self.inbox.len() {
            self.inbox.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.end == self.inbox.len() {
                self.inbox.resize(self.inbox.len() * 2, 0);
            }
        }
        loop {
            let room = self.inbox.get_mut(self.end..).unwrap_or_default();
            match self.transport.read(room) {
                Ok(0) => return Err(ConnectionError::Closed),
                Ok(read) => {
                    self.end += read;
                    return Ok(());
                }
                Err(error) if is_timeout(&error) => patience.check()?,
                Err(error) => return Err(ended("reading", error)),
            }
        }
    }

    fn unread(&self) -> &[u8] {
        self.inbox.get(self.start..self.end).unwrap_or_default()
    }

    /// Tag and whole length of the next message, which stays unread.
    fn peek(&mut self, patience: Patience<'_>) -> Result<(u8, usize), ConnectionError> {
        loop {
            match backend::Header::parse(self.unread()) {
                Ok(Some(header)) => {
                    // At least 4 by the parser's own check.
                    return Ok((header.tag(), header.len().unsigned_abs() as usize + 1));
                }
                Ok(None) => self.fill(patience)?,
                Err(error) => return Err(ConnectionError::Protocol(error.to_string())),
            }
        }
    }

    /// Drops `length` bytes, read or still to come.
    fn skip(&mut self, mut length: usize, patience: Patience<'_>) -> Result<(), ConnectionError> {
        loop {
            let here = length.min(self.end - self.start);
            self.start += here;
            length -= here;
            if length == 0 {
                return Ok(());
            }
            self.fill(patience)?;
        }
    }

    /// The next message of a known length, which stays unread.
    fn whole(&mut self, length: usize, patience: Patience<'_>) -> Result<&[u8], ConnectionError> {
        if length > LONGEST_MESSAGE {
            return Err(ConnectionError::Protocol(format!("a message of {length} bytes")));
        }
        while self.end - self.start < length {
            self.fill(patience)?;
        }
        Ok(self.unread().get(..length).unwrap_or_default())
    }

    /// The next message, read as a whole and copied: for log-ins and errors.
    pub(crate) fn message(&mut self, patience: Patience<'_>) -> Result<Message, ConnectionError> {
        let (_, length) = self.peek(patience)?;
        let mut bytes = BytesMut::from(self.whole(length, patience)?);
        self.start += length;
        match Message::parse(&mut bytes) {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(ConnectionError::Protocol("a message shorter than it says".into())),
            Err(error) => Err(ConnectionError::Protocol(error.to_string())),
        }
    }

    /// Reads until ReadyForQuery, skipping rows.
    pub(crate) fn until_ready(&mut self, patience: Patience<'_>) -> Result<Ready, ConnectionError> {
        let mut refusal: Option<ServerError> = None;
        loop {
            let next = self.peek(patience);
            let (tag, length) = match (next, &refusal) {
                // A FATAL error is followed by the end of the connection, not by ReadyForQuery.
                (Err(ConnectionError::Closed), Some(refusal)) => {
                    return Err(ConnectionError::Server(refusal.clone()));
                }
                (next, _) => next?,
            };
            match tag {
                backend::READY_FOR_QUERY_TAG => {
                    let status = self.whole(length, patience)?.last().copied();
                    self.start += length;
                    return Ok(Ready { refusal, in_failed_transaction: status == Some(b'E') });
                }
                backend::ERROR_RESPONSE_TAG => {
                    if let Message::ErrorResponse(body) = self.message(patience)? {
                        refusal.get_or_insert(server_error(&body));
                    }
                }
                backend::COPY_IN_RESPONSE_TAG => {
                    self.skip(length, patience)?;
                    self.refuse_copy(patience)?;
                }
                _ => self.skip(length, patience)?,
            }
        }
    }

    /// COPY FROM STDIN has no data here. The Sync sent with the request was ignored in copy mode (manual,
    /// "Message Flow", COPY operations), so another one follows.
    fn refuse_copy(&mut self, patience: Patience<'_>) -> Result<(), ConnectionError> {
        let mut bytes = BytesMut::new();
        frontend::copy_fail("pgassay has no data for COPY FROM STDIN", &mut bytes)
            .map_err(|error| ConnectionError::Protocol(error.to_string()))?;
        frontend::sync(&mut bytes);
        self.send(&bytes, patience)
    }

    /// Sends Terminate.
    pub(crate) fn terminate(&mut self, patience: Patience<'_>) {
        let mut bytes = BytesMut::new();
        frontend::terminate(&mut bytes);
        // The other side may be gone already, which is what is wanted.
        let _ = self.send(&bytes, patience);
    }

    /// Reads until the other side closes or patience ends.
    pub(crate) fn until_closed(&mut self, patience: Patience<'_>) {
        while self.fill(patience).is_ok() {
            self.start = self.end;
        }
    }
}

/// SQLSTATE and primary message of an ErrorResponse.
pub(crate) fn server_error(body: &backend::ErrorResponseBody) -> ServerError {
    let mut error = ServerError { sqlstate: String::new(), message: String::new() };
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => error.sqlstate = text(),
            b'M' => error.message = text(),
            _ => {}
        }
    }
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use proptest::prelude::*;
    use std::thread;

    const READY: &[u8] = b"Z\0\0\0\x05I";
    const FATAL: &[u8] = b"E\0\0\0\x1fSFATAL\0C57P01\0Mgoing away\0\0";

    /// What a client makes of these bytes, sent in chunks and then the end of the stream.
    fn read(bytes: &[u8], chunk: usize) -> Result<Ready, ConnectionError> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let abandon = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(move || {
                for part in bytes.chunks(chunk) {
                    if theirs.write_all(part).is_err() {
                        return;
                    }
                }
            });
            Wire::new(Transport::Unix(ours)).until_ready(Patience::new(&abandon, None))
        })
    }

    #[test]
    fn rows_longer_than_the_inbox_are_skipped_however_they_arrive() {
        let length = 3 * INBOX;
        let mut bytes = vec![b'D'];
        bytes.extend_from_slice(&(length as u32 + 4).to_be_bytes());
        bytes.extend(std::iter::repeat_n(b'Z', length));
        bytes.extend_from_slice(READY);
        for chunk in [1, 7, 4096, bytes.len()] {
            let ready = read(&bytes, chunk).unwrap();
            assert!(ready.refusal.is_none() && !ready.in_failed_transaction);
        }
    }

    #[test]
    fn a_fatal_error_is_kept_when_the_connection_ends() {
        let Err(ConnectionError::Server(error)) = read(FATAL, 5) else { panic!("no error") };
        assert_eq!(error.to_string(), "57P01 going away");
        assert!(matches!(read(b"", 1), Err(ConnectionError::Closed)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            chunk in 1usize..50,
        ) {
            let _ = read(&bytes, chunk);
        }

        #[test]
        fn no_error_response_makes_the_reader_panic(
            body in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let mut bytes = vec![b'E'];
            bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(READY);
            let _ = read(&bytes, 16);
        }
    }
}
