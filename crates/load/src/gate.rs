//! Holds the clients back until all have opened their connections.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

#[derive(Debug, Clone, Copy)]
enum State {
    Shut,
    Open(Instant),
    Cancelled,
}

/// Opened once, with the instant from which the load counts its time.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Gate { state: Mutex::new(State::Shut), changed: Condvar::new() }
    }

    /// Lets the clients start.
    pub(crate) fn open(&self, origin: Instant) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Open(origin);
        self.changed.notify_all();
    }

    /// Sends the clients home where the load has not begun.
    pub(crate) fn cancel_if_shut(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Shut) {
            *state = State::Cancelled;
            self.changed.notify_all();
        }
    }

    /// Waits for the start; None where there is none.
    pub(crate) fn pass(&self) -> Option<Instant> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *state {
                State::Open(origin) => return Some(origin),
                State::Cancelled => return None,
                State::Shut => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}
