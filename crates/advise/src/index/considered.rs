//! Why each candidate that was weighed is not among the proposed indexes.

use super::account::{Account, share};
use super::search::{Candidate, Search};
use super::statement::Asked;
use super::{Considered, cover};
use pgassay_model::index::IndexDefinition;
use pgassay_model::units::Bytes;
use pgassay_sql::index_ddl;
use std::collections::{HashMap, HashSet};

/// Candidates that are accounted for, those that some plan used first.
const MOST: usize = 1_000;

impl Account<'_> {
    /// Candidates that are not proposed, each with the reason.
    pub(super) fn considered(&self, search: &mut Search<'_>) -> Vec<Considered> {
        let chosen = search.trial(&search.chosen.clone());
        let others = (0..search.candidates.len()).filter(|one| !search.pool.contains(one));
        let open: Vec<usize> = search
            .pool
            .iter()
            .copied()
            .chain(others)
            .filter(|candidate| !search.chosen.contains(candidate))
            .take(MOST)
            .collect();
        let total = chosen.objective().max(f64::MIN_POSITIVE);
        let least = search.worth * total;
        let beside = match search.chosen.is_empty() {
            true => "",
            false => "beside the proposed indexes ",
        };
        let rounds = Rounds::of(search, self.asked, &open);
        let mut considered = Vec::with_capacity(open.len());
        for candidate in open {
            let why = if let Some(reason) = search.refused.get(&candidate) {
                format!("the what-if engine could not answer for it: {reason}")
            } else if !search.pool.contains(&candidate) {
                rounds.never_used(candidate)
            } else if let Some(better) = covered(search, candidate) {
                format!("{better}, which is proposed, does all that it would")
            } else {
                let weighed = search.weigh(&chosen, &[], &[candidate]);
                let read = chosen.weighed.read - weighed.read;
                let net = total - weighed.objective();
                let saves = format!(
                    "{beside}it would save readers {} of the workload's cost",
                    share(read.max(0.0) / total)
                );
                if read <= 0.0 {
                    format!("{beside}no plan would be cheaper by it")
                } else if read < least {
                    format!("{saves}; less than {} is not worth an index", share(search.worth))
                } else if net < least {
                    format!(
                        "{saves} and cost writers {} (an estimate by rule)",
                        share((read - net) / total)
                    )
                } else if let (false, Some(budget)) = (search.fits(candidate), self.budget) {
                    let size =
                        search.candidates.get(candidate).map_or(Bytes(0), |known| known.size);
                    match (budget.0, search.chosen.is_empty()) {
                        (0, _) => format!("{saves}, but the budget is 0"),
                        (_, true) => {
                            format!("{saves}, but takes {size}: more than the budget of {budget}")
                        }
                        (_, false) => format!(
                            "{saves}, but does not fit into the budget of {budget} beside them"
                        ),
                    }
                } else if search.stopped() {
                    format!("{saves}, but the search was stopped before it was weighed")
                } else {
                    format!("{saves} by expectation, which no plan asked for confirmed")
                }
            };
            let Some(known) = search.candidates.get(candidate) else { continue };
            considered.push(Considered {
                ddl: index_ddl(&known.definition, true),
                size: known.size,
                statements: rounds.statements.get(&candidate).cloned().unwrap_or_default(),
                why,
            });
        }
        considered
    }
}

/// What the rounds did with candidates.
struct Rounds {
    /// Ids of the statements that each was a candidate of.
    statements: HashMap<usize, Vec<String>>,
    /// What the plan used that was the first to be offered each: access methods and keys.
    instead: HashMap<usize, Vec<String>>,
}

impl Rounds {
    fn of(search: &Search<'_>, asked: &[Asked<'_>], open: &[usize]) -> Self {
        let open: HashSet<usize> = open.iter().copied().collect();
        let mut rounds = Rounds { statements: HashMap::new(), instead: HashMap::new() };
        for (asked, offered) in asked.iter().zip(&search.offered) {
            for candidate in offered.iter().filter(|one| open.contains(one)) {
                rounds.statements.entry(*candidate).or_default().push(asked.statement.id.clone());
            }
        }
        for (offered, used, _) in search.first.iter().flatten() {
            for candidate in offered.iter().filter(|one| open.contains(one)) {
                rounds.instead.entry(*candidate).or_insert_with(|| {
                    used.iter()
                        .filter_map(|one| Some(keys(&search.candidates.get(*one)?.definition)))
                        .collect()
                });
            }
        }
        rounds
    }

    fn never_used(&self, candidate: usize) -> String {
        match self.instead.get(&candidate).map(Vec::as_slice) {
            None => {
                "it was not asked about: the statement could not be planned, or time was up".into()
            }
            Some([]) => "no plan used it: what there is today is cheaper".into(),
            Some(used) => format!("no plan used it: {} was cheaper", used.join(" with ")),
        }
    }
}

/// An index that serves whatever the candidate would, among the chosen ones.
fn covered(search: &Search<'_>, candidate: usize) -> Option<String> {
    let Candidate { definition: wanted, relation, .. } = search.candidates.get(candidate)?;
    let beside = search.chosen_groups.get(relation)?;
    beside
        .iter()
        .filter_map(|one| search.candidates.get(*one))
        .find(|known| cover::covers(&known.definition, wanted))
        .map(|known| keys(&known.definition))
}

/// The part of its DDL that says what an index is: `btree (a, b) INCLUDE (c)`.
fn keys(definition: &IndexDefinition) -> String {
    let ddl = index_ddl(definition, false);
    ddl.split_once(" USING ").map_or(ddl.clone(), |(_, keys)| keys.to_owned())
}
