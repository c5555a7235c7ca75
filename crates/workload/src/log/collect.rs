//! From entries to statements: counts, times, values and the recording.

use crate::file::MOST_STATEMENT;
use crate::log::LogOptions;
use crate::log::auto_explain;
use crate::log::entry::{Entry, Severity};
use crate::log::lexer::{Scan, trim};
use crate::log::message::{self, Message};
use crate::log::parts::parts;
use crate::log::prepared::executed;
use crate::log::recording::{Pending, Recording};
use crate::log::table::Table;
use crate::log::time::Micros;
use crate::log::values::encode;
use memchr::memchr;

/// Where a message of several statements is long, its DETAIL is not read again for each.
const MOST_DETAILS: usize = 1 << 24;

/// Everything read so far.
pub(crate) struct Collector<'o> {
    options: &'o LogOptions,
    /// Entries before are left out.
    pub since: Option<Micros>,
    pub table: Table,
    pub recording: Recording,
    pub tally: Tally,
    scan: Scan,
    set: Vec<u8>,
}

/// What was met and left out.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub entries: u64,
    pub statements: u64,
    /// Of other databases.
    pub elsewhere: u64,
    /// pgassay's own.
    pub own: u64,
    pub too_long: u64,
    /// Statements that failed after they were logged as begun.
    pub failed: u64,
    /// ERROR entries.
    pub errors: u64,
    /// auto_explain's plans.
    pub plans: u64,
    /// BEGIN, COMMIT and their like.
    pub transaction_control: u64,
    /// Sets of values cut off by log_parameter_max_length, or damaged.
    pub cut: u64,
    /// Messages of several statements.
    pub messages: u64,
    /// Entries from before the window.
    pub before_window: u64,
}

/// How long a statement took, microseconds.
#[derive(Debug, Clone, Copy)]
struct Took {
    /// The message that it came in; None where a later entry tells.
    message: Option<u64>,
    /// Itself.
    own: Option<u64>,
    /// Its share of the message's time.
    share: u64,
}

impl Took {
    /// A message of one statement.
    fn of(micros: Option<u64>) -> Self {
        Took { message: micros, own: micros, share: micros.unwrap_or(0) }
    }
}

enum Control {
    Begin,
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    /// ROLLBACK TO SAVEPOINT
    Recover,
    Savepoint,
}

impl<'o> Collector<'o> {
    pub(crate) fn new(options: &'o LogOptions) -> Self {
        Collector {
            options,
            since: None,
            table: Table::new(options.seed),
            recording: Recording::default(),
            tally: Tally::default(),
            scan: Scan::default(),
            set: Vec::new(),
        }
    }

    /// The flag that stops the reading.
    pub(crate) fn interrupt(&self) -> pgassay_model::interrupt::Interrupt {
        self.options.interrupt.clone()
    }

    /// Takes an entry.
    pub(crate) fn entry(&mut self, entry: &Entry<'_>) {
        self.tally.entries += 1;
        if let (Some(since), Some(time)) = (self.since, entry.time)
            && time < since
        {
            self.tally.before_window += 1;
            return;
        }
        match entry.severity {
            Severity::Log => {}
            Severity::Error => return self.error(entry),
            _ => return,
        }
        match message::read(entry.message) {
            Message::Nothing => {}
            Message::Session => {
                if let Some(key) = entry.session_key() {
                    self.recording.forget(key);
                }
            }
            Message::Duration { micros } => self.duration(entry, micros),
            Message::Done { micros, sql } => self.statement(entry, Some(micros), sql),
            Message::Begun { sql } => self.statement(entry, None, sql),
            Message::Plan { micros, text } => self.plan(entry, micros, text),
        }
    }

    fn error(&mut self, entry: &Entry<'_>) {
        self.tally.errors += 1;
        let Some(key) = entry.session_key() else { return };
        self.recording.roll_back(key);
        for pending in std::mem::take(&mut self.recording.state(key).pending) {
            self.tally.failed += 1;
            if let Some(shape) = self.table.shapes.get_mut(&pending.hash) {
                shape.calls = shape.calls.saturating_sub(1);
            }
            if let Some(request) =
                pending.request.and_then(|number| self.recording.requests.get_mut(number))
            {
                request.failed = true;
            }
        }
    }

    fn duration(&mut self, entry: &Entry<'_>, micros: u64) {
        let Some(key) = entry.session_key() else { return };
        let pending = std::mem::take(&mut self.recording.state(key).pending);
        let several = pending.len() as u64;
        for pending in pending {
            if let Some(shape) = self.table.shapes.get_mut(&pending.hash) {
                shape.micros += micros / several;
            }
            if several == 1
                && let Some(request) =
                    pending.request.and_then(|number| self.recording.requests.get_mut(number))
            {
                request.took = Some(u32::try_from(micros).unwrap_or(u32::MAX));
            }
        }
    }

    fn elsewhere(&self, entry: &Entry<'_>) -> bool {
        self.options.database.as_deref().is_some_and(|database| {
            !entry.database.is_empty() && entry.database != database.as_bytes()
        })
    }

    fn statement(&mut self, entry: &Entry<'_>, micros: Option<u64>, sql: &[u8]) {
        if self.elsewhere(entry) {
            self.tally.elsewhere += 1;
            return;
        }
        let sql = trim(sql);
        let key = entry.session_key();
        if let Some(key) = key {
            self.recording.state(key).pending.clear();
        }
        let mut sql = sql;
        if memchr(b';', sql).is_some() && sql.len() <= MOST_STATEMENT {
            self.scan.read(sql);
            match parts(sql, &self.scan).as_slice() {
                [one] => sql = one,
                parts => return self.several(entry, micros, parts),
            }
        }
        if !self.control(key, sql) {
            self.one(entry, key, Took::of(micros), sql);
        }
    }

    /// Statements of one message: without BEGIN among them a transaction (manual, section 55.2.2.1). Their time is
    /// known for all together only.
    fn several(&mut self, entry: &Entry<'_>, micros: Option<u64>, parts: &[&[u8]]) {
        let key = entry.session_key();
        let asked = parts.iter().filter(|part| control(part).is_none()).count() as u64;
        let share = micros.unwrap_or(0) / asked.max(1);
        let took =
            if asked == 1 { Took::of(micros) } else { Took { message: micros, own: None, share } };
        // Values are literals in such a message, and its identifier is that of one statement.
        let detail = Some(entry.detail).filter(|detail| {
            detail.starts_with(b"prepare: ") && detail.len() * parts.len() <= MOST_DETAILS
        });
        let entry = Entry { query_id: None, detail: detail.unwrap_or_default(), ..*entry };
        let mut implicit = false;
        let known = self.tally.statements;
        for part in parts {
            if self.control(key, part) {
                implicit = false;
                continue;
            }
            if let Some(state) = key.map(|key| self.recording.state(key))
                && asked > 1
                && !state.in_transaction()
            {
                state.begin();
                implicit = true;
            }
            self.one(&entry, key, took, part);
        }
        // pgassay's own are not.
        if self.tally.statements - known > 1 {
            self.tally.messages += 1;
        }
        if let Some(key) = key.filter(|_| implicit) {
            self.recording.state(key).end(false);
        }
    }

    /// Follows BEGIN, COMMIT and their like; whether the statement is one.
    fn control(&mut self, key: Option<u64>, sql: &[u8]) -> bool {
        let Some(control) = control(sql) else { return false };
        self.tally.transaction_control += 1;
        let Some(key) = key else { return true };
        match control {
            Control::Begin => self.recording.state(key).begin(),
            Control::Commit { chain } => self.recording.state(key).end(chain),
            Control::Rollback { chain } => {
                self.recording.roll_back(key);
                self.recording.state(key).end(chain);
            }
            Control::Recover => self.recording.recover(key),
            Control::Savepoint => {}
        }
        true
    }

    /// Takes one statement.
    fn one(&mut self, entry: &Entry<'_>, key: Option<u64>, took: Took, sql: &[u8]) {
        if sql.len() > MOST_STATEMENT {
            self.tally.too_long += 1;
            return;
        }
        let executed = executed(sql, entry.detail);
        let (sql, detail, query_id) = match &executed {
            Some(executed) => (executed.sql, &executed.detail[..], None),
            None => (sql, entry.detail, entry.query_id),
        };
        self.scan.read(sql);
        if self.scan.own {
            self.tally.own += 1;
            return;
        }
        self.tally.statements += 1;
        let hash = self.scan.hash;
        let shape = self.table.shape(hash, sql);
        shape.calls += 1;
        shape.micros += took.share;
        shape.query_id = query_id.or(shape.query_id);
        let place = self.table.place(hash);
        let recorded = key.filter(|_| self.recording.open());
        let mut usable = false;
        if place.is_some() || recorded.is_some() {
            let whole = self.options.parameters_whole || executed.is_some();
            usable = encode(sql, &self.scan, detail, whole, &mut self.set);
            if !usable {
                self.tally.cut += 1;
            }
        }
        if let (Some(place), true) = (place, usable) {
            self.table.keep(hash, place, &self.set);
        }
        let Some(key) = key else { return };
        let set = usable.then_some(&self.set[..]);
        let request = self.recording.record(key, entry, hash, (took.message, took.own), set);
        if took.message.is_none() {
            self.recording.state(key).pending.push(Pending { hash, request });
        }
    }

    fn plan(&mut self, entry: &Entry<'_>, micros: u64, text: &[u8]) {
        self.tally.plans += 1;
        if self.elsewhere(entry) {
            return;
        }
        let Some(explained) = auto_explain::read(text) else { return };
        let sql = trim(&explained.query);
        if sql.len() > MOST_STATEMENT {
            return;
        }
        self.scan.read(sql);
        if self.scan.own {
            return;
        }
        let hash = self.scan.hash;
        let shape = self.table.shape(hash, sql);
        shape.plans += 1;
        shape.plan_micros += micros;
        self.table.explain(hash, micros, &explained.plan);
    }
}

/// Whether a statement begins or ends a transaction.
fn control(sql: &[u8]) -> Option<Control> {
    // Two letters rule out most statements.
    let [first, second, ..] = sql else { return None };
    if !matches!(
        [first.to_ascii_lowercase(), second.to_ascii_lowercase()],
        [b'b', b'e']
            | [b's', b't' | b'a']
            | [b'c' | b'r', b'o']
            | [b'e', b'n']
            | [b'a', b'b']
            | [b'p', b'r']
            | [b'r', b'e']
    ) || sql.len() > 120
        || sql.contains(&b';')
    {
        return None;
    }
    let mut words = sql.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let is =
        |word: Option<&[u8]>, name: &[u8]| word.is_some_and(|word| word.eq_ignore_ascii_case(name));
    let first = words.next()?;
    let second = words.next();
    let begins = |name: &[u8]| first.eq_ignore_ascii_case(name);
    let last = sql.rsplit(|byte| byte.is_ascii_whitespace()).next();
    let chain =
        is(last, b"chain") && !sql.to_ascii_lowercase().windows(8).any(|part| part == b"no chain");
    if begins(b"begin") || begins(b"start") && is(second, b"transaction") {
        return Some(Control::Begin);
    }
    if begins(b"commit") && !is(second, b"prepared") || begins(b"end") {
        return Some(Control::Commit { chain });
    }
    // What becomes of it is another session's COMMIT PREPARED, most often.
    if begins(b"prepare") && is(second, b"transaction") {
        return Some(Control::Commit { chain: false });
    }
    if begins(b"abort") {
        return Some(Control::Rollback { chain });
    }
    if begins(b"rollback") && !is(second, b"prepared") {
        let to = sql.split(|byte| byte.is_ascii_whitespace()).any(|word| is(Some(word), b"to"));
        return Some(if to { Control::Recover } else { Control::Rollback { chain } });
    }
    (begins(b"savepoint") || begins(b"release")).then_some(Control::Savepoint)
}
