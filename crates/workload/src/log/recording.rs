//! What sessions asked, in order: the first requests of the log, up to a limit, and where each session stands.

use crate::log::entry::Entry;
use crate::log::table::ByHash;
use crate::log::time::Micros;
use std::collections::HashSet;

/// Requests recorded; what follows is counted and sampled only.
pub(crate) const MOST_REQUESTS: usize = 100_000;
/// Bytes of their values.
const MOST_BYTES: usize = 16 << 20;
/// Sessions whose state is remembered, in each of two generations.
const MOST_SESSIONS: usize = 10_000;

const NONE: u32 = u32::MAX;

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// Index into the names.
    pub session: u32,
    /// Its start.
    pub at: Micros,
    /// Its statement.
    pub hash: u64,
    pub took: Option<u32>,
    /// Number of the explicit transaction in its session; 0: none.
    pub transaction: u32,
    set: (u32, u32),
    /// Whether it failed.
    pub failed: bool,
}

/// A statement that began and did not end yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pending {
    pub hash: u64,
    pub request: Option<usize>,
}

/// Where a session stands.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Several where they were sent in one message.
    pub pending: Vec<Pending>,
    name: Option<u32>,
    transaction: u32,
    transactions: u32,
    /// Number of the last transaction of which a request is recorded.
    recorded: u32,
}

impl State {
    /// BEGIN.
    pub(crate) fn begin(&mut self) {
        // BEGIN within a transaction is a warning and nothing more.
        if self.transaction == 0 {
            self.transactions += 1;
            self.transaction = self.transactions;
        }
    }

    /// Whether it is in a transaction.
    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction > 0
    }

    /// COMMIT or ROLLBACK; with AND CHAIN the next begins at once.
    pub(crate) fn end(&mut self, chain: bool) {
        self.transaction = 0;
        if chain {
            self.begin();
        }
    }
}

/// All sessions and their requests.
#[derive(Default)]
pub(crate) struct Recording {
    pub names: Vec<String>,
    pub requests: Vec<Request>,
    /// Requests that came when it was full.
    pub beyond: u64,
    values: Vec<u8>,
    full: bool,
    young: ByHash<State>,
    old: ByHash<State>,
    /// Sessions and numbers of recorded transactions that did not commit.
    rolled_back: HashSet<(u32, u32)>,
}

impl Recording {
    /// A session's state. Sessions unheard of for long are forgotten: their transactions, too.
    pub(crate) fn state(&mut self, key: u64) -> &mut State {
        if !self.young.contains_key(&key) {
            let state = self.old.remove(&key).unwrap_or_default();
            if self.young.len() >= MOST_SESSIONS {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(key, state);
        }
        self.young.entry(key).or_default()
    }

    /// The session is over, or a new one begins with its number.
    pub(crate) fn forget(&mut self, key: u64) {
        self.roll_back(key);
        self.young.remove(&key);
        self.old.remove(&key);
    }

    /// The session's transaction, if it is in one, does not commit: it was rolled back or is aborted by an error.
    pub(crate) fn roll_back(&mut self, key: u64) {
        if let Some(transaction) = self.recorded_transaction(key) {
            self.rolled_back.insert(transaction);
        }
    }

    /// ROLLBACK TO SAVEPOINT: an aborted transaction can commit again.
    pub(crate) fn recover(&mut self, key: u64) {
        if let Some(transaction) = self.recorded_transaction(key) {
            self.rolled_back.remove(&transaction);
        }
    }

    /// Whether a request's transaction did not commit.
    pub(crate) fn was_rolled_back(&self, request: &Request) -> bool {
        self.rolled_back.contains(&(request.session, request.transaction))
    }

    /// The transaction that a session is in, where any of its requests is recorded.
    fn recorded_transaction(&self, key: u64) -> Option<(u32, u32)> {
        let state = self.young.get(&key).or_else(|| self.old.get(&key))?;
        let recorded = state.transaction > 0 && state.recorded == state.transaction;
        state.name.filter(|_| recorded).map(|name| (name, state.transaction))
    }

    /// Whether there is room for more.
    pub(crate) fn open(&self) -> bool {
        !self.full
    }

    /// Records a request with its values, where it has any; returns its number. `message` is how long the message
    /// took that it came in, `took` itself.
    pub(crate) fn record(
        &mut self,
        key: u64,
        entry: &Entry<'_>,
        hash: u64,
        (message, took): (Option<u64>, Option<u64>),
        set: Option<&[u8]>,
    ) -> Option<usize> {
        let time = entry.time?;
        let length = set.map_or(0, <[u8]>::len);
        if self.full
            || self.requests.len() >= MOST_REQUESTS
            || self.values.len() + length > MOST_BYTES
        {
            self.full = true;
            self.beyond += 1;
            return None;
        }
        let names = self.names.len() as u32;
        let state = self.state(key);
        let session = *state.name.get_or_insert(names);
        let transaction = state.transaction;
        state.recorded = transaction;
        if session == names {
            self.names.push(entry.session_name());
        }
        let from = self.values.len() as u32;
        self.values.extend_from_slice(set.unwrap_or_default());
        self.requests.push(Request {
            session,
            // An entry with a duration is written when the statement is done.
            at: time - message.map_or(0, |micros| i64::try_from(micros).unwrap_or(0)),
            hash,
            took: took.map(|micros| u32::try_from(micros).unwrap_or(u32::MAX)),
            transaction,
            set: if set.is_some() { (from, length as u32) } else { (NONE, 0) },
            failed: false,
        });
        Some(self.requests.len() - 1)
    }

    /// The encoded values of a request.
    pub(crate) fn set(&self, request: &Request) -> Option<&[u8]> {
        let (from, length) = request.set;
        if from == NONE {
            return None;
        }
        self.values.get(from as usize..from as usize + length as usize)
    }
}
