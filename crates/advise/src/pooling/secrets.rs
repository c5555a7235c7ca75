//! The secrets of the userlist: a plain-text password makes PgBouncer derive a key for every log-in.

use super::{PoolEvidence, editable};
use crate::drafts::Draft;
use crate::reachable::{Lever, NEGLIGIBLE};
use crate::risk;
use crate::words;
use pgassay_model::change::{Change, PoolerEdit};
use pgassay_model::measurement::Connect;
use pgassay_model::plan::{Expected, ExpectedSource};
use pgassay_model::pooler::{PoolerSnapshot, SecretKind};
use pgassay_model::units::Ms;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Log-in, ms, with a plain-text password and with the server's SCRAM secret in the userlist (design "pooling",
/// yardsticks: 6.1 and 0.20 with PgBouncer 1.18).
const PLAIN_LOGIN_MS: f64 = 6.1;
const SCRAM_LOGIN_MS: f64 = 0.20;
/// The least of the log-in that is expected to go: half, since what else it holds is not told apart.
const LEAST_SAVED: f64 = 0.5;

/// Users whose password stands in plain text, without those that only administer PgBouncer.
pub(crate) fn plain_users(pooler: &PoolerSnapshot) -> Vec<String> {
    let list = |key: &str| -> BTreeSet<String> {
        let text = pooler.text(key).unwrap_or_default();
        text.split(',').map(|user| user.trim().to_owned()).collect()
    };
    let administration: BTreeSet<String> =
        list("admin_users").union(&list("stats_users")).cloned().collect();
    let pooled: BTreeSet<&str> = pooler
        .pools
        .iter()
        .filter(|pool| pool.database != "pgbouncer")
        .map(|pool| pool.user.as_str())
        .collect();
    pooler
        .userlist
        .iter()
        .flatten()
        .filter(|(_, kind)| **kind == SecretKind::Plain)
        .map(|(user, _)| user)
        .filter(|user| pooled.contains(user.as_str()) || !administration.contains(*user))
        .cloned()
        .collect()
}

/// Of these, the ones in use: with a pool, or the user of the load that was measured. All where neither is known.
fn users_in_use(evidence: &PoolEvidence<'_>) -> Vec<String> {
    let plain = plain_users(evidence.pooler);
    let driven = evidence.all.measurement.and_then(|measurement| user_of(&measurement.target));
    let in_use: Vec<String> = plain
        .iter()
        .filter(|user| {
            driven.as_ref() == Some(user) || evidence.pools().any(|pool| pool.user == **user)
        })
        .cloned()
        .collect();
    if driven.is_none() && evidence.pools().next().is_none() { plain } else { in_use }
}

/// The user in a DSN without password, as connection settings print it.
fn user_of(dsn: &str) -> Option<String> {
    let (_, rest) = dsn.split_once("://")?;
    let (user, _) = rest.rsplit_once('@')?;
    (!user.is_empty()).then(|| user.to_owned())
}

/// Proposed where log-ins take a real share of the response time and the userlist makes each one expensive.
pub(super) fn decide(evidence: &PoolEvidence<'_>) -> Result<Draft, String> {
    let pooler = evidence.pooler;
    let auth_type = pooler.text("auth_type").unwrap_or_default();
    let Some(userlist) = &pooler.userlist else {
        return Err(
            "the userlist cannot be read from here, so that how passwords are kept is unknown"
                .to_owned(),
        );
    };
    let users = users_in_use(evidence);
    if users.is_empty() {
        return Err(format!(
            "no user in use is kept in plain text ({} in the userlist)",
            words::count(userlist.len() as u64, "user")
        ));
    }
    if auth_type != "scram-sha-256" {
        return Err(format!(
            "auth_type is {auth_type}, with which no key is derived at log-in; {} in plain text is a matter of security only",
            words::list(&users)
        ));
    }
    let (Some(measurement), Some(connections)) =
        (evidence.all.measurement, evidence.all.levers.part(Lever::Connections))
    else {
        return Err(format!(
            "{} in plain text: every log-in derives a key, but nothing was measured, so how much log-ins matter is unknown",
            words::list(&users)
        ));
    };
    let ledger = &measurement.ledger_ms;
    let login = ledger.share(&["auth"]);
    if login < NEGLIGIBLE {
        let closed = evidence.all.levers.closed(Lever::Connections).unwrap_or_else(|| {
            format!(
                "the log-in is {} of the response time ({} with all of connecting)",
                words::share(login),
                words::share(connections)
            )
        });
        return Err(format!(
            "{} in plain text, yet {closed}, since connections are {}; a SCRAM secret would still be safer",
            words::list(&users),
            match measurement.mode.connect {
                Connect::Reuse => "reused",
                Connect::PerRequest => "cheap to open",
            }
        ));
    }
    let by_hand = "by hand: copy rolpassword of pg_catalog.pg_authid for the role into the userlist, then RELOAD";
    let ini = editable(pooler).map_err(|problem| {
        format!("{} of the response time is log-in, but {problem}; {by_hand}", words::share(login))
    })?;
    if !evidence.all.snapshot.server.superuser {
        return Err(format!(
            "{} of the response time is log-in, but {} may not read pg_authid, where the server keeps the secrets; connect as a superuser, or {by_hand}",
            words::share(login),
            evidence.all.snapshot.server.user
        ));
    }
    let path = PathBuf::from(pooler.text("auth_file").unwrap_or_default());
    if !path.is_absolute() {
        return Err(format!(
            "auth_file is \"{}\", relative to PgBouncer's working directory; write its full path into the configuration first, or {by_hand}",
            path.display()
        ));
    }
    let at_most = evidence.all.levers.at_most(Lever::Connections).unwrap_or(connections);
    let reach = Reach {
        login_ms: ledger.auth.unwrap_or(0.0),
        login,
        with_waiting: (at_most - ledger.share(&["connect", "tls"])).max(login),
    };
    Ok(draft(ini.clone(), path, users, &reach))
}

/// What the log-in takes.
struct Reach {
    /// Mean of a request, ms.
    login_ms: f64,
    /// Share (0–1) of the response time.
    login: f64,
    /// The same, with what waits for PgBouncer while it derives keys.
    with_waiting: f64,
}

fn draft(ini: PathBuf, userlist: PathBuf, users: Vec<String>, reach: &Reach) -> Draft {
    let Reach { login_ms, login, with_waiting } = *reach;
    let best = 1.0 - SCRAM_LOGIN_MS / PLAIN_LOGIN_MS;
    let named = words::list(&users);
    Draft {
        title: format!("SCRAM secrets instead of plain-text passwords for {named} in the userlist"),
        group: "connections",
        apply: vec![
            format!(
                "replace the passwords of {named} in {} by the secrets that the server holds (pg_catalog.pg_authid.rolpassword)",
                userlist.display()
            ),
            "RELOAD".to_owned(),
        ],
        undo: vec![format!("put {} back from its backup", userlist.display()), "RELOAD".to_owned()],
        needs_restart: false,
        expected: Expected {
            effect: format!(
                "a log-in without deriving a key, {PLAIN_LOGIN_MS} ms → {SCRAM_LOGIN_MS} ms in this project's own trial; log-in is {} of the response time, at most {} with what waits for PgBouncer meanwhile",
                words::share(login),
                words::share(with_waiting)
            ),
            low: Some(-best * with_waiting),
            high: Some(-LEAST_SAVED * login),
            source: ExpectedSource::Model,
        },
        risk: risk::userlist(&users),
        evidence: vec![
            format!(
                "log-in takes {} of a request, {} of the response time",
                Ms(login_ms),
                words::share(login)
            ),
            format!("{named} in plain text, auth_type scram-sha-256"),
        ],
        statements: Vec::new(),
        mechanism: "the ledger's auth, and PgBouncer's CPU per log-in".to_owned(),
        change: Change::SetPooler { edit: PoolerEdit::Userlist { ini, userlist, users } },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_of_the_load_is_read_from_its_dsn() {
        assert_eq!(user_of("postgresql://app@db:6432/shop").as_deref(), Some("app"));
        assert_eq!(user_of("postgresql://app@/shop?host=/tmp&port=5432").as_deref(), Some("app"));
        assert_eq!(user_of("nonsense"), None);
    }
}
