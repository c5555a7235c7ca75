//! Ways out of a set that no single change makes better: looking beside it, doing without each of its indexes, forcing
//! others in, and tearing parts out at random (ruin and recreate, Schrimpf et al., 2000).

use super::climb::STARTS;
use super::search::{Search, Set};
use super::trial::Trial;
use std::collections::BTreeSet;

/// Tries for each budget: fewer where there are more moves or statements than so many, which make a try dearer.
const TRIES: usize = 20;
const MANY_MOVES: usize = 1_000;
const MANY_STATEMENTS: usize = 30;
/// Rounds in which candidates are offered beside the best set.
const PROBES: usize = 3;
/// So many times the tries, a move is forced in, and parts are torn out.
const FORCED: usize = 4;
const TEARS: usize = 4;
/// How much worse a set may be expected to be, as a share of the objective, to be worth improving.
const NEAR: f64 = 0.02;
/// Indexes torn out at once, at most.
const TORN: u64 = 4;

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): deterministic for a seed, and no more is needed.
pub(super) struct Random(pub u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// 0–1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Search<'_> {
    /// Offers to the statements, beside the best set, all other candidates that there is space for or that take no more
    /// than such a part of the budget, at once and in a few rounds as at the beginning: what is worth something only
    /// beside these indexes shows now, of large ones and then of small ones, which no plan would use beside the large.
    pub(super) fn probe(&mut self, limit: u64, part: u64) {
        let Some(best) = self.best(limit) else { return };
        let space = (limit - best.size).max(limit / part);
        let trial = self.trial(&best.set);
        let mut found: BTreeSet<Set> = BTreeSet::new();
        for statement in 0..trial.masks.len() {
            let weight = self.asked.get(statement).map_or(0.0, |asked| asked.statement.weight);
            let cost = trial.costs.get(statement).copied().unwrap_or(0.0);
            if weight * cost < self.worth * trial.objective() {
                continue;
            }
            let base = trial.masks.get(statement).copied().unwrap_or(0);
            let small: Vec<usize> = self
                .knowledge
                .get(statement)
                .into_iter()
                .flat_map(|known| &known.local)
                .copied()
                .filter(|one| self.candidates.get(*one).is_some_and(|one| one.size.0 <= space))
                .collect();
            let mut open =
                self.knowledge.get(statement).map_or(0, |known| known.set(&small)) & !base;
            for _ in 0..PROBES {
                if open == 0 || !self.ask_about(statement, base | open) {
                    break;
                }
                let Some(knowledge) = self.knowledge.get(statement) else { break };
                let new = knowledge.possible(base | open).1 & !base;
                if new == 0 {
                    break;
                }
                found.insert(knowledge.candidates(new).into_iter().collect());
                open &= !new;
            }
        }
        self.add_moves(found);
    }

    /// Tries for each budget.
    fn tries(&self) -> usize {
        let tries = TRIES * MANY_MOVES / self.moves.len().max(MANY_MOVES);
        (tries * MANY_STATEMENTS / self.asked.len().max(MANY_STATEMENTS)).max(1)
    }

    /// Does without each index of the best set in turn, and builds anew in the space that leaves.
    pub(super) fn rebuild_each(&mut self, limit: u64) {
        let Some(best) = self.best(limit) else { return };
        for out in best.set.iter().take(2 * self.tries()) {
            let mut without = self.trial(&best.set);
            without.settled.extend(0..self.meets.len());
            self.change(&mut without, &[*out], &[]);
            // What an index is really worth here is often less than expected: others take over.
            self.confirm_all(&mut without);
            for gravity in STARTS {
                if self.stop.requested() || self.questions == 0 {
                    return;
                }
                let mut trial = without.clone();
                self.build(&mut trial, limit, gravity, None, &[*out]);
                self.settle_if_near(trial, limit);
            }
        }
    }

    /// Puts each of the moves that would save most beside the best set into it, takes out what is worth least for its
    /// size until all fits, and goes on from there: how a large index comes in for several small ones.
    pub(super) fn force_each(&mut self, limit: u64) {
        let Some(best) = self.best(limit).filter(|_| limit != u64::MAX) else { return };
        let tries = FORCED * self.tries();
        let mut base = self.trial(&best.set);
        base.settled.extend(0..self.meets.len());
        self.weigh_moves(&mut base);
        let Some(gains) = &base.gains else { return };
        let mut open: Vec<(f64, &Vec<usize>)> = self
            .moves
            .iter()
            .enumerate()
            .filter(|(_, known)| known.size <= limit)
            .map(|(place, known)| (gains.net(place), &known.added))
            .filter(|(net, _)| *net > 0.0)
            .collect();
        open.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let forced: Vec<Vec<usize>> =
            open.into_iter().take(tries).map(|(_, added)| added.clone()).collect();
        for added in forced {
            if self.stop.requested() || self.questions == 0 {
                return;
            }
            let mut trial = base.clone();
            let new: Vec<usize> =
                added.iter().copied().filter(|one| !best.set.contains(one)).collect();
            self.change(&mut trial, &[], &new);
            while trial.weighed.size > limit {
                let scores = self.scores(&trial);
                let least = scores.iter().find(|(_, one)| !added.contains(one));
                let Some((_, out)) = least else { break };
                self.change(&mut trial, &[*out], &[]);
            }
            if trial.weighed.size <= limit {
                self.build(&mut trial, limit, 0.5, None, &[]);
                self.settle_if_near(trial, limit);
            }
        }
    }

    /// Improves and confirms a set that is not expected to be much worse than the best one; whether it is better.
    fn settle_if_near(&mut self, trial: Trial, limit: u64) -> bool {
        let best = self.best(limit);
        let least = best.map_or(0.0, |best| self.penalised(best.objective(), best.set.len()));
        let is_near = self.penalised(trial.objective(), trial.set.len()) <= least + NEAR;
        is_near && self.settle(trial, limit)
    }

    /// What each index of a set is worth for its size, the least first.
    pub(super) fn scores(&mut self, trial: &Trial) -> Vec<(f64, usize)> {
        let mut scores: Vec<(f64, usize)> = Vec::new();
        for out in trial.set.clone() {
            let weighed = self.weigh(trial, &[out], &[]);
            let freed = trial.weighed.size.saturating_sub(weighed.size).max(1);
            scores.push(((weighed.objective() - trial.objective()) / freed as f64, out));
        }
        scores.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        scores
    }

    /// Tears parts out of the best set and builds them again; whether that found a better one.
    pub(super) fn rebuild(&mut self, limit: u64, random: &mut Random) -> bool {
        let mut found = false;
        for _ in 0..TEARS * self.tries() {
            if self.stop.requested() || self.questions == 0 {
                break;
            }
            let Some(best) = self.best(limit) else { break };
            if best.set.is_empty() {
                break;
            }
            let mut trial = self.trial(&best.set);
            trial.settled.extend(0..self.meets.len());
            let torn = self.torn(&best.set, random);
            self.change(&mut trial, &torn, &[]);
            let gravity = random.share();
            let forbidden: &[usize] = if random.below(2) == 0 { &torn } else { &[] };
            self.build(&mut trial, limit, gravity, Some(random.next()), forbidden);
            found |= self.settle_if_near(trial, limit);
        }
        found
    }

    /// A few indexes at random, or all of a relation.
    fn torn(&self, set: &Set, random: &mut Random) -> Vec<usize> {
        let mut rest: Vec<usize> = set.iter().copied().collect();
        if random.below(3) == 0 {
            let one = rest.get(random.below(rest.len() as u64) as usize);
            let relation = one.and_then(|one| self.candidates.get(*one)).map(|one| one.relation);
            rest.retain(|other| {
                self.candidates.get(*other).map(|other| other.relation) == relation
            });
            return rest;
        }
        let count = 1 + random.below(TORN.min(rest.len() as u64)) as usize;
        let mut torn = Vec::new();
        while torn.len() < count && !rest.is_empty() {
            torn.push(rest.swap_remove(random.below(rest.len() as u64) as usize));
        }
        torn
    }
}
