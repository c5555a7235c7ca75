//! How the index search grows: thousands of statements over hundreds of relations, with an engine that is a formula.
//!
//! `cargo bench -p pgassay-advise --bench index_scale -- [statements] [relations] [seconds]` (default 10,000, 1,000 and no limit) prints
//! the time, the questions and the memory it took; the engine takes no time, so all of it is the search's own.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark ends at the first failure")]

#[path = "../tests/scale_support/mod.rs"]
mod scale_support;

use std::time::{Duration, Instant};

fn main() {
    let numbers: Vec<usize> =
        std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let statements = numbers.first().copied().unwrap_or(10_000);
    let relations = numbers.get(1).copied().unwrap_or(1_000);
    let limit = numbers.get(2).map(|seconds| Duration::from_secs(*seconds as u64));
    let began = Instant::now();
    let advice = scale_support::advise_on(statements, relations, limit);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("VmHWM: unknown");
    println!(
        "{statements} statements over {relations} relations: {} indexes in {:.1} s, {} questions; cost {:.0} -> {:.0}; {}",
        advice.indexes.len(),
        began.elapsed().as_secs_f64(),
        advice.what_if_calls,
        advice.cost_before,
        advice.cost_after,
        peak.split_whitespace().collect::<Vec<_>>().join(" ")
    );
}
