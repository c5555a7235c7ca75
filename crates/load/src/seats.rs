//! A closed loop of several clients on one thread: while one waits for the server, the others are served.
//!
//! With a thread for each client every answer costs a switch between threads; here several that have come
//! meanwhile are taken up without one. Measured by `benches/pgbench.rs` at 32 clients on 2 cores: with a thread
//! for each, CPU per request was a quarter to a half above pgbench's. A client alone is served so too, so that the
//! same path is measured whatever the number of clients.

use crate::client::{LEAVING, PAUSE, Shared, precise_timers};
use crate::connection::{Connection, ConnectionError, Opening, Patience, Reading, Ready};
use crate::reporter::{Event, Reporter, Subject, Times};
use crate::requests::Choice;
use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rand::rngs::Xoshiro256PlusPlus;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// What an event's number is where it is no seat's: the timer.
const TICK: u64 = u64::MAX;

/// Waits for the answers of a thread's clients, and for the time to look around. The timer is one of its own
/// because a timeout is set and cleared with every wait, which costs 0.4 µs (measured on Linux 6.18).
pub(crate) struct Watch {
    epoll: Epoll,
    timer: TimerFd,
}

impl Watch {
    /// With a tick each `poll`.
    pub(crate) fn new(poll: Duration) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let interval = Expiration::Interval(TimeSpec::from_duration(poll));
        timer.set(interval, TimerSetTimeFlags::empty())?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TICK))?;
        Ok(Watch { epoll, timer })
    }
}

/// One client.
struct Seat {
    random: Xoshiro256PlusPlus,
    connection: Option<Connection>,
    choice: Choice,
    /// When its request was sent, since the load began.
    begun: Duration,
    /// The answer it waits for.
    waiting: Option<Reading>,
    /// When it may try to open a connection again.
    not_before: Duration,
}

/// The clients of one thread.
struct Table<'a> {
    shared: &'a Shared,
    reporter: Reporter<'a>,
    watch: Watch,
    seats: Vec<Seat>,
    /// Numbers of the seats that send a request next.
    idle: Vec<usize>,
    outbox: BytesMut,
    origin: Instant,
}

/// Runs clients to their end.
pub(crate) fn run(numbers: Range<u32>, shared: &Arc<Shared>, watch: Watch, events: Sender<Event>) {
    precise_timers();
    let mut table = Table {
        shared,
        reporter: Reporter::new(shared, events),
        watch,
        seats: Vec::new(),
        idle: Vec::new(),
        outbox: BytesMut::new(),
        origin: Instant::now(),
    };
    for number in numbers {
        let opened = table.open(table.seats.len());
        let (connection, opened) = match opened {
            Ok((connection, opening)) => (Some(connection), Ok(opening)),
            Err(error) => (None, Err(error)),
        };
        table.reporter.report(Event::Opened(opened));
        table.seats.push(Seat {
            random: shared.random(number),
            connection,
            choice: Choice { statement: 0, set: 0 },
            begun: Duration::ZERO,
            waiting: None,
            not_before: Duration::ZERO,
        });
    }
    if let Some(origin) = shared.gate.pass() {
        table.origin = origin;
        table.serve();
    }
    table.reporter.finish();
    shared.gate.wait_closing();
    let connections = table.seats.into_iter().filter_map(|seat| seat.connection).collect();
    Connection::close_and_wait(connections, Patience::new(&shared.abandon, Some(LEAVING)));
}

impl Table<'_> {
    /// Opens the connection of a seat, whose answers are then told by its number.
    fn open(&mut self, number: usize) -> Result<(Connection, Opening), ConnectionError> {
        let (connection, opening) = self.shared.open(&mut self.outbox)?;
        let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
        match self.watch.epoll.add(&connection, event) {
            Ok(()) => Ok((connection, opening)),
            Err(error) => {
                Err(ConnectionError::Io { doing: "watching the connection", source: error.into() })
            }
        }
    }

    fn serve(&mut self) {
        let mut ready = vec![EpollEvent::empty(); self.seats.len() + 1];
        self.idle.extend(0..self.seats.len());
        while !self.shared.abandon.load(Ordering::Relaxed) {
            // Only when all that had come is read: a request wakes its backend, which may take our place on the
            // core, and answers left unread would age meanwhile though the server had given them.
            let mut idle = std::mem::take(&mut self.idle);
            let now = self.origin.elapsed();
            idle.drain(..).for_each(|number| self.begin(number, now));
            // Those whose connection broke meanwhile.
            idle.append(&mut self.idle);
            self.idle = idle;
            let come = match self.watch.epoll.wait(&mut ready, EpollTimeout::NONE) {
                Ok(come) => come,
                Err(Errno::EINTR) => 0,
                // Can't be with a descriptor that was open; the requests in flight are given up below.
                Err(_) => break,
            };
            let mut ticked = false;
            for event in ready.iter().take(come) {
                match event.data() {
                    TICK => ticked = true,
                    number => self.answer(number as usize),
                }
            }
            let now = self.origin.elapsed();
            if ticked {
                // Only to have it tick again.
                let _ = self.watch.timer.wait();
                self.look_around(now);
            }
            if now >= self.shared.end() && self.seats.iter().all(|seat| seat.waiting.is_none()) {
                return;
            }
        }
        for number in 0..self.seats.len() {
            self.lose(number, ConnectionError::Abandoned);
        }
    }

    /// Sends a seat's next request, unless the time is over.
    fn begin(&mut self, number: usize, now: Duration) {
        if now >= self.shared.end() {
            return;
        }
        let Some(seat) = self.seats.get_mut(number) else { return };
        if seat.connection.is_none() && now < seat.not_before {
            return;
        }
        let requests = &self.shared.requests;
        let choice = requests.choose(&mut seat.random);
        seat.choice = choice;
        seat.begun = now;
        seat.waiting = Some(Reading::default());
        if seat.connection.is_none() {
            match self.open(number) {
                Ok((connection, _)) => {
                    if let Some(seat) = self.seats.get_mut(number) {
                        seat.connection = Some(connection);
                    }
                }
                Err(error) => return self.lose(number, error),
            }
        }
        let Some(seat) = self.seats.get_mut(number) else { return };
        let Some(connection) = &mut seat.connection else { return };
        let known = connection.knows(choice.statement);
        requests.write(choice, requests.frame(choice), known, &mut self.outbox);
        let patience = Patience::new(&self.shared.abandon, self.shared.statement_timeout);
        // What came before, a new connection or the making of the request, counts to no latency.
        seat.begun = self.origin.elapsed();
        if let Err(error) = connection.send(&self.outbox, patience) {
            self.lose(number, error);
        }
    }

    /// Reads what has come for a seat and, where that ends the answer, has it send its next request in turn.
    fn answer(&mut self, number: usize) {
        let Some(seat) = self.seats.get_mut(number) else { return };
        let Some(connection) = &mut seat.connection else { return };
        let patience = Patience::new(&self.shared.abandon, self.shared.statement_timeout);
        let Some(reading) = &mut seat.waiting else {
            // What comes unasked is the end of the session, or a notice.
            if connection.read_on(&mut Reading::default(), patience).is_err() {
                seat.connection = None;
            }
            return;
        };
        match connection.read_on(reading, patience) {
            Ok(None) => {}
            Ok(Some(ready)) => self.take(number, ready),
            Err(error) => self.lose(number, error),
        }
    }

    fn take(&mut self, number: usize, ready: Ready) {
        let now = self.origin.elapsed();
        let Some(seat) = self.seats.get_mut(number) else { return };
        seat.waiting = None;
        let (choice, begun) = (seat.choice, seat.begun);
        let failed = ready.refusal.is_some();
        let latency = now.saturating_sub(begun);
        let times = Times::at(begun);
        self.reporter.sample(subject(choice), times, latency, failed, Opening::default());
        if let Some(refusal) = ready.refusal {
            self.explain(choice, &ConnectionError::Server(refusal));
        }
        self.idle.push(number);
    }

    fn explain(&mut self, choice: Choice, error: &ConnectionError) {
        self.reporter.explain(choice.statement, error, |sqlstate, message| {
            self.shared.requests.redact(choice, sqlstate, message)
        });
    }

    /// Counts a seat's request as failed and gives its connection up.
    fn lose(&mut self, number: usize, error: ConnectionError) {
        let now = self.origin.elapsed();
        let Some(seat) = self.seats.get_mut(number) else { return };
        let connection = seat.connection.take();
        let opened = connection.is_some();
        if !opened {
            seat.not_before = now + PAUSE;
        }
        let waited = seat.waiting.take().is_some();
        let (choice, begun) = (seat.choice, seat.begun);
        if let Some(connection) = connection {
            self.shared.give_up(&connection, &error);
        }
        if waited {
            let latency = now.saturating_sub(begun);
            let times = Times::at(begun);
            self.reporter.sample(subject(choice), times, latency, true, Opening::default());
            self.explain(choice, &error);
        }
        if waited && opened {
            self.idle.push(number);
        }
    }

    /// Gives up requests that have taken too long, and has all begin where nothing is in flight.
    fn look_around(&mut self, now: Duration) {
        let limit = self.shared.statement_timeout.filter(|limit| !limit.is_zero());
        self.idle.clear();
        for number in 0..self.seats.len() {
            let Some(seat) = self.seats.get(number) else { continue };
            let (waiting, begun) = (seat.waiting.is_some(), seat.begun);
            match limit {
                Some(limit) if waiting && now >= begun + limit => {
                    self.lose(number, ConnectionError::TimedOut(limit));
                }
                _ if waiting => {}
                _ => self.idle.push(number),
            }
        }
    }
}

fn subject(choice: Choice) -> Subject {
    Subject::Request(u32::try_from(choice.statement).unwrap_or(u32::MAX))
}
