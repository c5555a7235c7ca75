//! The search grows with the workload hardly faster than the workload does, and keeps to its limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod scale_support;

use pgassay_advise::index::{IndexOptions, advise};
use pgassay_model::index::IndexDefinition;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::WorkloadStatement;
use std::time::{Duration, Instant};

/// Every index makes every statement ten times as cheap, and every answer takes some time.
struct Slow {
    each: Duration,
    calls: u64,
}

impl WhatIf for Slow {
    fn engine(&self) -> &'static str {
        "shadow"
    }
    fn plans_indexes(&self) -> bool {
        true
    }
    fn cost(
        &mut self,
        _: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        self.calls += 1;
        std::thread::sleep(self.each);
        let first = hypothesis.indexes.first().map(|index| index.name.clone());
        Ok(PlannedCost {
            total_cost: if first.is_some() { 100.0 } else { 1_000.0 },
            shape: String::new(),
            indexes: first.into_iter().collect(),
            rows: None,
            written: Vec::new(),
        })
    }
    fn index_size(&mut self, _: &IndexDefinition) -> Option<Bytes> {
        Some(Bytes(1 << 20))
    }
    fn calls(&self) -> u64 {
        self.calls
    }
}

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
fn a_time_limit_ends_the_search_of_a_slow_engine_with_what_is_known_by_then() {
    let (snapshot, workload) = (scale_support::snapshot(30), scale_support::workload(300, 30));
    let limit = Duration::from_secs(3);
    let options = IndexOptions { time_limit: Some(limit), ..IndexOptions::default() };
    // Without a limit it would take some 20 s.
    let mut engine = Slow { each: Duration::from_millis(10), calls: 0 };
    let began = Instant::now();
    let advice = advise(&snapshot, &workload, &mut engine, &options, &Interrupt::default());
    let taken = began.elapsed();
    // A tenth more at most on a quiet machine; a debug build on a busy one gets another one.
    assert!(taken < limit.mul_f64(1.2), "{taken:?}");
    assert!(engine.calls > 50 && !advice.indexes.is_empty(), "{} questions", engine.calls);
}

#[test]
fn equal_questions_without_a_limit_get_equal_advice() {
    let one = scale_support::advise_on(60, 6, None);
    let other = scale_support::advise_on(60, 6, None);
    assert_eq!(one, other);
}

#[test]
fn a_budget_below_what_any_index_takes_gives_none_and_says_why() {
    let (snapshot, workload) = (scale_support::snapshot(3), scale_support::workload(30, 3));
    for (budget, why) in [
        (Bytes(0), "the budget is 0, which no index fits into"),
        (Bytes(8192), "the budget of 8 kB is less than the smallest takes"),
    ] {
        let mut engine = Slow { each: Duration::ZERO, calls: 0 };
        let options = IndexOptions { budget: Some(budget), ..IndexOptions::default() };
        let advice = advise(&snapshot, &workload, &mut engine, &options, &Interrupt::default());
        assert_eq!(advice.indexes, []);
        assert_eq!(advice.cost_after, advice.cost_before);
        let said = advice.rejected.iter().find(|rejected| rejected.what == "any index").unwrap();
        assert!(said.why.starts_with(why), "{}", said.why);
        assert!(said.why.contains("1 MB (CREATE INDEX"), "{}", said.why);
    }
}

#[test]
fn a_time_limit_ends_the_search_soon_after() {
    let began = Instant::now();
    scale_support::advise_on(300, 30, Some(Duration::from_millis(500)));
    // Half a second, and the writing of what was found, in a debug build on a busy machine.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
