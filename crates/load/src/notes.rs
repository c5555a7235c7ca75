//! What a reader of a measurement must know, in sentences.

use crate::connection::{ConnectionError, Opening};
use crate::ledger::ClientParts;
use crate::processes;
use crate::reporter::Sums;
use crate::tally::{Tally, mean_ms};
use crate::{LoadOptions, Writes};
use pgassay_model::measurement::{Connect, Protocol};
use std::time::Duration;

/// Share of the intended requests that may be sent after the end of the window before the load counts as
/// fallen behind.
const BEHIND: f64 = 0.01;
/// Share of the mean latency from which on the load generator's own lag is worth a note.
const LAG: f64 = 0.1;

/// What the notes are written from.
pub(crate) struct Facts<'a> {
    pub(crate) options: &'a LoadOptions,
    pub(crate) tally: &'a Tally,
    pub(crate) openings: &'a [Opening],
    pub(crate) unopened: &'a [ConnectionError],
    pub(crate) parts: &'a ClientParts,
    /// Requests of the schedule that were never sent.
    pub(crate) unsent: u64,
    /// Clients that did not report back.
    pub(crate) silent: u32,
    pub(crate) sums: &'a Sums,
    /// Most recorded sessions at the same time; None where none are replayed.
    pub(crate) sessions_at_once: Option<usize>,
    pub(crate) cpu_known: bool,
    /// The load generator's own CPU, milliseconds per request.
    pub(crate) own_cpu: Option<f64>,
    /// Statements that are wrapped into transactions for what they may write.
    pub(crate) guarded: usize,
}

/// The notes, the gravest first.
pub(crate) fn write(facts: &Facts<'_>) -> Vec<String> {
    [
        failures(facts),
        behind(facts),
        unopened(facts),
        silent(facts),
        bounded(facts),
        aborted(facts),
        lag(facts),
        opening_cost(facts),
        timeout(facts),
        server_cpu(facts),
        slept(facts),
        conflicts(facts),
        refused(facts),
        guarded(facts),
        writes(facts),
        Some(protocol(facts)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn failures(facts: &Facts<'_>) -> Option<String> {
    let (requests, errors) = (facts.tally.requests(), facts.tally.errors());
    if requests == 0 {
        return Some("no request was answered: nothing was measured".into());
    }
    let first = facts.tally.first_error().unwrap_or("unknown");
    let share = 100.0 * errors as f64 / requests as f64;
    if errors * 2 > requests {
        Some(format!(
            "MOST REQUESTS FAILED ({errors} of {requests}, {share:.0} %): the figures describe the few that did not; \
             first error: {first}"
        ))
    } else if errors > 0 {
        Some(format!("{errors} of {requests} requests failed ({share:.2} %); first error: {first}"))
    } else {
        None
    }
}

/// Whether the load fell behind what was intended, in words.
pub(crate) fn behind(facts: &Facts<'_>) -> Option<String> {
    let rate = match (facts.options.mode.rate(), facts.sessions_at_once) {
        (Some(rate), _) => rate,
        (None, Some(_)) => {
            let intended = facts.tally.requests() + facts.unsent;
            intended as f64 / facts.options.duration.as_secs_f64()
        }
        (None, None) => return None,
    };
    let missed = facts.sums.late + facts.unsent;
    let intended = facts.tally.requests() + facts.unsent;
    let clients = u64::from(facts.options.mode.clients());
    // The last requests before the end may well find every client busy.
    if missed as f64 <= (BEHIND * intended as f64).max(clients as f64) {
        return None;
    }
    let achieved = (intended - missed.min(intended)) as f64 / facts.options.duration.as_secs_f64();
    let mut note = format!(
        "the load fell behind: {rate:.1} requests per second were intended, {achieved:.1} were sent in time; \
         the latency is a lower bound"
    );
    if facts.unsent > 0 {
        note.push_str(&format!(", and {} requests were never sent", facts.unsent));
    }
    let last_answer = facts.tally.last_answer();
    if last_answer > facts.options.duration {
        note.push_str(&format!(
            "; throughput is that of the {:.1} s until the last answer",
            last_answer.as_secs_f64()
        ));
    }
    Some(note)
}

fn unopened(facts: &Facts<'_>) -> Option<String> {
    let first = facts.unopened.first()?;
    Some(format!(
        "{} of {} connections could not be opened at the start: {first}",
        facts.unopened.len(),
        facts.options.mode.clients()
    ))
}

fn silent(facts: &Facts<'_>) -> Option<String> {
    (facts.silent > 0).then(|| {
        format!(
            "{} clients were still opening a connection when the measurement ended; their last requests are not counted",
            facts.silent
        )
    })
}

fn bounded(facts: &Facts<'_>) -> Option<String> {
    let at_once = facts.sessions_at_once?;
    let clients = facts.options.mode.clients();
    (at_once > clients as usize).then(|| {
        format!(
            "up to {at_once} recorded sessions overlap at this speed and {clients} were replayed at once (--clients): \
             others began late, which is within their latency"
        )
    })
}

fn aborted(facts: &Facts<'_>) -> Option<String> {
    (facts.sums.skipped > 0).then(|| {
        format!(
            "{} requests of recorded transactions were not sent, since a request before had failed and the \
             transaction was rolled back",
            facts.sums.skipped
        )
    })
}

fn lag(facts: &Facts<'_>) -> Option<String> {
    let lag = facts.tally.lag()?;
    let mean = facts.tally.latency().mean;
    // With recorded times the reader has to know how exactly these were kept.
    (facts.sessions_at_once.is_some() || facts.parts.lag_ms > LAG * mean && mean > 0.0).then(|| {
        format!(
            "the load generator sent requests {:.3} ms late on average (p50 {:.3}, p95 {:.3}, p99 {:.3}, most {:.3}; \
             timer and scheduler of its host), which is within the latency and the ledger's network part",
            facts.parts.lag_ms, lag.p50, lag.p95, lag.p99, lag.max
        )
    })
}

fn opening_cost(facts: &Facts<'_>) -> Option<String> {
    let count = facts.openings.len() as u64;
    if facts.options.connect != Connect::Reuse || count == 0 {
        return None;
    }
    let mean =
        |part: fn(&Opening) -> Duration| mean_ms(facts.openings.iter().map(part).sum(), count);
    Some(format!(
        "connections were opened before the window and reused; opening one took {:.2} ms on average \
         (connect {:.2}, TLS {:.2}, authentication {:.2}), {count} at the same time",
        mean(|opening| opening.connect + opening.tls + opening.auth),
        mean(|opening| opening.connect),
        mean(|opening| opening.tls),
        mean(|opening| opening.auth),
    ))
}

fn timeout(facts: &Facts<'_>) -> Option<String> {
    facts.options.statement_timeout.map(|timeout| {
        format!(
            "requests were given up and cancelled after {} ms by the load generator, and counted as errors",
            timeout.as_millis()
        )
    })
}

fn server_cpu(facts: &Facts<'_>) -> Option<String> {
    let pid = facts.options.server_cpu?;
    if !facts.cpu_known {
        return Some(format!(
            "the server's CPU is not known: process {pid} can't be read in /proc"
        ));
    }
    let mut note = format!(
        "server CPU is that of the postmaster and its descendants, read in /proc at the blocks' borders \
         (that of processes that have ended in ticks of {:.0} ms)",
        processes::tick_ms()
    );
    if let Some(own) = facts.own_cpu {
        note.push_str(&format!(
            "; the load generator runs on the same host and used {own:.3} ms of CPU per request itself"
        ));
    }
    Some(note)
}

fn slept(facts: &Facts<'_>) -> Option<String> {
    let slept = mean_ms(facts.sums.slept, facts.tally.requests());
    (slept > 0.0).then(|| {
        format!(
            "scripts slept {slept:.3} ms per request (\\sleep), which is within the latency and the ledger's network part"
        )
    })
}

fn conflicts(facts: &Facts<'_>) -> Option<String> {
    let (deadlocks, serialization) = (facts.sums.deadlocks, facts.sums.serialization);
    (deadlocks + serialization > 0).then(|| {
        format!(
            "{deadlocks} deadlocks (40P01) and {serialization} serialization failures (40001), warm-up included; none was retried"
        )
    })
}

fn refused(facts: &Facts<'_>) -> Option<String> {
    let refused = facts.sums.read_only;
    (facts.options.writes == Writes::Refuse && refused > 0).then(|| {
        format!(
            "{refused} requests, warm-up included, wanted to write though the text of their statements only reads: the \
             server refused them (25006), nothing was written, and they count as errors of their statements"
        )
    })
}

fn guarded(facts: &Facts<'_>) -> Option<String> {
    (facts.options.writes == Writes::Refuse && facts.guarded > 0).then(|| {
        format!(
            "{} statements are not known to only read and were sent in read-only transactions, since a pooler lets no \
             read-only session through: BEGIN and ROLLBACK are within their latency",
            facts.guarded
        )
    })
}

fn writes(facts: &Facts<'_>) -> Option<String> {
    let any = facts.guarded > 0 || facts.sessions_at_once.is_some();
    (facts.options.writes == Writes::Rollback && any).then(|| {
        "what the workload writes was rolled back: what a commit costs (WAL flush, synchronous replication) is \
         missing, BEGIN and ROLLBACK are within the latency, rows stay locked a little longer, the dead rows are \
         left to autovacuum, and sequences stay where they were advanced to"
            .into()
    })
}

fn protocol(facts: &Facts<'_>) -> String {
    let mut note = String::from(match facts.options.protocol {
        Protocol::Simple => {
            "statements were sent by the simple protocol with their values as literals, so each request is parsed \
             and planned"
        }
        Protocol::Extended => {
            "statements were sent by the extended protocol as unnamed statements, so each request is parsed and planned"
        }
        Protocol::Prepared => {
            "statements were prepared once on each connection, so no request is parsed; planned is each of a \
             connection's first five, and after that where a plan for the very values is thought to be worth it \
             (plan_cache_mode)"
        }
    });
    if facts.sessions_at_once.is_some() {
        note.push_str(
            "; each recorded session had a connection of its own; BEGIN was sent with a transaction's first request, and with \
             its last COMMIT, or ROLLBACK where the recorded one was rolled back",
        );
    } else if !facts.options.warmup.is_zero() {
        note.push_str(&format!(
            "; {:.1} s of warm-up are not counted",
            facts.options.warmup.as_secs_f64()
        ));
    }
    note
}
