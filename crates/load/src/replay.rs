//! Replays recorded sessions: each on a connection of its own, its requests in their order and at their times.

use crate::LoadError;
use crate::client::{PAUSE, Shared, precise_timers, wait_until};
use crate::connection::{Connection, ConnectionError, POLL, Patience};
use crate::encode::{End, Frame};
use crate::options::Writes;
use crate::reporter::{Event, Reporter, Subject, Times};
use crate::requests::{Choice, Requests};
use bytes::BytesMut;
use pgassay_model::workload::{RecordedSession, Workload};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// How long before its first request a session's connection is opened, and so how long the first ones wait for
/// the load to begin.
pub(crate) const LEAD: Duration = Duration::from_millis(500);

/// How long a recording takes at a multiple of its own speed: to its last request.
pub fn recorded_duration(workload: &Workload, speed: f64) -> Duration {
    let last = workload.sessions.iter().filter_map(|session| session.requests.last());
    let last = last.map(|request| request.at_us).max().unwrap_or(0);
    // The last one lies within.
    scaled(last, speed) + Duration::from_millis(1)
}

fn scaled(at_us: u64, speed: f64) -> Duration {
    Duration::try_from_secs_f64(at_us as f64 / 1e6 / speed).unwrap_or(Duration::MAX / 4)
}

/// One request of a session.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Due {
    /// Intended start since the load began.
    at: Duration,
    choice: Choice,
    frame: Frame,
    /// Its explicit transaction, from 1; 0: none.
    transaction: u32,
}

/// What is replayed.
#[derive(Debug)]
pub(crate) struct Replay {
    /// By the times of their first requests.
    sessions: Vec<Vec<Due>>,
    next: AtomicUsize,
    /// Most sessions at the same time, at the speed asked for.
    pub(crate) most_at_once: usize,
}

impl Replay {
    /// Makes a workload's sessions ready, up to `duration`.
    pub(crate) fn new(
        workload: &Workload,
        requests: &Requests,
        speed: f64,
        duration: Duration,
    ) -> Result<Self, LoadError> {
        let mut sessions: Vec<Vec<Due>> = workload
            .sessions
            .iter()
            .map(|session| dues(session, requests, speed, duration))
            .collect::<Result<_, _>>()?;
        sessions.retain(|session| !session.is_empty());
        if sessions.is_empty() {
            return Err(LoadError::NoSessions);
        }
        sessions.sort_by_key(|session| session.first().map(|due| due.at));
        let most_at_once = sessions_at_once(workload, speed);
        Ok(Replay { sessions, next: AtomicUsize::new(0), most_at_once })
    }

    fn take(&self) -> Option<&[Due]> {
        self.sessions.get(self.next.fetch_add(1, Ordering::Relaxed)).map(Vec::as_slice)
    }

    /// Number of requests.
    pub(crate) fn requests(&self) -> u64 {
        self.sessions.iter().map(|session| session.len() as u64).sum()
    }
}

/// The requests of a session, each with the borders of its transaction that it has to send.
fn dues(
    session: &RecordedSession,
    requests: &Requests,
    speed: f64,
    duration: Duration,
) -> Result<Vec<Due>, LoadError> {
    let mut dues: Vec<Due> = Vec::with_capacity(session.requests.len());
    let mut rolled_back = Vec::with_capacity(session.requests.len());
    for recorded in &session.requests {
        let choice = Choice { statement: recorded.statement, set: recorded.parameters };
        if recorded.parameters >= requests.sets(recorded.statement) {
            return Err(LoadError::Session {
                session: session.id.clone(),
                statement: recorded.statement,
                set: recorded.parameters,
            });
        }
        let at = scaled(recorded.at_us, speed);
        if at >= duration {
            break;
        }
        let transaction = recorded.transaction;
        let frame = if transaction == 0 { requests.frame(choice) } else { Frame::default() };
        rolled_back.push(recorded.rolled_back);
        // Times are those of a log: they may go back a little, and the order is what counts.
        let at = (at + LEAD).max(dues.last().map_or(LEAD, |due| due.at));
        dues.push(Due { at, choice, frame, transaction });
    }
    let numbers: Vec<u32> = dues.iter().map(|due| due.transaction).collect();
    for (place, due) in dues.iter_mut().enumerate().filter(|(_, due)| due.transaction > 0) {
        let number = Some(&due.transaction);
        let rolls_back = requests.writes() == Writes::Rollback
            || rolled_back.get(place).copied().unwrap_or(false);
        let end = if rolls_back { End::Rollback } else { End::Commit };
        due.frame = Frame {
            before: (place.checked_sub(1).and_then(|before| numbers.get(before)) != number)
                .then(|| requests.begin()),
            end: (numbers.get(place + 1) != number).then_some(end),
        };
    }
    Ok(dues)
}

/// How many of a workload's recorded sessions overlap at most, at a multiple of their own speed.
pub fn sessions_at_once(workload: &Workload, speed: f64) -> usize {
    let mut borders: Vec<(Duration, i64)> = Vec::new();
    for session in &workload.sessions {
        if let (Some(first), Some(last)) = (session.requests.first(), session.requests.last()) {
            let took = Duration::from_micros(last.took_us.unwrap_or(0));
            borders.push((scaled(first.at_us, speed), 1));
            borders.push((scaled(last.at_us, speed) + took, -1));
        }
    }
    // One that begins when another ends overlaps with it.
    borders.sort_by_key(|(at, step)| (*at, -step));
    let (mut open, mut most) = (0, 0);
    for (_, step) in borders {
        open += step;
        most = most.max(open);
    }
    usize::try_from(most).unwrap_or(0)
}

/// Replays sessions, one after the other, until none is left.
pub(crate) fn run(replay: &Replay, shared: &Shared, events: Sender<Event>) {
    precise_timers();
    let mut player =
        Player { shared, reporter: Reporter::new(shared, events), outbox: BytesMut::new() };
    let mut connection = None;
    let opened = shared.open(&mut player.outbox).map(|(first, opening)| {
        connection = Some(first);
        opening
    });
    player.reporter.report(Event::Opened(opened));
    if let Some(origin) = shared.gate.pass() {
        while let Some(session) = replay.take() {
            connection = player.play(session, connection, origin);
            if shared.abandon.load(Ordering::Relaxed) {
                break;
            }
            // The next session has a connection of its own.
            if let Some(connection) = connection.take() {
                connection.close(Patience::new(&shared.abandon, Some(POLL)));
            }
        }
    }
    player.reporter.finish();
    shared.gate.wait_closing();
}

struct Player<'a> {
    shared: &'a Shared,
    reporter: Reporter<'a>,
    outbox: BytesMut,
}

impl Player<'_> {
    /// Plays a session to its end, on `connection` where that is open already.
    fn play(
        &mut self,
        session: &[Due],
        mut connection: Option<Connection>,
        origin: Instant,
    ) -> Option<Connection> {
        let first = session.first()?.at;
        wait_until(first.saturating_sub(LEAD), origin, &self.shared.abandon)?;
        let mut failed_transaction = 0;
        for due in session {
            let mut unopened = None;
            if connection.is_none() {
                match self.shared.open(&mut self.outbox) {
                    Ok((opened, _)) => connection = Some(opened),
                    Err(error) => unopened = Some(error),
                }
            }
            let taken = origin.elapsed();
            if taken >= self.shared.end() + self.shared.drain {
                return connection;
            }
            let begun = wait_until(due.at, origin, &self.shared.abandon)?;
            if due.transaction > 0 && due.transaction == failed_transaction {
                self.reporter.sums.skipped += 1;
                continue;
            }
            let times = Times { intended: due.at, taken, begun };
            let outcome = match (unopened, connection.take()) {
                (Some(error), _) => {
                    std::thread::sleep(PAUSE);
                    Err(error)
                }
                (None, Some(mut open)) => {
                    let outcome = self.send(&mut open, due);
                    if matches!(outcome, Ok(()) | Err(Refused::Kept(_))) {
                        connection = Some(open);
                    }
                    outcome.map_err(Refused::error)
                }
                (None, None) => Err(ConnectionError::Closed),
            };
            let latency = origin.elapsed().saturating_sub(due.at);
            let number = due.choice.statement;
            let subject = Subject::Request(u32::try_from(number).unwrap_or(u32::MAX));
            let opening = Default::default();
            self.reporter.sample(subject, times, latency, outcome.is_err(), opening);
            if let Err(error) = outcome {
                failed_transaction = due.transaction;
                self.reporter.explain(number, &error, |sqlstate, message| {
                    self.shared.requests.redact(due.choice, sqlstate, message)
                });
            }
        }
        connection
    }

    fn send(&mut self, connection: &mut Connection, due: &Due) -> Result<(), Refused> {
        let known = connection.knows(due.choice.statement);
        self.shared.requests.write(due.choice, due.frame, known, &mut self.outbox);
        let patience = Patience::new(&self.shared.abandon, self.shared.statement_timeout);
        match connection.request(&self.outbox, patience) {
            Ok(None) => Ok(()),
            Ok(Some(refusal)) => Err(Refused::Kept(ConnectionError::Server(refusal))),
            Err(error) => {
                self.shared.give_up(connection, &error);
                Err(Refused::Lost(error))
            }
        }
    }
}

/// Why a request failed, and whether its connection is still good.
enum Refused {
    Kept(ConnectionError),
    Lost(ConnectionError),
}

impl Refused {
    fn error(self) -> ConnectionError {
        match self {
            Refused::Kept(error) | Refused::Lost(error) => error,
        }
    }
}
