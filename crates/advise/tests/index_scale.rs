//! The search grows with the workload hardly faster than the workload does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod scale_support;

use std::time::{Duration, Instant};

#[test]
fn hundreds_of_statements_over_dozens_of_relations_are_advised_on_in_seconds() {
    let began = Instant::now();
    let advice = scale_support::advise_on(300, 30, None);
    assert!(advice.indexes.len() > 15, "{} indexes", advice.indexes.len());
    assert!(advice.cost_after < advice.cost_before / 2.0);
    // A debug build on a busy machine; quadratic steps would take minutes.
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[test]
fn a_time_limit_ends_the_search_soon_after() {
    let began = Instant::now();
    scale_support::advise_on(300, 30, Some(Duration::from_millis(500)));
    // Half a second, and the writing of what was found, in a debug build on a busy machine.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
