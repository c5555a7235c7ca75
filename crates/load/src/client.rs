//! One client, a thread of its own: takes up requests, sends them, times every step, and reports samples.

use crate::arrivals::Arrivals;
use crate::connection::{
    Connection, ConnectionError, Dialer, Opening, POLL, Patience, ServerError,
};
use crate::gate::Gate;
use crate::prepared;
use crate::redact::redact;
use crate::replay::Replay;
use crate::reporter::{Event, Reporter, Subject, Times};
use crate::requests::{Choice, Requests, Script};
use crate::scripted::{self, Runner};
use bytes::BytesMut;
use pgassay_model::measurement::Connect;
use pgassay_workload::pgbench::{self, Variables};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// How long a client waits at the end for its backend to end.
pub(crate) const LEAVING: Duration = Duration::from_millis(400);
/// Pause after a connection could not be opened, so that a server that is away is not flooded.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// What all clients of a load share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) dialer: Dialer,
    pub(crate) requests: Requests,
    /// The schedule of an open loop.
    pub(crate) arrivals: Option<Arrivals>,
    /// Recorded sessions, where these are replayed.
    pub(crate) replay: Option<Replay>,
    pub(crate) connect: Connect,
    pub(crate) warmup: Duration,
    pub(crate) duration: Duration,
    /// How long after the window requests of the schedule are still taken up.
    pub(crate) drain: Duration,
    pub(crate) statement_timeout: Option<Duration>,
    /// On how many threads the clients run.
    pub(crate) threads: usize,
    pub(crate) seed: u64,
    /// What scripts find in `:scale`.
    pub(crate) scale: i64,
    pub(crate) gate: Gate,
    /// Set when clients must give up whatever they are waiting for.
    pub(crate) abandon: AtomicBool,
}

impl Shared {
    /// When the measured window ends, since the load began.
    pub(crate) fn end(&self) -> Duration {
        self.warmup + self.duration
    }

    /// The random numbers of one client.
    pub(crate) fn random(&self, number: u32) -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(
            self.seed.wrapping_add(u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        )
    }

    /// The variables of a script for one client.
    fn variables(&self, script: &Script, client: u32) -> Variables {
        let seed = i64::try_from(self.seed & (i64::MAX as u64)).unwrap_or_default();
        let mut variables = Variables::new(seed);
        pgbench::give(&script.program, &mut variables, i64::from(client), self.scale, seed);
        variables
    }

    /// Opens a connection, with its statements prepared where they are to be.
    pub(crate) fn open(
        &self,
        outbox: &mut BytesMut,
    ) -> Result<(Connection, Opening), ConnectionError> {
        let patience = Patience::new(&self.abandon, self.dialer.timeout());
        let (mut connection, opening) = self.dialer.open(patience)?;
        if self.requests.prepared() {
            let patience = Patience::new(&self.abandon, self.statement_timeout);
            prepared::prepare(&mut connection, &self.requests, outbox, patience)?;
        }
        Ok((connection, opening))
    }

    /// Cancels what a connection does that is being given up.
    pub(crate) fn give_up(&self, connection: &Connection, error: &ConnectionError) {
        if matches!(error, ConnectionError::TimedOut(_) | ConnectionError::Abandoned)
            && let Some(key) = connection.cancel_key()
        {
            self.dialer.cancel(key);
        }
    }
}

/// Runs a client to its end.
pub(crate) fn run(number: u32, shared: &Arc<Shared>, events: Sender<Event>) {
    precise_timers();
    let mut client = Client {
        shared,
        reporter: Reporter::new(shared, events),
        random: shared.random(number),
        connection: None,
        outbox: BytesMut::new(),
        variables: shared
            .requests
            .scripts()
            .iter()
            .map(|own| shared.variables(own, number))
            .collect(),
    };
    client.open_first();
    if let Some(origin) = shared.gate.pass() {
        while client.turn(origin).is_some() {}
    }
    client.finish();
}

/// The default slack of 50 µs would be added to every intended start (prctl(2), PR_SET_TIMERSLACK).
pub(crate) fn precise_timers() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_timerslack(1);
}

struct Client<'a> {
    shared: &'a Shared,
    reporter: Reporter<'a>,
    random: Xoshiro256PlusPlus,
    connection: Option<Connection>,
    outbox: BytesMut,
    /// Variables of each script.
    variables: Vec<Variables>,
}

/// A request taken up.
struct Turn {
    choice: Choice,
    times: Times,
}

/// What became of a request that was sent on a connection that is still good.
struct Answer {
    opening: Opening,
    end: Instant,
    outcome: Result<(), Why>,
}

/// Why a request failed.
enum Why {
    /// An error that has to be reported with the statement.
    Error(ConnectionError),
    /// One of a script, reported with the statement within it or by these words.
    Script(Option<String>),
}

impl From<ConnectionError> for Why {
    fn from(error: ConnectionError) -> Self {
        Why::Error(error)
    }
}

impl Client<'_> {
    /// Opens the client's connection, or with a connection per request one to see that it can be opened.
    fn open_first(&mut self) {
        let opened = self.shared.open(&mut self.outbox).map(|(connection, opening)| {
            match self.shared.connect {
                Connect::Reuse => self.connection = Some(connection),
                Connect::PerRequest => connection.close(self.courtesy()),
            }
            opening
        });
        self.reporter.report(Event::Opened(opened));
    }

    /// One request; None at the end.
    fn turn(&mut self, origin: Instant) -> Option<()> {
        let mut opening = None;
        if self.shared.connect == Connect::Reuse && self.connection.is_none() {
            // Between requests, so that it counts to no latency; in an open loop the next request waits for it.
            match self.shared.open(&mut self.outbox) {
                Ok((connection, _)) => self.connection = Some(connection),
                Err(error) => opening = Some(error),
            }
        }
        let Turn { choice, times } = self.next(origin)?;
        let unopened = opening.is_some();
        let answer = match (opening, self.connection.take()) {
            (Some(error), _) => Err(Why::Error(error)),
            (None, Some(connection)) => self.send(connection, choice, origin),
            (None, None) => self.send_alone(choice, origin),
        };
        let (end, opening, outcome) = match answer {
            Ok(Answer { opening, end, outcome }) => (end, opening, outcome),
            Err(why) => {
                let end = Instant::now();
                if unopened || self.shared.connect == Connect::PerRequest {
                    std::thread::sleep(PAUSE);
                }
                (end, Opening::default(), Err(why))
            }
        };
        let latency = end.duration_since(origin).saturating_sub(times.intended);
        let number = u32::try_from(choice.statement).unwrap_or(u32::MAX);
        let scripts = !self.shared.requests.scripts().is_empty();
        let subject = if scripts { Subject::Script(number) } else { Subject::Request(number) };
        let opening = if outcome.is_ok() { opening } else { Opening::default() };
        self.reporter.sample(subject, times, latency, outcome.is_err(), opening);
        if let Err(why) = outcome {
            self.explain(choice, scripts, why);
        }
        Some(())
    }

    fn explain(&mut self, choice: Choice, scripts: bool, why: Why) {
        let requests = &self.shared.requests;
        let script = requests.len() + choice.statement;
        match why {
            Why::Error(error) => {
                let number = if scripts { script } else { choice.statement };
                self.reporter.explain(number, &error, |sqlstate, message| {
                    if scripts {
                        redact(sqlstate, message, [])
                    } else {
                        requests.redact(choice, sqlstate, message)
                    }
                });
            }
            Why::Script(Some(text)) => self.reporter.explain_own(script, text),
            Why::Script(None) => {
                self.reporter.explain_own(script, "one of its statements failed".into());
            }
        }
    }

    /// The next request, when it is time for it.
    fn next(&mut self, origin: Instant) -> Option<Turn> {
        if self.shared.abandon.load(Ordering::Relaxed) {
            return None;
        }
        let taken = origin.elapsed();
        let Some(arrivals) = &self.shared.arrivals else {
            let choice = self.shared.requests.choose(&mut self.random);
            return (taken < self.shared.end()).then_some(Turn { choice, times: Times::at(taken) });
        };
        if taken >= self.shared.end() + self.shared.drain {
            return None;
        }
        let arrival = arrivals.take(&self.shared.requests)?;
        let begun = wait_until(arrival.at, origin, &self.shared.abandon)?;
        let times = Times { intended: arrival.at, taken, begun };
        Some(Turn { choice: arrival.choice, times })
    }

    /// Sends a request on the client's connection and keeps that where it is still good.
    fn send(
        &mut self,
        mut connection: Connection,
        choice: Choice,
        origin: Instant,
    ) -> Result<Answer, Why> {
        let outcome = self.perform(&mut connection, choice, origin)?;
        let end = Instant::now();
        self.connection = Some(connection);
        Ok(Answer { opening: Opening::default(), end, outcome })
    }

    /// Sends a request on a connection of its own. Closing it is not part of what the user waits for.
    fn send_alone(&mut self, choice: Choice, origin: Instant) -> Result<Answer, Why> {
        let (mut connection, opening) = self.shared.open(&mut self.outbox)?;
        let outcome = self.perform(&mut connection, choice, origin)?;
        let end = Instant::now();
        connection.close(self.courtesy());
        Ok(Answer { opening, end, outcome })
    }

    /// A statement, or a run of a script; the outer error is one after which the connection is of no use.
    fn perform(
        &mut self,
        connection: &mut Connection,
        choice: Choice,
        origin: Instant,
    ) -> Result<Result<(), Why>, Why> {
        let requests = &self.shared.requests;
        let Some(script) = requests.scripts().get(choice.statement) else {
            let refusal = self.ask(connection, choice)?;
            return Ok(
                refusal.map_or(Ok(()), |refusal| Err(ConnectionError::Server(refusal).into()))
            );
        };
        let Some(variables) = self.variables.get_mut(choice.statement) else { return Ok(Ok(())) };
        let mut runner = Runner {
            shared: self.shared,
            reporter: &mut self.reporter,
            random: &mut self.random,
            outbox: &mut self.outbox,
            origin,
        };
        match runner.run(script, variables, connection) {
            Ok(()) => Ok(Ok(())),
            Err(scripted::Failure::Statement) => Ok(Err(Why::Script(None))),
            Err(scripted::Failure::Script(text)) => Ok(Err(Why::Script(Some(text)))),
            Err(scripted::Failure::Connection) => Err(Why::Script(None)),
            Err(scripted::Failure::Abandoned) => Err(Why::Error(ConnectionError::Abandoned)),
        }
    }

    fn ask(
        &mut self,
        connection: &mut Connection,
        choice: Choice,
    ) -> Result<Option<ServerError>, ConnectionError> {
        let requests = &self.shared.requests;
        let known = connection.knows(choice.statement);
        requests.write(choice, requests.frame(choice), known, &mut self.outbox);
        let patience = Patience::new(&self.shared.abandon, self.shared.statement_timeout);
        connection
            .request(&self.outbox, patience)
            .inspect_err(|error| self.shared.give_up(connection, error))
    }

    fn courtesy(&self) -> Patience<'_> {
        Patience::new(&self.shared.abandon, Some(POLL))
    }

    /// Reports what is left. The connection stays open until all have finished and the server's CPU has been
    /// read, because ending a backend costs more than many requests.
    fn finish(mut self) {
        self.reporter.finish();
        self.shared.gate.wait_closing();
        let patience = Patience::new(&self.shared.abandon, Some(LEAVING));
        Connection::close_and_wait(self.connection.into_iter().collect(), patience);
    }
}

/// Sleeps until `at`, since the load began, and returns when it really was; None where the load was abandoned.
pub(crate) fn wait_until(at: Duration, origin: Instant, abandon: &AtomicBool) -> Option<Duration> {
    loop {
        let now = origin.elapsed();
        if now >= at {
            return Some(now);
        }
        std::thread::sleep((at - now).min(POLL));
        if abandon.load(Ordering::Relaxed) {
            return None;
        }
    }
}
