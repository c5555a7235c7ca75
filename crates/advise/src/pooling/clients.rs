//! How many clients may come: max_client_conn, listen_backlog.

use super::{PoolEvidence, Wanted};
use crate::drafts::without_figure;
use crate::words;
use pgassay_model::plan::ExpectedSource;
use pgassay_model::pooler::PoolerSetting;

/// Share of max_client_conn in use from which it is too small (check clients-used).
const NEARLY_FULL: f64 = 0.8;
/// Room above the observed peak (design "pooling": observed peak × 1.5).
const PEAK_FACTOR: f64 = 1.5;
/// Descriptors for listening sockets, logs, DNS and the console.
const OWN_DESCRIPTORS: u64 = 32;

/// Descriptors that PgBouncer needs when every client and every server is there.
pub(crate) fn descriptors_needed(evidence: &PoolEvidence<'_>) -> u64 {
    let clients = evidence.pooler.number("max_client_conn").unwrap_or(0.0) as u64;
    clients + evidence.most_servers() + OWN_DESCRIPTORS
}

pub(super) fn max_client_conn(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    let current = &setting.value;
    let limit: u64 =
        current.parse().map_err(|_| format!("{current} could not be read as a number"))?;
    let seen: u64 = evidence.pools().map(|pool| pool.clients_active + pool.clients_waiting).sum();
    let driven = evidence.all.in_flight().filter(|_| evidence.window.is_some()).unwrap_or(0.0);
    let peak = (seen as f64).max(driven);
    let used = peak / limit.max(1) as f64;
    let figures =
        format!("about {peak:.0} of {limit} clients seen at a time ({})", words::share(used));
    let refused = evidence.pooler.refused.unwrap_or(0);
    if used < NEARLY_FULL && refused == 0 {
        return Err(format!("{figures}; none known to be refused, it stays {current}"));
    }
    let to = ((peak.max(limit as f64) * PEAK_FACTOR).ceil()) as u64;
    let servers = evidence.most_servers();
    if let Some(descriptors) = evidence.pooler.open_files_limit
        && to + servers + OWN_DESCRIPTORS > descriptors
    {
        return Err(format!(
            "{figures}, {refused} refused; {to} clients and {servers} servers need more than the {descriptors} files that PgBouncer may open, and only a restart with a higher limit (LimitNOFILE) changes that"
        ));
    }
    Ok(Wanted {
        to: to.to_string(),
        more_servers: 0,
        expected: without_figure(
            "clients are not refused at peaks; the response time of the others stays",
            ExpectedSource::Rule,
        ),
        evidence: vec![figures, format!("{refused} log-ins refused")],
        mechanism: "refused log-ins",
    })
}

/// Restart-only, and cut by the kernel; never changed.
pub(super) fn listen_backlog(
    evidence: &PoolEvidence<'_>,
    setting: &PoolerSetting,
) -> Result<Wanted, String> {
    let current = &setting.value;
    let cut = match (evidence.pooler.somaxconn, current.parse::<u64>()) {
        (Some(most), Ok(backlog)) if backlog > most => {
            format!(
                "the kernel cuts it to net.core.somaxconn = {most}, so that it is not in force as it stands"
            )
        }
        (Some(most), Ok(_)) => format!("below net.core.somaxconn = {most}"),
        _ => "net.core.somaxconn of its host is not visible from here".to_owned(),
    };
    Err(format!(
        "it is {current}, {cut}; only a restart of PgBouncer changes it, and no log-in is known to have been lost for it"
    ))
}
