//! What the engine was asked, and what it answered.
//!
//! A plan that used U under configuration C is the plan under every C' with U ⊆ C' ⊆ C, and an index that can't
//! serve a statement does not change its plan: few questions have to be asked, and none twice.

use super::search::{Search, Set};
use super::statement::Asked;
use pgassay_model::index::IndexDefinition;
use pgassay_model::what_if::Hypothesis;

/// A plan that is known.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub offered: Set,
    pub used: Set,
    pub cost: f64,
}

impl Search<'_> {
    /// Cost of a statement under a set, and the candidates its plan uses.
    pub(super) fn plan(&mut self, statement: usize, set: &Set) -> (f64, Set) {
        let asked = self.asked;
        let Some((asked, before)) =
            asked.get(statement).and_then(|asked| Some((asked, asked.before.as_ref()?)))
        else {
            return (0.0, Set::new());
        };
        let Some(matters) = self.matters.get(statement) else {
            return (before.total_cost, Set::new());
        };
        let mut relevant: Set = set
            .intersection(matters)
            .copied()
            .filter(|candidate| !self.refused.iter().any(|(refused, _)| refused == candidate))
            .collect();
        if relevant.is_empty() {
            return (before.total_cost, Set::new());
        }
        if let Some(known) = self.plans.get(statement).and_then(|plans| {
            plans
                .iter()
                .find(|plan| plan.used.is_subset(&relevant) && relevant.is_subset(&plan.offered))
        }) {
            return (known.cost, known.used.clone());
        }
        if self.stop.requested() {
            // No more questions: what is known of a part of these indexes holds, since others can only help.
            let known = self.plans.get(statement).into_iter().flatten();
            let best = known
                .filter(|plan| plan.used.is_subset(&relevant))
                .min_by(|a, b| a.cost.total_cmp(&b.cost));
            return match best {
                Some(plan) if plan.cost < before.total_cost => (plan.cost, plan.used.clone()),
                _ => (before.total_cost, Set::new()),
            };
        }
        loop {
            match self.ask(asked, &relevant) {
                Ok((cost, used)) => {
                    if let Some(plans) = self.plans.get_mut(statement) {
                        plans.push(Planned { offered: relevant, used: used.clone(), cost });
                    }
                    return (cost, used);
                }
                Err(reason) => {
                    // One bad candidate spoils the question: find it by asking for each alone.
                    let bad: Vec<(usize, String)> = if relevant.len() == 1 {
                        relevant.iter().map(|candidate| (*candidate, reason.clone())).collect()
                    } else {
                        relevant
                            .iter()
                            .filter_map(|candidate| {
                                Some((*candidate, self.ask(asked, &Set::from([*candidate])).err()?))
                            })
                            .collect()
                    };
                    relevant
                        .retain(|candidate| !bad.iter().any(|(refused, _)| refused == candidate));
                    let gave_up = bad.is_empty() || relevant.is_empty();
                    self.refused.extend(bad);
                    if gave_up {
                        return (before.total_cost, Set::new());
                    }
                }
            }
        }
    }

    fn ask(&mut self, asked: &Asked<'_>, set: &Set) -> Result<(f64, Set), String> {
        let indexes: Vec<IndexDefinition> = set
            .iter()
            .filter_map(|candidate| Some(self.candidates.get(*candidate)?.definition.clone()))
            .collect();
        let hypothesis = Hypothesis { indexes, ..Hypothesis::default() };
        let plan =
            self.engine.cost(asked.statement, &hypothesis).map_err(|error| error.to_string())?;
        let used = set
            .iter()
            .copied()
            .filter(|candidate| {
                self.candidates
                    .get(*candidate)
                    .is_some_and(|known| plan.indexes.contains(&known.definition.name))
            })
            .collect();
        Ok((plan.total_cost, used))
    }
}
