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
pub(crate) struct Levers(Vec<Bound>);

/// One lever's bound.
#[derive(Debug, Clone, Copy)]
struct Bound {
    lever: Lever,
    /// Share (0–1) of the response time that it works on itself, hidden parts included.
    part: f64,
    /// The same and what waits behind it.
    at_most: f64,
}

impl Levers {
    /// From the ledger of a measurement; `cores` are the server's, where its host is visible.
    pub(crate) fn of(measurement: Option<&Measurement>, cores: Option<u32>) -> Levers {
        let Some(measurement) = measurement.filter(|known| known.ledger_ms.total > 0.0) else {
            return Levers::default();
        };
        Levers(Lever::ALL.iter().map(|lever| bound(*lever, measurement, cores)).collect())
    }

    /// The list for the plan, in the order in which a request meets the parts.
    pub(crate) fn list(&self, measurement: Option<&Measurement>) -> Vec<Reachable> {
        let Some(measurement) = measurement else { return Vec::new() };
        self.0
            .iter()
            .map(|bound| Reachable {
                lever: bound.lever.name().to_owned(),
                at_most_share: bound.at_most,
                reason: reason(bound, &measurement.ledger_ms),
            })
            .collect()
    }

    /// Share of the response time that a lever works on itself; None where nothing was measured.
    pub(crate) fn part(&self, lever: Lever) -> Option<f64> {
        self.find(lever).map(|bound| bound.part)
    }

    /// The most that a lever can win; None where nothing was measured.
    pub(crate) fn at_most(&self, lever: Lever) -> Option<f64> {
        self.find(lever).map(|bound| bound.at_most)
    }

    fn find(&self, lever: Lever) -> Option<&Bound> {
        self.0.iter().find(|bound| bound.lever == lever)
    }

    /// Why a lever is not worth pulling; None where it is, or where nothing was measured.
    pub(crate) fn closed(&self, lever: Lever) -> Option<String> {
        let bound = self.find(lever).filter(|bound| bound.at_most < NEGLIGIBLE)?;
        let (what, cannot) = lever.limit();
        let (part, at_most) = (words::share(bound.part), words::share(bound.at_most));
        let behind = match part == at_most {
            true => String::new(),
            false => format!(" ({at_most} with what waits behind it)"),
        };
        Some(format!("{what} is {part} of the response time{behind}: {cannot} can win more"))
    }
}

fn bound(lever: Lever, measurement: &Measurement, cores: Option<u32>) -> Bound {
    let ledger = &measurement.ledger_ms;
    let itself = ledger.share(lever.parts()) * ledger.total + hidden(lever, ledger);
    let part = (itself / ledger.total).clamp(0.0, 1.0);
    // Requests also wait for what the others' parts keep busy: the pool and, in the rest, the scheduler. By the
    // utilisation law (Denning & Buzen 1978) the lever keeps its servers busy for rate × time ÷ servers, and no
    // more than that share of the waiting can go with it. Log-ins are served by PgBouncer's only thread,
    // execution by the cores; an unknown number of cores counts as one, so that the bound holds.
    let servers = match lever {
        Lever::Connections if measurement.pool.is_some() => 1,
        Lever::Connections | Lever::Execution => cores.unwrap_or(1).max(1),
        Lever::Pool | Lever::Planning | Lever::Network => {
            return Bound { lever, part, at_most: part };
        }
    };
    let busy = measurement.throughput * itself / 1e3 / f64::from(servers);
    let waiting = ledger.share(&["pool_wait", "network"]);
    let at_most = (part + busy.clamp(0.0, 1.0) * waiting).clamp(part, 1.0);
    Bound { lever, part, at_most }
}

/// Where a part could not be told apart, its time lies in the rest, ms. TLS that is not used is no such part.
fn hidden(lever: Lever, ledger: &Ledger) -> f64 {
    let unknown = ledger
        .parts()
        .iter()
        .any(|(name, value)| lever.parts().contains(name) && *name != "tls" && value.is_none());
    if unknown { ledger.network.unwrap_or(0.0) } else { 0.0 }
}

fn reason(bound: &Bound, ledger: &Ledger) -> String {
    let named: Vec<String> = ledger
        .parts()
        .iter()
        .filter(|(name, _)| bound.lever.parts().contains(name))
        .map(|(name, value)| match value {
            Some(value) => format!("{name} {}", Ms(*value)),
            None => format!("{name} not told apart"),
        })
        .collect();
    let mut reason = format!("{} of {}", named.join(" + "), Ms(ledger.total));
    let hidden = hidden(bound.lever, ledger);
    if hidden > 0.0 {
        reason.push_str(&format!(
            "; what could not be told apart is at most the rest of {}",
            Ms(hidden)
        ));
    }
    if bound.at_most > bound.part {
        reason.push_str(&format!(
            ", which is {}; and at most {} more that waits behind it for {}",
            words::share(bound.part),
            words::share(bound.at_most - bound.part),
            match bound.lever {
                Lever::Connections => "PgBouncer or the cores",
                _ => "the pool or the cores",
            }
        ));
    }
    reason
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
        let measurement = Measurement { throughput: 20.0, ..measurement };
        let levers = Levers::of(Some(&measurement), Some(4));
        assert!((levers.part(Lever::Connections).unwrap() - 0.90).abs() < 1e-9);
        assert_eq!(levers.closed(Lever::Connections), None);
        assert_eq!(
            levers.closed(Lever::Execution).unwrap(),
            "execution is 1.6 % of the response time (1.7 % with what waits behind it): \
             no index or planner setting can win more"
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
        let levers = Levers::of(Some(&measurement), Some(4));
        assert!((levers.part(Lever::Execution).unwrap() - 0.9).abs() < 1e-9);
        let list = levers.list(Some(&measurement));
        assert!(list.iter().any(|l| l.reason.contains("not told apart")));
    }

    #[test]
    fn what_waits_behind_a_part_can_go_with_it_as_far_as_the_part_keeps_the_cores_busy() {
        // 500 requests a second × 4 ms ÷ 4 cores: busy for half of the time, so at most half of the waiting.
        let measurement = fixture::measurement(fixture::ledger(0.0, 4.0));
        let of = |cores| Levers::of(Some(&measurement), cores).at_most(Lever::Execution).unwrap();
        assert!((of(Some(4)) - (0.4 + 0.5 * 0.6)).abs() < 1e-9);
        assert!((of(None) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn log_ins_queue_for_the_only_thread_of_pgbouncer() {
        let measurement = fixture::measurement(fixture::ledger(5.0, 0.1));
        let levers = Levers::of(Some(&measurement), Some(4));
        assert_eq!(levers.part(Lever::Connections), Some(0.5));
        assert!(levers.at_most(Lever::Connections).unwrap() > 0.98);
    }

    #[test]
    fn without_a_measurement_no_lever_is_closed() {
        let levers = Levers::of(None, None);
        assert!(levers.list(None).is_empty());
        assert_eq!(levers.closed(Lever::Execution), None);
    }
}
