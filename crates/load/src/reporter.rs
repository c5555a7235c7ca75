//! What the clients of one thread report: samples in batches, the first error of each statement, sums.

use crate::client::Shared;
use crate::connection::{ConnectionError, Opening};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Samples handed over at a time.
const BATCH: usize = 512;

/// One request of the measured window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Intended start, since the window began.
    pub(crate) start: Duration,
    /// From the intended start to ReadyForQuery.
    pub(crate) latency: Duration,
    /// Index of the statement.
    pub(crate) statement: usize,
    /// Answered by an error, or not at all.
    pub(crate) failed: bool,
}

/// Sums over requests without error.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) connect: Duration,
    pub(crate) tls: Duration,
    pub(crate) auth: Duration,
    /// From the intended start until the client took the request up.
    pub(crate) wait: Duration,
    /// From then to when it really sent it: timer and scheduler of this host.
    pub(crate) lag: Duration,
    /// Requests taken up only after the window had ended; failed ones too.
    pub(crate) late: u64,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        self.connect += other.connect;
        self.tls += other.tls;
        self.auth += other.auth;
        self.wait += other.wait;
        self.lag += other.lag;
        self.late += other.late;
    }
}

/// What a thread of clients reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client's first attempt to open a connection has ended.
    Opened(Result<Opening, ConnectionError>),
    Samples(Vec<Sample>),
    /// First error of a statement on this thread, without values.
    Failed {
        statement: usize,
        text: String,
    },
    /// Prepared statements don't survive on this way to the server; its words.
    NotPrepared(String),
    /// The thread's clients are done.
    Finished(Sums),
}

/// When a request was meant to start, was taken up and sent; times since the load began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) intended: Duration,
    pub(crate) taken: Duration,
    pub(crate) begun: Duration,
}

impl Times {
    /// Of a request that is sent when it comes to mind: a closed loop.
    pub(crate) fn at(now: Duration) -> Self {
        Times { intended: now, taken: now, begun: now }
    }
}

/// Collects what one thread's clients see.
pub(crate) struct Reporter<'a> {
    shared: &'a Shared,
    events: Sender<Event>,
    samples: Vec<Sample>,
    sums: Sums,
    reported: Vec<bool>,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(shared: &'a Shared, events: Sender<Event>) -> Self {
        Reporter {
            shared,
            events,
            samples: Vec::with_capacity(BATCH),
            sums: Sums::default(),
            reported: vec![false; shared.requests.len()],
        }
    }

    pub(crate) fn report(&self, event: Event) {
        // The driver stops listening only when it gave this thread up.
        let _ = self.events.send(event);
    }

    /// Takes up what became of a request.
    pub(crate) fn sample(
        &mut self,
        statement: usize,
        times: Times,
        latency: Duration,
        failed: bool,
        opening: Opening,
    ) {
        if times.intended < self.shared.warmup {
            return;
        }
        let start = times.intended - self.shared.warmup;
        self.sums.late += u64::from(times.taken >= self.shared.end());
        if !failed {
            self.sums.connect += opening.connect;
            self.sums.tls += opening.tls;
            self.sums.auth += opening.auth;
            self.sums.wait += times.taken.saturating_sub(times.intended);
            self.sums.lag += times.begun - times.taken.max(times.intended);
        }
        self.samples.push(Sample { start, latency, statement, failed });
        if self.samples.len() >= BATCH {
            let batch = std::mem::replace(&mut self.samples, Vec::with_capacity(BATCH));
            self.report(Event::Samples(batch));
        }
    }

    /// Reports the first error of a statement; `text` makes its words, without values.
    pub(crate) fn explain(
        &mut self,
        statement: usize,
        error: &ConnectionError,
        text: impl FnOnce(&str, &str) -> String,
    ) {
        if let ConnectionError::Server(refusal) = error
            && self.shared.requests.prepared()
            && crate::prepared::lost(&refusal.sqlstate)
        {
            self.report(Event::NotPrepared(refusal.to_string()));
        }
        let Some(reported) = self.reported.get_mut(statement) else { return };
        if std::mem::replace(reported, true) {
            return;
        }
        let text = match error {
            ConnectionError::Server(refusal) => text(&refusal.sqlstate, &refusal.message),
            other => other.to_string(),
        };
        self.report(Event::Failed { statement, text });
    }

    /// Hands over what is left.
    pub(crate) fn finish(&mut self) {
        let samples = std::mem::take(&mut self.samples);
        self.report(Event::Samples(samples));
        self.report(Event::Finished(self.sums));
    }
}
