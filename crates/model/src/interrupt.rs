//! A flag by which long work is asked to stop at the next safe point.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Set once (by Ctrl-C, say), seen by every stage that holds a clone.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Interrupt {
    /// The same, which also asks for a stop once that time has come.
    pub fn until(&self, deadline: Instant) -> Self {
        let sooner = self.deadline.map_or(deadline, |known| known.min(deadline));
        Interrupt { flag: Arc::clone(&self.flag), deadline: Some(sooner) }
    }

    /// Asks the work to stop.
    pub fn request(&self) {
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Whether the work has been asked to stop.
    pub fn requested(&self) -> bool {
        self.flag.load(Ordering::SeqCst)
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_deadline_stops_those_that_have_it_and_the_flag_all() {
        let all = Interrupt::default();
        let some = all.until(Instant::now()).until(Instant::now() + Duration::from_secs(3_600));
        assert!(some.requested() && !all.requested());
        let later = all.until(Instant::now() + Duration::from_secs(3_600));
        assert!(!later.requested());
        all.request();
        assert!(later.requested());
    }
}
