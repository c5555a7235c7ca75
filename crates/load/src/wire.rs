//! A connection's bytes: socket or TLS, a reused inbox, messages skipped without a copy; knows no log-in.

pub(crate) use crate::answer::{LastRow, Reading, Ready, ServerError, server_error};
use bytes::BytesMut;
use postgres_protocol::message::backend::{self, Message};
use postgres_protocol::message::frontend;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Room for the answers of most requests; grows for a longer message that has to be read as a whole.
const INBOX: usize = 16 * 1024;
/// The longest message that is read as a whole (log-in, errors); rows are skipped, whatever their size.
const LONGEST_MESSAGE: usize = 1 << 20;

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

impl Transport {
    /// Whether bytes are there to read though the socket has none: TLS decrypts a record at a time.
    fn holds_decrypted(&mut self) -> bool {
        match self {
            Transport::Tls(stream) => stream
                .conn
                .process_new_packets()
                .is_ok_and(|state| state.plaintext_bytes_to_read() > 0),
            Transport::Tcp(_) | Transport::Unix(_) => false,
        }
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Transport::Tcp(stream) => stream.as_fd(),
            Transport::Unix(stream) => stream.as_fd(),
            Transport::Tls(stream) => stream.sock.as_fd(),
        }
    }
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
    pub(crate) transport: Transport,
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

    /// Tag and whole length of the next message, which stays unread; None where too little of it is here.
    fn peek(&self) -> Result<Option<(u8, usize)>, ConnectionError> {
        match backend::Header::parse(self.unread()) {
            // At least 4 by the parser's own check.
            Ok(header) => {
                Ok(header.map(|header| (header.tag(), header.len().unsigned_abs() as usize + 1)))
            }
            Err(error) => Err(ConnectionError::Protocol(error.to_string())),
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
        let length = loop {
            match self.peek()? {
                Some((_, length)) => break length,
                None => self.fill(patience)?,
            }
        };
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
        self.read_to_end(&mut Reading::default(), patience)
    }

    /// Reads until ReadyForQuery.
    pub(crate) fn read_to_end(
        &mut self,
        reading: &mut Reading,
        patience: Patience<'_>,
    ) -> Result<Ready, ConnectionError> {
        loop {
            if let Some(ready) = self.take_in(reading, patience)? {
                return Ok(ready);
            }
            self.fill_on(reading, patience)?;
        }
    }

    /// Reads what has come to a socket that is readable; None where more is to come.
    pub(crate) fn read_on(
        &mut self,
        reading: &mut Reading,
        patience: Patience<'_>,
    ) -> Result<Option<Ready>, ConnectionError> {
        loop {
            self.fill_on(reading, patience)?;
            let ready = self.take_in(reading, patience)?;
            if ready.is_some() || !self.transport.holds_decrypted() {
                return Ok(ready);
            }
        }
    }

    fn fill_on(
        &mut self,
        reading: &mut Reading,
        patience: Patience<'_>,
    ) -> Result<(), ConnectionError> {
        match (self.fill(patience), reading.refusal.take()) {
            // A FATAL error is followed by the end of the connection, not by ReadyForQuery.
            (Err(ConnectionError::Closed), Some(refusal)) => Err(ConnectionError::Server(refusal)),
            (filled, refusal) => {
                reading.refusal = refusal;
                filled
            }
        }
    }

    /// Takes in what is in the inbox; None where more is to come.
    fn take_in(
        &mut self,
        reading: &mut Reading,
        patience: Patience<'_>,
    ) -> Result<Option<Ready>, ConnectionError> {
        loop {
            let dropped = reading.skip.min(self.end - self.start);
            self.start += dropped;
            reading.skip -= dropped;
            if reading.skip > 0 {
                return Ok(None);
            }
            let Some((tag, length)) = self.peek()? else { return Ok(None) };
            let wanted = match tag {
                backend::READY_FOR_QUERY_TAG | backend::ERROR_RESPONSE_TAG => true,
                backend::ROW_DESCRIPTION_TAG | backend::DATA_ROW_TAG => reading.rows.is_some(),
                _ => false,
            };
            if !wanted {
                reading.skip = length;
                if tag == backend::COPY_IN_RESPONSE_TAG {
                    self.refuse_copy(patience)?;
                }
                continue;
            }
            if length > LONGEST_MESSAGE {
                return Err(ConnectionError::Protocol(format!("a message of {length} bytes")));
            }
            let Some(message) = self.unread().get(..length) else { return Ok(None) };
            if tag == backend::READY_FOR_QUERY_TAG {
                let status = message.last().copied();
                self.start += length;
                let refusal = reading.refusal.take();
                return Ok(Some(Ready { refusal, status: status.unwrap_or_default() }));
            }
            let mut bytes = BytesMut::from(message);
            self.start += length;
            match Message::parse(&mut bytes) {
                Ok(Some(Message::ErrorResponse(body))) => {
                    reading.refusal.get_or_insert_with(|| server_error(&body));
                }
                Ok(Some(message)) => {
                    if let Some(rows) = &mut reading.rows {
                        rows.take(&message)
                            .map_err(|error| ConnectionError::Protocol(error.to_string()))?;
                    }
                }
                Ok(None) => {
                    return Err(ConnectionError::Protocol("a message shorter than it says".into()));
                }
                Err(error) => return Err(ConnectionError::Protocol(error.to_string())),
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
            assert!(ready.refusal.is_none() && !ready.in_failed_transaction());
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
