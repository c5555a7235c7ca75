//! Holds the clients back until all have opened their connections, and these open until all have finished.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

#[derive(Debug, Clone, Copy)]
enum State {
    Shut,
    Open(Instant),
    Closing,
}

/// Opened once, with the instant from which the load counts its time, and closed once.
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
        *self.state() = State::Open(origin);
        self.changed.notify_all();
    }

    /// Sends the clients home, also those that have not begun.
    pub(crate) fn close(&self) {
        *self.state() = State::Closing;
        self.changed.notify_all();
    }

    /// Waits for the start; None where there is none.
    pub(crate) fn pass(&self) -> Option<Instant> {
        let mut state = self.state();
        loop {
            match *state {
                State::Open(origin) => return Some(origin),
                State::Closing => return None,
                State::Shut => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Waits until it closes.
    pub(crate) fn wait_closing(&self) {
        let mut state = self.state();
        while !matches!(*state, State::Closing) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
