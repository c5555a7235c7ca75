//! The most that each lever could still win (Amdahl), from the ledger, before anything is proposed.

use crate::words;
use pgassay_model::measurement::{Ledger, Measurement};
use pgassay_model::plan::Reachable;
use pgassay_model::units::Ms;

/// A lever that can win less than this is left alone: no improvement below the margin δ of the
/// verification protocol (3 %, docs/risk.md) would be kept, so none is tried.
pub(crate) const NEGLIGIBLE: f64 = 0.03;

/// What part of the response time a kind of change works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lever {
    /// Opening connections: reuse, log-in secrets.
    Connections,
    /// Waiting for a server connection of the pool.
    Pool,
    /// Parsing and planning.
    Planning,
    /// Executing: indexes, parameters, caching.
    Execution,
    /// Everything else.
    Network,
}

impl Lever {
    const ALL: [Lever; 5] =
        [Lever::Connections, Lever::Pool, Lever::Planning, Lever::Execution, Lever::Network];

    /// As in the plan.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Lever::Connections => "connections",
            Lever::Pool => "pool",
            Lever::Planning => "planning",
            Lever::Execution => "execution",
            Lever::Network => "network",
        }
    }

    /// Parts of the ledger that it works on.
    fn parts(self) -> &'static [&'static str] {
        match self {
            Lever::Connections => &["connect", "tls", "auth"],
            Lever::Pool => &["pool_wait"],
            Lever::Planning => &["parse_plan"],
            Lever::Execution => &["execute"],
            Lever::Network => &["network"],
        }
    }

    /// What it is, and what therefore cannot win more.
    fn limit(self) -> (&'static str, &'static str) {
        match self {
            Lever::Connections => ("opening connections", "neither reuse nor another log-in"),
            Lever::Pool => ("waiting for the pool", "no size of the pool"),
            Lever::Planning => ("parsing and planning", "no prepared statement"),
            Lever::Execution => ("execution", "no index or planner setting"),
            Lever::Network => ("network and the rest", "no saved round trip"),
        }
    }
}

/// What each lever could win; nothing where nothing was measured.
#[derive(Debug, Clone, Default)]
pub(crate) struct Levers {
    reachable: Vec<(Lever, Reachable)>,
}

impl Levers {
    /// From the ledger of a measurement.
    pub(crate) fn of(measurement: Option<&Measurement>) -> Levers {
        let Some(ledger) = measurement.map(|m| &m.ledger_ms).filter(|ledger| ledger.total > 0.0)
        else {
            return Levers::default();
        };
        Levers { reachable: Lever::ALL.map(|lever| (lever, reachable(lever, ledger))).into() }
    }

    /// The list for the plan, in the order in which a request meets the parts.
    pub(crate) fn list(&self) -> Vec<Reachable> {
        self.reachable.iter().map(|(_, reachable)| reachable.clone()).collect()
    }

    /// Share of the response time that a lever works on; None where nothing was measured.
    pub(crate) fn share(&self, lever: Lever) -> Option<f64> {
        self.reachable
            .iter()
            .find(|(known, _)| *known == lever)
            .map(|(_, reachable)| reachable.at_most_share)
    }

    /// Why a lever is not worth pulling; None where it is, or where nothing was measured.
    pub(crate) fn closed(&self, lever: Lever) -> Option<String> {
        let share = self.share(lever).filter(|share| *share < NEGLIGIBLE)?;
        let (what, cannot) = lever.limit();
        Some(format!(
            "{what} is {} of the response time: {cannot} can win more",
            words::share(share)
        ))
    }
}

fn reachable(lever: Lever, ledger: &Ledger) -> Reachable {
    let total = ledger.total;
    let known: f64 = ledger.share(lever.parts()) * total;
    // Where a part could not be told apart, its time lies in the rest. TLS that is not used is no such part.
    let hidden = ledger
        .parts()
        .iter()
        .any(|(name, value)| lever.parts().contains(name) && *name != "tls" && value.is_none());
    let rest = if hidden { ledger.network.unwrap_or(0.0) } else { 0.0 };
    let named: Vec<String> = ledger
        .parts()
        .iter()
        .filter(|(name, _)| lever.parts().contains(name))
        .map(|(name, value)| match value {
            Some(value) => format!("{name} {}", Ms(*value)),
            None => format!("{name} not told apart"),
        })
        .collect();
    let mut reason = format!("{} of {}", named.join(" + "), Ms(total));
    if hidden {
        reason.push_str(&format!(
            "; what could not be told apart is at most the rest of {}",
            Ms(rest)
        ));
    }
    if lever == Lever::Execution {
        reason.push_str("; shorter execution also holds servers of the pool for less time");
    }
    Reachable {
        lever: lever.name().to_owned(),
        at_most_share: ((known + rest) / total).clamp(0.0, 1.0),
        reason,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::fixture;

    #[test]
    fn a_lever_can_win_no_more_than_its_part() {
        let measurement = fixture::measurement(Ledger {
            connect: Some(1.0),
            tls: None,
            auth: Some(89.0),
            pool_wait: Some(2.0),
            parse_plan: Some(1.0),
            execute: Some(1.6),
            network: Some(5.4),
            total: 100.0,
        });
        let levers = Levers::of(Some(&measurement));
        assert!((levers.share(Lever::Connections).unwrap() - 0.90).abs() < 1e-9);
        assert_eq!(levers.closed(Lever::Connections), None);
        assert_eq!(
            levers.closed(Lever::Execution).unwrap(),
            "execution is 1.6 % of the response time: no index or planner setting can win more"
        );
    }

    #[test]
    fn a_part_that_could_not_be_told_apart_is_at_most_the_rest() {
        let measurement = fixture::measurement(Ledger {
            connect: Some(0.0),
            auth: Some(0.0),
            network: Some(9.0),
            total: 10.0,
            pool_wait: Some(1.0),
            ..Ledger::default()
        });
        let levers = Levers::of(Some(&measurement));
        assert!((levers.share(Lever::Execution).unwrap() - 0.9).abs() < 1e-9);
        assert!(levers.list().iter().any(|l| l.reason.contains("not told apart")));
    }

    #[test]
    fn without_a_measurement_no_lever_is_closed() {
        let levers = Levers::of(None);
        assert!(levers.list().is_empty());
        assert_eq!(levers.closed(Lever::Execution), None);
    }
}
