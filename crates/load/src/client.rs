//! One client: takes up requests, sends them, times every step, and reports samples.

use crate::arrivals::Arrivals;
use crate::connection::{Connection, ConnectionError, Dialer, Opening, POLL, Patience};
use crate::gate::Gate;
use crate::requests::{Choice, Requests};
use bytes::BytesMut;
use pgassay_model::measurement::Connect;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// Samples handed over at a time.
const BATCH: usize = 512;
/// How long a client waits at the end for its backend to end.
const LEAVING: Duration = Duration::from_millis(400);
/// Pause after a connection could not be opened, so that a server that is away is not flooded.
const PAUSE: Duration = Duration::from_millis(100);

/// What all clients of a load share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dialer: Dialer,
    pub(crate) requests: Requests,
    /// The schedule; None in a closed loop.
    pub(crate) arrivals: Option<Arrivals>,
    pub(crate) connect: Connect,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// How long after the window requests of the schedule are still taken up.
    pub(crate) drain: Duration,
    pub(crate) statement_timeout: Option<Duration>,
    pub(crate) seed: u64,
    pub(crate) gate: Gate,
    /// Set when clients must give up whatever they are waiting for.
    pub(crate) abandon: AtomicBool,
}

impl Shared {
    /// When the measured window ends, since the load began.
    pub(crate) fn end(&self) -> Duration {
        self.warmup + self.duration
    }
}

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

/// Sums over a client's requests without error.
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

/// What a client reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// The first attempt to open a connection has ended.
    Opened(Result<Opening, ConnectionError>),
    Samples(Vec<Sample>),
    /// First error of a statement on this client, without values.
    Failed {
        statement: usize,
        text: String,
    },
    Finished(Sums),
}

/// Runs a client to its end.
pub(crate) fn run(number: u32, shared: &Arc<Shared>, events: Sender<Event>) {
    // The default slack of 50 µs would be added to every intended start (prctl(2), PR_SET_TIMERSLACK).
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut client = Client {
        shared,
        events,
        random: Xoshiro256PlusPlus::seed_from_u64(
            shared.seed.wrapping_add(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        ),
        connection: None,
        outbox: BytesMut::new(),
        samples: Vec::with_capacity(BATCH),
        sums: Sums::default(),
        reported: vec![false; shared.requests.len()],
    };
    client.open_first();
    if let Some(origin) = shared.gate.pass() {
        while client.turn(origin).is_some() {}
    }
    client.finish();
}

struct Client<'a> {
    shared: &'a Shared,
    events: Sender<Event>,
    random: Xoshiro256PlusPlus,
    connection: Option<Connection>,
    outbox: BytesMut,
    samples: Vec<Sample>,
    sums: Sums,
    reported: Vec<bool>,
}

/// A request taken up; times since the load began.
struct Turn {
    choice: Choice,
    intended: Duration,
    taken: Duration,
    begun: Duration,
}

impl Client<'_> {
    fn open(&self) -> Result<(Connection, Opening), ConnectionError> {
        self.shared.dialer.open(Patience::new(&self.shared.abandon, self.shared.dialer.timeout()))
    }

    /// Opens the client's connection, or with a connection per request one to see that it can be opened.
    fn open_first(&mut self) {
        let opened = self.open().map(|(connection, opening)| {
            match self.shared.connect {
                Connect::Reuse => self.connection = Some(connection),
                Connect::PerRequest => connection.close(self.courtesy()),
            }
            opening
        });
        self.report(Event::Opened(opened));
    }

    /// One request; None at the end.
    fn turn(&mut self, origin: Instant) -> Option<()> {
        let mut opening = None;
        if self.shared.connect == Connect::Reuse && self.connection.is_none() {
            // Between requests, so that it counts to no latency; in an open loop the next request waits for it.
            match self.open() {
                Ok((connection, _)) => self.connection = Some(connection),
                Err(error) => opening = Some(error),
            }
        }
        let turn = self.next(origin)?;
        let unopened = opening.is_some();
        let outcome = match (opening, self.connection.take()) {
            (Some(error), _) => Err(error),
            (None, Some(connection)) => self.send(connection, turn.choice),
            (None, None) => self.send_alone(turn.choice),
        };
        match outcome {
            Ok(Answer { opening, end, refusal: None }) => {
                let latency = end.duration_since(origin).saturating_sub(turn.intended);
                self.sample(&turn, latency, false, opening);
            }
            Ok(Answer { end, refusal: Some(refusal), .. }) => {
                let latency = end.duration_since(origin).saturating_sub(turn.intended);
                self.sample(&turn, latency, true, Opening::default());
                self.explain(turn.choice, &ConnectionError::Server(refusal));
            }
            Err(error) => {
                let latency = origin.elapsed().saturating_sub(turn.intended);
                self.sample(&turn, latency, true, Opening::default());
                self.explain(turn.choice, &error);
                if unopened || self.shared.connect == Connect::PerRequest {
                    std::thread::sleep(PAUSE);
                }
            }
        }
        Some(())
    }

    /// The next request, when it is time for it.
    fn next(&mut self, origin: Instant) -> Option<Turn> {
        if self.shared.abandon.load(Ordering::Relaxed) {
            return None;
        }
        let Some(arrivals) = &self.shared.arrivals else {
            let now = origin.elapsed();
            let choice = self.shared.requests.choose(&mut self.random);
            return (now < self.shared.end()).then_some(Turn {
                choice,
                intended: now,
                taken: now,
                begun: now,
            });
        };
        let taken = origin.elapsed();
        if taken >= self.shared.end() + self.shared.drain {
            return None;
        }
        let arrival = arrivals.take(&self.shared.requests)?;
        let mut begun = taken;
        while begun < arrival.at {
            std::thread::sleep((arrival.at - begun).min(POLL));
            if self.shared.abandon.load(Ordering::Relaxed) {
                return None;
            }
            begun = origin.elapsed();
        }
        Some(Turn { choice: arrival.choice, intended: arrival.at, taken, begun })
    }

    /// Sends a request on the client's connection and keeps that where it is still good.
    fn send(
        &mut self,
        mut connection: Connection,
        choice: Choice,
    ) -> Result<Answer, ConnectionError> {
        self.shared.requests.write(choice, &mut self.outbox);
        let answer = connection.request(&self.outbox, self.patience());
        let end = Instant::now();
        match answer {
            Ok(refusal) => {
                self.connection = Some(connection);
                Ok(Answer { opening: Opening::default(), end, refusal })
            }
            Err(error) => {
                self.give_up(&connection, &error);
                Err(error)
            }
        }
    }

    /// Sends a request on a connection of its own. Closing it is not part of what the user waits for.
    fn send_alone(&mut self, choice: Choice) -> Result<Answer, ConnectionError> {
        let (mut connection, opening) = self.open()?;
        self.shared.requests.write(choice, &mut self.outbox);
        let answer = connection.request(&self.outbox, self.patience());
        let end = Instant::now();
        match answer {
            Ok(refusal) => {
                connection.close(self.courtesy());
                Ok(Answer { opening, end, refusal })
            }
            Err(error) => {
                self.give_up(&connection, &error);
                Err(error)
            }
        }
    }

    fn give_up(&self, connection: &Connection, error: &ConnectionError) {
        if matches!(error, ConnectionError::TimedOut(_) | ConnectionError::Abandoned)
            && let Some(key) = connection.cancel_key()
        {
            self.shared.dialer.cancel(key);
        }
    }

    fn patience(&self) -> Patience<'_> {
        Patience::new(&self.shared.abandon, self.shared.statement_timeout)
    }

    fn courtesy(&self) -> Patience<'_> {
        Patience::new(&self.shared.abandon, Some(POLL))
    }

    fn sample(&mut self, turn: &Turn, latency: Duration, failed: bool, opening: Opening) {
        if turn.intended < self.shared.warmup {
            return;
        }
        let start = turn.intended - self.shared.warmup;
        self.sums.late += u64::from(turn.taken >= self.shared.end());
        if !failed {
            self.sums.connect += opening.connect;
            self.sums.tls += opening.tls;
            self.sums.auth += opening.auth;
            self.sums.wait += turn.taken.saturating_sub(turn.intended);
            self.sums.lag += turn.begun - turn.taken.max(turn.intended);
        }
        self.samples.push(Sample { start, latency, statement: turn.choice.statement, failed });
        if self.samples.len() >= BATCH {
            let batch = std::mem::replace(&mut self.samples, Vec::with_capacity(BATCH));
            self.report(Event::Samples(batch));
        }
    }

    /// Reports the first error of a statement.
    fn explain(&mut self, choice: Choice, error: &ConnectionError) {
        let Some(reported) = self.reported.get_mut(choice.statement) else { return };
        if std::mem::replace(reported, true) {
            return;
        }
        let text = match error {
            ConnectionError::Server(refusal) => {
                self.shared.requests.redact(choice, &refusal.sqlstate, &refusal.message)
            }
            other => other.to_string(),
        };
        self.report(Event::Failed { statement: choice.statement, text });
    }

    fn report(&self, event: Event) {
        // The driver stops listening only when it gave this client up.
        let _ = self.events.send(event);
    }

    /// Reports what is left. The connection stays open until all have finished and the server's CPU has been
    /// read, because ending a backend costs more than many requests.
    fn finish(mut self) {
        let samples = std::mem::take(&mut self.samples);
        self.report(Event::Samples(samples));
        self.report(Event::Finished(self.sums));
        self.shared.gate.wait_closing();
        if let Some(connection) = self.connection.take() {
            connection.close_and_wait(Patience::new(&self.shared.abandon, Some(LEAVING)));
        }
    }
}

/// An answer, error or not.
struct Answer {
    opening: Opening,
    end: Instant,
    refusal: Option<crate::connection::ServerError>,
}
