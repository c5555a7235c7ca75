//! How a load is driven: from flags to the load's own terms.

use crate::bench;
use crate::cli::{ConnectArg, Drive, ProtocolArg, WritesArg};
use crate::failure::Failure;
use pgassay_load::{LoadMode, Protocol, Writes};
use pgassay_model::measurement::{Connect, Mode};
use pgassay_model::workload::Workload;
use std::time::Duration;

/// How long to measure, and with how many clients, where nothing is said.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(30);
/// Clients of a closed loop.
const DEFAULT_CLIENTS: u32 = 8;
/// Recorded sessions replayed at once: as many as PostgreSQL lets in by default (max_connections).
const MOST_SESSIONS: u32 = 90;

/// When connections are opened.
pub fn connect(argument: ConnectArg) -> Connect {
    match argument {
        ConnectArg::Reuse => Connect::Reuse,
        ConnectArg::PerRequest => Connect::PerRequest,
    }
}

/// How statements are sent.
pub fn protocol(argument: ProtocolArg) -> Protocol {
    match argument {
        ProtocolArg::Simple => Protocol::Simple,
        ProtocolArg::Extended => Protocol::Extended,
        ProtocolArg::Prepared => Protocol::Prepared,
    }
}

/// The load asked for, with at most `most(wanted)` requests in flight where their number is not.
pub fn mode(drive: &Drive, workload: &Workload, most: impl Fn(u32) -> u32) -> Option<LoadMode> {
    match (drive.speed, drive.clients, drive.rate) {
        (Some(speed), Some(clients), _) => Some(LoadMode::Replay { speed, clients }),
        (Some(speed), None, _) => Some(replay(workload, speed, most)),
        (None, Some(clients), _) => Some(LoadMode::Closed { clients }),
        (None, None, Some(rate)) => {
            Some(LoadMode::Open { rate, clients: most(bench::OPEN_LOOP_CLIENTS) })
        }
        (None, None, None) => None,
    }
}

/// The load where none is asked for: recorded sessions as they ran, other workloads in a closed loop, and also
/// where each request is to have a connection, which recorded ones have not.
pub fn default_mode(workload: &Workload, connect: Connect, most: impl Fn(u32) -> u32) -> LoadMode {
    if workload.sessions.is_empty() || connect == Connect::PerRequest {
        LoadMode::Closed { clients: most(DEFAULT_CLIENTS) }
    } else {
        replay(workload, 1.0, most)
    }
}

/// The load of a measurement before.
pub fn as_before(mode: &Mode) -> LoadMode {
    let clients = |default| mode.clients.unwrap_or(default);
    match (mode.speed, mode.rate) {
        (Some(speed), _) => LoadMode::Replay { speed, clients: clients(MOST_SESSIONS) },
        (None, Some(rate)) => LoadMode::Open { rate, clients: clients(bench::OPEN_LOOP_CLIENTS) },
        (None, None) => LoadMode::Closed { clients: clients(DEFAULT_CLIENTS) },
    }
}

fn replay(workload: &Workload, speed: f64, most: impl Fn(u32) -> u32) -> LoadMode {
    let overlapping = pgassay_load::sessions_at_once(workload, speed);
    let wanted = u32::try_from(overlapping).unwrap_or(u32::MAX).clamp(1, MOST_SESSIONS);
    LoadMode::Replay { speed, clients: most(wanted) }
}

/// How long to measure where nothing is said.
pub fn default_duration(mode: &LoadMode, workload: &Workload) -> Duration {
    match mode {
        LoadMode::Replay { speed, .. } if *speed > 0.0 => {
            pgassay_load::recorded_duration(workload, *speed)
        }
        _ => DEFAULT_DURATION,
    }
}

/// What becomes of what the workload writes. One that writes is refused unless that was asked for.
pub fn writes(drive: &Drive, yes: bool, workload: &Workload) -> Result<Writes, Failure> {
    let writing = workload.statements.iter().any(|statement| statement.writes)
        || workload.scripts.iter().any(|script| script.writes);
    match drive.writes {
        Some(WritesArg::Run) => Ok(Writes::Run),
        Some(WritesArg::Rollback) if writing => Ok(Writes::Rollback),
        None if yes => Ok(Writes::Run),
        _ if !writing => Ok(Writes::Run),
        _ => Err(Failure::input(
            "the workload writes, and measuring runs it: rows would be changed in this database",
            "leave the writing statements out of the workload, point at a copy, roll back what is written \
             (--writes rollback), or run it as it is (--writes run, or --yes)",
        )),
    }
}
