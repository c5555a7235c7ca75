//! Many questions at once: the candidates of a relation are made together, and as many sessions plan as there are cores.

use super::{Engine, Numbered, plan};
use crate::build::Shadow;
use crate::candidates::Extent;
use futures_util::stream::{FuturesUnordered, StreamExt};
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::WorkloadStatement;
use pgassay_postgres::what_if::{Explain, refusal, summary};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Sessions, however many cores there are.
const MOST_SESSIONS: usize = 8;
/// Questions among which one is looked for that switches nothing that is switched already.
const LOOKED_AT: usize = 32;

type Answer = Result<PlannedCost, WhatIfError>;

/// A question with everything that a session needs to answer it.
struct Job {
    place: usize,
    statement: WorkloadStatement,
    switched: BTreeSet<u32>,
    names: HashMap<String, String>,
    parameters: Vec<(String, String)>,
}

impl Engine {
    /// Answers questions in their order.
    pub(super) fn ask_many(
        &mut self,
        questions: &[(&WorkloadStatement, Hypothesis)],
    ) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = Vec::with_capacity(questions.len());
        let mut open = Vec::new();
        for (place, (statement, hypothesis)) in questions.iter().enumerate() {
            answers.push(match self.question(statement, hypothesis) {
                Ok((question, indexes)) => {
                    let known = self.costs.get(&question).cloned();
                    if known.is_none() {
                        open.push((place, question, indexes));
                    }
                    known
                }
                Err(error) => Some(Err(error)),
            });
        }
        if open.len() > 1 && self.connect_more() {
            let wanted = open.iter().flat_map(|(_, _, indexes)| indexes.iter().copied());
            self.make_together(wanted);
            let mut jobs = VecDeque::with_capacity(open.len());
            for (place, _, indexes) in &open {
                let Some((statement, hypothesis)) = questions.get(*place) else { continue };
                let Ok((switched, names)) = self.arranged(indexes, hypothesis) else { continue };
                jobs.push_back(Job {
                    place: *place,
                    statement: (*statement).clone(),
                    switched,
                    names,
                    parameters: hypothesis.parameters.clone(),
                });
            }
            let mut given = self.runtime.block_on(answer_all(&self.shadow, &self.more, jobs));
            for (place, question, _) in open {
                let Some(answer) = given.remove(&place) else { continue };
                self.costs.insert(question, answer.clone());
                if let Some(known) = answers.get_mut(place) {
                    *known = Some(answer);
                }
            }
        }
        // What went wrong there is asked again alone.
        let all = answers.into_iter().zip(questions);
        all.map(|(answer, (statement, hypothesis))| {
            answer.unwrap_or_else(|| self.cost(statement, hypothesis))
        })
        .collect()
    }

    /// Connects a session for each core; whether there are any.
    fn connect_more(&mut self) -> bool {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        while self.more.len() < cores.min(MOST_SESSIONS) {
            match self.runtime.block_on(self.shadow.session()) {
                Ok(session) => self.more.push(Arc::new(Explain::new(session))),
                Err(error) => {
                    tracing::debug!(%error, "no further session on the shadow");
                    break;
                }
            }
        }
        self.more.retain(|explain| !explain.session().client().is_closed());
        !self.more.is_empty()
    }

    /// Makes the candidates that are not there yet, those of a relation at once. One that is refused spoils the rest,
    /// so these are then made when they are asked for, each alone.
    fn make_together<'i>(&mut self, wanted: impl Iterator<Item = Numbered<'i>>) {
        type Wanted<'i> = BTreeMap<usize, (&'i IndexDefinition, Extent)>;
        let mut groups: BTreeMap<(&RelationName, bool), Wanted<'i>> = BTreeMap::new();
        for (number, index) in wanted {
            if !self.candidates.contains_key(&number) {
                let extent = self.extent_or_unknown((number, index));
                let group = groups.entry((&index.relation, extent.has_ends)).or_default();
                group.insert(number, (index, extent));
            }
        }
        for group in groups.into_values().filter(|group| group.len() > 1) {
            let (numbers, indexes): (Vec<usize>, Vec<(&IndexDefinition, Extent)>) =
                group.into_iter().unzip();
            match self.make(&indexes) {
                Ok(Ok(made)) => {
                    self.candidates.extend(numbers.into_iter().zip(made.into_iter().map(Ok)));
                }
                Ok(Err(refused)) => tracing::debug!(refused, "candidates are made one by one"),
                Err(error) => tracing::debug!(%error, "candidates are made one by one"),
            }
        }
    }
}

/// Answers all, by place: each session one after the other, and none that switches what another one has switched, whose
/// rows it would wait for.
async fn answer_all(
    shadow: &Arc<Shadow>,
    sessions: &[Arc<Explain>],
    mut jobs: VecDeque<Job>,
) -> HashMap<usize, Answer> {
    let mut idle: Vec<Arc<Explain>> = sessions.to_vec();
    let mut busy: BTreeSet<u32> = BTreeSet::new();
    let mut running = FuturesUnordered::new();
    let mut answers = HashMap::new();
    loop {
        while let Some(explain) = idle.pop() {
            let looked_at = jobs.iter().take(LOOKED_AT);
            let free = looked_at.map(|job| job.switched.is_disjoint(&busy)).position(|free| free);
            let Some(job) = free.and_then(|place| jobs.remove(place)) else {
                idle.push(explain);
                break;
            };
            busy.extend(&job.switched);
            running.push(tokio::spawn(answer(Arc::clone(shadow), explain, job)));
        }
        let Some(ended) = running.next().await else { break };
        // A task that panicked leaves its question unanswered, and what it switched busy.
        let Ok((explain, job, answer)) = ended else { continue };
        busy.retain(|oid| !job.switched.contains(oid));
        // A broken connection is no answer to keep, nor one to go on with.
        if !explain.session().client().is_closed() {
            idle.push(explain);
            answers.insert(job.place, answer);
        }
    }
    answers
}

async fn answer(
    shadow: Arc<Shadow>,
    explain: Arc<Explain>,
    job: Job,
) -> (Arc<Explain>, Job, Answer) {
    let planned = plan(&shadow, &explain, &job.statement, &job.switched, &job.parameters).await;
    let answer = match planned {
        Ok(plans) => summary(&plans, &job.names).ok_or_else(|| WhatIfError::Plan {
            statement: job.statement.id.clone(),
            reason: "EXPLAIN's answer could not be read".into(),
        }),
        Err(error) => Err(refusal(super::ENGINE, &job.statement, &job.parameters, &error)),
    };
    (explain, job, answer)
}
