//! How many server connections: default_pool_size, min_pool_size, reserve_pool_size, reserve_pool_timeout.

use super::erlang::{servers_for, waiting_probability};
use super::{PoolEvidence, Wanted};
use crate::reachable::{Lever, NEGLIGIBLE};
use crate::words;
use pgassay_model::plan::{Expected, ExpectedSource};
use pgassay_model::pooler::PoolerSetting;

/// Share of requests that may wait with the size proposed (design "pooling", β ≈ 2.1).
const WAITING: f64 = 0.05;
/// Servers at work at a time, per core, above which PostgreSQL itself queues: 2 × cores is where to start
/// from (PostgreSQL wiki, "Number Of Database Connections"; design "pooling": a prior, not a measured knee).
const KNEE_PER_CORE: f64 = 2.0;
/// Connections left for administration and others, beside those that are reserved.
const LEFT_FOR_OTHERS: u64 = 5;

/// Proposed where waiting is a real share of the response time and Erlang C asks for more servers than the pool
/// has, within what PostgreSQL can take.
pub(super) fn default_pool_size(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    let current = &setting.value;
    if let Some(closed) = evidence.all.levers.closed(Lever::Pool) {
        return Err(format!("{closed}{}; it stays {current}", load(evidence)));
    }
    let Some(window) = evidence.window.filter(|window| window.transactions > 0) else {
        return Err(format!(
            "nothing was measured through the pool, so its load is unknown; it stays {current}"
        ));
    };
    let share = evidence.all.server_wait_share().unwrap_or(0.0);
    if share < NEGLIGIBLE {
        return Err(format!(
            "waiting for a server is {} of the response time by PgBouncer's own count{}; the other waiting is for the client's own connections, which no size of this pool changes; it stays {current}",
            words::share(share),
            load(evidence)
        ));
    }
    let size: u64 =
        current.parse().map_err(|_| format!("{current} could not be read as a number"))?;
    if let Some(database) = evidence.pooler.databases.iter().find(|database| {
        database.pool_size != size && evidence.pools().any(|p| p.database == database.name)
    }) {
        return Err(format!(
            "the database {} has a pool_size of its own ({}), for which default_pool_size does not count: change it there",
            database.name, database.pool_size
        ));
    }
    let now = window.busy_servers();
    let busy = now * (1.0 - evidence.execution_saved.clamp(0.0, 1.0));
    let wanted = servers_for(busy, WAITING);
    let figures = format!(
        "{} of the response time is waiting for a server, {now:.2} of {size} servers are busy on average{}",
        words::share(share),
        if evidence.execution_saved > 0.0 {
            format!(", about {busy:.2} once the proposed indexes shorten the statements")
        } else {
            String::new()
        }
    );
    if wanted <= size {
        return Err(format!(
            "{figures}: Erlang C asks for {} so that at most {} of the requests wait; the waiting comes from log-ins to the server, from bursts or from long statements, not from the size",
            words::count(wanted, "server"),
            words::share(WAITING)
        ));
    }
    if let Some(cores) =
        evidence.all.snapshot.host.as_ref().map(|host| host.cores).filter(|c| *c > 0)
        && busy > f64::from(cores) * KNEE_PER_CORE
    {
        return Err(format!(
            "{figures}; with {} more servers would only queue inside PostgreSQL: shorten the statements, not the queue",
            words::count(u64::from(cores), "core")
        ));
    }
    let others = evidence.most_servers().saturating_sub(size * evidence.pool_count());
    let usable =
        evidence.all.usable_connections().unwrap_or(0).saturating_sub(LEFT_FOR_OTHERS + others);
    let fits = usable / evidence.pool_count();
    let to = wanted.min(fits);
    if to <= size {
        return Err(format!(
            "{figures}; Erlang C asks for {wanted}, but {} for {} leaves room for {fits} each (max_connections less what is reserved)",
            words::count(usable, "connection"),
            words::count(evidence.pool_count(), "pool")
        ));
    }
    let waits = waiting_probability(to, busy);
    Ok(Wanted {
        to: to.to_string(),
        more_servers: (to - size) * evidence.pool_count(),
        expected: Expected {
            effect: format!(
                "about {} of the requests wait for a server (Erlang C for {busy:.2} busy servers), at most the {} that waiting takes",
                words::share(waits),
                words::share(share)
            ),
            low: Some(-share),
            high: Some(-share / 2.0),
            source: ExpectedSource::Model,
        },
        evidence: vec![
            figures,
            format!(
                "pool efficiency {} (1 − Δwait ÷ Δxact_time)",
                words::share(window.efficiency())
            ),
        ],
        mechanism: "PgBouncer's total_wait_time",
    })
}

/// What is known of the pool's load, for reasons.
fn load(evidence: &PoolEvidence<'_>) -> String {
    evidence.window.filter(|window| window.transactions > 0).map_or_else(String::new, |window| {
        format!(
            " ({:.2} servers busy on average, pool efficiency {})",
            window.busy_servers(),
            words::share(window.efficiency())
        )
    })
}

/// A cold pool opens one server at a time; how many to keep needs the load of quiet hours.
pub(super) fn min_pool_size(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    let current = &setting.value;
    Err(match evidence.window.filter(|window| window.transactions > 0) {
        Some(window) => format!(
            "it should be the servers busy in quiet hours, and one window of {:.0} s ({:.2} busy) does not show those; it stays {current}",
            window.duration_s,
            window.busy_servers()
        ),
        None => format!(
            "it should be the servers busy in quiet hours, and nothing was measured; it stays {current}"
        ),
    })
}

/// The reserve is for peaks: c(peak) − pool.
pub(super) fn reserve_pool_size(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    let current = &setting.value;
    let share = evidence.all.server_wait_share();
    Err(match (evidence.window, share) {
        (Some(window), Some(share)) if share < NEGLIGIBLE => format!(
            "at most {} waited at any moment and waiting is {} of the response time: there was no peak to reserve for; it stays {current}",
            words::count(window.max_waiting, "client"),
            words::share(share)
        ),
        (Some(window), _) => format!(
            "at most {} waited at any moment; a reserve is for peaks above the usual load, and one window of {:.0} s shows no other load to compare with: default_pool_size comes first, it stays {current}",
            words::count(window.max_waiting, "client"),
            window.duration_s
        ),
        (None, _) => format!("nothing was measured through the pool; it stays {current}"),
    })
}

pub(super) fn reserve_pool_timeout(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    let current = &setting.value;
    let reserve = evidence.pooler.number("reserve_pool_size").unwrap_or(0.0);
    if reserve == 0.0 {
        return Err(format!("reserve_pool_size is 0, so that {current} has no effect"));
    }
    let longest = evidence.pools().map(|pool| pool.max_wait_s).fold(0.0, f64::max);
    Err(format!(
        "a client waits {current} s before it may use the reserve of {reserve}; the longest wait seen is {longest:.2} s, which gives no reason for another value"
    ))
}
