//! When to stop: an interrupt, or a time limit of which enough is kept for the steps that still have to come.
//!
//! What those steps take is not known before, but it grows with what the search has done itself until then (reading
//! statements, listing candidates), on the same machine under the same load: that is measured and multiplied.

use pgassay_model::interrupt::Interrupt;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// What the steps after asking take, relative to reading the statements and listing their candidates: to connect
/// candidates with statements, choose and write, and of those to write alone. Measured by the benchmark
/// `index_scale`, and rounded up.
const CHOOSING_AND_WRITING: f64 = 2.5;
const WRITING: f64 = 1.5;
/// Part of the limit that reading the statements may take: without answers about indexes there is nothing to choose.
const READING: f64 = 0.4;
/// Part of what is left that one round of questions may take, so that its end is not far beyond the limit.
const ROUND: f64 = 0.05;
/// Time that a round may take in any case: nobody waits longer for an interrupt to be seen.
const PATIENCE: Duration = Duration::from_secs(1);
/// Questions of a round, at most; without a limit, always.
const MOST_AT_ONCE: usize = 64;
const WITHOUT_LIMIT: usize = 16;

/// Where a search stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Reading,
    Asking,
    Choosing,
}

/// When to stop with the best set so far.
#[derive(Debug)]
pub(super) struct Stop {
    began: Instant,
    limit: Option<Duration>,
    interrupt: Interrupt,
    phase: Cell<Phase>,
    /// Time of the search's own work so far, without the engine's answers.
    own: Cell<Duration>,
    /// Questions asked in this phase, and the time they took.
    asked: Cell<(usize, Duration)>,
    stopped: Cell<bool>,
}

impl Stop {
    pub(super) fn new(limit: Option<Duration>, interrupt: Interrupt) -> Self {
        Stop {
            began: Instant::now(),
            limit,
            interrupt,
            phase: Cell::new(Phase::Reading),
            own: Cell::default(),
            asked: Cell::default(),
            stopped: Cell::default(),
        }
    }

    /// The next phase begins.
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.asked.set(Default::default());
    }

    /// Whether there is a time limit.
    pub(super) fn limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Does some of the search's own work.
    pub(super) fn own<R>(&self, work: impl FnOnce() -> R) -> R {
        if !self.limited() {
            return work();
        }
        let began = Instant::now();
        let result = work();
        self.own.set(self.own.get() + began.elapsed());
        result
    }

    /// Whether this phase is over: asked to stop, or no more time is left than what is still to come takes.
    pub(super) fn requested(&self) -> bool {
        let requested =
            self.interrupt.requested() || self.left().is_some_and(|left| left.is_zero());
        if requested {
            self.stopped.set(true);
        }
        requested
    }

    /// Whether any phase was stopped before it had come to its end.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Time left for this phase; None: no limit.
    fn left(&self) -> Option<Duration> {
        let limit = self.limit?;
        let own = self.own.get();
        let usable = match self.phase.get() {
            Phase::Reading => limit.mul_f64(READING),
            Phase::Asking => limit.saturating_sub(own.mul_f64(CHOOSING_AND_WRITING)),
            Phase::Choosing => limit.saturating_sub(own.mul_f64(WRITING)),
        };
        Some(usable.saturating_sub(self.began.elapsed()))
    }

    /// How many questions to ask at once: as many as fit into a small part of the time left, and so few that an
    /// interrupt is soon seen. Where time is not limited they must not depend on it: an engine makes the candidates of
    /// a round together, and which of two equal ones a plan uses may follow their order.
    pub(super) fn at_once(&self) -> usize {
        let Some(left) = self.left() else { return WITHOUT_LIMIT };
        let allowed = left.mul_f64(ROUND).min(PATIENCE);
        let (asked, taken) = self.asked.get();
        if asked == 0 {
            // The first one tells how long one takes.
            return 1;
        }
        let each = taken.as_secs_f64() / asked as f64;
        ((allowed.as_secs_f64() / each.max(1e-9)) as usize).clamp(1, MOST_AT_ONCE)
    }

    /// Notes what a round of questions took.
    pub(super) fn round(&self, questions: usize, taken: Duration) {
        let (asked, before) = self.asked.get();
        self.asked.set((asked + questions, before + taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_only_an_interrupt_stops() {
        let interrupt = Interrupt::default();
        let stop = Stop::new(None, interrupt.clone());
        assert!(!stop.requested() && stop.at_once() == WITHOUT_LIMIT);
        stop.round(1, Duration::from_secs(100));
        assert_eq!(stop.at_once(), WITHOUT_LIMIT);
        interrupt.request();
        assert!(stop.requested() && stop.stopped());
    }

    #[test]
    fn asking_ends_while_there_is_time_for_what_comes_after() {
        let stop = Stop::new(Some(Duration::from_secs(3_600)), Interrupt::default());
        stop.enter(Phase::Asking);
        assert!(!stop.requested());
        stop.own.set(Duration::from_secs(1_600));
        assert!(stop.requested());
        stop.enter(Phase::Choosing);
        assert!(!stop.requested());
    }

    #[test]
    fn rounds_are_as_short_as_the_time_left_needs() {
        let stop = Stop::new(Some(Duration::from_secs(10)), Interrupt::default());
        stop.enter(Phase::Asking);
        stop.round(10, Duration::from_secs(1));
        assert!((1..=5).contains(&stop.at_once()), "{}", stop.at_once());
        stop.round(100_000, Duration::from_secs(1));
        assert_eq!(stop.at_once(), MOST_AT_ONCE);
    }
}
