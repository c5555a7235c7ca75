//! Risk by rule: every level has its reasons, and docs/risk.md states every rule that is written here.

use crate::words;
use pgassay_model::plan::{Risk, RiskLevel};
use pgassay_model::units::Bytes;

/// From this size of the relation on, a build takes minutes: it reads the relation twice (manual, CREATE
/// INDEX, "Building Indexes Concurrently").
const LONG_BUILD: Bytes = Bytes(10 << 30);
/// From this size on, an index is a noticeable part of disk, backup and cache.
const LARGE_INDEX: Bytes = Bytes(1 << 30);
/// From that many times its size on, an index is noticeably more to read than the one it stands in for.
const WIDER: u64 = 3;
/// From this share of the workload's cost on, what an index costs writers is noticeable: the ε of the
/// verification protocol for the mean.
const NOTICEABLE_WRITES: f64 = 0.02;

/// A risk being assessed: the level only rises, and every step leaves its reason.
#[derive(Debug, Clone)]
struct Assessment(Risk);

impl Assessment {
    fn low(reason: impl Into<String>) -> Self {
        Assessment(Risk { level: RiskLevel::Low, reasons: vec![reason.into()] })
    }

    fn note(mut self, reason: impl Into<String>) -> Self {
        self.0.reasons.push(reason.into());
        self
    }

    fn raise(mut self, level: RiskLevel, reason: impl Into<String>) -> Self {
        self.0.level = self.0.level.max(level);
        self.note(reason)
    }

    fn raise_if(self, condition: bool, level: RiskLevel, reason: impl FnOnce() -> String) -> Self {
        if condition { self.raise(level, reason()) } else { self }
    }
}

/// What the risk of a new index rests on.
pub(crate) struct NewIndex<'a> {
    /// Size expected.
    pub(crate) size: Bytes,
    /// Size of the relation.
    pub(crate) relation: Bytes,
    /// What it costs writers, as a share of the workload's cost.
    pub(crate) write_cost: f64,
    /// The what-if engine.
    pub(crate) engine: &'a str,
    /// Share of the load of the statements it is meant for.
    pub(crate) load: Option<f64>,
    /// What the search warns of.
    pub(crate) warning: Option<String>,
}

/// docs/risk.md, "Index".
pub(crate) fn create_index(index: &NewIndex<'_>) -> Risk {
    let mut assessment = Assessment::low(
        "built CONCURRENTLY: reads and writes go on; DROP INDEX CONCURRENTLY takes it back without a trace",
    )
    .raise_if(index.relation >= LONG_BUILD, RiskLevel::Medium, || {
        format!("reads {} twice while it is built: choose quiet hours", index.relation)
    })
    .raise_if(index.size >= LARGE_INDEX, RiskLevel::Medium, || {
        format!("takes about {} of disk, backups and cache", index.size)
    })
    .raise_if(index.write_cost >= NOTICEABLE_WRITES, RiskLevel::Medium, || {
        format!("writers pay {} of the workload's cost for it", words::share(index.write_cost))
    })
    .raise_if(index.engine == "rule", RiskLevel::Medium, || {
        "rests on a rule from statistics: the planner has not been asked (no HypoPG)".to_owned()
    });
    if let Some(warning) = &index.warning {
        assessment = assessment.raise(RiskLevel::Medium, warning.clone());
    }
    if let Some(load) = index.load {
        assessment = assessment
            .note(format!("meant for statements with {} of the load", words::share(load)));
    }
    assessment.0
}

/// docs/risk.md, "Index": an exact duplicate dropped.
pub(crate) fn drop_duplicate(size: Bytes) -> Risk {
    Assessment::low("an identical index stays; DROP INDEX CONCURRENTLY blocks no reads or writes")
        .raise_if(size >= LARGE_INDEX, RiskLevel::Medium, || {
            format!("taking it back builds {size} again")
        })
        .0
}

/// docs/risk.md, "Index": one dropped that a longer one begins with.
pub(crate) fn drop_redundant(size: Bytes, keeper: Bytes) -> Risk {
    Assessment::low(
        "an index that begins with the same keys stays; DROP INDEX CONCURRENTLY blocks no reads or writes",
    )
    .raise_if(keeper.0 > WIDER * size.0, RiskLevel::Medium, || {
        format!("scans of it go to one of {keeper} instead of {size}")
    })
    .raise_if(size >= LARGE_INDEX, RiskLevel::Medium, || {
        format!("taking it back builds {size} again")
    })
    .0
}

/// docs/risk.md, "Index": one dropped that nothing scanned. `standbys`: how many the server has, where known.
pub(crate) fn drop_unused(size: Bytes, standbys: Option<u64>) -> Risk {
    Assessment::low("DROP INDEX CONCURRENTLY blocks no reads or writes")
        .raise(
            RiskLevel::Medium,
            "what counted no scans here may be scanned on a standby, or by a job that has not run since",
        )
        .raise_if(standbys.is_some_and(|standbys| standbys > 0), RiskLevel::High, || {
            "this server has standbys, whose scans are not counted here: the drop reaches them all".to_owned()
        })
        .raise_if(size >= LARGE_INDEX, RiskLevel::High, || {
            format!("whoever needs it waits until {size} are built again")
        })
        .0
}

/// docs/risk.md, "Index": an INVALID one dropped.
pub(crate) fn drop_invalid() -> Risk {
    Assessment::low(
        "no statement uses an INVALID index; DROP INDEX CONCURRENTLY blocks no reads or writes",
    )
    .0
}

/// docs/risk.md, "Index": one rebuilt.
pub(crate) fn reindex(size: Bytes, expected: Bytes) -> Risk {
    Assessment::low("rebuilt CONCURRENTLY: reads and writes go on, and the index is the same")
        .note("the old one is gone: there is nothing to take back")
        .raise_if(size >= LARGE_INDEX || expected >= LARGE_INDEX, RiskLevel::Medium, || {
            format!("takes about {expected} more disk while it is built, and its relation is read twice: choose quiet hours")
        })
        .0
}

/// docs/risk.md, "Statistics": an object of extended statistics.
pub(crate) fn create_statistics() -> Risk {
    Assessment::low(
        "CREATE STATISTICS and its ANALYZE block no reads or writes; DROP STATISTICS takes it back",
    )
    .raise(RiskLevel::Medium, "plans of all statements with these columns can change")
    .0
}

/// docs/risk.md, "Statistics".
pub(crate) fn analyze() -> Risk {
    Assessment::low("ANALYZE reads a sample and blocks no reads or writes")
        .raise(
            RiskLevel::Medium,
            "plans of all statements on the relation can change, and the old statistics cannot be put back",
        )
        .0
}

/// What a parameter can do.
#[derive(Debug, Clone)]
pub(crate) enum ParameterReach {
    /// Plans of every statement on the server.
    Plans,
    /// Memory: at most so much more at a time.
    Memory(Bytes),
    /// Disk: at most so much more, and a longer recovery.
    Disk(Bytes),
    /// CPU of every writer.
    WriterCpu,
    /// Nothing but the work of the statements or of a background process itself.
    Bounded,
}

/// docs/risk.md, "PostgreSQL parameters".
pub(crate) fn parameter(needs_restart: bool, reach: &ParameterReach) -> Risk {
    let start = Assessment::low("postgresql.auto.conf is put back byte for byte and reloaded")
        .raise_if(needs_restart, RiskLevel::High, || {
            "comes into force, and is taken back, only by a restart, which empties the cache"
                .to_owned()
        });
    match reach {
        ParameterReach::Plans => {
            start.raise(RiskLevel::Medium, "every statement on the server is planned with it")
        }
        ParameterReach::Memory(bytes) => {
            start.raise(RiskLevel::Medium, format!("can take up to {bytes} more memory at a time"))
        }
        ParameterReach::Disk(bytes) => start.raise(
            RiskLevel::Medium,
            format!("pg_wal can take {bytes} more disk, and recovery after a crash takes longer"),
        ),
        ParameterReach::WriterCpu => {
            start.raise(RiskLevel::Medium, "every statement that writes spends CPU on it")
        }
        ParameterReach::Bounded => start.note("takes no more memory or disk"),
    }
    .0
}

/// docs/risk.md, "PgBouncer": log-in secrets.
pub(crate) fn userlist(users: &[String]) -> Risk {
    Assessment::low("the file is put back byte for byte and reloaded; clients that are connected stay")
        .raise(
            RiskLevel::Medium,
            format!(
                "log-ins of {} would be refused if the server's secret were not of the password the application uses; tried on a throw-away PgBouncer first",
                words::list(users)
            ),
        )
        .0
}

/// docs/risk.md, "PgBouncer": a setting. `more_servers` is how many more server connections it allows.
pub(crate) fn pooler_setting(more_servers: u64) -> Risk {
    Assessment::low(
        "the file is put back byte for byte and reloaded; clients that are connected stay",
    )
    .raise_if(more_servers > 0, RiskLevel::Medium, || {
        format!(
            "PostgreSQL may have {} more at work at a time",
            words::count(more_servers, "connection")
        )
    })
    .0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(size: u64, engine: &str) -> Risk {
        create_index(&NewIndex {
            size: Bytes(size),
            relation: Bytes(100 << 20),
            write_cost: 0.0,
            engine,
            load: Some(0.4),
            warning: None,
        })
    }

    #[test]
    fn an_index_is_low_risk_until_something_raises_it() {
        assert_eq!(index(10 << 20, "hypopg").level, RiskLevel::Low);
        assert_eq!(index(2 << 30, "hypopg").level, RiskLevel::Medium);
        assert_eq!(index(10 << 20, "rule").level, RiskLevel::Medium);
        assert!(index(2 << 30, "rule").reasons.len() >= 3);
    }

    #[test]
    fn a_restart_is_high_risk_whatever_the_parameter_does() {
        assert_eq!(parameter(true, &ParameterReach::Bounded).level, RiskLevel::High);
        assert_eq!(parameter(false, &ParameterReach::Bounded).level, RiskLevel::Low);
        assert_eq!(parameter(false, &ParameterReach::Plans).level, RiskLevel::Medium);
    }

    #[test]
    fn what_can_refuse_or_crowd_is_medium() {
        assert_eq!(userlist(&["app".into()]).level, RiskLevel::Medium);
        assert_eq!(pooler_setting(0).level, RiskLevel::Low);
        assert_eq!(pooler_setting(5).level, RiskLevel::Medium);
    }
}
