//! Runs the clients, reads the server's CPU at the blocks' borders, and sums up.

use crate::arrivals::Arrivals;
use crate::client::{self, Shared};
use crate::connection::{ConnectionError, Dialer, Opening, POLL, Patience, Reading};
use crate::encode::{self, Frame};
use crate::gate::Gate;
use crate::ledger::ClientParts;
use crate::notes::{self, Facts};
use crate::prepared;
use crate::processes;
use crate::read_only;
use crate::replay::{self, LEAD, Replay, recorded_duration};
use crate::reporter::{Event, Sums};
use crate::requests::Requests;
#[cfg(target_os = "linux")]
use crate::seats::{self, Watch};
use crate::tally::{Named, Tally, cpu_per_request, mean_ms};
use crate::{LoadError, LoadMode, LoadOptions, Writes};
use bytes::BytesMut;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::{Connect, Latency, Ledger, Measurement, Mode, Protocol, SCHEMA};
use pgassay_model::workload::Workload;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How often the driver looks at the interrupt flag and reports progress.
const TICK: Duration = Duration::from_millis(50);
/// How long a backlog is worked off after the window, and then how long what is in flight may take; less
/// where a statement timeout is less.
const DRAIN: Duration = Duration::from_secs(5);
/// How long clients that were told to give up may take to do so; a client inside connect(2) may take longer,
/// and is left to end by itself.
const FAREWELL: Duration = Duration::from_millis(700);
/// A client's stack; it holds no large values.
const STACK: usize = 256 * 1024;

/// What a driven workload has shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Driven {
    /// The measurement; its ledger holds only the total until [`crate::ledger::compose`] has filled it.
    pub measurement: Measurement,
    /// What the client saw of each request, for the ledger.
    pub client_parts: ClientParts,
    /// How long after its intended start a request was sent, whether no client was free or this host was late.
    /// None in a closed loop, where no request has a time.
    pub late_ms: Option<Latency>,
    /// How late requests were sent though nothing held them back: timer and scheduler of this host. It
    /// is part of `late_ms`, and like it None in a closed loop.
    pub lag_ms: Option<Latency>,
}

/// Drives a workload and blocks until it is done. `progress` is called with the share (0–1) of the time.
///
/// What becomes of what is written is for the caller to have asked. Errors of single requests are counted, and the
/// load goes on. Returns within a second of an interrupt.
pub fn drive(
    workload: &Workload,
    options: &LoadOptions,
    interrupt: &Interrupt,
    progress: &(dyn Fn(f64) + Sync),
) -> Result<Driven, LoadError> {
    options.check()?;
    let replayed = options.mode.speed().map(|speed| LoadOptions {
        // The time in which the first connections are opened.
        warmup: LEAD,
        duration: options.duration.min(recorded_duration(workload, speed)),
        ..options.clone()
    });
    let options = replayed.as_ref().unwrap_or(options);
    let scripted = !workload.scripts.is_empty() && replayed.is_none();
    let mut requests = if scripted {
        Requests::of_scripts(workload, options.protocol, options.writes)?
    } else {
        Requests::new(workload, options.protocol, options.writes)?
    };
    if replayed.is_some() {
        requests.keep_captured(workload);
    }
    let poll = options.statement_timeout.unwrap_or(POLL).clamp(Duration::from_millis(1), POLL);
    let read_only = match options.writes {
        Writes::Refuse => read_only::dialer(&options.target, poll)?,
        Writes::Run | Writes::Rollback => None,
    };
    let dialer = match read_only {
        Some(dialer) => {
            requests.trust_sessions();
            dialer
        }
        None => Dialer::new(&options.target, poll)?,
    };
    let replay = match options.mode.speed() {
        Some(speed) => Some(Replay::new(workload, &requests, speed, options.duration)?),
        None => None,
    };
    if options.protocol == Protocol::Prepared {
        prepared::check(&dialer, &options.target.to_string())?;
    }
    requests.rise(&dialer);
    let scale = if scripted { scale(&dialer, &requests) } else { 1 };
    let shared = Arc::new(Shared {
        dialer,
        replay,
        scale,
        requests,
        arrivals: options
            .mode
            .rate()
            .map(|rate| Arrivals::new(rate, options.warmup + options.duration, options.seed)),
        connect: options.connect,
        warmup: options.warmup,
        duration: options.duration,
        drain: options.statement_timeout.unwrap_or(DRAIN).min(DRAIN),
        statement_timeout: options.statement_timeout,
        threads: threads(options, scripted) as usize,
        seed: options.seed,
        gate: Gate::new(),
        abandon: AtomicBool::new(false),
    });
    let result = Driver::start(options, &shared).and_then(|driver| driver.run(interrupt, progress));
    // Whatever happened, no client stays behind.
    shared.abandon.store(true, Ordering::Relaxed);
    shared.gate.close();
    result
}

struct Driver<'a> {
    options: &'a LoadOptions,
    shared: &'a Shared,
    events: Receiver<Event>,
    tally: Tally,
    blocks: usize,
    block: Duration,
    /// Server CPU in milliseconds at the borders of blocks.
    cpu: Vec<Option<f64>>,
    /// The load generator's own CPU, at the first and at the last border.
    own_cpu: (f64, f64),
    openings: Vec<Opening>,
    unopened: Vec<ConnectionError>,
    sums: Sums,
    threads: u32,
    finished: u32,
    /// Why prepared statements are of no use here, once that has shown.
    not_prepared: Option<String>,
}

impl<'a> Driver<'a> {
    fn start(options: &'a LoadOptions, shared: &'a Arc<Shared>) -> Result<Self, LoadError> {
        let blocks = (options.duration.as_secs_f64() / options.block.as_secs_f64()).round();
        let blocks = blocks.clamp(1.0, 100_000.0) as u32;
        let block = options.duration / blocks;
        let (sender, events) = channel();
        let threads = spawn(options, shared, &sender)?;
        Ok(Driver {
            options,
            shared,
            events,
            tally: Tally::new(
                blocks as usize,
                block,
                shared.requests.len(),
                shared.requests.scripts().len(),
                !matches!(options.mode, LoadMode::Closed { .. }),
            )?,
            blocks: blocks as usize,
            block,
            cpu: Vec::new(),
            own_cpu: (0.0, 0.0),
            openings: Vec::new(),
            unopened: Vec::new(),
            sums: Sums::default(),
            threads,
            finished: 0,
            not_prepared: None,
        })
    }

    fn run(
        mut self,
        interrupt: &Interrupt,
        progress: &(dyn Fn(f64) + Sync),
    ) -> Result<Driven, LoadError> {
        self.wait_opened(interrupt)?;
        let origin = Instant::now();
        self.shared.gate.open(origin);
        let end = self.shared.end();
        // A client notices that a request took too long with the delay of a poll.
        let last_answer = self.options.statement_timeout.unwrap_or(DRAIN) + POLL * 2;
        let drained = end + self.shared.drain + last_answer;
        let mut abandoned: Option<Instant> = None;
        // In an open loop all may be done before the window ends, which it does with the last border.
        while self.finished < self.threads || self.next_border().is_some() {
            let now = origin.elapsed();
            self.read_cpu(now);
            progress((now.as_secs_f64() / end.as_secs_f64()).min(1.0));
            if interrupt.requested() {
                return Err(self.interrupted());
            }
            self.check_prepared()?;
            match abandoned {
                None if now >= drained => {
                    self.shared.abandon.store(true, Ordering::Relaxed);
                    abandoned = Some(Instant::now());
                }
                Some(since) if since.elapsed() >= FAREWELL => break,
                _ => {}
            }
            match self.events.recv_timeout(self.pause(now)) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(self.pause(now)),
            }
            while let Ok(event) = self.events.try_recv() {
                self.take(event);
            }
        }
        if interrupt.requested() {
            return Err(self.interrupted());
        }
        self.dismiss();
        progress(1.0);
        Ok(self.sum_up())
    }

    /// Waits until every client has tried to open a connection.
    fn wait_opened(&mut self, interrupt: &Interrupt) -> Result<(), LoadError> {
        let clients = self.options.mode.clients() as usize;
        while self.openings.len() + self.unopened.len() < clients {
            if interrupt.requested() {
                return Err(self.interrupted());
            }
            match self.events.recv_timeout(TICK) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.check_prepared()?;
        match self.unopened.first() {
            Some(error) if self.openings.is_empty() => {
                Err(LoadError::opening(self.options.target.to_string(), error))
            }
            _ => Ok(()),
        }
    }

    /// Ends the load where its statements can't be prepared: its figures would be of errors.
    fn check_prepared(&mut self) -> Result<(), LoadError> {
        let refused = self.unopened.iter().find_map(|error| match error {
            ConnectionError::Server(refusal) if prepared::lost(&refusal.sqlstate) => {
                Some(refusal.to_string())
            }
            _ => None,
        });
        match self.not_prepared.take().or(refused) {
            Some(reason) => {
                self.shared.abandon.store(true, Ordering::Relaxed);
                self.dismiss();
                Err(LoadError::Prepared { reason })
            }
            None => Ok(()),
        }
    }

    /// Tells the clients to give up and waits a little for the cancel requests they send.
    fn interrupted(&mut self) -> LoadError {
        self.shared.abandon.store(true, Ordering::Relaxed);
        self.dismiss();
        LoadError::Interrupted
    }

    /// Lets the clients close their connections and waits until they are gone.
    fn dismiss(&mut self) {
        self.shared.gate.close();
        let since = Instant::now();
        while let Some(rest) = FAREWELL.checked_sub(since.elapsed()) {
            match self.events.recv_timeout(rest) {
                Ok(event) => self.take(event),
                Err(_) => break,
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened(Ok(opening)) => self.openings.push(opening),
            Event::Opened(Err(error)) => self.unopened.push(error),
            Event::Samples(samples) => {
                samples.into_iter().for_each(|sample| self.tally.add(sample))
            }
            Event::Failed { statement, text } => self.tally.explain(statement, text),
            Event::NotPrepared(reason) => self.not_prepared = Some(reason),
            Event::Finished(sums) => {
                self.finished += 1;
                self.sums += sums;
            }
        }
    }

    /// When the next border of a block comes, since the load began; None after the last.
    fn next_border(&self) -> Option<Duration> {
        let read = u32::try_from(self.cpu.len()).ok()?;
        (self.cpu.len() <= self.blocks).then(|| self.options.warmup + self.block * read)
    }

    fn read_cpu(&mut self, now: Duration) {
        while self.next_border().is_some_and(|border| now >= border) {
            let reading = self.options.server_cpu.and_then(processes::cpu_ms);
            self.own_cpu.1 = processes::own_cpu_ms();
            if self.cpu.is_empty() {
                self.own_cpu.0 = self.own_cpu.1;
            }
            self.cpu.push(reading);
        }
    }

    fn pause(&self, now: Duration) -> Duration {
        match self.next_border() {
            Some(border) => border.saturating_sub(now).clamp(Duration::from_micros(100), TICK),
            None => TICK,
        }
    }

    fn sum_up(self) -> Driven {
        let unsent = self
            .shared
            .arrivals
            .as_ref()
            .map_or(0, |arrivals| arrivals.drain(&self.shared.requests));
        let unsent = self.shared.replay.as_ref().map_or(unsent, |replay| {
            replay.requests().saturating_sub(self.tally.requests() + self.sums.skipped)
        });
        let names = self.shared.requests.names();
        let scripts: Vec<Named> =
            self.shared.requests.scripts().iter().map(|script| script.name.clone()).collect();
        let (requests, errors) = (self.tally.requests(), self.tally.errors());
        let answered = requests - errors;
        let duration_s = self.options.duration.as_secs_f64();
        let latency_ms = self.tally.latency();
        let client_parts = client_parts(self.options, &self.sums, answered, latency_ms.mean);
        let cpu = self.cpu.first().copied().flatten().zip(self.cpu.last().copied().flatten());
        let facts = Facts {
            options: self.options,
            tally: &self.tally,
            openings: &self.openings,
            unopened: &self.unopened,
            parts: &client_parts,
            sums: &self.sums,
            sessions_at_once: self.shared.replay.as_ref().map(|replay| replay.most_at_once),
            unsent,
            silent: self.threads - self.finished,
            cpu_known: cpu.is_some(),
            own_cpu: cpu_per_request(self.own_cpu.0, self.own_cpu.1, requests),
            guarded: self.shared.requests.guarded(),
        };
        // Of a load that fell behind, many answers came after its end.
        let answering = match notes::behind(&facts) {
            Some(_) => self.options.duration.max(self.tally.last_answer()),
            None => self.options.duration,
        };
        let measurement = Measurement {
            schema: SCHEMA.into(),
            generated_at: pgassay_model::Timestamp::now(),
            target: self.options.target.to_string(),
            requests,
            errors,
            duration_s,
            throughput: answered as f64 / answering.as_secs_f64(),
            mode: Mode {
                clients: Some(self.options.mode.clients()),
                rate: self.options.mode.rate(),
                connect: self.options.connect,
                protocol: self.options.protocol,
                speed: self.options.mode.speed(),
            },
            latency_ms,
            ledger_ms: Ledger { total: latency_ms.mean, ..Ledger::default() },
            ledger_sources: Default::default(),
            statements: self.tally.statements(names),
            scripts: self.tally.scripts(&scripts),
            blocks: self.tally.blocks(names, &self.cpu),
            server_cpu_ms_per_request: cpu
                .and_then(|(begin, end)| cpu_per_request(begin, end, requests)),
            pool: None,
            index_scans: Default::default(),
            notes: notes::write(&facts),
        };
        let (late_ms, lag_ms) = (self.tally.late(), self.tally.lag());
        Driven { measurement, client_parts, late_ms, lag_ms }
    }
}

/// The scale of pgbench's own tables, which scripts ask for by `:scale`: the number of branches, as pgbench
/// finds it. 1, as pgbench takes it for other scripts, where there are no such tables or nobody asks.
fn scale(dialer: &Dialer, requests: &Requests) -> i64 {
    if requests.scripts().iter().all(|script| script.program.variable("scale").is_none()) {
        return 1;
    }
    let patient = AtomicBool::new(false);
    let patience = || Patience::new(&patient, dialer.timeout());
    let Ok((mut connection, _)) = dialer.open(patience()) else { return 1 };
    let mut outbox = BytesMut::new();
    let sql = "SELECT count(*) FROM pgbench_branches /* pgassay */";
    encode::query(sql, Frame::default(), &mut outbox);
    let mut reading = Reading::with_row();
    let answered = connection.ask(&outbox, &mut reading, patience()).is_ok();
    connection.close(patience());
    let row = reading.rows.filter(|_| answered).unwrap_or_default();
    row.values
        .first()
        .and_then(|value| value.as_deref()?.parse().ok())
        .filter(|scale| *scale > 0)
        .unwrap_or(1)
}

/// Whether several clients share a thread: in a closed loop on kept connections. Otherwise each has one of its
/// own, to be on time.
fn seated(options: &LoadOptions, scripted: bool) -> bool {
    let closed = matches!(options.mode, LoadMode::Closed { .. });
    cfg!(target_os = "linux") && closed && options.connect == Connect::Reuse && !scripted
}

/// On how many threads the clients run: where they share them on no more than there are cores, since more only
/// switch.
fn threads(options: &LoadOptions, scripted: bool) -> u32 {
    let clients = options.mode.clients();
    if !seated(options, scripted) {
        return clients;
    }
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    clients.min(u32::try_from(cores).unwrap_or(u32::MAX))
}

/// Starts the clients and returns on how many threads.
fn spawn(
    options: &LoadOptions,
    shared: &Arc<Shared>,
    sender: &Sender<Event>,
) -> Result<u32, LoadError> {
    let clients = options.mode.clients();
    let failed = |source| LoadError::Threads { clients, source };
    let thread = |name: String| std::thread::Builder::new().name(name).stack_size(STACK);
    #[cfg(target_os = "linux")]
    if seated(options, !shared.requests.scripts().is_empty()) {
        let threads = u32::try_from(shared.threads).unwrap_or(1);
        for number in 0..threads {
            let numbers = clients * number / threads..clients * (number + 1) / threads;
            let watch = Watch::new(shared.dialer.poll()).map_err(failed)?;
            let (shared, sender) = (Arc::clone(shared), sender.clone());
            thread(format!("clients {numbers:?}"))
                .spawn(move || seats::run(numbers, &shared, watch, sender))
                .map_err(failed)?;
        }
        return Ok(threads);
    }
    for number in 0..clients {
        let (shared, sender) = (Arc::clone(shared), sender.clone());
        thread(format!("client {number}"))
            .spawn(move || match &shared.replay {
                Some(replay) => replay::run(replay, &shared, sender),
                None => client::run(number, &shared, sender),
            })
            .map_err(failed)?;
    }
    Ok(clients)
}

fn client_parts(options: &LoadOptions, sums: &Sums, answered: u64, mean: f64) -> ClientParts {
    let [connect, tls, auth, wait, lag] =
        [sums.connect, sums.tls, sums.auth, sums.wait, sums.lag].map(|sum| mean_ms(sum, answered));
    ClientParts {
        per_request: options.connect == Connect::PerRequest,
        connect_ms: connect,
        tls_ms: tls,
        auth_ms: auth,
        wait_ms: (!matches!(options.mode, LoadMode::Closed { .. })).then_some(wait),
        lag_ms: lag,
        request_ms: (mean - connect - tls - auth - wait - lag).max(0.0),
    }
}
