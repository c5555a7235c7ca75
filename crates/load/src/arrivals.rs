//! The schedule of an open loop: when each request is meant to start, and which one it is.

use crate::requests::{Choice, Requests};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// One request of the schedule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Arrival {
    /// Intended start since the load began.
    pub(crate) at: Duration,
    pub(crate) choice: Choice,
}

/// A Poisson process: gaps are exponential with mean 1 ÷ rate, drawn by inversion. It depends on the seed
/// alone, never on how fast the server answers.
#[derive(Debug)]
pub(crate) struct Arrivals {
    state: Mutex<State>,
    rate: f64,
    end: Duration,
}

#[derive(Debug)]
struct State {
    random: Xoshiro256PlusPlus,
    next: Duration,
}

impl Arrivals {
    /// Requests from 0 to `end` at `rate` per second.
    pub(crate) fn new(rate: f64, end: Duration, seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let next = gap(&mut random, rate);
        Arrivals { state: Mutex::new(State { random, next }), rate, end }
    }

    /// The next request, for whoever is free to send it; None at the end.
    pub(crate) fn take(&self, requests: &Requests) -> Option<Arrival> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.next >= self.end {
            return None;
        }
        let at = state.next;
        let choice = requests.choose(&mut state.random);
        state.next = at + gap(&mut state.random, self.rate);
        Some(Arrival { at, choice })
    }

    /// How many requests nobody has taken, taking them all.
    pub(crate) fn drain(&self, requests: &Requests) -> u64 {
        std::iter::from_fn(|| self.take(requests)).count() as u64
    }
}

fn gap(random: &mut Xoshiro256PlusPlus, rate: f64) -> Duration {
    // 1 − u lies in (0, 1], so the logarithm is finite.
    let seconds = -(1.0 - random.random::<f64>()).ln() / rate;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX / 4)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};

    fn requests() -> Requests {
        let statement = |id: &str| WorkloadStatement {
            id: id.into(),
            sql: "SELECT 1".into(),
            weight: 1.0,
            writes: false,
            parameters: Vec::new(),
            parameter_source: "none needed".into(),
            ..WorkloadStatement::default()
        };
        let workload = Workload {
            schema: SCHEMA.into(),
            generated_at: pgassay_model::Timestamp::UNIX_EPOCH,
            source: "test".into(),
            statements: vec![statement("a"), statement("b")],
            skipped: Vec::new(),
            scripts: Vec::new(),
            sessions: Vec::new(),
        };
        Requests::new(&workload, Default::default(), Default::default()).unwrap()
    }

    #[test]
    fn arrivals_are_a_poisson_process_of_the_rate_asked_for() {
        let requests = requests();
        let arrivals = Arrivals::new(1000.0, Duration::from_secs(20), 5);
        let times: Vec<f64> = std::iter::from_fn(|| arrivals.take(&requests))
            .map(|arrival| arrival.at.as_secs_f64())
            .collect();
        let count = times.len() as f64;
        assert!((count - 20_000.0).abs() < 5.0 * 20_000f64.sqrt(), "{count}");
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // Exponential gaps: the standard deviation equals the mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05, "{mean} {variance}");
    }

    #[test]
    fn the_schedule_depends_on_the_seed_alone() {
        let requests = requests();
        let schedule = |seed| -> Vec<Arrival> {
            let arrivals = Arrivals::new(100.0, Duration::from_secs(1), seed);
            std::iter::from_fn(|| arrivals.take(&requests)).collect()
        };
        assert_eq!(schedule(1), schedule(1));
        assert_ne!(schedule(1), schedule(2));
        let arrivals = Arrivals::new(100.0, Duration::from_secs(1), 1);
        arrivals.take(&requests);
        assert_eq!(arrivals.drain(&requests), schedule(1).len() as u64 - 1);
    }

    #[test]
    fn a_rate_close_to_nothing_has_no_arrivals_and_no_overflow() {
        let arrivals = Arrivals::new(1e-300, Duration::from_secs(1), 1);
        assert_eq!(arrivals.take(&requests()), None);
    }
}
