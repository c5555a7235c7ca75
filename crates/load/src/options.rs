//! How a load is driven.

use crate::LoadError;
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::measurement::{Connect, Protocol};
use std::time::Duration;

const MOST_CLIENTS: u32 = 10_000;

/// When requests start.
#[derive(Debug, Clone, PartialEq)]
pub enum LoadMode {
    /// Each client sends its next request as soon as it has the answer to the last one. A stall of the server
    /// stalls the load too, so this shows capacity, not what users feel.
    Closed {
        /// Concurrent clients.
        clients: u32,
    },
    /// Requests start at intended times, independent of the server's answers, and their latency counts from
    /// there.
    Open {
        /// Intended requests per second; the gaps are exponential (a Poisson process).
        rate: f64,
        /// The most requests in flight.
        clients: u32,
    },
    /// The workload's recorded sessions, each on a connection of its own, their requests at their recorded
    /// times, to which their latency counts; nothing is warmed up.
    Replay {
        /// How many times as fast as recorded.
        speed: f64,
        /// The most sessions at once.
        clients: u32,
    },
}

impl LoadMode {
    /// Clients, which is to say threads and, with reused connections, connections.
    pub(crate) fn clients(&self) -> u32 {
        match self {
            LoadMode::Closed { clients }
            | LoadMode::Open { clients, .. }
            | LoadMode::Replay { clients, .. } => *clients,
        }
    }

    /// Intended requests per second; None in a closed loop.
    pub(crate) fn rate(&self) -> Option<f64> {
        match self {
            LoadMode::Closed { .. } | LoadMode::Replay { .. } => None,
            LoadMode::Open { rate, .. } => Some(*rate),
        }
    }

    /// How many times as fast as recorded; None where nothing recorded is replayed.
    pub(crate) fn speed(&self) -> Option<f64> {
        match self {
            LoadMode::Replay { speed, .. } => Some(*speed),
            LoadMode::Closed { .. } | LoadMode::Open { .. } => None,
        }
    }
}

/// What becomes of what a workload writes. Whether it may write at all is for the caller to have asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Writes {
    /// It is committed.
    #[default]
    Run,
    /// Every request that is not known to only read is wrapped into a transaction that is rolled back, and
    /// transactions of the workload's own are rolled back where they would commit.
    Rollback,
    /// The server refuses it (25006), which counts as an error: sessions are read-only, and where a pooler does not
    /// let that through, requests that are not known to only read are wrapped into read-only transactions.
    Refuse,
}

/// What to drive, how, and for how long.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The way the application takes.
    pub target: ConnectionSettings,
    /// Closed or open loop.
    pub mode: LoadMode,
    /// When connections are opened.
    pub connect: Connect,
    /// How statements are sent.
    pub protocol: Protocol,
    /// What becomes of what the workload writes.
    pub writes: Writes,
    /// Measured time, warm-up excluded.
    pub duration: Duration,
    /// Time driven first and not counted.
    pub warmup: Duration,
    /// Length wanted of a block; the duration is cut into equal blocks of about this length.
    pub block: Duration,
    /// Seed of every random choice: the same seed chooses the same requests.
    pub seed: u64,
    /// Postmaster's process id, where the server is on this host: its CPU and its descendants' is accounted
    /// through /proc.
    pub server_cpu: Option<u32>,
    /// How long a request may take. Enforced by the client, which then cancels the statement: `SET` would
    /// stick to a pooler's server connections, and PgBouncer refuses it as a start-up option. None: as long as
    /// the measurement lasts.
    pub statement_timeout: Option<Duration>,
}

impl LoadOptions {
    /// Refuses what makes no sense.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        if self.mode.clients() == 0 {
            return Err(LoadError::Options("at least one client is needed"));
        }
        if self.mode.clients() > MOST_CLIENTS {
            return Err(LoadError::Options("at most 10000 clients are supported"));
        }
        if self.mode.rate().is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return Err(LoadError::Options("the rate must be above 0 requests per second"));
        }
        if self.duration.is_zero() || self.block.is_zero() {
            return Err(LoadError::Options("duration and block must be longer than 0"));
        }
        if let Some(speed) = self.mode.speed() {
            if !(speed.is_finite() && speed > 0.0) {
                return Err(LoadError::Options("the speed of a replay must be above 0"));
            }
            if self.connect == Connect::PerRequest {
                return Err(LoadError::Options(
                    "recorded sessions have a connection each, and can't have one per request",
                ));
            }
        }
        if self.protocol == Protocol::Prepared && self.connect == Connect::PerRequest {
            return Err(LoadError::Options(
                "statements prepared on a connection need it to be kept, not one per request",
            ));
        }
        Ok(())
    }
}
