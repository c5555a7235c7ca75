//! PgBouncer: one rule for each setting; every one is either proposed or left alone with its figures.

mod clients;
pub mod erlang;
mod secrets;
mod sizes;
mod timeouts;

use crate::drafts::{Draft, not_proposed};
use crate::evidence::Evidence;
use crate::risk;
use pgassay_model::change::{Change, PoolerEdit, PoolerSettingChange};
use pgassay_model::measurement::PoolWindow;
use pgassay_model::plan::{Expected, NotProposed};
use pgassay_model::pooler::{Pool, PoolerSetting, PoolerSnapshot};

pub(crate) use clients::descriptors_needed;
pub(crate) use secrets::plain_users;

/// What rules of the pooler look at.
pub(crate) struct PoolEvidence<'a> {
    pub(crate) all: &'a Evidence<'a>,
    pub(crate) pooler: &'a PoolerSnapshot,
    /// The pool while it was measured.
    pub(crate) window: Option<PoolWindow>,
    /// Share (0–1) of execution that the proposed indexes are expected to save: it shortens how long servers
    /// are held.
    pub(crate) execution_saved: f64,
}

/// A value that a rule wants.
pub(crate) struct Wanted {
    to: String,
    /// Server connections more than now, all pools together.
    more_servers: u64,
    expected: Expected,
    evidence: Vec<String>,
    mechanism: &'static str,
}

/// What a rule decides of a setting: a value, or why it stays.
type Rule = fn(&PoolEvidence<'_>, &PoolerSetting) -> Result<Wanted, String>;

/// Settings in PgBouncer's words, with their rules.
const SETTINGS: &[(&str, Rule)] = &[
    ("default_pool_size", sizes::default_pool_size),
    ("min_pool_size", sizes::min_pool_size),
    ("reserve_pool_size", sizes::reserve_pool_size),
    ("reserve_pool_timeout", sizes::reserve_pool_timeout),
    ("max_client_conn", clients::max_client_conn),
    ("listen_backlog", clients::listen_backlog),
    ("query_timeout", timeouts::query_timeout),
    ("query_wait_timeout", timeouts::query_wait_timeout),
    ("server_idle_timeout", timeouts::server_idle_timeout),
    ("server_lifetime", timeouts::server_lifetime),
];

impl<'a> PoolEvidence<'a> {
    pub(crate) fn new(
        all: &'a Evidence<'a>,
        pooler: &'a PoolerSnapshot,
        execution_saved: f64,
    ) -> PoolEvidence<'a> {
        let window = all.measurement.and_then(|measurement| measurement.pool);
        PoolEvidence { all, pooler, window, execution_saved }
    }

    /// Pools of applications: (database, user), the console left out.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &'a Pool> {
        self.pooler.pools.iter().filter(|pool| pool.database != "pgbouncer")
    }

    /// Number of pools, at least 1.
    pub(crate) fn pool_count(&self) -> u64 {
        (self.pools().count() as u64).max(1)
    }

    /// Server connections that all pools may open: size and reserve of each pool.
    pub(crate) fn most_servers(&self) -> u64 {
        let reserve = self.pooler.number("reserve_pool_size").unwrap_or(0.0) as u64;
        let default = self.pooler.number("default_pool_size").unwrap_or(0.0) as u64;
        let size = |pool: &Pool| {
            self.pooler
                .databases
                .iter()
                .find(|database| database.name == pool.database)
                .map_or(default, |database| database.pool_size)
        };
        let known: u64 = self.pools().map(|pool| size(pool) + reserve).sum();
        if known > 0 { known } else { default + reserve }
    }
}

/// Decides on every setting and on the secrets; nothing where there is no PgBouncer.
pub(crate) fn decide(
    evidence: &Evidence<'_>,
    execution_saved: f64,
) -> (Vec<Draft>, Vec<NotProposed>) {
    let (mut drafts, mut kept) = (Vec::new(), Vec::new());
    let Some(pooler) = evidence.pooler() else {
        kept.push(not_proposed(
            "PgBouncer",
            "its console was not given (--pgbouncer), so none of its settings was looked at",
        ));
        return (drafts, kept);
    };
    let evidence = PoolEvidence::new(evidence, pooler, execution_saved);
    for (name, rule) in SETTINGS {
        match decide_one(&evidence, name, *rule) {
            Ok(draft) => drafts.push(draft),
            Err(why) => kept.push(not_proposed(*name, why)),
        }
    }
    match secrets::decide(&evidence) {
        Ok(draft) => drafts.push(draft),
        Err(why) => kept.push(not_proposed("userlist secrets", why)),
    }
    (drafts, kept)
}

fn decide_one(evidence: &PoolEvidence<'_>, name: &str, rule: Rule) -> Result<Draft, String> {
    let setting = evidence
        .pooler
        .config
        .get(name)
        .ok_or_else(|| "this PgBouncer does not show such a setting".to_owned())?;
    let wanted = rule(evidence, setting)?;
    let (from, to) = (&setting.value, &wanted.to);
    let by_hand = format!("{name} = {to} in [pgbouncer], then RELOAD");
    if !setting.changeable {
        return Err(format!(
            "{to} would be worth trying ({}), but only a restart of PgBouncer brings it into force, which pgassay never does: {name} = {to} by hand",
            wanted.evidence.join("; ")
        ));
    }
    let ini = editable(evidence.pooler).map_err(|problem| {
        format!(
            "{from} → {to} would be worth trying ({}), but {problem}; by hand: {by_hand}",
            wanted.evidence.join("; ")
        )
    })?;
    let change = PoolerSettingChange { key: name.to_owned(), from: from.clone(), to: to.clone() };
    Ok(Draft {
        title: format!("{name} {from} → {to}"),
        group: "pool",
        apply: vec![format!("{name} = {to} in {}", ini.display()), "RELOAD".to_owned()],
        undo: vec![format!("{name} = {from} in {}", ini.display()), "RELOAD".to_owned()],
        needs_restart: false,
        expected: wanted.expected,
        risk: risk::pooler_setting(wanted.more_servers),
        evidence: wanted.evidence,
        statements: Vec::new(),
        mechanism: wanted.mechanism.to_owned(),
        change: Change::SetPooler {
            edit: PoolerEdit::Ini { ini: ini.clone(), settings: vec![change] },
        },
    })
}

/// The configuration file, or why it can't be edited.
fn editable(pooler: &PoolerSnapshot) -> Result<&std::path::PathBuf, String> {
    pooler.ini.as_ref().ok_or_else(|| match &pooler.ini_problem {
        Some(problem) => format!("its configuration file can't be edited: {problem}"),
        None => "its configuration file was not given (--pgbouncer-ini)".to_owned(),
    })
}
