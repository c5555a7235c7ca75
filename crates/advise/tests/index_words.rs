//! What the index advisor says of its figures and of what it does not propose, in scenes built of values.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod index_support;

use index_support::*;
use pgassay_advise::index::{IndexAdvice, IndexOptions, advise};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::WorkloadStatement;

fn orders() -> Snapshot {
    let columns = ["id", "customer", "article"].map(|name| column(name, "bigint", 8, -1.0));
    snapshot(vec![relation("orders", 1_000_000.0, 10_000, columns.to_vec())])
}

fn within(snapshot: &Snapshot, sql: &str, budget: u64) -> IndexAdvice {
    let options = IndexOptions { budget: Some(Bytes(budget)), ..IndexOptions::default() };
    let workload = workload(vec![statement("asked", 1.0, sql)]);
    advise(snapshot, &workload, &mut NoPlanner, &options, &Interrupt::default())
}

#[test]
fn estimates_without_statistics_are_called_defaults_with_the_reason() {
    let sql = "SELECT * FROM orders WHERE customer = 77";
    let mut snapshot = orders();
    let known = with_rules(&snapshot, vec![statement("asked", 1.0, sql)]);
    assert_eq!(known.estimates, "rule from statistics");
    assert!(known.indexes[0].reason.contains("(estimates of the rule from statistics)"));

    snapshot.relations[0].columns.iter_mut().for_each(|column| column.statistics = None);
    let refused = with_rules(&snapshot, vec![statement("asked", 1.0, sql)]);
    let why = "rule by defaults, no statistics: the statistics of public.orders can't be read by this role";
    assert_eq!(refused.estimates, why);
    let reason = &refused.indexes[0].reason;
    assert!(reason.contains(&format!("(estimates of the {why})")), "{reason}");

    let common = with_rules(
        &snapshot,
        vec![statement("asked", 1.0, "SELECT * FROM orders WHERE customer > 0")],
    );
    let why = &common.rejected[0].why;
    assert!(why.contains("of orders by defaults"), "{why}");

    snapshot.relations[0].rows = None;
    let fresh = with_rules(&snapshot, vec![statement("asked", 1.0, sql)]);
    assert!(fresh.estimates.contains("were never gathered (ANALYZE gathers them)"), "{fresh:#?}");
}

#[test]
fn figures_of_several_indexes_together_are_not_those_of_each() {
    /// A plan that needs both indexes.
    struct Both;
    impl WhatIf for Both {
        fn engine(&self) -> &'static str {
            "hypopg"
        }
        fn plans_indexes(&self) -> bool {
            true
        }
        fn cost(
            &mut self,
            _: &WorkloadStatement,
            asked: &Hypothesis,
        ) -> Result<PlannedCost, WhatIfError> {
            let leading = |column: &str| {
                let found = asked.indexes.iter().find(|index| {
                    index.keys.len() == 1 && index.keys[0].column.as_deref() == Some(column)
                });
                found.map(|index| index.name.clone())
            };
            let used: Vec<String> =
                ["customer", "article"].into_iter().filter_map(leading).collect();
            Ok(PlannedCost {
                total_cost: [1_000.0, 600.0, 100.0][used.len()],
                shape: String::new(),
                indexes: used,
                rows: None,
                written: Vec::new(),
            })
        }
        fn index_size(&mut self, _: &pgassay_model::index::IndexDefinition) -> Option<Bytes> {
            None
        }
        fn calls(&self) -> u64 {
            0
        }
    }
    let sql = "SELECT * FROM orders WHERE customer = 77 OR article = 5";
    let workload = workload(vec![statement("asked", 1.0, sql)]);
    let (options, interrupt) = (IndexOptions::default(), Interrupt::default());
    let advice = advise(&orders(), &workload, &mut Both, &options, &interrupt);
    assert_eq!(advice.indexes.len(), 2, "{advice:#?}");
    for index in &advice.indexes {
        assert!(
            index.reason.contains("cost 1,000 → 100 with all proposed indexes"),
            "{}",
            index.reason
        );
    }
    let sql = "SELECT * FROM orders WHERE customer = 77";
    let alone = with_rules(&orders(), vec![statement("asked", 1.0, sql)]);
    assert!(!alone.indexes[0].reason.contains("with all"), "{}", alone.indexes[0].reason);
}

#[test]
fn a_budget_that_no_index_fits_into_gives_an_empty_set_and_says_why() {
    let sql = "SELECT * FROM orders WHERE customer = 77";
    for (budget, whole, why) in [
        (0, "the budget is 0, which no index fits into", "and the budget is 0 B"),
        (1 << 20, "the budget of 1 MB is less than the smallest takes", "and the budget is 1 MB"),
    ] {
        let advice = within(&orders(), sql, budget);
        assert!(advice.indexes.is_empty());
        assert_eq!(advice.rejected[0].what, "any index", "{advice:#?}");
        assert!(advice.rejected[0].why.starts_with(whole), "{:#?}", advice.rejected);
        let asked = advice.rejected.iter().find(|one| one.what == "asked").unwrap();
        assert!(
            asked.why.contains("the smallest index that would make it cheaper takes"),
            "{asked:?}"
        );
        assert!(asked.why.ends_with(why), "{asked:?}");
        for considered in &advice.considered {
            assert!(!considered.why.contains("beside"), "{considered:?}");
        }
    }
    let none = within(&orders(), "SELECT * FROM orders WHERE id = 5", 0);
    assert!(none.rejected[0].why.contains("without it none would save enough"), "{none:#?}");
}

#[test]
fn a_relation_that_is_not_known_is_named_with_what_to_do() {
    let advice =
        with_rules(&orders(), vec![statement("asked", 1.0, "SELECT * FROM strange WHERE a = 1")]);
    assert!(advice.indexes.is_empty());
    let mut planned = Table { rows: vec![("asked", &[], 1_000.0)], calls: 0 };
    let workload = workload(vec![statement("asked", 1.0, "SELECT * FROM strange WHERE a = 1")]);
    let (options, interrupt) = (IndexOptions::default(), Interrupt::default());
    let advice = advise(&orders(), &workload, &mut planned, &options, &interrupt);
    let why = &advice.rejected[0].why;
    assert!(
        why.contains("strange can't be looked through")
            && why.contains("with its query in its place"),
        "{why}"
    );
}
