//! What parsing and planning cost, asked of the server itself after a load.

use crate::LoadError;
use crate::connection::{Connection, Dialer, POLL, Patience};
use crate::options::Writes;
use crate::requests::{Choice, Requests};
use bytes::BytesMut;
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::measurement::Protocol;
use pgassay_model::workload::Workload;
use postgres_protocol::message::frontend;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

/// Most probes.
const MOST: u32 = 200;
/// Most time for all probes.
const TIME: Duration = Duration::from_secs(2);
/// Probes of a prepared statement that are left out: the server makes a plan for the very values five times, and
/// then once a plan for any values to compare (`choose_custom_plan` in plancache.c; manual, PREPARE).
const WARM_UP_PREPARED: u32 = 6;
/// Round trips of an empty Sync whose median is taken off.
const ROUND_TRIPS: usize = 25;

/// Mean time of parsing and planning a request of a workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Probe {
    /// Weighted mean over the statements, in milliseconds: Parse and Bind, less the round trip.
    pub mean_ms: f64,
    /// Probes counted.
    pub n: u32,
}

/// Probes the statements of `workload` on a connection of its own, which must lead to the server itself.
///
/// A probe sends Parse, Bind and Sync: the server parses, analyses and rewrites at Parse, and plans at Bind
/// (`exec_bind_message` calls `GetCachedPlan`), where it also starts the executor for statements that only
/// read. Nothing is executed, so statements that write are safe to probe; locks are those of planning. The
/// backend's caches are warm after each statement's first probe, which is not counted: with a connection per
/// request to the server itself, filling them is in the ledger's network part. Prepared statements are parsed
/// before, and what is counted is what Bind takes once the server has settled for a plan.
///
/// Statements take turns, and their means are averaged by weight; those that can't be planned are left out.
/// At most 200 probes or 2 seconds, the heaviest statements first.
pub fn parse_plan(
    settings: &ConnectionSettings,
    workload: &Workload,
    protocol: Protocol,
    seed: u64,
) -> Result<Probe, LoadError> {
    // Literals are parsed and planned as values of unnamed statements are.
    let protocol = if protocol == Protocol::Simple { Protocol::Extended } else { protocol };
    let requests = Requests::new(workload, protocol, Writes::Run)?;
    let dialer = Dialer::new(settings, POLL)?;
    let patient = AtomicBool::new(false);
    let failed = |error| LoadError::opening(settings.to_string(), &error);
    let opening = Patience::new(&patient, dialer.timeout());
    let (mut connection, _) = dialer.open(opening).map_err(failed)?;
    let patience = Patience::new(&patient, Some(TIME * 2));
    let round_trip = round_trip(&mut connection, patience).map_err(failed)?;

    let mut order: Vec<usize> = (0..requests.len()).collect();
    let weight = |index: &usize| workload.statements.get(*index).map_or(0.0, |own| own.weight);
    order.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    let warm_up = if requests.prepared() { WARM_UP_PREPARED } else { 1 };
    let new = |statement| Probed::new(statement, warm_up);
    let mut probed: Vec<Probed> = order.into_iter().map(new).collect();
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut outbox = BytesMut::new();
    let begin = Instant::now();
    let mut sent = 0;
    while sent < MOST && probed.iter().any(|own| !own.refused) {
        for own in probed.iter_mut().filter(|own| !own.refused) {
            if sent >= MOST || begin.elapsed() >= TIME {
                break;
            }
            let set = random.random_range(0..requests.sets(own.statement).max(1));
            let choice = Choice { statement: own.statement, set };
            requests.write_unexecuted(choice, connection.knows(own.statement), &mut outbox);
            let start = Instant::now();
            let refusal = connection.request(&outbox, patience).map_err(failed)?;
            let time = start.elapsed();
            if refusal.is_none() && requests.prepared() {
                connection.learn(own.statement);
            }
            sent += u32::from(own.warm == 0);
            own.take(time, refusal.map(|refusal| refusal.to_string()));
        }
        if begin.elapsed() >= TIME {
            break;
        }
    }
    connection.close(patience);
    mean(&probed, round_trip, |index| weight(&index)).ok_or_else(|| {
        let first = probed.iter().find_map(|own| Some((own.statement, own.reason.clone()?)));
        let (statement, reason) = first.unwrap_or((0, "it took longer than the probe may".into()));
        let id = workload.statements.get(statement).map(|own| own.id.clone());
        LoadError::Statement { statement: id.unwrap_or_default(), reason }
    })
}

/// Probes of one statement.
#[derive(Debug)]
struct Probed {
    statement: usize,
    /// Probes still to be left out.
    warm: u32,
    refused: bool,
    reason: Option<String>,
    sum: Duration,
    /// The last of those left out.
    last: Option<Duration>,
    n: u32,
}

impl Probed {
    fn new(statement: usize, warm_up: u32) -> Self {
        Probed {
            statement,
            warm: warm_up,
            refused: false,
            reason: None,
            sum: Duration::ZERO,
            last: None,
            n: 0,
        }
    }

    fn take(&mut self, time: Duration, refusal: Option<String>) {
        if refusal.is_some() {
            self.refused = true;
            self.reason = refusal;
        } else if self.warm == 0 {
            self.sum += time;
            self.n += 1;
        } else {
            self.warm -= 1;
            self.last = Some(time);
        }
    }

    /// Mean of the counted probes; where time allowed but one, that one.
    fn mean_ms(&self) -> Option<(f64, u32)> {
        match (self.refused, self.n) {
            (true, _) => None,
            (false, 0) => self.last.map(|time| (time.as_secs_f64() * 1e3, 1)),
            (false, n) => Some((self.sum.as_secs_f64() * 1e3 / f64::from(n), n)),
        }
    }
}

fn mean(probed: &[Probed], round_trip: Duration, weight: impl Fn(usize) -> f64) -> Option<Probe> {
    let round_trip = round_trip.as_secs_f64() * 1e3;
    let (mut sum, mut weights, mut count) = (0.0, 0.0, 0);
    for own in probed {
        if let Some((mean, n)) = own.mean_ms() {
            sum += weight(own.statement) * (mean - round_trip).max(0.0);
            weights += weight(own.statement);
            count += n;
        }
    }
    (weights > 0.0).then(|| Probe { mean_ms: sum / weights, n: count })
}

/// Median round trip of a Sync alone.
fn round_trip(
    connection: &mut Connection,
    patience: Patience<'_>,
) -> Result<Duration, crate::connection::ConnectionError> {
    let mut sync = BytesMut::new();
    frontend::sync(&mut sync);
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        connection.request(&sync, patience)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(ROUND_TRIPS / 2).copied().unwrap_or_default())
}
