//! What a server answers: its errors, the end of an answer, and the last row where that is wanted.

use fallible_iterator::FallibleIterator;
use postgres_protocol::message::backend::{self, Message};
use std::io;

/// What a server says when it refuses something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sqlstate} {message}")]
pub(crate) struct ServerError {
    /// SQLSTATE.
    pub(crate) sqlstate: String,
    /// Primary message, in the server's language; may hold values of the statement.
    pub(crate) message: String,
}

/// The end of an answer.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The first error that the server sent.
    pub(crate) refusal: Option<ServerError>,
    /// The session's state then: `I` idle, `T` in a transaction, `E` in one that has failed.
    pub(crate) status: u8,
}

impl Ready {
    /// Whether the session is in a transaction that has failed.
    pub(crate) fn in_failed_transaction(&self) -> bool {
        self.status == b'E'
    }
}

/// An answer while it arrives.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The first error so far.
    pub(crate) refusal: Option<ServerError>,
    /// Bytes still to be dropped of a message that nobody wants.
    pub(crate) skip: usize,
    /// Keeps the answer's last row, where somebody wants it.
    pub(crate) rows: Option<LastRow>,
}

impl Reading {
    /// With its last row kept.
    pub(crate) fn with_row() -> Self {
        Reading { rows: Some(LastRow::default()), ..Reading::default() }
    }
}

/// The last row of an answer, as text.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct LastRow {
    /// Names of the columns.
    pub(crate) columns: Vec<String>,
    /// The values; None for NULL.
    pub(crate) values: Vec<Option<String>>,
    /// How many rows there were.
    pub(crate) rows: u64,
}

impl LastRow {
    /// Takes in a description of rows or a row.
    pub(crate) fn take(&mut self, message: &Message) -> io::Result<()> {
        match message {
            Message::RowDescription(body) => {
                *self = LastRow::default();
                let mut fields = body.fields();
                while let Some(field) = fields.next()? {
                    self.columns.push(field.name().to_owned());
                }
            }
            Message::DataRow(body) => {
                self.rows += 1;
                self.values.clear();
                let mut ranges = body.ranges();
                while let Some(range) = ranges.next()? {
                    let value = range.and_then(|range| body.buffer().get(range));
                    self.values.push(value.map(|text| String::from_utf8_lossy(text).into_owned()));
                }
            }
            _ => {}
        }
        Ok(())
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
