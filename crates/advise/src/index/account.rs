//! Says why: for every index proposed, every index considered and given up, and every statement without one.

use super::climb::limit;
use super::rule::Unplanned;
use super::search::{Search, Set};
use super::statement::{Asked, note};
use super::wanted::is_on;
use super::writes::{hot_share, loses_hot};
use super::{ProposedIndex, defaults, name, selectivity};
use pgassay_model::index::IndexDefinition;
use pgassay_model::index_size::keys_a_row;
use pgassay_model::plan::NotProposed;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_sql::{Subject, index_ddl};
use std::collections::BTreeMap;

/// A statement gains when its cost falls by more than that share.
pub(super) const GAINS: f64 = 0.01;
/// Statements named in a reason.
const NAMED: usize = 3;
/// An unserved filter that keeps at least that share, known from statistics, is no bet.
const COMMON: f64 = 0.1;

/// What the account is written from.
pub(super) struct Account<'a> {
    pub snapshot: &'a Snapshot,
    pub asked: &'a [Asked<'a>],
    /// Of each statement, what stood in the way.
    pub notes: &'a [Vec<String>],
    pub budget: Option<Bytes>,
    /// Access methods for which rules answered in the engine's place.
    pub unplanned: &'a Unplanned,
}

/// A statement that an index makes cheaper.
struct Gain {
    /// Weighted cost that it would have more without the index.
    saved: f64,
    position: usize,
    /// Its cost with all chosen indexes.
    after: f64,
    /// Whether its plan uses no other chosen one.
    alone: bool,
}

impl Account<'_> {
    /// The proposed indexes, the greatest benefit first, and what is not proposed.
    pub(super) fn write(&self, search: &mut Search<'_>) -> (Vec<ProposedIndex>, Vec<NotProposed>) {
        let mut rejected: Vec<NotProposed> = self.too_small(search).into_iter().collect();
        rejected.extend(self.given_up(search));
        rejected.extend(self.statements(search));
        let named = self.named(search);
        let mut proposed: Vec<ProposedIndex> = named
            .into_iter()
            .filter_map(|(candidate, definition)| self.proposed(search, candidate, definition))
            .collect();
        proposed.sort_by(|a, b| {
            b.benefit.total_cmp(&a.benefit).then_with(|| a.definition.name.cmp(&b.definition.name))
        });
        (proposed, rejected)
    }

    /// The chosen indexes with names that need only be told from one another's and those that exist.
    fn named(&self, search: &Search<'_>) -> Vec<(usize, IndexDefinition)> {
        let mut taken = BTreeMap::new();
        let mut named = Vec::new();
        for candidate in &search.chosen {
            let Some(known) = search.candidates.get(*candidate) else { continue };
            let schema = &known.definition.relation.schema;
            let taken =
                taken.entry(schema.clone()).or_insert_with(|| name::taken(self.snapshot, schema));
            let name = name::choose(&known.definition, taken);
            taken.insert(name.clone());
            named.push((*candidate, IndexDefinition { name, ..known.definition.clone() }));
        }
        named
    }

    fn proposed(
        &self,
        search: &mut Search<'_>,
        candidate: usize,
        definition: IndexDefinition,
    ) -> Option<ProposedIndex> {
        let total = search.cost_before().max(f64::MIN_POSITIVE);
        let (read, write) = search.gain(candidate);
        let mut gains: Vec<Gain> = Vec::new();
        let touched: Vec<usize> = search
            .candidates
            .get(candidate)?
            .touches
            .iter()
            .map(|(statement, _)| *statement)
            .collect();
        for position in touched {
            let Some(asked) = self.asked.get(position) else { continue };
            let (with, used) = search.plan(position, None, None);
            let (other, _) = search.plan(position, None, Some(candidate));
            if used.contains(&candidate) && with < other * (1.0 - GAINS) {
                let saved = asked.statement.weight * (other - with);
                gains.push(Gain { saved, position, after: with, alone: used.len() == 1 });
            }
        }
        gains.sort_by(|a, b| b.saved.total_cmp(&a.saved).then(a.position.cmp(&b.position)));
        let size = search.candidates.get(candidate)?.size;
        let engine = search.engine_name();
        let gaining_statements = || gains.iter().filter_map(|gain| self.asked.get(gain.position));
        let by_rule = engine == "rule"
            || gaining_statements().any(|asked| !search.is_planned(asked.statement));
        let source = if by_rule {
            defaults::rule(self.snapshot, gaining_statements())
        } else if self.unplanned.borrow().contains(&definition.method) {
            let rule = defaults::rule(self.snapshot, gaining_statements());
            format!("{rule}: {engine} can't plan with {}", definition.method)
        } else {
            "planner".to_owned()
        };
        let mut reasons: Vec<String> =
            gains.iter().take(NAMED).filter_map(|gain| self.reason(gain, &definition)).collect();
        if gains.len() > NAMED {
            reasons.push(format!("and {} more", gains.len() - NAMED));
        }
        let statements = gains
            .iter()
            .filter_map(|gain| Some(self.asked.get(gain.position)?.statement.id.clone()))
            .collect();
        let warnings: Vec<String> = gains
            .iter()
            .filter_map(|gain| self.warning(self.asked.get(gain.position)?, &definition))
            .collect();
        let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
        let writers = self.writers_pay(&definition, write / total);
        let reason = format!("{} (estimates of the {source}){writers}", reasons.join("; "));
        Some(ProposedIndex {
            ddl: index_ddl(&definition, true),
            definition,
            size,
            benefit: read / total,
            write_cost: write / total,
            statements,
            by_rule,
            reason,
            warning,
        })
    }

    /// What writers pay, and by what it is estimated; nothing where nobody writes.
    fn writers_pay(&self, index: &IndexDefinition, cost: f64) -> String {
        if cost <= 0.0 {
            return String::new();
        }
        let mut text = format!("; writers pay {} for it (an estimate by rule", share(cost));
        if let Some(relation) =
            self.snapshot.relation(&index.relation).filter(|_| index.method == "gin")
        {
            text.push_str(&format!(
                ": each row puts about {:.0} keys into it, through the pending list (fastupdate) that is merged when it reaches gin_pending_list_limit; until then every search reads the list as well",
                keys_a_row(relation, index)
            ));
        }
        text.push(')');
        text
    }

    fn reason(&self, gain: &Gain, index: &IndexDefinition) -> Option<String> {
        let asked = self.asked.get(gain.position)?;
        let before = asked.before.as_ref()?;
        let relation = self.snapshot.relation(&index.relation)?;
        let scanned = before.shape.contains(&format!("Seq Scan {}", relation.name.name));
        let today = if scanned || before.indexes.is_empty() {
            format!(
                "reads all {} rows of {}",
                whole(selectivity::rows(relation)),
                relation.name.name
            )
        } else {
            format!("reads {} through {}", relation.name.name, before.indexes.join(", "))
        };
        Some(format!(
            "{}: {today} → {}, cost {} → {}{}",
            asked.statement.id,
            index.name,
            cost(before.total_cost),
            cost(gain.after),
            if gain.alone { "" } else { " with all proposed indexes" }
        ))
    }

    /// ORDER BY … LIMIT through an index that does not serve the filter.
    fn warning(&self, asked: &Asked<'_>, index: &IndexDefinition) -> Option<String> {
        let shape = &asked.shape;
        let first = shape.order.first()?;
        let mention = first.relation;
        let is_order_key = index.keys.iter().any(|key| is_on(key, &first.subject));
        if !shape.limit || !is_order_key || shape.relations.get(mention)?.name != index.relation {
            return None;
        }
        let relation = self.snapshot.relation(&index.relation)?;
        let unserved: Vec<&str> = shape
            .predicates
            .iter()
            .filter(|predicate| predicate.relation == mention)
            .filter(|predicate| !index.keys.iter().any(|key| is_on(key, &predicate.subject)))
            .filter(|predicate| {
                match (&index.predicate, super::wanted::constant_condition(predicate, relation)) {
                    (Some(held), Some(condition)) => {
                        !held.split(" AND ").any(|known| known == condition)
                    }
                    _ => true,
                }
            })
            .filter(|predicate| {
                let share = selectivity::of(relation, asked.statement, predicate);
                !(share.known && share.share >= COMMON)
            })
            .map(|predicate| match &predicate.subject {
                Subject::Column(name) => name.as_str(),
                Subject::Expression(text) => text.as_str(),
            })
            .collect();
        (!unserved.is_empty()).then(|| {
            format!(
                "{}: a bet on where the matches lie: the index gives the order for LIMIT, but can't serve the filter on {}; where few rows match, or none of the first ones, it reads most of the relation row by row",
                asked.statement.id,
                unserved.join(", ")
            )
        })
    }

    /// A budget below what any index takes that would save enough.
    fn too_small(&self, search: &Search<'_>) -> Option<NotProposed> {
        let budget = self.budget.filter(|_| search.chosen.is_empty())?;
        let what = || "any index".to_owned();
        let least = search.worth * search.cost_before();
        let worthy = search.moves.iter().filter(|known| known.alone >= least && known.alone > 0.0);
        let Some(smallest) = worthy.min_by_key(|known| known.size) else {
            return (budget.0 == 0).then(|| NotProposed {
                what: what(),
                why: "the budget is 0, which no index fits into; without it none would save enough either".into(),
            });
        };
        let ddl: Vec<String> = smallest
            .added
            .iter()
            .filter_map(|one| Some(index_ddl(&search.candidates.get(*one)?.definition, true)))
            .collect();
        let takes = format!("{} ({})", Bytes(smallest.size), ddl.join("; "));
        (smallest.size > limit(self.budget)).then(|| NotProposed {
            what: what(),
            why: match budget.0 {
                0 => format!("the budget is 0, which no index fits into; the smallest that would save enough takes {takes}"),
                _ => format!("the budget of {budget} is less than the smallest takes that would save enough: {takes}"),
            },
        })
    }

    /// Why the budget alone keeps a statement from getting an index; None: it does not.
    fn none_fits(&self, search: &Search<'_>, position: usize) -> Option<String> {
        let budget = self.budget?;
        let sizes = search.offered.get(position)?.iter().filter(|one| search.pool.contains(one));
        let smallest = sizes.filter_map(|one| Some(search.candidates.get(*one)?.size)).min()?;
        (smallest.0 > limit(self.budget)).then(|| {
            format!("the smallest index that would make it cheaper takes {smallest}, and the budget is {budget}")
        })
    }

    /// Indexes that readers would gain from and that are not proposed all the same.
    fn given_up(&self, search: &mut Search<'_>) -> Vec<NotProposed> {
        let chosen = search.trial(&search.chosen.clone());
        let total = chosen.objective().max(f64::MIN_POSITIVE);
        let least = search.worth * total;
        // One for each relation and leading key is enough to say: the one expected to be worth most to readers.
        let mut best: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for candidate in search.pool.clone() {
            if chosen.set.contains(&candidate) {
                continue;
            }
            let weighed = search.weigh(&chosen, &[], &[candidate]);
            if chosen.weighed.read - weighed.read < least {
                continue;
            }
            let net = total - weighed.objective();
            let Some(known) = search.candidates.get(candidate) else { continue };
            let key = known.definition.keys.first();
            let leading = key.and_then(|key| key.column.as_deref().or(key.expression.as_deref()));
            let group = format!("{} {}", known.definition.relation, leading.unwrap_or_default());
            if best.get(&group).is_none_or(|known| net > known.0) {
                best.insert(group, (net, candidate));
            }
        }
        let mut rejected = Vec::new();
        let mut taken = BTreeMap::new();
        for (_, candidate) in best.into_values() {
            let (read, write) = search.gain(candidate);
            if read < least {
                continue;
            }
            let fits = search.fits(candidate);
            let stopped = search.stopped();
            let Some(known) = search.candidates.get(candidate) else { continue };
            let schema = &known.definition.relation.schema;
            let taken =
                taken.entry(schema.clone()).or_insert_with(|| name::taken(self.snapshot, schema));
            let definition = IndexDefinition {
                name: name::choose(&known.definition, taken),
                ..known.definition.clone()
            };
            let saves =
                format!("it would save readers {} of the workload's cost", share(read / total));
            let why = if read - write < least {
                format!(
                    "{saves}, but cost writers {}{}",
                    share(write / total),
                    self.who_pays(search, &definition)
                )
            } else if let (false, Some(budget)) = (fits, self.budget) {
                format!(
                    "{saves}, but its {} do not fit into the budget of {budget}{}",
                    known.size,
                    if search.chosen.is_empty() { "" } else { " beside the others" }
                )
            } else if stopped {
                format!("{saves}, but the search was stopped before it was weighed")
            } else {
                continue;
            };
            rejected.push(NotProposed { what: index_ddl(&definition, true), why });
        }
        for (candidate, reason) in &search.refused {
            if let Some(known) = search.candidates.get(*candidate) {
                rejected.push(NotProposed {
                    what: index_ddl(&known.definition, true),
                    why: format!("the what-if engine could not answer for it: {reason}"),
                });
            }
        }
        rejected
    }

    /// Which statements write entries of an index, and why more than before.
    fn who_pays(&self, search: &Search<'_>, index: &IndexDefinition) -> String {
        let Some(relation) = self.snapshot.relation(&index.relation) else { return String::new() };
        let losers: Vec<&str> = search
            .writers(&relation.name)
            .iter()
            .filter(|asked| loses_hot(self.snapshot, relation, asked, index))
            .map(|asked| asked.statement.id.as_str())
            .collect();
        if losers.is_empty() {
            return String::new();
        }
        let activity = &relation.activity;
        let observed = if activity.updated > 0 {
            format!(
                "{} of {} updates counted were HOT",
                share(activity.hot_updated as f64 / activity.updated as f64),
                whole(activity.updated as f64)
            )
        } else {
            format!("no update was counted yet, {} are assumed HOT", share(hot_share(relation)))
        };
        format!(
            ": {} sets a column of it, so those updates could not be HOT any more and every index of {} would get an entry for each ({observed})",
            losers.join(", "),
            relation.name
        )
    }

    /// Why a statement gets no index.
    fn statements(&self, search: &mut Search<'_>) -> Vec<NotProposed> {
        let total = search.trial(&search.chosen.clone()).objective().max(f64::MIN_POSITIVE);
        let mut rejected = Vec::new();
        for (position, asked) in self.asked.iter().enumerate() {
            let Some(before) = &asked.before else { continue };
            let (after, _) = search.plan(position, None, None);
            if after < before.total_cost * (1.0 - GAINS) {
                continue;
            }
            let notes = self.notes.get(position).map(Vec::as_slice).unwrap_or_default();
            let offered = search.offered.get(position).map_or(0, Set::len);
            let why = if offered == 0 {
                notes.join("; ")
            } else {
                let (best, used) = search.cheapest(position);
                let saved = asked.statement.weight * (before.total_cost - best);
                if !used || best >= before.total_cost * (1.0 - GAINS) {
                    let mut why = format!(
                        "none of {} possible indexes would make it cheaper than {}{}",
                        offered,
                        cost(before.total_cost),
                        self.reads(asked)
                    );
                    if !notes.is_empty() {
                        why.push_str(&format!("; {}", notes.join("; ")));
                    }
                    why
                } else if saved < search.worth * total {
                    format!(
                        "an index would make it {} → {}, which is {} of the workload's cost; less than {} is not worth an index",
                        cost(before.total_cost),
                        cost(best),
                        share(saved / total),
                        share(search.worth)
                    )
                } else if let Some(why) = self.none_fits(search, position) {
                    format!(
                        "an index would make it {} → {}, but {why}",
                        cost(before.total_cost),
                        cost(best)
                    )
                } else {
                    format!(
                        "an index would make it {} → {}, but is not worth what it costs writers or the budget: see the indexes not proposed",
                        cost(before.total_cost),
                        cost(best)
                    )
                }
            };
            rejected.push(note(asked.statement, why));
        }
        rejected
    }

    /// How much of its relations a statement reads, by statistics.
    fn reads(&self, asked: &Asked<'_>) -> String {
        let shares: Vec<String> = asked
            .shape
            .relations
            .iter()
            .enumerate()
            .filter_map(|(mention, used)| {
                let relation = asked.relation(self.snapshot, mention)?;
                let kept =
                    selectivity::of_mention(relation, asked.statement, &asked.shape, mention);
                let by = defaults::lack(relation).map_or("", |_| " by defaults");
                Some(format!("{} of {}{by}", share(kept), used.name.name))
            })
            .collect();
        if shares.is_empty() {
            String::new()
        } else {
            format!(": it wants about {} (estimated from statistics)", shares.join(", "))
        }
    }
}

/// A share in per cent, with as many digits as tell it from nothing.
pub(super) fn share(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 {
        format!("{percent:.0} %")
    } else if percent >= 0.1 || percent == 0.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.3} %")
    }
}

/// A cost in planner units.
pub(super) fn cost(cost: f64) -> String {
    if cost >= 100.0 { whole(cost) } else { format!("{cost:.1}") }
}

/// A whole number in groups of three.
fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(whole(1_234_567.4), "1,234,567");
        assert_eq!(whole(12.0), "12");
        assert_eq!(cost(8.44), "8.4");
        assert_eq!(share(0.049), "4.9 %");
        assert_eq!(share(0.00001), "0.001 %");
    }
}
