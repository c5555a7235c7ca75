//! How a load is driven: from flags to the load's own terms.

use crate::cli::{ConnectArg, Drive, ProtocolArg, WritesArg};
use crate::failure::Failure;
use pgassay_load::{LoadMode, Protocol, Writes};
use pgassay_model::measurement::Connect;
use pgassay_model::workload::Workload;

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

/// The load asked for, with at most `most` requests in flight in an open loop.
pub fn mode(drive: &Drive, most: u32) -> Option<LoadMode> {
    match (drive.clients, drive.rate) {
        (Some(clients), _) => Some(LoadMode::Closed { clients }),
        (None, Some(rate)) => Some(LoadMode::Open { rate, clients: most }),
        (None, None) => None,
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
