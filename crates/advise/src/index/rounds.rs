//! Offers statements their candidates, and merges what their plans used: what comes of it is the pool.

use super::merge;
use super::search::{Search, Set};
use std::collections::{BTreeMap, BTreeSet};

/// Rounds in which a statement's candidates are offered; each leaves out what earlier rounds picked.
const ROUNDS: usize = 3;
/// Merged candidates of one relation.
const MERGED: usize = 40;

/// Keys of candidates that are offered one by one, and the part of the questions for that.
const NARROW: usize = 2;
const ALONE: f64 = 0.4;

/// What is still to be offered to a statement.
struct Offers {
    statement: usize,
    /// All candidates, then those without INCLUDE, then those with a single key, then those of
    /// other methods than B-tree; the last is next.
    classes: Vec<Set>,
    open: Set,
    rounds: usize,
    seen: BTreeSet<Set>,
    /// Whether the same question is asked once more, without what the engine refused.
    again: bool,
}

impl Offers {
    /// Makes `open` the next candidates to offer; false: there are none.
    fn advance(&mut self, refused: &BTreeMap<usize, String>) -> bool {
        if std::mem::take(&mut self.again) {
            return true;
        }
        loop {
            if self.rounds < ROUNDS {
                self.open.retain(|candidate| !refused.contains_key(candidate));
                if !self.open.is_empty() && self.seen.insert(self.open.clone()) {
                    self.rounds += 1;
                    return true;
                }
            }
            let Some(class) = self.classes.pop() else { return false };
            (self.open, self.rounds) = (class, 0);
        }
    }

    /// Nothing more of this class is worth offering.
    fn next_class(&mut self) {
        self.rounds = ROUNDS;
    }
}

impl Search<'_> {
    /// Offers every statement its candidates, those of the heaviest statements first; of many statements at a time one
    /// question each, so that an engine can answer them at the same time.
    pub(super) fn rounds(&mut self) {
        let weight = |statement: &usize| {
            self.asked.get(*statement).map_or(0.0, |asked| asked.weighted_before())
        };
        let mut order: Vec<usize> = (0..self.asked.len())
            .filter(|statement| {
                self.asked.get(*statement).is_some_and(|asked| asked.before.is_some())
            })
            .collect();
        order.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
        let mut order = order.into_iter();
        let mut active: Vec<Offers> = Vec::new();
        while !self.stop.requested() {
            active.retain_mut(|offers| offers.advance(&self.refused));
            while active.len() < self.stop.at_once() {
                let Some(statement) = order.next() else { break };
                let mut offers = self.offers(statement);
                if offers.advance(&self.refused) {
                    active.push(offers);
                }
            }
            if active.is_empty() {
                break;
            }
            let questions: Vec<(usize, Vec<usize>)> = active
                .iter()
                .map(|offers| (offers.statement, offers.open.iter().copied().collect()))
                .collect();
            let answers = self.ask_all(&questions);
            for (offers, answer) in active.iter_mut().zip(answers) {
                match answer {
                    Ok((cost, used)) => self.take(offers, cost, used.into_iter().collect()),
                    Err(reason) => self.refuse(offers, &reason),
                }
            }
        }
    }

    fn offers(&self, statement: usize) -> Offers {
        let offered = self.offered.get(statement).cloned().unwrap_or_default();
        let narrow = |keys: usize| -> Set {
            let fits = |candidate: &usize| {
                self.candidates.get(*candidate).is_some_and(|known| {
                    known.definition.include.is_empty() && known.definition.keys.len() <= keys
                })
            };
            offered.iter().copied().filter(fits).collect()
        };
        // Small ones of other methods, which nothing but a budget makes the planner's choice beside a B-tree.
        let is_other = |candidate: &usize| {
            let known = self.candidates.get(*candidate);
            known.is_some_and(|known| known.definition.method != "btree")
        };
        let other: Set = offered.iter().copied().filter(is_other).collect();
        Offers {
            statement,
            classes: vec![other, narrow(1), narrow(usize::MAX), offered.clone()],
            open: Set::new(),
            rounds: ROUNDS,
            seen: BTreeSet::new(),
            again: false,
        }
    }

    /// A plan, and the candidates it uses.
    fn take(&mut self, offers: &mut Offers, cost: f64, used: Set) {
        if let Some(first) = self.first.get_mut(offers.statement) {
            first.push((offers.open.clone(), used.clone(), cost));
        }
        if used.is_empty() {
            offers.next_class();
            return;
        }
        offers.open.retain(|candidate| !used.contains(candidate));
        self.pool.extend(used.iter().copied());
        self.together.insert(used);
    }

    /// One bad candidate spoils the question: found by asking for each alone, and left out.
    fn refuse(&mut self, offers: &mut Offers, reason: &str) {
        let ids: Vec<usize> = offers.open.iter().copied().collect();
        let bad: Vec<(usize, String)> = match ids.as_slice() {
            [only] => vec![(*only, reason.to_owned())],
            _ => ids
                .iter()
                .filter_map(|one| Some((*one, self.ask(offers.statement, &[*one]).err()?)))
                .collect(),
        };
        offers.open.retain(|candidate| !bad.iter().any(|(refused, _)| refused == candidate));
        if bad.is_empty() || offers.open.is_empty() {
            offers.next_class();
        } else {
            offers.again = true;
        }
        self.refused.extend(bad);
    }

    /// Offers statements their narrow candidates one by one, the heaviest statements first: what the planner would do with
    /// an index that is not its favourite counts where space is scarce and an index is to serve many statements.
    pub(super) fn one_by_one(&mut self) {
        let share = (self.questions as f64 * ALONE) as u64;
        let kept = self.questions - share;
        self.questions = share;
        let least = self.worth * self.cost_before();
        let mut open: Vec<(f64, usize, usize)> = Vec::new();
        for (statement, asked) in self.asked.iter().enumerate() {
            let before = asked.before.as_ref().map_or(0.0, |plan| plan.total_cost);
            for one in self.offered.get(statement).into_iter().flatten() {
                let narrow = self.candidates.get(*one).is_some_and(|known| {
                    known.definition.include.is_empty() && known.definition.keys.len() <= NARROW
                });
                if !narrow || self.refused.contains_key(one) {
                    continue;
                }
                // Alone it saves no more than with others, and what plans that did not use the others cost.
                let rounds = self.first.get(statement).into_iter().flatten();
                let with = rounds.filter(|(offered, ..)| offered.contains(one));
                let (mut most, mut known) = (before, false);
                for (_, used, cost) in with {
                    most = most.min(before - cost);
                    known |= used.iter().all(|other| other == one);
                }
                let saving = asked.statement.weight * most;
                if !known && saving >= least {
                    open.push((saving, statement, *one));
                }
            }
        }
        open.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut open = open.into_iter();
        while self.questions > 0 && !self.stop.requested() {
            let most = self.stop.at_once().min(self.questions as usize);
            let some: Vec<(usize, Vec<usize>)> = open
                .by_ref()
                .take(most)
                .map(|(_, statement, one)| (statement, vec![one]))
                .collect();
            if some.is_empty() {
                break;
            }
            self.questions -= some.len() as u64;
            let answers = self.ask_all(&some);
            for ((statement, ids), answer) in some.into_iter().zip(answers) {
                let Ok((cost, used)) = answer else { continue };
                let (ids, used): (Set, Set) =
                    (ids.into_iter().collect(), used.into_iter().collect());
                self.pool.extend(used.iter().copied());
                if let Some(first) = self.first.get_mut(statement) {
                    first.push((ids, used, cost));
                }
            }
        }
        self.questions += kept;
    }

    /// Offers statements the candidates that others' plans used, a few rounds; after [`Search::connect`].
    pub(super) fn others(&mut self) {
        let least = self.worth * self.cost_before();
        let mut open: Vec<(usize, u128)> = Vec::new();
        for (statement, (asked, knowledge)) in self.asked.iter().zip(&self.knowledge).enumerate() {
            let before = asked.before.as_ref().map_or(0.0, |plan| plan.total_cost);
            let own = self.offered.get(statement);
            let others =
                knowledge.local.iter().filter(|one| own.is_none_or(|own| !own.contains(one)));
            let bits = knowledge.set(others);
            if bits != 0 && asked.statement.weight * before >= least {
                open.push((statement, bits));
            }
        }
        for _ in 0..ROUNDS {
            for some in open.chunks(self.stop.at_once()) {
                self.ask_about_all(some);
            }
            open.retain_mut(|(statement, bits)| {
                let used =
                    self.knowledge.get(*statement).map_or(0, |known| known.possible(*bits).1);
                *bits &= !used;
                used != 0 && *bits != 0
            });
        }
    }

    /// Candidates that can serve either of two statements' needs in one index.
    pub(super) fn merge(&mut self) {
        let mut by_relation: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for candidate in &self.pool {
            if let Some(known) = self.candidates.get(*candidate) {
                by_relation.entry(known.relation).or_default().push(*candidate);
            }
        }
        for group in by_relation.into_values() {
            let mut made = 0;
            for (place, a) in group.iter().enumerate() {
                for b in group.iter().skip(place + 1) {
                    let both = self.candidates.get(*a).zip(self.candidates.get(*b));
                    let merged =
                        both.and_then(|(a, b)| merge::merged(&a.definition, &b.definition));
                    if let Some(definition) = merged.filter(|_| made < MERGED) {
                        // Plain indexes hold all rows, whatever the statement.
                        let statement = usize::MAX;
                        let position = self.position(statement, definition);
                        made += usize::from(self.pool.insert(position));
                    }
                }
            }
        }
    }
}
