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
