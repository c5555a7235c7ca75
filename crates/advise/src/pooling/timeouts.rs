//! Time-outs: query_timeout, query_wait_timeout, server_idle_timeout, server_lifetime.

use super::{PoolEvidence, Wanted};
use crate::drafts::without_figure;
use crate::reachable::Lever;
use crate::words;
use pgassay_model::plan::ExpectedSource;
use pgassay_model::pooler::PoolerSetting;

/// New sessions per transaction from which servers are opened too often: each costs the backend's start and a
/// log-in, milliseconds against the microseconds of a pooled transaction (design "pooling", yardsticks).
const CHURN: f64 = 0.05;
/// PgBouncer's own defaults (its manual, server_lifetime and server_idle_timeout), in seconds.
const DEFAULT_LIFETIME: f64 = 3600.0;
const DEFAULT_IDLE_TIMEOUT: f64 = 600.0;

/// Never proposed: it closes the client's connection while the statement goes on in PostgreSQL.
pub(super) fn query_timeout(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    let current = &setting.value;
    let statement_timeout = evidence.all.number("statement_timeout").unwrap_or(0.0);
    Err(match (current.as_str(), statement_timeout) {
        ("0" | "0.0", _) => "it is off, which is right: it closes the client's connection while the statement goes on in PostgreSQL".to_owned(),
        (_, 0.0) => format!(
            "it is {current} s without a statement_timeout: a client that it closes leaves its statement running; lowering it would harm, set statement_timeout first (see the recommendations)"
        ),
        (_, ms) => format!(
            "it is {current} s, statement_timeout {:.0} s ends the statement itself; nothing to win by another value",
            ms / 1e3
        ),
    })
}

/// Above 3 × the longest wait and below the client's own time-out, which is not visible from here.
pub(super) fn query_wait_timeout(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    let current = &setting.value;
    let longest = evidence.pools().map(|pool| pool.max_wait_s).fold(0.0, f64::max);
    let mean = evidence
        .window
        .filter(|window| window.transactions > 0)
        .map(|window| window.wait_ms / window.transactions as f64);
    let waits = match mean {
        Some(mean) => {
            format!("{mean:.3} ms of waiting per transaction, longest seen {longest:.2} s")
        }
        None => format!("longest wait seen {longest:.2} s"),
    };
    Err(format!(
        "it should be above 3 × the longest wait and below the client's own time-out, which is not visible from here; {waits}; it stays {current} s"
    ))
}

pub(super) fn server_idle_timeout(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    longer_lived(evidence, setting, DEFAULT_IDLE_TIMEOUT)
}

pub(super) fn server_lifetime(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    longer_lived(evidence, setting, DEFAULT_LIFETIME)
}

/// Proposed only where servers are opened for a real share of the transactions, and the value is short enough
/// to be the reason within the window.
fn longer_lived(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
    default: f64,
) -> Result<Wanted, String> {
    let current = &setting.value;
    let seconds: f64 =
        current.parse().map_err(|_| format!("{current} could not be read as a number"))?;
    let sessions = evidence.all.delta.and_then(|delta| delta.sessions);
    let (Some(sessions), Some(window)) =
        (sessions, evidence.window.filter(|window| window.transactions > 0))
    else {
        return Err(format!(
            "how often servers are opened is unknown (it takes a measurement through the pool, and PostgreSQL 14 or later); it stays {current} s"
        ));
    };
    let churn = sessions as f64 / window.transactions as f64;
    let figures = format!(
        "{} for {} ({:.4} a transaction)",
        words::count(sessions, "new session"),
        words::count(window.transactions, "transaction"),
        churn
    );
    if churn < CHURN || seconds <= 0.0 || seconds >= window.duration_s || seconds >= default {
        return Err(format!("{figures}: {current} s is no reason to open servers often; it stays"));
    }
    if let Some(closed) = evidence.all.levers.closed(Lever::Pool) {
        return Err(format!("{figures}, yet {closed}; it stays {current} s"));
    }
    Ok(Wanted {
        to: format!("{default:.0}"),
        more_servers: 0,
        expected: without_figure(
            "servers are opened less often, so clients wait less for a log-in to the server",
            ExpectedSource::Rule,
        ),
        evidence: vec![
            figures,
            format!(
                "a server lives {seconds:.0} s, shorter than the window of {:.0} s",
                window.duration_s
            ),
        ],
        mechanism: "pg_stat_database.sessions per transaction",
    })
}
