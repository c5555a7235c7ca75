//! One run of a script: its steps, one after the other, on a connection.

use crate::client::{Shared, wait_until};
use crate::connection::{Connection, ConnectionError, LastRow, Patience, Reading};
use crate::encode::{End, Frame, query};
use crate::options::Writes;
use crate::redact::redact;
use crate::reporter::{Reporter, Subject, Times};
use crate::requests::{Asked, Choice, Script};
use bytes::BytesMut;
use pgassay_model::measurement::Protocol;
use pgassay_sql::StatementKind;
use pgassay_workload::pgbench::{Effect, Keep, Program, Query, Step, Value, Variables};
use rand::rngs::Xoshiro256PlusPlus;
use std::time::{Duration, Instant};

/// Why a run of a script ended before its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused a statement; it was counted and reported with the statement.
    Statement,
    /// The connection can't be used any more; reported with the statement too.
    Connection,
    /// The script itself: an expression without a value, no row for `\gset`.
    Script(String),
    /// The load was abandoned in between.
    Abandoned,
}

/// What a client needs to run scripts.
pub(crate) struct Runner<'a, 'b> {
    pub(crate) shared: &'a Shared,
    pub(crate) reporter: &'b mut Reporter<'a>,
    pub(crate) random: &'b mut Xoshiro256PlusPlus,
    pub(crate) outbox: &'b mut BytesMut,
    pub(crate) origin: Instant,
}

impl Runner<'_, '_> {
    /// Runs a script on a connection.
    pub(crate) fn run(
        &mut self,
        script: &Script,
        variables: &mut Variables,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        let mut in_transaction = false;
        let outcome = self.steps(script, variables, connection, &mut in_transaction);
        let open = in_transaction && (outcome.is_err() || self.rolls_back());
        if open && !matches!(outcome, Err(Failure::Connection | Failure::Abandoned)) {
            let patience = Patience::new(&self.shared.abandon, self.shared.statement_timeout);
            if connection.roll_back(patience).is_err() {
                return Err(Failure::Connection);
            }
        }
        outcome
    }

    fn rolls_back(&self) -> bool {
        self.shared.requests.writes() == Writes::Rollback
    }

    fn steps(
        &mut self,
        script: &Script,
        variables: &mut Variables,
        connection: &mut Connection,
        in_transaction: &mut bool,
    ) -> Result<(), Failure> {
        let failed =
            |error: pgassay_workload::pgbench::EvaluationError| Failure::Script(error.to_string());
        let mut at = 0;
        while let Some(step) = script.program.steps.get(at) {
            at += 1;
            match step {
                Step::Set { variable, expression } => {
                    let value = variables.evaluate(expression, self.random).map_err(failed)?;
                    variables.set(*variable, value);
                }
                Step::JumpUnless { condition, to } => {
                    if !variables.holds(condition, self.random).map_err(failed)? {
                        at = *to;
                    }
                }
                Step::Jump { to } => at = *to,
                Step::Sleep { time, unit_us } => {
                    let time =
                        Program::sleep(time, *unit_us, variables, self.random).map_err(failed)?;
                    self.reporter.sums.slept += time;
                    let until = self.origin.elapsed() + time;
                    wait_until(until, self.origin, &self.shared.abandon)
                        .ok_or(Failure::Abandoned)?;
                }
                Step::Query { query, keep } => {
                    let Some(own) = script.program.queries.get(*query) else { continue };
                    let asked = Asked {
                        statement: script.first + query,
                        query: own,
                        values: values(own, variables)
                            .ok_or_else(|| Failure::Script("a variable has no value yet".into()))?,
                        wanted: keep.is_some(),
                    };
                    let row = self.send(&asked, connection, in_transaction)?;
                    if let (Some(keep), Some(row)) = (keep, row) {
                        store(keep, row, &script.program, variables).map_err(Failure::Script)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends a statement, counts it, and returns its last row where that is wanted.
    fn send(
        &mut self,
        asked: &Asked<'_>,
        connection: &mut Connection,
        in_transaction: &mut bool,
    ) -> Result<Option<LastRow>, Failure> {
        let effect = asked.query.effect;
        let requests = &self.shared.requests;
        if self.rolls_back() && effect == Effect::Commits {
            self.outbox.clear();
            query(End::Rollback.sql(), Frame::default(), self.outbox);
        } else {
            let frame = match effect {
                Effect::Begins | Effect::Commits | Effect::RollsBack => Frame::default(),
                _ if *in_transaction => requests.frame_within(asked.statement),
                // SET, SHOW and the like are the session's, and none of a transaction's.
                Effect::Reads if asked.query.kind == StatementKind::Utility => Frame::default(),
                _ => requests.frame(Choice { statement: asked.statement, set: 0 }),
            };
            let known = connection.knows(asked.statement);
            requests.write_query(asked, frame, known, self.outbox).map_err(Failure::Script)?;
        }
        let mut reading = if asked.wanted { Reading::with_row() } else { Reading::default() };
        let patience = Patience::new(&self.shared.abandon, self.shared.statement_timeout);
        let begun = self.origin.elapsed();
        let answer = connection.ask(self.outbox, &mut reading, patience);
        let latency = self.origin.elapsed().saturating_sub(begun);
        let error = match answer {
            Ok(ready) => {
                *in_transaction = ready.status == b'T';
                ready.refusal.map(ConnectionError::Server)
            }
            Err(error) => {
                self.shared.give_up(connection, &error);
                self.count(asked, begun, latency, Some(&error));
                return Err(Failure::Connection);
            }
        };
        self.count(asked, begun, latency, error.as_ref());
        match error {
            Some(_) => Err(Failure::Statement),
            None => {
                if requests.protocol() == Protocol::Prepared {
                    connection.learn(asked.statement);
                }
                Ok(reading.rows)
            }
        }
    }

    fn count(
        &mut self,
        asked: &Asked<'_>,
        begun: Duration,
        latency: Duration,
        error: Option<&ConnectionError>,
    ) {
        let subject = Subject::Part(u32::try_from(asked.statement).unwrap_or(u32::MAX));
        let failed = error.is_some();
        self.reporter.sample(subject, Times::at(begun), latency, failed, Default::default());
        if let Some(error) = error {
            self.reporter.explain(asked.statement, error, |sqlstate, message| {
                let texts: Vec<String> = asked.values.iter().filter_map(Value::text).collect();
                redact(sqlstate, message, texts.iter().map(String::as_str))
            });
        }
    }
}

fn values(query: &Query, variables: &Variables) -> Option<Vec<Value>> {
    query.variables.iter().map(|variable| variables.get(*variable).cloned()).collect()
}

/// Keeps an answer's row as variables.
fn store(
    keep: &Keep,
    row: LastRow,
    program: &Program,
    variables: &mut Variables,
) -> Result<(), String> {
    if keep.one_row && row.rows != 1 {
        return Err(format!("\\gset needs one row, and {} came", row.rows));
    }
    for (column, value) in row.columns.iter().zip(row.values) {
        // A column that the script doesn't use needs no variable.
        if let Some(variable) = program.variable(&format!("{}{column}", keep.prefix)) {
            variables.set(variable, value.map_or(Value::Null, Value::Text));
        }
    }
    Ok(())
}
