//! What each move would save beside a set under trial, kept up to date as the set changes.
//!
//! Readers' savings are kept by statement (a row holds one for each move that concerns it), so that a change of the set
//! makes anew only the rows of the statements that it concerns, and all exchanges of an index for others are weighed
//! together. Rows are shared between sets under trial.

use super::knowledge::Knowledge;
use super::search::{Move, Search};
use super::trial::Trial;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Rows kept of one statement.
const MOST_ROWS: usize = 200;

/// Weighted savings of one statement by the moves that concern it, in the order of its [`Addition`]s.
#[derive(Debug)]
pub(super) struct Row {
    /// State of what was known of the statement when it was written.
    version: u64,
    savings: Vec<f64>,
}

/// What moves add to one statement's set: of many moves it is the same.
#[derive(Debug)]
pub(super) struct Addition {
    /// Bits of the statement.
    pub bits: u128,
    /// The same with all that they cover.
    pub open: u128,
    /// The moves, by place.
    pub moves: Vec<usize>,
}

/// Which moves concern whom.
#[derive(Debug, Default)]
pub(super) struct Concerned {
    /// Changes whenever the moves do.
    pub generation: u64,
    of_statement: Vec<Vec<Addition>>,
    /// Of each relation, the moves with an index on it.
    of_relation: Vec<Vec<usize>>,
}

/// What the moves would save.
#[derive(Debug, Clone)]
pub(super) struct Gains {
    generation: u64,
    rows: Vec<Rc<Row>>,
    /// Of each move, what readers would save.
    read: Vec<f64>,
    /// Of each move, what writers would pay.
    write: Vec<f64>,
    /// Moves whose savings changed since they were last asked for.
    changed: Vec<usize>,
}

impl Gains {
    /// What a move would save beyond what writers would pay.
    pub(super) fn net(&self, place: usize) -> f64 {
        self.read(place) - self.write.get(place).copied().unwrap_or(0.0)
    }

    fn read(&self, place: usize) -> f64 {
        self.read.get(place).copied().unwrap_or(0.0)
    }

    /// The moves whose savings changed since this was last asked.
    pub(super) fn take_changed(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.changed)
    }
}

impl Search<'_> {
    /// Lists whom each move concerns; after the moves changed.
    pub(super) fn list_concerned(&mut self) {
        let mut additions: Vec<BTreeMap<u128, Vec<usize>>> =
            vec![BTreeMap::new(); self.knowledge.len()];
        let mut of_relation: Vec<Vec<usize>> = vec![Vec::new(); self.relations.len()];
        for (place, known) in self.moves.iter().enumerate() {
            let members = known.added.iter().filter_map(|one| self.candidates.get(*one));
            let mut touched: Vec<(usize, u128)> =
                members.clone().flat_map(|member| member.touches.iter().copied()).collect();
            touched.sort_unstable();
            touched.dedup_by(|next, first| {
                let same = next.0 == first.0;
                if same {
                    first.1 |= next.1;
                }
                same
            });
            for (statement, bits) in touched {
                if let Some(known) = additions.get_mut(statement) {
                    known.entry(bits).or_default().push(place);
                }
            }
            for member in members {
                if let Some(moves) = of_relation.get_mut(member.relation)
                    && moves.last() != Some(&place)
                {
                    moves.push(place);
                }
            }
        }
        let listed = |(knowledge, known): (&mut Knowledge, BTreeMap<u128, Vec<usize>>)| {
            knowledge.rows.clear();
            let addition = |(bits, moves)| Addition { bits, open: knowledge.open(bits), moves };
            known.into_iter().map(addition).collect()
        };
        self.concerned = Concerned {
            generation: self.concerned.generation + 1,
            of_statement: self.knowledge.iter_mut().zip(additions).map(listed).collect(),
            of_relation,
        };
    }

    /// Brings what the moves would save up to date with what is known.
    pub(super) fn weigh_moves(&mut self, trial: &mut Trial) {
        let concerned = std::mem::take(&mut self.concerned);
        let gains = trial.gains.take().filter(|known| known.generation == concerned.generation);
        let mut gains = gains.unwrap_or_else(|| {
            let none = Rc::new(Row { version: u64::MAX, savings: Vec::new() });
            let moves = self.moves.len();
            let mut gains = Gains {
                generation: concerned.generation,
                rows: vec![none; self.knowledge.len()],
                read: vec![0.0; moves],
                write: vec![0.0; moves],
                changed: Vec::new(),
            };
            self.weigh_writers(&mut gains, trial, 0..moves);
            gains
        });
        for statement in 0..gains.rows.len() {
            let version = self.knowledge.get(statement).map_or(0, |known| known.version);
            if gains.rows.get(statement).is_some_and(|row| row.version != version) {
                self.weigh_row(&concerned, &mut gains, trial, statement);
            }
        }
        trial.gains = Some(gains);
        self.concerned = concerned;
    }

    /// The same after a change of the set that concerned some statements and relations.
    pub(super) fn reweigh_moves(
        &mut self,
        trial: &mut Trial,
        statements: impl IntoIterator<Item = usize>,
        relations: impl IntoIterator<Item = usize>,
    ) {
        let Some(mut gains) = trial.gains.take() else { return };
        let concerned = std::mem::take(&mut self.concerned);
        if gains.generation == concerned.generation {
            for statement in statements {
                self.weigh_row(&concerned, &mut gains, trial, statement);
            }
            for relation in relations {
                let moves = concerned.of_relation.get(relation).into_iter().flatten().copied();
                self.weigh_writers(&mut gains, trial, moves);
            }
            trial.gains = Some(gains);
        }
        self.concerned = concerned;
    }

    fn weigh_row(
        &mut self,
        concerned: &Concerned,
        gains: &mut Gains,
        trial: &Trial,
        statement: usize,
    ) {
        let (Some(additions), Some(mask)) =
            (concerned.of_statement.get(statement), trial.masks.get(statement))
        else {
            return;
        };
        let Some(row) = self.row(additions, statement, *mask) else { return };
        if let Some(old) = gains.rows.get_mut(statement) {
            for (number, (addition, saving)) in additions.iter().zip(&row.savings).enumerate() {
                let before = old.savings.get(number).copied().unwrap_or(0.0);
                if *saving == before {
                    continue;
                }
                for place in &addition.moves {
                    if let Some(read) = gains.read.get_mut(*place) {
                        *read += saving - before;
                    }
                }
                gains.changed.extend(&addition.moves);
            }
            *old = row;
        }
    }

    /// What a statement would save by the moves that concern it, beside a set.
    fn row(&mut self, additions: &[Addition], statement: usize, mask: u128) -> Option<Rc<Row>> {
        let knowledge = self.knowledge.get_mut(statement)?;
        if let Some(row) = knowledge.rows.get(&mask) {
            return Some(Rc::clone(row));
        }
        let weight = self.asked.get(statement)?.statement.weight;
        let now = knowledge.estimate(mask).cost;
        let costs = knowledge.expect_each(mask, additions);
        let savings = costs.into_iter().map(|cost| weight * (now - cost)).collect();
        let row = Rc::new(Row { version: knowledge.version, savings });
        if knowledge.rows.len() >= MOST_ROWS {
            knowledge.rows.clear();
        }
        knowledge.rows.insert(mask, Rc::clone(&row));
        Some(row)
    }

    fn weigh_writers(
        &mut self,
        gains: &mut Gains,
        trial: &Trial,
        moves: impl IntoIterator<Item = usize>,
    ) {
        if !self.anybody_writes() {
            return;
        }
        for place in moves {
            let Some(added) = self.moves.get(place).map(|known| known.added.clone()) else {
                continue;
            };
            let write = self.written(trial, &[], &added);
            if let Some(known) = gains.write.get_mut(place)
                && *known != write
            {
                *known = write;
                gains.changed.push(place);
            }
        }
    }

    /// Of each move, what readers would save by it where an index is taken out.
    pub(super) fn gains_without(&mut self, trial: &Trial, gains: &Gains, out: usize) -> Vec<f64> {
        let concerned = std::mem::take(&mut self.concerned);
        let mut read = gains.read.clone();
        let touches = self.candidates.get(out).map_or(Vec::new(), |known| known.touches.clone());
        for (statement, bit) in touches {
            let (Some(additions), Some(now), Some(mask)) = (
                concerned.of_statement.get(statement),
                gains.rows.get(statement),
                trial.masks.get(statement),
            ) else {
                continue;
            };
            let Some(then) = self.row(additions, statement, mask & !bit) else { continue };
            let savings = then.savings.iter().zip(&now.savings);
            for (addition, (then, now)) in additions.iter().zip(savings) {
                if then == now {
                    continue;
                }
                for place in &addition.moves {
                    if let Some(read) = read.get_mut(*place) {
                        *read += then - now;
                    }
                }
            }
        }
        self.concerned = concerned;
        read
    }

    /// Bytes that a move adds to a set.
    pub(super) fn size_beside(&self, trial: &Trial, known: &Move) -> u64 {
        let new = known.added.iter().filter(|one| !trial.set.contains(one));
        new.filter_map(|one| self.candidates.get(*one)).map(|one| one.size.0).sum()
    }
}
