//! A workload made ready to send: its messages encoded once, and requests chosen by weight.

use crate::LoadError;
use crate::connection::Dialer;
use crate::encode::{self, Before, End, Frame, Statement};
use crate::fresh::{Columns, Fresh};
use crate::options::Writes;
use crate::redact::redact;
use crate::tally::Named;
use bytes::BytesMut;
use pgassay_model::measurement::Protocol;
use pgassay_model::workload::{Workload, WorkloadStatement};
use pgassay_workload::pgbench::{self, Program, Query, Value};
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

/// A statement and one of its parameter sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) statement: usize,
    pub(crate) set: usize,
}

/// Messages of every statement and parameter set, and the scripts that they are of.
#[derive(Debug)]
pub(crate) struct Requests {
    statements: Vec<Encoded>,
    names: Vec<Named>,
    scripts: Vec<Script>,
    /// Of the scripts, where there are any; of the statements otherwise.
    cumulative: Cumulative,
    protocol: Protocol,
    writes: Writes,
    /// Whether the sessions themselves refuse what is written.
    read_only_sessions: bool,
    /// Columns whose values are made.
    columns: Columns,
}

#[derive(Debug)]
struct Encoded {
    statement: Statement,
    /// Whether it is known to only read.
    reads_only: bool,
    values: Vec<Vec<Option<String>>>,
    /// Values made for each request.
    fresh: Option<Fresh>,
}

/// A script; its statements follow each other among all.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) name: Named,
    pub(crate) program: Program,
    /// Number of its first statement.
    pub(crate) first: usize,
}

/// A statement of a script with its values of now.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// Its number among all statements.
    pub(crate) statement: usize,
    pub(crate) query: &'a Query,
    pub(crate) values: Vec<Value>,
    /// Whether the answer's row is wanted.
    pub(crate) wanted: bool,
}

impl Requests {
    /// Encodes a workload's statements, refusing those that could only fail.
    pub(crate) fn new(
        workload: &Workload,
        protocol: Protocol,
        writes: Writes,
    ) -> Result<Self, LoadError> {
        if workload.statements.is_empty() {
            return Err(LoadError::EmptyWorkload);
        }
        let weights = workload.statements.iter().map(|own| (own.id.as_str(), own.weight));
        let cumulative = Cumulative::new(weights)?;
        let mut columns = Columns::default();
        let statements = workload
            .statements
            .iter()
            .enumerate()
            .map(|(number, statement)| encode(number, statement, protocol, &mut columns))
            .collect::<Result<_, _>>()?;
        let name = |own: &WorkloadStatement| Named { id: own.id.clone(), sql: own.sql.clone() };
        let names = workload.statements.iter().map(name).collect();
        let scripts = Vec::new();
        let read_only_sessions = false;
        Ok(Requests {
            statements,
            names,
            scripts,
            cumulative,
            protocol,
            writes,
            read_only_sessions,
            columns,
        })
    }

    /// Relies on the sessions to refuse what is written.
    pub(crate) fn trust_sessions(&mut self) {
        self.read_only_sessions = true;
    }

    /// For a replay: values that were captured are sent as they were, since what follows asks for them.
    pub(crate) fn keep_captured(&mut self, workload: &Workload) {
        for (own, statement) in self.statements.iter_mut().zip(&workload.statements) {
            if statement.parameter_source.starts_with("log") {
                own.fresh = None;
            }
        }
    }

    /// Asks the server where the columns end whose values are made.
    pub(crate) fn rise(&self, dialer: &Dialer) {
        self.columns.rise(dialer);
    }

    /// Reads and encodes a workload's scripts.
    pub(crate) fn of_scripts(
        workload: &Workload,
        protocol: Protocol,
        writes: Writes,
    ) -> Result<Self, LoadError> {
        let weights = workload.scripts.iter().map(|own| (own.id.as_str(), own.weight));
        let cumulative = Cumulative::new(weights)?;
        let (mut statements, mut names, mut scripts) = (Vec::new(), Vec::new(), Vec::new());
        for script in &workload.scripts {
            let refused = |reason| LoadError::Statement { statement: script.id.clone(), reason };
            let program =
                pgbench::parse(&script.text).map_err(|error| refused(error.to_string()))?;
            let first = statements.len();
            for (number, query) in program.queries.iter().enumerate() {
                // Values are known only when the script runs.
                let statement =
                    Statement::new(first + number, &query.sql, &[], protocol).map_err(refused)?;
                let id = pgbench::statement_id(&script.id, number);
                let known = workload.statements.iter().find(|own| own.id == id);
                let reads_only = query.effect == pgbench::Effect::Reads
                    && known.is_some_and(|own| own.reads_only && !own.writes);
                statements.push(Encoded { statement, reads_only, values: Vec::new(), fresh: None });
                names.push(Named { id, sql: query.sql.clone() });
            }
            let name = Named { id: script.id.clone(), sql: script.text.clone() };
            scripts.push(Script { name, program, first });
        }
        Ok(Requests {
            statements,
            names,
            scripts,
            cumulative,
            protocol,
            writes,
            read_only_sessions: false,
            columns: Columns::default(),
        })
    }

    /// A script or a statement by weight, then one of the statement's parameter sets, all alike.
    pub(crate) fn choose(&self, random: &mut Xoshiro256PlusPlus) -> Choice {
        let statement = self.cumulative.choose(random);
        let sets = if self.scripts.is_empty() { self.sets(statement) } else { 1 };
        let set = if sets > 1 { random.random_range(0..sets) } else { 0 };
        Choice { statement, set }
    }

    /// Identities of the statements.
    pub(crate) fn names(&self) -> &[Named] {
        &self.names
    }

    /// The scripts; empty where requests are statements.
    pub(crate) fn scripts(&self) -> &[Script] {
        &self.scripts
    }

    /// How statements are sent.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What becomes of what is written.
    pub(crate) fn writes(&self) -> Writes {
        self.writes
    }

    /// Number of statements.
    pub(crate) fn len(&self) -> usize {
        self.statements.len()
    }

    /// Number of parameter sets of a statement; one empty set where it has no parameters.
    pub(crate) fn sets(&self, statement: usize) -> usize {
        self.statements.get(statement).map_or(0, |own| own.statement.sets())
    }

    /// Whether statements are prepared on each connection.
    pub(crate) fn prepared(&self) -> bool {
        self.protocol == Protocol::Prepared
    }

    /// Whether a statement writes, or may do so for all that is known.
    fn may_write(&self, statement: usize) -> bool {
        self.statements.get(statement).is_some_and(|own| !own.reads_only)
    }

    /// What requests that may write need around them.
    fn guard(&self) -> Option<Before> {
        match self.writes {
            Writes::Rollback => Some(Before::Begin),
            Writes::Refuse if !self.read_only_sessions => Some(Before::BeginReadOnly),
            Writes::Refuse | Writes::Run => None,
        }
    }

    /// How many statements are wrapped into transactions for what they may write.
    pub(crate) fn guarded(&self) -> usize {
        match self.guard() {
            Some(_) => self.statements.iter().filter(|own| !own.reads_only).count(),
            None => 0,
        }
    }

    /// How a request is framed that belongs to no transaction of the workload's own.
    pub(crate) fn frame(&self, choice: Choice) -> Frame {
        match self.guard() {
            Some(before) if self.may_write(choice.statement) => {
                Frame { before: Some(before), end: Some(End::Rollback) }
            }
            _ => Frame::default(),
        }
    }

    /// How a request within a transaction of the workload's own is framed.
    pub(crate) fn frame_within(&self, statement: usize) -> Frame {
        let refused = self.guard() == Some(Before::BeginReadOnly) && self.may_write(statement);
        Frame { before: refused.then_some(Before::SetReadOnly), end: None }
    }

    /// How a transaction of the workload's own begins.
    pub(crate) fn begin(&self) -> Before {
        self.guard().unwrap_or(Before::Begin)
    }

    /// Writes the messages of a request over what is in `outbox`. `known`: the statement is prepared.
    pub(crate) fn write(&self, choice: Choice, frame: Frame, known: bool, outbox: &mut BytesMut) {
        outbox.clear();
        let Some(own) = self.statements.get(choice.statement) else { return };
        let made = own.fresh.as_ref().zip(own.values.get(choice.set));
        if let Some(values) = made.map(|(fresh, set)| fresh.values(set)) {
            let sql = || self.names.get(choice.statement).map_or("", |name| name.sql.as_str());
            let written = match self.protocol {
                Protocol::Simple => pgassay_sql::with_literals(sql(), &values)
                    .map(|text| encode::query(&text, frame, outbox))
                    .is_ok(),
                Protocol::Extended | Protocol::Prepared => {
                    own.statement.write_values(&values, false, frame, known, outbox).is_ok()
                }
            };
            if written {
                return;
            }
            outbox.clear();
        }
        own.statement.write(choice.set, frame, known, outbox);
    }

    /// Writes the messages of a script's statement over what is in `outbox`. `known`: it is prepared.
    pub(crate) fn write_query(
        &self,
        asked: &Asked<'_>,
        frame: Frame,
        known: bool,
        outbox: &mut BytesMut,
    ) -> Result<(), String> {
        outbox.clear();
        if self.protocol == Protocol::Simple {
            encode::query(&asked.query.with_literals(&asked.values), frame, outbox);
            return Ok(());
        }
        let values: Vec<Option<String>> = asked.values.iter().map(Value::text).collect();
        match self.statements.get(asked.statement) {
            Some(own) => own.statement.write_values(&values, asked.wanted, frame, known, outbox),
            None => Ok(()),
        }
    }

    /// Writes Bind and Sync of a request, where it is not prepared Parse before: it is planned, and not executed.
    pub(crate) fn write_unexecuted(&self, choice: Choice, known: bool, outbox: &mut BytesMut) {
        outbox.clear();
        if let Some(own) = self.statements.get(choice.statement) {
            own.statement.write_unexecuted(choice.set, known, outbox);
        }
    }

    /// Writes Parse and Sync of a statement.
    pub(crate) fn write_parse(&self, statement: usize, outbox: &mut BytesMut) {
        outbox.clear();
        if let Some(own) = self.statements.get(statement) {
            own.statement.write_parse(outbox);
        }
    }

    /// SQLSTATE and message of an error, without the values of the request.
    pub(crate) fn redact(&self, choice: Choice, sqlstate: &str, message: &str) -> String {
        let values =
            self.statements.get(choice.statement).and_then(|own| own.values.get(choice.set));
        redact(sqlstate, message, values.into_iter().flatten().filter_map(Option::as_deref))
    }
}

/// Weights summed up, to draw by.
#[derive(Debug)]
pub(crate) struct Cumulative(Vec<f64>);

impl Cumulative {
    /// Of named things; a weight that is none is refused by name.
    pub(crate) fn new<'a>(
        weights: impl IntoIterator<Item = (&'a str, f64)>,
    ) -> Result<Self, LoadError> {
        let mut sum = 0.0;
        let sums = weights.into_iter().map(|(id, weight)| {
            if !(weight.is_finite() && weight > 0.0) {
                return Err(LoadError::Statement {
                    statement: id.to_owned(),
                    reason: format!("its weight is {weight}"),
                });
            }
            sum += weight;
            Ok(sum)
        });
        sums.collect::<Result<_, _>>().map(Cumulative)
    }

    /// Draws one.
    pub(crate) fn choose(&self, random: &mut Xoshiro256PlusPlus) -> usize {
        let last = self.0.len().saturating_sub(1);
        let total = self.0.last().copied().unwrap_or_default();
        let point = random.random::<f64>() * total;
        self.0.partition_point(|sum| *sum <= point).min(last)
    }
}

fn encode(
    number: usize,
    statement: &WorkloadStatement,
    protocol: Protocol,
    columns: &mut Columns,
) -> Result<Encoded, LoadError> {
    let refused = |reason| LoadError::Statement { statement: statement.id.clone(), reason };
    let mut values = statement.parameters.clone();
    if values.is_empty() {
        values.push(Vec::new());
    }
    // A text that cannot be scanned is for the server to judge.
    if let Ok(parameters) = pgassay_sql::parameter_count(&statement.sql)
        && let Some(set) = values.iter().find(|set| set.len() != parameters)
    {
        return Err(refused(format!(
            "it has {parameters} parameters and {} values were given",
            set.len()
        )));
    }
    let encoded = Statement::new(number, &statement.sql, &values, protocol).map_err(refused)?;
    let fresh = columns.statement(&statement.fresh);
    let reads_only = statement.reads_only && !statement.writes;
    Ok(Encoded { statement: encoded, reads_only, values, fresh })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use rand::SeedableRng;

    type Values = Vec<Vec<Option<String>>>;

    fn workload(statements: &[(&str, f64, Values)]) -> Workload {
        Workload {
            schema: pgassay_model::workload::SCHEMA.into(),
            generated_at: pgassay_model::Timestamp::UNIX_EPOCH,
            source: "test".into(),
            statements: statements
                .iter()
                .enumerate()
                .map(|(number, (sql, weight, parameters))| WorkloadStatement {
                    id: format!("s{number}"),
                    sql: (*sql).into(),
                    weight: *weight,
                    writes: false,
                    parameters: parameters.clone(),
                    parameter_source: "given".into(),
                    ..WorkloadStatement::default()
                })
                .collect(),
            skipped: Vec::new(),
            scripts: Vec::new(),
            sessions: Vec::new(),
        }
    }

    fn requests(statements: &[(&str, f64, Values)]) -> Result<Requests, LoadError> {
        Requests::new(&workload(statements), Protocol::Extended, Writes::Run)
    }

    fn values(values: &[&str]) -> Values {
        values.iter().map(|value| vec![Some((*value).to_owned())]).collect()
    }

    #[test]
    fn statements_come_as_often_as_their_weights_say() {
        let requests = requests(&[("SELECT 1", 8.0, vec![]), ("SELECT 2", 2.0, vec![])]).unwrap();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let first = (0..10_000).filter(|_| requests.choose(&mut random).statement == 0).count();
        assert!((7_800..8_200).contains(&first), "{first}");
    }

    #[test]
    fn the_same_seed_chooses_the_same_requests() {
        let requests =
            requests(&[("SELECT $1", 1.0, values(&["1", "2", "3"])), ("SELECT 2", 2.0, vec![])])
                .unwrap();
        let chosen = |seed| -> Vec<Choice> {
            let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
            (0..100).map(|_| requests.choose(&mut random)).collect()
        };
        assert_eq!(chosen(1), chosen(1));
        assert_ne!(chosen(1), chosen(2));
    }

    #[test]
    fn missing_values_are_refused_by_name() {
        let error = requests(&[("SELECT $1", 1.0, vec![])]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "statement s0 cannot be driven: it has 1 parameters and 0 values were given"
        );
        assert!(requests(&[("SELECT 1", 0.0, vec![])]).is_err());
        assert!(matches!(requests(&[]), Err(LoadError::EmptyWorkload)));
    }
}
