//! Questions to the engine, none asked twice.

use super::knowledge::Planned;
use super::search::Search;
use pgassay_model::index::IndexDefinition;
use pgassay_model::what_if::{Hypothesis, PlannedCost};
use pgassay_model::workload::WorkloadStatement;
use std::time::Instant;

/// The cost of a plan, and the candidates it uses; or why there is none.
pub(super) type Answer = Result<(f64, Vec<usize>), String>;

impl Search<'_> {
    /// Makes the cost of a statement under a set known, while questions may be asked; whether it is.
    pub(super) fn ask_about(&mut self, statement: usize, set: u128) -> bool {
        self.ask_about_all(&[(statement, set)]).pop().unwrap_or(true)
    }

    /// The same for several, which the engine may answer at the same time.
    pub(super) fn ask_about_all(&mut self, wanted: &[(usize, u128)]) -> Vec<bool> {
        let mut open: Vec<(usize, u128)> = Vec::new();
        let mut known = Vec::with_capacity(wanted.len());
        for (statement, set) in wanted {
            let knowledge = self.knowledge.get_mut(*statement);
            let exact = knowledge.is_none_or(|knowledge| knowledge.estimate(*set).exact);
            let may = || (open.len() as u64) < self.questions && !self.stop.requested();
            let asked = !exact && may();
            if asked {
                open.push((*statement, *set));
            }
            known.push(exact || asked);
        }
        if open.is_empty() {
            return known;
        }
        let questions: Vec<(usize, Vec<usize>)> = open
            .iter()
            .filter_map(|(statement, set)| {
                Some((*statement, self.knowledge.get(*statement)?.candidates(*set)))
            })
            .collect();
        let before = self.engine.calls();
        let answers = self.ask_all(&questions);
        // One with several sets of values is planned once for each; rules, which plan nothing, take time as well.
        let taken = self.engine.calls().saturating_sub(before).max(open.len() as u64);
        self.questions = self.questions.saturating_sub(taken);
        for ((statement, set), answer) in open.into_iter().zip(answers) {
            let Some(knowledge) = self.knowledge.get_mut(statement) else { continue };
            let plan = match answer {
                Ok((cost, used)) => Planned { offered: set, used: knowledge.set(&used), cost },
                // What can't be planned with saves nothing.
                Err(_) => Planned { offered: set, used: 0, cost: knowledge.estimate(0).cost },
            };
            knowledge.learn(plan);
        }
        known
    }

    /// Cost of a statement with the chosen indexes, with one more or without one of them, and the candidates its plan
    /// uses: asked, or when no more questions may be asked the best that is known to be possible.
    pub(super) fn plan(
        &mut self,
        statement: usize,
        added: Option<usize>,
        without: Option<usize>,
    ) -> (f64, Vec<usize>) {
        let Some(knowledge) = self.knowledge.get(statement) else { return (0.0, Vec::new()) };
        // A statement knows few candidates, a set may hold thousands.
        let there = knowledge.local.iter().filter(|one| {
            (self.chosen.contains(one) || added == Some(**one)) && without != Some(**one)
        });
        let bits = knowledge.set(there);
        self.ask_about(statement, bits);
        let Some(knowledge) = self.knowledge.get(statement) else { return (0.0, Vec::new()) };
        let (cost, used) = knowledge.possible(bits);
        (cost, knowledge.candidates(used))
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

    /// What a statement costs with candidates.
    pub(super) fn ask(&mut self, statement: usize, ids: &[usize]) -> Answer {
        let answer = self.ask_all(&[(statement, ids.to_vec())]).pop();
        answer.unwrap_or_else(|| Err("no such statement".into()))
    }

    /// What statements cost, each with its candidates, in their order.
    pub(super) fn ask_all(&mut self, questions: &[(usize, Vec<usize>)]) -> Vec<Answer> {
        let began = Instant::now();
        let asked: Vec<(&WorkloadStatement, Hypothesis)> = questions
            .iter()
            .filter_map(|(statement, ids)| {
                Some((self.asked.get(*statement)?.statement, self.hypothesis(ids)))
            })
            .collect();
        let answers = self.engine.cost_many(&asked);
        self.stop.round(questions.len(), began.elapsed());
        let with = answers.into_iter().zip(questions);
        with.map(|(answer, (_, ids))| match answer {
            Ok(plan) => Ok((plan.total_cost, self.used(ids, &plan))),
            Err(error) => Err(error.to_string()),
        })
        .collect()
    }

    fn hypothesis(&self, ids: &[usize]) -> Hypothesis {
        let indexes: Vec<IndexDefinition> = ids
            .iter()
            .filter_map(|candidate| Some(self.candidates.get(*candidate)?.definition.clone()))
            .collect();
        Hypothesis { indexes, ..Hypothesis::default() }
    }

    fn used(&self, ids: &[usize], plan: &PlannedCost) -> Vec<usize> {
        let is_used = |candidate: &usize| {
            let known = self.candidates.get(*candidate);
            known.is_some_and(|known| plan.indexes.contains(&known.definition.name))
        };
        ids.iter().copied().filter(is_used).collect()
    }
}
