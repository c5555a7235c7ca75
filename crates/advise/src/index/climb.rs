//! Moves between sets: greedy from several starts, single changes while they help, and parts torn out and built
//! again. All is steered by expectations; a set counts once the engine has confirmed its cost.

use super::frontier::Point;
use super::search::{Search, Set};
use pgassay_model::units::Bytes;

/// How much the size counts in what is taken first: worth ÷ size to that power.
const STARTS: [f64; 3] = [1.0, 0.5, 0.0];
/// Times that a set is confirmed and climbed from again.
const CONFIRMATIONS: usize = 8;
/// Rounds over the budgets in which parts are torn out and built again, and tries for each budget in a round.
const REBUILDING_ROUNDS: usize = 3;
const TRIES: usize = 20;
/// Indexes torn out at once, at most.
const TORN: u64 = 4;

/// What a budget leaves for estimated sizes: those of a set are right within a per cent or so
/// (docs/index-quality.md), and a budget is of real bytes.
pub(super) fn limit(budget: Option<Bytes>) -> u64 {
    budget.map_or(u64::MAX, |budget| budget.0 - budget.0 / 200)
}

/// A set under trial.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    pub set: Set,
    /// Of each statement, the bits of the set.
    masks: Vec<u128>,
    /// Of each statement, its expected cost, unweighted.
    costs: Vec<f64>,
    pub weighed: Weighed,
}

/// What a set is expected to cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Weighed {
    pub read: f64,
    pub write: f64,
    pub size: u64,
}

impl Weighed {
    pub(super) fn objective(&self) -> f64 {
        self.read + self.write
    }
}

impl Trial {
    pub(super) fn objective(&self) -> f64 {
        self.weighed.objective()
    }
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): deterministic for a seed, and no more is needed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// 0–1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Search<'_> {
    /// Fills the archive for all budgets.
    pub(super) fn climb(&mut self, budgets: &[Option<Bytes>]) {
        let mut limits: Vec<u64> = budgets.iter().map(|budget| limit(*budget)).collect();
        limits.sort_unstable();
        limits.dedup();
        let empty = self.trial(&Set::new());
        self.record(&empty);
        for limit in limits.iter().rev() {
            for gravity in STARTS {
                let mut trial = empty.clone();
                self.build(&mut trial, *limit, gravity, None);
                self.settle(trial, *limit);
            }
            self.shrink(*limit);
        }
        for limit in &limits {
            self.climb_on(*limit);
        }
        let mut random = Random(self.seed);
        for _ in 0..REBUILDING_ROUNDS {
            let mut found = false;
            for limit in limits.iter().rev() {
                found |= self.rebuild(*limit, &mut random);
            }
            for limit in &limits {
                self.climb_on(*limit);
            }
            if !found || self.stop.requested() {
                break;
            }
        }
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
        while trial.set.len() > 1 && !self.stop.requested() {
            let mut least: Option<(f64, usize)> = None;
            for out in trial.set.clone() {
                let weighed = self.weigh(&trial, &[out], &[]);
                let freed = trial.weighed.size.saturating_sub(weighed.size).max(1);
                let score = (weighed.objective() - trial.objective()) / freed as f64;
                if least.is_none_or(|(known, _)| score < known) {
                    least = Some((score, out));
                }
            }
            let Some((_, out)) = least else { return };
            self.change(&mut trial, &[out], &[]);
            self.confirm_all(&mut trial);
        }
    }

    /// Tears parts out of the best set and builds them again; whether that found a better one.
    fn rebuild(&mut self, limit: u64, random: &mut Random) -> bool {
        let mut found = false;
        for _ in 0..TRIES {
            if self.stop.requested() || self.questions == 0 {
                break;
            }
            let Some(best) = self.best(limit) else { break };
            if best.set.is_empty() {
                break;
            }
            let mut trial = self.trial(&best.set);
            let torn = self.torn(&best.set, random);
            self.change(&mut trial, &torn, &[]);
            let gravity = random.share();
            self.build(&mut trial, limit, gravity, Some(random.next()));
            found |= self.settle(trial, limit);
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

    /// Adds what is worth most for its size, until nothing more is worth adding. Lazily: what a candidate is worth
    /// hardly ever grows as others are chosen, so only the seemingly best one is weighed again (Minoux's
    /// accelerated greedy algorithm, 1978). `shake`: scores are changed at random by up to a third.
    pub(super) fn build(
        &mut self,
        trial: &mut Trial,
        limit: u64,
        gravity: f64,
        shake: Option<u64>,
    ) {
        let moves = std::mem::take(&mut self.moves);
        let mut random = shake.map(Random);
        let factors: Vec<f64> = moves
            .iter()
            .map(|_| random.as_mut().map_or(1.0, |random| 0.67 + 0.66 * random.share()))
            .collect();
        // What each was last found to be worth, and after how many additions.
        let mut worth: Vec<(f64, usize)> =
            moves.iter().map(|known| (known.alone, usize::MAX)).collect();
        let mut step = 0;
        loop {
            let least = self.worth * trial.objective();
            let mut best: Option<(f64, usize)> = None;
            for (place, (known, (net, _))) in moves.iter().zip(&worth).enumerate() {
                if *net < least
                    || *net <= 0.0
                    || trial.weighed.size.saturating_add(known.size) > limit
                {
                    continue;
                }
                let factor = factors.get(place).copied().unwrap_or(1.0);
                let score = factor * net / (known.size.max(1) as f64).powf(gravity);
                if best.is_none_or(|(most, _)| score > most) {
                    best = Some((score, place));
                }
            }
            let Some((_, place)) = best else { break };
            let (Some(known), Some(entry)) = (moves.get(place), worth.get_mut(place)) else {
                break;
            };
            let added: Vec<usize> =
                known.added.iter().copied().filter(|one| !trial.set.contains(one)).collect();
            if entry.1 == step {
                self.change(trial, &[], &added);
                step += 1;
                entry.0 = 0.0;
            } else {
                let weighed = self.weigh(trial, &[], &added);
                *entry = (trial.objective() - weighed.objective(), step);
            }
        }
        self.moves = moves;
    }

    /// Improves a set step by step and has it confirmed, until it is what it is expected to be; whether it is better
    /// than the best known for the budget.
    fn settle(&mut self, mut trial: Trial, limit: u64) -> bool {
        let best = self.best(limit);
        let known =
            best.map_or(f64::INFINITY, |best| self.penalised(best.objective(), best.set.len()));
        let mut found = false;
        for _ in 0..CONFIRMATIONS {
            self.improve(&mut trial, limit);
            let hoped = self.penalised(trial.objective(), trial.set.len());
            if hoped > known - 1e-9 {
                break;
            }
            let before = trial.objective();
            let confirmed = self.confirm_all(&mut trial);
            found |= self.penalised(trial.objective(), trial.set.len()) < known - 1e-9;
            if !confirmed || (trial.objective() - before).abs() <= 1e-9 * before {
                break;
            }
        }
        found
    }

    /// Single additions, removals and exchanges, the best first, while they help.
    fn improve(&mut self, trial: &mut Trial, limit: u64) {
        loop {
            let now = self.penalised(trial.objective(), trial.set.len());
            let mut best: Option<(f64, Vec<usize>, Vec<usize>)> = None;
            let mut consider = |search: &Self, weighed: Weighed, out: &[usize], into: &[usize]| {
                let count = trial.set.len() + into.len() - out.len();
                let then = search.penalised(weighed.objective(), count);
                let better =
                    then < now - 1e-9 && best.as_ref().is_none_or(|(known, ..)| then < *known);
                if better && weighed.size <= limit {
                    best = Some((then, out.to_vec(), into.to_vec()));
                }
            };
            let moves = std::mem::take(&mut self.moves);
            let least = self.worth * trial.objective();
            let new = |known: &super::search::Move| -> Vec<usize> {
                known.added.iter().copied().filter(|one| !trial.set.contains(one)).collect()
            };
            for known in &moves {
                if known.alone < least {
                    break;
                }
                let into = new(known);
                if into.is_empty() {
                    continue;
                }
                let weighed = self.weigh(trial, &[], &into);
                consider(self, weighed, &[], &into);
            }
            for out in trial.set.clone() {
                let without = self.weigh(trial, &[out], &[]);
                consider(self, without, &[out], &[]);
                let loss = without.objective() - trial.objective();
                for known in &moves {
                    // Beside others it is hardly ever worth more than alone.
                    if known.alone < loss {
                        break;
                    }
                    let into = new(known);
                    if into.is_empty() || without.size.saturating_add(known.size) > limit {
                        continue;
                    }
                    let weighed = self.weigh(trial, &[out], &into);
                    consider(self, weighed, &[out], &into);
                }
                if self.stop.requested() {
                    break;
                }
            }
            self.moves = moves;
            match best {
                Some((_, out, into)) if !self.stop.requested() => self.change(trial, &out, &into),
                _ => return,
            }
        }
    }

    /// A set, with what it is expected to cost.
    pub(super) fn trial(&mut self, set: &Set) -> Trial {
        let costs: Vec<f64> =
            self.knowledge.iter_mut().map(|known| known.estimate(0).cost).collect();
        let mut trial = Trial {
            set: Set::new(),
            masks: vec![0; costs.len()],
            weighed: Weighed { read: self.cost_before(), write: 0.0, size: 0 },
            costs,
        };
        let added: Vec<usize> = set.iter().copied().collect();
        self.change(&mut trial, &[], &added);
        trial
    }

    /// What a set would be expected to cost after a change.
    pub(super) fn weigh(&mut self, trial: &Trial, out: &[usize], into: &[usize]) -> Weighed {
        let mut weighed = trial.weighed;
        for (statement, mask) in self.masks(trial, out, into) {
            let Some(knowledge) = self.knowledge.get_mut(statement) else { continue };
            let then = knowledge.estimate(mask).cost;
            let now = trial.costs.get(statement).copied().unwrap_or(then);
            weighed.read += self.asked.get(statement).map_or(0.0, |asked| asked.statement.weight)
                * (then - now);
        }
        let size = |candidates: &[usize]| -> u64 {
            let known = candidates.iter().filter_map(|one| self.candidates.get(*one));
            known.map(|known| known.size.0).sum()
        };
        weighed.size = (weighed.size + size(into)).saturating_sub(size(out));
        if self.anybody_writes() {
            let mut set = trial.set.clone();
            out.iter().for_each(|one| {
                set.remove(one);
            });
            set.extend(into);
            weighed.write = self.write_cost(&set);
        }
        weighed
    }

    /// The statements that a change concerns, with their bits after it.
    fn masks(&self, trial: &Trial, out: &[usize], into: &[usize]) -> Vec<(usize, u128)> {
        let touches = |candidates: &[usize]| -> Vec<(usize, u128)> {
            let known = candidates.iter().filter_map(|one| self.candidates.get(*one));
            known.flat_map(|known| known.touches.iter().copied()).collect()
        };
        let mut bits: Vec<(usize, u128, u128)> = touches(out)
            .into_iter()
            .map(|(statement, bit)| (statement, bit, 0))
            .chain(touches(into).into_iter().map(|(statement, bit)| (statement, 0, bit)))
            .collect();
        bits.sort_unstable_by_key(|(statement, ..)| *statement);
        let mut masks: Vec<(usize, u128)> = Vec::with_capacity(bits.len());
        for (statement, clear, set) in bits {
            if masks.last().is_none_or(|(last, _)| *last != statement) {
                masks.push((statement, trial.masks.get(statement).copied().unwrap_or(0)));
            }
            if let Some((_, mask)) = masks.last_mut() {
                *mask = *mask & !clear | set;
            }
        }
        masks
    }

    /// Carries a change out.
    pub(super) fn change(&mut self, trial: &mut Trial, out: &[usize], into: &[usize]) {
        let weighed = self.weigh(trial, out, into);
        for (statement, mask) in self.masks(trial, out, into) {
            let Some(knowledge) = self.knowledge.get_mut(statement) else { continue };
            if let (Some(known), Some(cost)) =
                (trial.masks.get_mut(statement), trial.costs.get_mut(statement))
            {
                *known = mask;
                *cost = knowledge.estimate(mask).cost;
            }
        }
        for one in out {
            trial.set.remove(one);
        }
        trial.set.extend(into);
        trial.weighed = weighed;
    }

    /// Asks what is not known of a set, and puts it into the archive with what it really costs; whether all is known.
    fn confirm_all(&mut self, trial: &mut Trial) -> bool {
        let mut all = true;
        for statement in 0..trial.masks.len() {
            let mask = trial.masks.get(statement).copied().unwrap_or(0);
            let known = self.confirm(statement, mask);
            all &= known;
            let Some(knowledge) = self.knowledge.get_mut(statement) else { continue };
            // Where nothing more may be asked, what is certainly possible counts, not what is hoped for.
            let cost =
                if known { knowledge.estimate(mask).cost } else { knowledge.possible(mask).0 };
            if let Some(old) = trial.costs.get_mut(statement) {
                *old = cost;
            }
        }
        trial.weighed.read = self
            .asked
            .iter()
            .zip(&trial.costs)
            .map(|(asked, cost)| asked.statement.weight * cost)
            .sum();
        self.record(trial);
        all
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
