//! Moves between sets: greedy from several starts, single changes while they help, and parts torn out and built
//! again. All is steered by expectations; a set counts once the engine has confirmed its cost.

use super::frontier::Point;
use super::gains::Gains;
use super::rebuild::Random;
use super::search::{Search, Set};
use super::trial::Trial;
use pgassay_model::units::Bytes;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// How much the size counts in what is taken first: worth ÷ size to that power.
pub(super) const STARTS: [f64; 3] = [1.0, 0.5, 0.0];
/// Times that a set is confirmed and climbed from again.
const CONFIRMATIONS: usize = 8;
/// Rounds over the budgets in which is looked beside the best sets, at what takes no more than such a part of the budget.
const PROBED: [u64; 2] = [10, 40];
/// Rounds in which parts are torn out and built again.
const REBUILDING_ROUNDS: usize = 3;
/// Times that a set of many statements without answers is looked at while it is confirmed, whether it can still be
/// better than the best one.
const CHECKS: usize = 64;
/// Indexes taken out one by one when the curve is drawn, at most; of larger sets several at once.
const STEPS: usize = 60;
/// Shares of the questions for building sets from nothing, for each round of looking beside the best ones and doing
/// without each of their indexes, and for each round of tearing out and building again, shared among the budgets.
const STARTING: f64 = 0.3;
const PROBING: f64 = 0.25;
const REBUILDING: f64 = 0.1;
/// What a budget leaves for estimated sizes: those of a set are right within a per cent or so
/// (docs/index-quality.md), and a budget is of real bytes.
pub(super) fn limit(budget: Option<Bytes>) -> u64 {
    budget.map_or(u64::MAX, |budget| budget.0 - budget.0 / 200)
}

impl Search<'_> {
    /// Fills the archive for all budgets.
    pub(super) fn climb(&mut self, budgets: &[Option<Bytes>]) {
        let mut limits: Vec<u64> = budgets.iter().map(|budget| limit(*budget)).collect();
        limits.sort_unstable();
        limits.dedup();
        let empty = self.trial(&Set::new());
        self.record(&empty);
        // Every budget has its part of the questions; what one leaves over, the next ones may ask.
        let all = self.questions;
        let part = |share: f64| (all as f64 * share / limits.len().max(1) as f64) as u64;
        let mut left = all;
        let mut spend = |search: &mut Self, most: u64, work: &mut dyn FnMut(&mut Self)| {
            search.questions = most.min(left);
            let given = search.questions;
            work(search);
            left -= given - search.questions;
        };
        for limit in limits.iter().rev() {
            spend(self, part(STARTING), &mut |search| {
                search.start(&empty, *limit);
                search.shrink(*limit);
            });
        }
        for space in PROBED {
            for limit in &limits {
                if self.stop.requested() {
                    break;
                }
                spend(self, part(PROBING), &mut |search| {
                    search.climb_on(*limit);
                    search.probe(*limit, space);
                    search.climb_on(*limit);
                    search.force_each(*limit);
                    search.rebuild_each(*limit);
                });
            }
        }
        let mut random = Random(self.seed);
        for _ in 0..REBUILDING_ROUNDS {
            if self.stop.requested() {
                break;
            }
            let mut found = false;
            for limit in limits.iter().rev() {
                spend(self, part(REBUILDING), &mut |search| {
                    found |= search.rebuild(*limit, &mut random);
                });
            }
            for limit in &limits {
                spend(self, part(REBUILDING), &mut |search| search.climb_on(*limit));
            }
            if !found {
                break;
            }
        }
        // What is written about the sets may take a few more.
        self.questions = left.max(self.asked.len() as u64);
    }

    /// Builds sets from nothing; what is expected of them most is confirmed first.
    fn start(&mut self, empty: &Trial, limit: u64) {
        let mut built: Vec<(f64, Trial)> = Vec::new();
        for gravity in STARTS {
            // When it is time to stop, one choice among the plans known is made all the same.
            if self.stop.requested() && !(built.is_empty() && self.nothing_chosen(limit)) {
                break;
            }
            let mut trial = empty.clone();
            self.build(&mut trial, limit, gravity, None, &[]);
            self.improve(&mut trial, limit);
            built.push((self.penalised(trial.objective(), trial.set.len()), trial));
        }
        built.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, trial) in built {
            if (self.stop.requested() || self.questions == 0) && !self.nothing_chosen(limit) {
                return;
            }
            self.settle(trial, limit);
        }
    }

    fn nothing_chosen(&self, limit: u64) -> bool {
        self.best(limit).is_none_or(|best| best.set.is_empty())
    }

    /// Climbs from the best set known for a budget, which another budget may have found.
    fn climb_on(&mut self, limit: u64) {
        if let Some(point) = self.best(limit) {
            let trial = self.trial(&point.set);
            self.settle(trial, limit);
        }
    }

    /// Takes one index after the other out of the best set, the least worth for its size first: the sets that
    /// smaller budgets begin from, and the curve.
    fn shrink(&mut self, limit: u64) {
        let Some(point) = self.best(limit) else { return };
        let mut trial = self.trial(&point.set);
        let at_once = trial.set.len().div_ceil(STEPS).max(1);
        while trial.set.len() > 1 && !self.stop.requested() {
            let scores = self.scores(&trial);
            let least: Vec<usize> = scores.iter().take(at_once).map(|(_, out)| *out).collect();
            self.change(&mut trial, &least, &[]);
            self.confirm_all(&mut trial);
        }
    }

    /// Adds what is worth most for its size, until nothing more is worth adding. Lazily: only what has to do with the
    /// last addition is weighed anew (after Minoux's accelerated greedy algorithm, 1978). `shake`: scores are changed at
    /// random by up to a third.
    pub(super) fn build(
        &mut self,
        trial: &mut Trial,
        limit: u64,
        gravity: f64,
        shake: Option<u64>,
        forbidden: &[usize],
    ) {
        let mut random = shake.map(Random);
        let mut factor = || random.as_mut().map_or(1.0, |random| 0.67 + 0.66 * random.share());
        let factors: Vec<f64> = self.moves.iter().map(|_| factor()).collect();
        // One set is built whatever the time.
        let is_first = self.nothing_chosen(limit);
        self.weigh_moves(trial);
        let mut scores = vec![0; self.moves.len()];
        let mut heap: BinaryHeap<(u64, Reverse<usize>)> = BinaryHeap::new();
        let mut changed: Vec<usize> = (0..self.moves.len()).collect();
        if let Some(gains) = &mut trial.gains {
            gains.take_changed();
        }
        while is_first || !self.stop.requested() {
            for place in changed {
                let (Some(known), Some(gains)) = (self.moves.get(place), &trial.gains) else {
                    continue;
                };
                let size = self.size_beside(trial, known).max(1) as f64;
                let factor = factors.get(place).copied().unwrap_or(1.0);
                // The bits of positive numbers are in the numbers' order.
                let score = (factor * gains.net(place) / size.powf(gravity)).max(0.0).to_bits();
                if let Some(last) = scores.get_mut(place) {
                    if score > 0 && *last != score {
                        heap.push((score, Reverse(place)));
                    }
                    *last = score;
                }
            }
            let Some((score, Reverse(place))) = heap.pop() else { break };
            changed = Vec::new();
            if scores.get(place) != Some(&score) {
                continue;
            }
            let Some(known) = self.moves.get(place) else { continue };
            let added: Vec<usize> =
                known.added.iter().copied().filter(|one| !trial.set.contains(one)).collect();
            if added.is_empty()
                || known.added.iter().any(|one| forbidden.contains(one))
                || trial.weighed.size + self.size_of(&added) > limit
            {
                continue;
            }
            let net = trial.gains.as_ref().map_or(0.0, |gains| gains.net(place));
            let then = self.penalised(trial.objective() - net, trial.set.len() + added.len());
            if then >= self.penalised(trial.objective(), trial.set.len()) - 1e-9 {
                continue;
            }
            self.change(trial, &[], &added);
            changed = trial.gains.as_mut().map(Gains::take_changed).unwrap_or_default();
        }
    }

    /// Improves a set step by step and has it confirmed, until it is what it is expected to be; whether it is better
    /// than the best known for the budget.
    pub(super) fn settle(&mut self, mut trial: Trial, limit: u64) -> bool {
        let mut found = false;
        for _ in 0..CONFIRMATIONS {
            let best = self.best(limit);
            let known =
                best.map_or(f64::INFINITY, |best| self.penalised(best.objective(), best.set.len()));
            self.improve(&mut trial, limit);
            if self.penalised(trial.objective(), trial.set.len()) > known - 1e-9 {
                break;
            }
            let before = trial.objective();
            if self.confirm(&mut trial, known) {
                found = true;
                if (trial.objective() - before).abs() <= 1e-9 * before {
                    break;
                }
            }
            if self.questions == 0 || self.stop.requested() {
                break;
            }
        }
        found
    }

    /// Removals and exchanges of single indexes, and additions, while they help.
    fn improve(&mut self, trial: &mut Trial, limit: u64) {
        self.weigh_moves(trial);
        while !self.stop.requested() {
            let before = self.penalised(trial.objective(), trial.set.len());
            let open: Vec<usize> = (0..self.meets.len())
                .filter(|relation| !trial.settled.contains(relation))
                .collect();
            for relation in open {
                trial.settled.insert(relation);
                for out in trial.groups.get(&relation).cloned().unwrap_or_default() {
                    if self.stop.requested() {
                        return;
                    }
                    self.exchange(trial, out, limit);
                }
            }
            self.build(trial, limit, 0.0, None, &[]);
            if self.penalised(trial.objective(), trial.set.len()) >= before - 1e-9 {
                return;
            }
        }
    }

    /// Leaves an index out, or takes the best other one in its place, if that helps.
    fn exchange(&mut self, trial: &mut Trial, out: usize, limit: u64) {
        let without = self.weigh(trial, &[out], &[]);
        let rest = trial.set.len() - 1;
        let mut least = self.penalised(trial.objective(), trial.set.len()) - 1e-9;
        let mut best: Option<Vec<usize>> = None;
        let dropped = self.penalised(without.objective(), rest);
        if dropped < least {
            (least, best) = (dropped, Some(Vec::new()));
        }
        let Some(gains) = trial.gains.take() else { return };
        let gained = self.gains_without(trial, &gains, out);
        let (moves, near) = (std::mem::take(&mut self.moves), std::mem::take(&mut self.near));
        let relation = self.candidates.get(out).map_or(usize::MAX, |known| known.relation);
        // Without a bound on space what has nothing to do with it could have been added without taking anything out.
        let (places, all) =
            if limit == u64::MAX { (near.get(relation), 0) } else { (None, moves.len()) };
        // What readers must gain for it to be better than the best one.
        let worth = self.worth * (rest + 1) as f64;
        let mut wanted = without.objective() - (least - worth).exp();
        for place in places.into_iter().flatten().copied().chain(0..all) {
            let gained = gained.get(place).copied().unwrap_or(0.0);
            let Some(known) = moves.get(place).filter(|_| gained > wanted) else { continue };
            let into: Vec<usize> =
                known.added.iter().copied().filter(|one| !trial.set.contains(one)).collect();
            // What does not fit need not be weighed.
            if into.is_empty()
                || known.added.contains(&out)
                || without.size + self.size_of(&into) > limit
            {
                continue;
            }
            let write = if self.anybody_writes() {
                trial.weighed.write + self.written(trial, &[out], &into)
            } else {
                0.0
            };
            let then = self.penalised(without.read - gained + write, rest + into.len());
            if then < least {
                (least, best) = (then, Some(into));
                wanted = without.objective() - (least - worth).exp();
            }
        }
        (self.moves, self.near) = (moves, near);
        trial.gains = Some(gains);
        if let Some(into) = best {
            self.change(trial, &[out], &into);
        }
    }

    /// Asks what is not known of a set, and puts it into the archive with what it really costs.
    pub(super) fn confirm_all(&mut self, trial: &mut Trial) {
        self.confirm(trial, f64::INFINITY);
    }

    /// The same as long as it may still be better than the best known, what may disappoint most first; whether it is.
    fn confirm(&mut self, trial: &mut Trial, known: f64) -> bool {
        let mut open: Vec<(f64, usize, u128)> = Vec::new();
        for (statement, (knowledge, mask)) in
            self.knowledge.iter_mut().zip(&trial.masks).enumerate()
        {
            let estimate = knowledge.estimate(*mask);
            if let Some(cost) = trial.costs.get_mut(statement) {
                *cost = estimate.cost;
            }
            if !estimate.exact {
                let weight = self.asked.get(statement).map_or(0.0, |asked| asked.statement.weight);
                let hope = knowledge.possible(*mask).0 - estimate.cost;
                open.push((weight * hope, statement, *mask));
            }
        }
        open.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        self.sum_up(trial);
        // Of many several at once: a few may be asked in vain, and the engine answers them at the same time.
        // How many must not depend on how long they take, unless time does.
        let most = if self.stop.limited() { self.stop.at_once() } else { usize::MAX };
        let at_once = (open.len() / CHECKS).clamp(1, most);
        for some in open.chunks(at_once) {
            let some: Vec<(usize, u128)> =
                some.iter().map(|(_, one, mask)| (*one, *mask)).collect();
            let known_now = self.ask_about_all(&some);
            for ((statement, mask), known_now) in some.into_iter().zip(known_now) {
                let Some(knowledge) = self.knowledge.get_mut(statement) else { continue };
                // Where nothing more may be asked, what is certainly possible counts, not what is hoped for.
                let cost = if known_now {
                    knowledge.estimate(mask).cost
                } else {
                    knowledge.possible(mask).0
                };
                let weight = self.asked.get(statement).map_or(0.0, |asked| asked.statement.weight);
                if let Some(old) = trial.costs.get_mut(statement) {
                    trial.weighed.read += weight * (cost - *old);
                    *old = cost;
                }
            }
            if self.penalised(trial.objective(), trial.set.len()) > known - 1e-9 {
                return false;
            }
        }
        self.sum_up(trial);
        self.record(trial);
        true
    }

    fn sum_up(&self, trial: &mut Trial) {
        let costs = self.asked.iter().zip(&trial.costs);
        trial.weighed.read = costs.map(|(asked, cost)| asked.statement.weight * cost).sum();
    }

    fn record(&mut self, trial: &Trial) {
        self.archive.add(Point {
            set: trial.set.clone(),
            size: trial.weighed.size,
            read: trial.weighed.read,
            write: trial.weighed.write,
        });
    }
}
