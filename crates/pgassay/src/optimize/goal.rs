//! Targets as users write them: `p95<100ms`, `45%`.

use crate::failure::Failure;
use pgassay_model::comparison::Comparison;
use pgassay_model::measurement::Latency;
use pgassay_model::run::TargetOutcome;
use pgassay_model::units::{Ms, parse_duration, percent};

/// What the user asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    metric: String,
    limit_ms: f64,
    /// Share (0–1) that the mean latency must fall by, by the near end of its interval.
    gain: f64,
}

impl Goal {
    /// Reads `p95<100ms` and `45%`.
    pub fn parse(target: &str, gain: &str) -> Result<Self, Failure> {
        let bad = || {
            Failure::input(
                format!("the target \"{target}\" cannot be read"),
                "write mean, p50, p90, p95 or p99, then <, then a duration: p95<100ms",
            )
        };
        let (metric, limit) = target.split_once('<').ok_or_else(bad)?;
        let metric = metric.trim().to_ascii_lowercase();
        if !["mean", "p50", "p90", "p95", "p99"].contains(&metric.as_str()) {
            return Err(bad());
        }
        let limit = parse_duration(limit.trim_start_matches('=')).map_err(|_| bad())?;
        let gain: f64 = gain.trim().trim_end_matches('%').trim().parse().map_err(|_| {
            Failure::input(format!("the gain \"{gain}\" cannot be read"), "write a percentage: 45%")
        })?;
        if !(0.0..100.0).contains(&gain) {
            return Err(Failure::input(
                format!("a gain of {gain} % is out of range"),
                "write a percentage from 0 to below 100",
            ));
        }
        Ok(Goal { metric, limit_ms: limit.as_secs_f64() * 1e3, gain: gain / 100.0 })
    }

    fn observed(&self, latency: &Latency) -> f64 {
        match self.metric.as_str() {
            "mean" => latency.mean,
            "p50" => latency.p50,
            "p90" => latency.p90,
            "p99" => latency.p99,
            _ => latency.p95,
        }
    }

    /// Whether the targets were met, by what was measured.
    pub fn outcomes(&self, latency: &Latency, comparison: &[Comparison]) -> Vec<TargetOutcome> {
        let observed = self.observed(latency);
        let mut outcomes = vec![TargetOutcome {
            target: format!("{}<{}", self.metric, Ms(self.limit_ms)),
            met: observed < self.limit_ms,
            value: format!("{} = {}", self.metric, Ms(observed)),
        }];
        if self.gain > 0.0 {
            let mean = comparison.iter().find(|entry| entry.metric == "latency_mean_ms");
            let interval =
                mean.and_then(|entry| Some((entry.change?, entry.ci_low?, entry.ci_high?)));
            outcomes.push(TargetOutcome {
                target: format!("gain>={:.0}%", self.gain * 100.0),
                met: interval.is_some_and(|(_, _, high)| high <= -self.gain),
                value: interval.map_or_else(
                    || "nothing was compared".to_owned(),
                    |(change, low, high)| {
                        format!(
                            "mean latency {} [{}, {}]",
                            percent(change),
                            percent(low),
                            percent(high)
                        )
                    },
                ),
            });
        }
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_written() {
        let goal = Goal::parse("p95<100ms", "45%").ok();
        assert_eq!(goal, Some(Goal { metric: "p95".into(), limit_ms: 100.0, gain: 0.45 }));
        assert!(Goal::parse("p96<100ms", "45%").is_err());
        assert!(Goal::parse("p95", "45%").is_err());
        assert!(Goal::parse("p95<100ms", "lots").is_err());
        assert!(Goal::parse("p95<100ms", "100%").is_err());
    }

    #[test]
    fn a_gain_counts_only_when_the_whole_interval_passes_it() {
        let entry = |high: f64| Comparison {
            metric: "latency_mean_ms".into(),
            before: Some(100.0),
            after: Some(50.0),
            change: Some(-0.5),
            ci_low: Some(-0.6),
            ci_high: Some(high),
            confidence: 0.95,
            method: String::new(),
            n: 16,
            detectable: None,
            verdict: pgassay_model::comparison::Verdict::Improved,
        };
        let goal = Goal { metric: "p95".into(), limit_ms: 100.0, gain: 0.45 };
        let latency = Latency { p95: 80.0, ..Latency::default() };
        assert!(goal.outcomes(&latency, &[entry(-0.46)])[1].met);
        assert!(!goal.outcomes(&latency, &[entry(-0.44)])[1].met);
    }
}
