//! The plan gate: which statements would be planned otherwise under another value of a parameter.

use pgassay_model::index::IndexDefinition;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::{Workload, WorkloadStatement};

/// A relative change of cost below this is no change: the planner's own fuzz when it compares paths
/// (STD_FUZZ_FACTOR 1.01 in pathnode.c).
const COST_FUZZ: f64 = 0.01;

/// Plans of the workload as it would be with the indexes that are proposed, to compare others with.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlanGate<'a> {
    indexes: Vec<IndexDefinition>,
    plans: Vec<(&'a WorkloadStatement, PlannedCost)>,
    /// Why statements could not be planned, by their ids.
    unplanned: Vec<(String, String)>,
}

/// A statement that would be planned otherwise.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flip {
    /// The statement's id.
    pub(crate) statement: String,
    /// Shape of the plan now.
    pub(crate) before: String,
    /// Shape of the other plan; the same where only the cost falls.
    pub(crate) after: String,
    /// In words.
    pub(crate) description: String,
}

impl Flip {
    /// Whether the plan has another shape; else only its cost falls.
    pub(crate) fn shape_changes(&self) -> bool {
        self.before != self.after
    }

    /// How many more nodes of a kind the other plan has.
    pub(crate) fn more(&self, node: &str) -> isize {
        self.after.matches(node).count() as isize - self.before.matches(node).count() as isize
    }
}

impl<'a> PlanGate<'a> {
    /// Plans every statement. Proposed indexes are left out where the engine cannot plan with them.
    pub(crate) fn new(
        workload: &'a Workload,
        indexes: Vec<IndexDefinition>,
        what_if: &mut dyn WhatIf,
        interrupt: &Interrupt,
    ) -> PlanGate<'a> {
        let indexes = if what_if.plans_indexes() { indexes } else { Vec::new() };
        let mut gate = PlanGate { indexes, ..PlanGate::default() };
        for statement in &workload.statements {
            if interrupt.requested() {
                break;
            }
            match what_if.cost(statement, &gate.hypothesis(Vec::new())) {
                Ok(planned) => gate.plans.push((statement, planned)),
                Err(error) => gate.unplanned.push((statement.id.clone(), error.to_string())),
            }
        }
        gate
    }

    fn hypothesis(&self, parameters: Vec<(String, String)>) -> Hypothesis {
        Hypothesis { indexes: self.indexes.clone(), hidden: Vec::new(), parameters }
    }

    /// Plans by statement.
    pub(crate) fn plans(&self) -> impl Iterator<Item = (&'a WorkloadStatement, &PlannedCost)> {
        self.plans.iter().map(|(statement, planned)| (*statement, planned))
    }

    /// Why nothing could be planned; None where something could.
    pub(crate) fn problem(&self) -> Option<String> {
        match (self.plans.is_empty(), self.unplanned.first()) {
            (true, Some((_, error))) => Some(error.clone()),
            (true, None) => Some("the workload has no statement that was planned".to_owned()),
            _ => None,
        }
    }

    /// Statements that would be planned otherwise with `name = value`.
    pub(crate) fn ask(
        &self,
        name: &str,
        value: &str,
        what_if: &mut dyn WhatIf,
        interrupt: &Interrupt,
    ) -> Result<Vec<Flip>, WhatIfError> {
        let hypothesis = self.hypothesis(vec![(name.to_owned(), value.to_owned())]);
        let mut flips = Vec::new();
        for (statement, before) in &self.plans {
            if interrupt.requested() {
                break;
            }
            let after = what_if.cost(statement, &hypothesis)?;
            flips.extend(compare(&statement.id, before, &after));
        }
        Ok(flips)
    }
}

fn compare(id: &str, before: &PlannedCost, after: &PlannedCost) -> Option<Flip> {
    let cost = format!("cost {:.1} → {:.1}", before.total_cost, after.total_cost);
    let cheaper = after.total_cost < before.total_cost * (1.0 - COST_FUZZ);
    let description = if before.shape != after.shape {
        format!("{id}: {} → {}, {cost}", before.shape, after.shape)
    } else if cheaper {
        format!("{id}: the same plan, {cost}")
    } else {
        return None;
    };
    Some(Flip {
        statement: id.to_owned(),
        before: before.shape.clone(),
        after: after.shape.clone(),
        description,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::fixture::{self, FakeWhatIf};

    #[test]
    fn statements_whose_plans_flip_are_named() {
        let workload = fixture::workload(&[("sort", "SELECT 1"), ("point", "SELECT 2")]);
        let mut what_if = FakeWhatIf::default()
            .plan("sort", 100.0, "Sort(Seq Scan t)")
            .plan("point", 1.0, "Index Scan t")
            .under("work_mem", "64MB", "sort", 60.0, "HashAggregate(Seq Scan t)");
        let interrupt = Interrupt::default();
        let gate = PlanGate::new(&workload, Vec::new(), &mut what_if, &interrupt);
        let flips = gate.ask("work_mem", "64MB", &mut what_if, &interrupt).unwrap();
        assert_eq!(flips.len(), 1);
        assert!(flips[0].shape_changes());
        assert_eq!(
            flips[0].description,
            "sort: Sort(Seq Scan t) → HashAggregate(Seq Scan t), cost 100.0 → 60.0"
        );
        assert!(gate.ask("jit", "off", &mut what_if, &interrupt).unwrap().is_empty());
    }

    #[test]
    fn a_cheaper_plan_of_the_same_shape_is_told_apart() {
        let plan = |total_cost| PlannedCost {
            total_cost,
            shape: "Sort".into(),
            indexes: Vec::new(),
            rows: None,
            written: Vec::new(),
        };
        assert!(!compare("a", &plan(100.0), &plan(50.0)).unwrap().shape_changes());
        assert_eq!(compare("a", &plan(100.0), &plan(99.5)), None);
        assert_eq!(compare("a", &plan(100.0), &plan(120.0)), None);
    }
}
