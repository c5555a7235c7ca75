//! Statements as protocol messages (manual, "Message Formats"): encoded once, put together for each request
//! without allocating.

use bytes::{BufMut, BytesMut};
use pgassay_model::measurement::Protocol;
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;

/// Values of a request's parameters, as text; None for NULL.
pub(crate) type Values = [Option<String>];

/// How the transaction around a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Commit,
    Rollback,
}

/// What stands before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    Begin,
    BeginReadOnly,
    /// In a transaction that has begun: from here on nothing can be written in it.
    SetReadOnly,
}

impl Before {
    fn sql(self) -> &'static str {
        match self {
            Before::Begin => "BEGIN /* pgassay */",
            Before::BeginReadOnly => "BEGIN READ ONLY /* pgassay */",
            Before::SetReadOnly => "SET TRANSACTION READ ONLY /* pgassay */",
        }
    }
}

/// What is sent around a statement in the same write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Frame {
    /// What comes before it.
    pub(crate) before: Option<Before>,
    /// COMMIT or ROLLBACK after it.
    pub(crate) end: Option<End>,
}

impl End {
    pub(crate) fn sql(self) -> &'static str {
        match self {
            End::Commit => "COMMIT /* pgassay */",
            End::Rollback => "ROLLBACK /* pgassay */",
        }
    }
}

/// A statement and its parameter sets.
#[derive(Debug)]
pub(crate) struct Statement {
    body: Body,
    begin: BytesMut,
    begin_read_only: BytesMut,
    set_read_only: BytesMut,
    commit: BytesMut,
    rollback: BytesMut,
}

#[derive(Debug)]
enum Body {
    /// Texts, by parameter set.
    Simple(Vec<String>),
    /// Parse, and Bind by parameter set; the name is empty where it is not prepared.
    Extended { parse: BytesMut, binds: Vec<BytesMut>, name: String },
}

impl Statement {
    /// Encodes a statement; `number` names it where it is prepared. The error is why it can't be.
    pub(crate) fn new(
        number: usize,
        sql: &str,
        sets: &[Vec<Option<String>>],
        protocol: Protocol,
    ) -> Result<Self, String> {
        if sql.contains('\0') || sets.iter().flatten().flatten().any(|text| text.contains('\0')) {
            return Err("it holds a zero byte, which PostgreSQL's texts can't".into());
        }
        let body = match protocol {
            Protocol::Simple => Body::Simple(
                sets.iter()
                    .map(|set| {
                        pgassay_sql::with_literals(sql, set).map_err(|error| error.to_string())
                    })
                    .collect::<Result<_, _>>()?,
            ),
            Protocol::Extended | Protocol::Prepared => {
                let named = protocol == Protocol::Prepared;
                let name = if named { format!("pgassay_{number}") } else { String::new() };
                let mut parse = BytesMut::new();
                frontend::parse(&name, sql, std::iter::empty(), &mut parse)
                    .map_err(|error| error.to_string())?;
                let bind = |set: &Vec<Option<String>>| {
                    let mut bytes = BytesMut::new();
                    bind(&name, set, &mut bytes).map(|()| bytes)
                };
                Body::Extended {
                    parse,
                    binds: sets.iter().map(bind).collect::<Result<_, _>>()?,
                    name,
                }
            }
        };
        let [begin, begin_read_only, set_read_only] =
            [Before::Begin, Before::BeginReadOnly, Before::SetReadOnly]
                .map(|before| executed(before.sql()));
        let [commit, rollback] = [End::Commit, End::Rollback].map(|end| executed(end.sql()));
        Ok(Statement { body, begin, begin_read_only, set_read_only, commit, rollback })
    }

    /// Number of parameter sets.
    pub(crate) fn sets(&self) -> usize {
        match &self.body {
            Body::Simple(texts) => texts.len(),
            Body::Extended { binds, .. } => binds.len(),
        }
    }

    /// Adds the messages of a request, whose answer ends in one ReadyForQuery. `known`: it is prepared.
    pub(crate) fn write(&self, set: usize, frame: Frame, known: bool, outbox: &mut BytesMut) {
        match &self.body {
            Body::Simple(texts) => {
                query(texts.get(set).map_or("", String::as_str), frame, outbox);
            }
            Body::Extended { binds, .. } => {
                self.open(frame, known, outbox);
                outbox.extend_from_slice(binds.get(set).map_or(&[], |bind| bind));
                self.close(frame, outbox);
            }
        }
    }

    /// The same with values that are known only now; not for the simple protocol. `describe`: the answer's
    /// columns are wanted.
    pub(crate) fn write_values(
        &self,
        values: &Values,
        describe: bool,
        frame: Frame,
        known: bool,
        outbox: &mut BytesMut,
    ) -> Result<(), String> {
        let Body::Extended { name, .. } = &self.body else { return Ok(()) };
        self.open(frame, known, outbox);
        bind(name, values, outbox)?;
        if describe {
            frontend::describe(b'P', "", outbox).map_err(|error| error.to_string())?;
        }
        self.close(frame, outbox);
        Ok(())
    }

    fn open(&self, frame: Frame, known: bool, outbox: &mut BytesMut) {
        match frame.before {
            Some(Before::Begin) => outbox.extend_from_slice(&self.begin),
            Some(Before::BeginReadOnly) => outbox.extend_from_slice(&self.begin_read_only),
            Some(Before::SetReadOnly) => outbox.extend_from_slice(&self.set_read_only),
            None => {}
        }
        if let Body::Extended { parse, name, .. } = &self.body
            && (name.is_empty() || !known)
        {
            outbox.extend_from_slice(parse);
        }
    }

    fn close(&self, frame: Frame, outbox: &mut BytesMut) {
        // Neither can fail: the portal's name is empty.
        let _ = frontend::execute("", 0, outbox);
        match frame.end {
            Some(End::Commit) => outbox.extend_from_slice(&self.commit),
            Some(End::Rollback) => outbox.extend_from_slice(&self.rollback),
            None => {}
        }
        frontend::sync(outbox);
    }

    /// Adds Bind and Sync, and Parse where it is not prepared.
    pub(crate) fn write_unexecuted(&self, set: usize, known: bool, outbox: &mut BytesMut) {
        self.open(Frame::default(), known, outbox);
        if let Body::Extended { binds, .. } = &self.body {
            outbox.extend_from_slice(binds.get(set).map_or(&[], |bind| bind));
        }
        frontend::sync(outbox);
    }

    /// Adds Parse and Sync.
    pub(crate) fn write_parse(&self, outbox: &mut BytesMut) {
        if let Body::Extended { parse, .. } = &self.body {
            outbox.extend_from_slice(parse);
        }
        frontend::sync(outbox);
    }
}

/// A Query message of a text and what is around it. A line break comes before the semicolon, since the text
/// may end in a comment.
pub(crate) fn query(sql: &str, frame: Frame, outbox: &mut BytesMut) {
    let parts = [
        frame.before.map_or("", Before::sql),
        if frame.before.is_some() { "; " } else { "" },
        sql,
        if frame.end.is_some() { "\n; " } else { "" },
        frame.end.map_or("", End::sql),
    ];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    outbox.put_u8(b'Q');
    // Texts come from files and documents, which are far from 2 GB.
    outbox.put_i32(i32::try_from(length + 5).unwrap_or(i32::MAX));
    for part in parts {
        outbox.put_slice(part.as_bytes());
    }
    outbox.put_u8(0);
}

/// Bind to a statement, values and results as text.
pub(crate) fn bind(name: &str, values: &Values, outbox: &mut BytesMut) -> Result<(), String> {
    frontend::bind(
        "",
        name,
        std::iter::empty(),
        values,
        |value, bytes| {
            Ok(match value {
                Some(text) => {
                    bytes.put_slice(text.as_bytes());
                    IsNull::No
                }
                None => IsNull::Yes,
            })
        },
        std::iter::empty(),
        outbox,
    )
    .map_err(|error| match error {
        frontend::BindError::Conversion(error) => error.to_string(),
        frontend::BindError::Serialization(error) => error.to_string(),
    })
}

/// Parse, Bind and Execute of a statement of our own.
fn executed(sql: &str) -> BytesMut {
    let mut bytes = BytesMut::new();
    // None can fail: these texts hold no zero byte, and there are no values.
    let _ = frontend::parse("", sql, std::iter::empty(), &mut bytes);
    let _ = bind("", &[], &mut bytes);
    let _ = frontend::execute("", 0, &mut bytes);
    bytes
}
