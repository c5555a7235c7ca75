//! How a load is driven: from flags to the load's own terms.

use crate::cli::{ConnectArg, Drive, ProtocolArg, WritesArg};
use crate::failure::Failure;
use crate::measure::bench;
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

/// Whether what the workload writes is to go to a copy of the server.
pub fn on_copy(drive: &Drive) -> bool {
    drive.writes == Some(WritesArg::Copy)
}

/// Whether anything of the workload writes.
pub fn writing(workload: &Workload) -> bool {
    workload.statements.iter().any(|statement| statement.writes)
        || workload.scripts.iter().any(|script| script.writes)
}

/// The first statement or script that writes, by its id.
fn first_writing(workload: &Workload) -> &str {
    let statements = workload.statements.iter().filter(|own| own.writes).map(|own| own.id.as_str());
    let scripts = workload.scripts.iter().filter(|own| own.writes).map(|own| own.id.as_str());
    statements.chain(scripts).next().unwrap_or_default()
}

/// What of the workload reads only; None where nothing does.
pub fn reading_part(workload: &Workload) -> Option<Workload> {
    let mut part = workload.clone();
    let mut index = Vec::new();
    let mut kept = 0;
    part.statements.retain(|statement| {
        index.push((!statement.writes).then_some(kept));
        kept += usize::from(!statement.writes);
        !statement.writes
    });
    part.scripts.retain(|script| !script.writes);
    for session in &mut part.sessions {
        session.requests.retain_mut(|request| {
            let new = index.get(request.statement).copied().flatten();
            request.statement = new.unwrap_or_default();
            new.is_some()
        });
    }
    part.sessions.retain(|session| !session.requests.is_empty());
    // Where scripts are driven, statements are only what is within them.
    let any = if workload.scripts.is_empty() {
        !part.statements.is_empty()
    } else {
        !part.scripts.is_empty()
    };
    any.then_some(part)
}

/// Whether what the workload writes may be committed on the server.
pub fn may_write(drive: &Drive, yes: bool) -> bool {
    matches!((drive.writes, yes), (Some(WritesArg::Run), _) | (None, true))
}

/// What becomes of what the workload writes. One that writes is refused unless that was asked for, and one that
/// acts on the server itself in any case.
pub fn writes(drive: &Drive, yes: bool, workload: &Workload) -> Result<Writes, Failure> {
    let acting = workload.statements.iter().find_map(|statement| {
        let function = pgassay_sql::administers(&statement.sql).ok()??;
        Some((statement.id.as_str(), function))
    });
    if let Some((statement, function)) = acting {
        return Err(Failure::input(
            format!(
                "statement {statement} calls {function}, which acts on the server and not on data"
            ),
            "leave the statement out of the workload: a load would act so many times a second",
        ));
    }
    let writing = writing(workload);
    match drive.writes {
        // On the copy; see `on_copy`.
        Some(WritesArg::Run | WritesArg::Copy) => Ok(Writes::Run),
        Some(WritesArg::Rollback) => Ok(Writes::Rollback),
        None if yes => Ok(Writes::Run),
        // What it writes after all, the server refuses.
        _ if !writing => Ok(Writes::Refuse),
        _ => Err(Failure::input(
            format!(
                "the workload writes ({}, by its text or by what it calls), and measuring runs it: rows would be changed in this database",
                first_writing(workload)
            ),
            "leave the writing statements out of the workload, let a copy of the server be made for it (--writes copy), \
             roll back what is written (--writes rollback), or run it as it is (--writes run, or --yes)",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn workload(text: &str) -> Workload {
        serde_json::from_str(text).unwrap()
    }

    const TWO: &str = r#"{"schema": "pgassay/workload/1", "generated_at": "2026-01-01T00:00:00Z", "source": "test",
        "statements": [
            {"id": "write", "sql": "UPDATE t SET n = 1", "weight": 1.0, "writes": true},
            {"id": "read", "sql": "SELECT 1", "weight": 2.0, "writes": false}],
        "sessions": [{"id": "s", "requests": [
            {"at_us": 0, "statement": 0, "parameters": 0}, {"at_us": 5, "statement": 1, "parameters": 0}]}]}"#;

    #[test]
    fn the_reading_part_of_recorded_sessions_still_names_its_statements() {
        let part = reading_part(&workload(TWO)).unwrap();
        assert_eq!(part.statements.len(), 1);
        assert_eq!(part.statements[0].id, "read");
        let requests = &part.sessions[0].requests;
        assert_eq!((requests.len(), requests[0].at_us, requests[0].statement), (1, 5, 0));
    }

    #[test]
    fn of_scripts_that_all_write_nothing_is_left_to_drive() {
        let mut all = workload(TWO);
        all.scripts = vec![pgassay_model::workload::Script {
            id: "s".into(),
            weight: 1.0,
            text: "UPDATE t SET n = 1; SELECT 1;".into(),
            writes: true,
        }];
        assert!(reading_part(&all).is_none());
    }
}
