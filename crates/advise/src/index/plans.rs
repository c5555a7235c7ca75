//! Questions to the engine, none asked twice.

use super::knowledge::Planned;
use super::search::{Search, Set};
use pgassay_model::index::IndexDefinition;
use pgassay_model::what_if::Hypothesis;

impl Search<'_> {
    /// Offers candidates to a statement, and returns those its plan uses; None where it can't be planned with any.
    /// What the engine can't answer for is taken out of them.
    pub(super) fn round(&mut self, statement: usize, open: &mut Set) -> Option<Set> {
        self.asked.get(statement)?.before.as_ref()?;
        loop {
            let ids: Vec<usize> = open.iter().copied().collect();
            match self.ask(statement, &ids) {
                Ok((cost, used)) => {
                    let used: Set = used.into_iter().collect();
                    if let Some(first) = self.first.get_mut(statement) {
                        first.push((open.clone(), used.clone(), cost));
                    }
                    return (!used.is_empty()).then_some(used);
                }
                Err(reason) => {
                    // One bad candidate spoils the question: find it by asking for each alone.
                    let bad: Vec<(usize, String)> = if ids.len() == 1 {
                        ids.iter().map(|candidate| (*candidate, reason.clone())).collect()
                    } else {
                        ids.iter()
                            .filter_map(|one| Some((*one, self.ask(statement, &[*one]).err()?)))
                            .collect()
                    };
                    open.retain(|candidate| !bad.iter().any(|(refused, _)| refused == candidate));
                    let gave_up = bad.is_empty() || open.is_empty();
                    self.refused.extend(bad);
                    if gave_up {
                        return None;
                    }
                }
            }
        }
    }

    /// Makes the cost of a statement under a set known, while questions may be asked; whether it is.
    pub(super) fn ask_about(&mut self, statement: usize, set: u128) -> bool {
        let Some(knowledge) = self.knowledge.get_mut(statement) else { return true };
        if knowledge.estimate(set).exact {
            return true;
        }
        if self.questions == 0 || self.stop.requested() {
            return false;
        }
        let ids = knowledge.candidates(set);
        let before = self.engine.calls();
        let answer = self.ask(statement, &ids);
        // One with several sets of values is planned once for each; rules, which plan nothing, take time as well.
        let taken = self.engine.calls().saturating_sub(before).max(1);
        self.questions = self.questions.saturating_sub(taken);
        let Some(knowledge) = self.knowledge.get_mut(statement) else { return true };
        let plan = match answer {
            Ok((cost, used)) => Planned { offered: set, used: knowledge.set(&used), cost },
            // What can't be planned with saves nothing.
            Err(_) => Planned { offered: set, used: 0, cost: knowledge.estimate(0).cost },
        };
        knowledge.learn(plan);
        true
    }

    /// Cost of a statement under a set without some of its candidates, and the candidates its plan uses: asked, or when
    /// no more questions may be asked the best that is known to be possible.
    pub(super) fn plan(&mut self, statement: usize, set: &Set, without: &Set) -> (f64, Set) {
        let Some(knowledge) = self.knowledge.get(statement) else { return (0.0, Set::new()) };
        // A statement knows few candidates, a set may hold thousands.
        let there = knowledge.local.iter();
        let bits = knowledge.set(there.filter(|one| set.contains(one) && !without.contains(one)));
        self.ask_about(statement, bits);
        let Some(knowledge) = self.knowledge.get(statement) else { return (0.0, Set::new()) };
        let (cost, used) = knowledge.possible(bits);
        (cost, knowledge.candidates(used).into_iter().collect())
    }

    /// The cheapest plan known of a statement, with any of its candidates: cost, and whether it uses any.
    pub(super) fn cheapest(&self, statement: usize) -> (f64, bool) {
        let before = self
            .asked
            .get(statement)
            .and_then(|asked| asked.before.as_ref())
            .map_or(0.0, |plan| plan.total_cost);
        let plans = self.first.get(statement).into_iter().flatten();
        let best = plans.filter(|(_, used, _)| !used.is_empty()).map(|(.., cost)| *cost);
        match best.min_by(f64::total_cmp) {
            Some(cost) if cost < before => (cost, true),
            _ => (before, false),
        }
    }

    fn ask(&mut self, statement: usize, ids: &[usize]) -> Result<(f64, Vec<usize>), String> {
        let asked = self.asked.get(statement).ok_or("no such statement")?;
        let indexes: Vec<IndexDefinition> = ids
            .iter()
            .filter_map(|candidate| Some(self.candidates.get(*candidate)?.definition.clone()))
            .collect();
        let hypothesis = Hypothesis { indexes, ..Hypothesis::default() };
        let plan =
            self.engine.cost(asked.statement, &hypothesis).map_err(|error| error.to_string())?;
        let used = ids
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
