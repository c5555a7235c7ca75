//! What the clients of one thread report: samples in batches, the first error of each statement, sums.

use crate::client::Shared;
use crate::connection::{ConnectionError, Opening};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Samples that all threads together hold back, and how many one hands over at a time at least and at most.
/// Whoever takes them in wakes up for each batch, which moves client and backend apart on a busy host.
const HELD: usize = 1 << 16;
const BATCH: (usize, usize) = (512, 8192);

/// What a sample is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A request, which is a statement.
    Request(u32),
    /// A statement within a script.
    Part(u32),
    /// A request, which is a run of a script.
    Script(u32),
}

/// Something of the measured window; times in nanoseconds, which keeps it small.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// Intended start, since the window began.
    pub(crate) start: u64,
    /// From the intended start to ReadyForQuery.
    pub(crate) latency: u64,
    /// How late it was sent.
    pub(crate) late: u64,
    /// How late it was sent though nothing held it back.
    pub(crate) lag: u64,
    pub(crate) subject: Subject,
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
    /// Requests of recorded transactions that were not sent, since the transaction had failed.
    pub(crate) skipped: u64,
    /// Errors 40P01.
    pub(crate) deadlocks: u64,
    /// Errors 40001.
    pub(crate) serialization: u64,
    /// Errors 25006.
    pub(crate) read_only: u64,
    /// Time in which scripts slept.
    pub(crate) slept: Duration,
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Sums) {
        self.connect += other.connect;
        self.tls += other.tls;
        self.auth += other.auth;
        self.wait += other.wait;
        self.lag += other.lag;
        self.late += other.late;
        self.skipped += other.skipped;
        self.deadlocks += other.deadlocks;
        self.serialization += other.serialization;
        self.read_only += other.read_only;
        self.slept += other.slept;
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
    batch: usize,
    pub(crate) sums: Sums,
    reported: Vec<bool>,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(shared: &'a Shared, events: Sender<Event>) -> Self {
        let batch = (HELD / shared.threads.max(1)).clamp(BATCH.0, BATCH.1);
        Reporter {
            shared,
            events,
            samples: Vec::new(),
            batch,
            sums: Sums::default(),
            reported: vec![false; shared.requests.len() + shared.requests.scripts().len()],
        }
    }

    pub(crate) fn report(&self, event: Event) {
        // The driver stops listening only when it gave this thread up.
        let _ = self.events.send(event);
    }

    /// Takes up what became of a request, or of a statement within one.
    pub(crate) fn sample(
        &mut self,
        subject: Subject,
        times: Times,
        latency: Duration,
        failed: bool,
        opening: Opening,
    ) {
        if times.intended < self.shared.warmup {
            return;
        }
        let start = times.intended - self.shared.warmup;
        let whole = !matches!(subject, Subject::Part(_));
        self.sums.late += u64::from(whole && times.taken >= self.shared.end());
        let lag = times.begun.saturating_sub(times.taken.max(times.intended));
        if whole && !failed {
            self.sums.connect += opening.connect;
            self.sums.tls += opening.tls;
            self.sums.auth += opening.auth;
            self.sums.wait += times.taken.saturating_sub(times.intended);
            self.sums.lag += lag;
        }
        let late = times.begun.saturating_sub(times.intended);
        let [start, latency, late, lag] = [start, latency, late, lag].map(nanoseconds);
        self.samples.push(Sample { start, latency, late, lag, subject, failed });
        if self.samples.len() >= self.batch {
            let batch = std::mem::replace(&mut self.samples, Vec::with_capacity(self.batch));
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
        if let ConnectionError::Server(refusal) = error {
            match refusal.sqlstate.as_str() {
                "40P01" => self.sums.deadlocks += 1,
                "40001" => self.sums.serialization += 1,
                "25006" => self.sums.read_only += 1,
                other if self.shared.requests.prepared() && crate::prepared::lost(other) => {
                    self.report(Event::NotPrepared(refusal.to_string()));
                }
                _ => {}
            }
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

    /// Reports the first failure of a statement that is none of the server's.
    pub(crate) fn explain_own(&mut self, statement: usize, text: String) {
        if let Some(reported) = self.reported.get_mut(statement)
            && !std::mem::replace(reported, true)
        {
            self.report(Event::Failed { statement, text });
        }
    }

    /// Hands over what is left.
    pub(crate) fn finish(&mut self) {
        let samples = std::mem::take(&mut self.samples);
        self.report(Event::Samples(samples));
        self.report(Event::Finished(self.sums));
    }
}

/// In 64 bits, which hold 584 years: this runs for every request, and 128-bit division is slow.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(1_000_000_000)
        .saturating_add(u64::from(duration.subsec_nanos()))
}
