//! A workload made ready to send: its messages encoded once, and requests chosen by weight.

use crate::LoadError;
use bytes::{BufMut, BytesMut};
use pgassay_model::workload::{Workload, WorkloadStatement};
use postgres_protocol::IsNull;
use postgres_protocol::message::frontend;
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

/// Values shorter than this are not looked for in error messages: they would match anywhere.
const SHORTEST_REDACTED: usize = 4;
/// SQLSTATE class "data exception", whose messages quote the value they complain about.
const DATA_EXCEPTION: &str = "22";

/// A statement and one of its parameter sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) statement: usize,
    pub(crate) set: usize,
}

/// Messages of every statement and parameter set.
#[derive(Debug)]
pub(crate) struct Requests {
    statements: Vec<Encoded>,
    /// Sums of the weights up to and including each statement.
    cumulative: Vec<f64>,
}

#[derive(Debug)]
struct Encoded {
    parse: BytesMut,
    /// Bind, by parameter set.
    binds: Vec<BytesMut>,
    values: Vec<Vec<Option<String>>>,
}

impl Requests {
    /// Encodes a workload, refusing statements that could only fail.
    pub(crate) fn new(workload: &Workload) -> Result<Self, LoadError> {
        if workload.statements.is_empty() {
            return Err(LoadError::EmptyWorkload);
        }
        let mut cumulative = Vec::with_capacity(workload.statements.len());
        let mut sum = 0.0;
        for statement in &workload.statements {
            if !(statement.weight.is_finite() && statement.weight > 0.0) {
                return Err(refused(statement, format!("its weight is {}", statement.weight)));
            }
            sum += statement.weight;
            cumulative.push(sum);
        }
        let statements = workload.statements.iter().map(encode).collect::<Result<_, _>>()?;
        Ok(Requests { statements, cumulative })
    }

    /// A statement by weight, then one of its parameter sets, all alike.
    pub(crate) fn choose(&self, random: &mut Xoshiro256PlusPlus) -> Choice {
        let total = self.cumulative.last().copied().unwrap_or_default();
        let point = random.random::<f64>() * total;
        let last = self.cumulative.len().saturating_sub(1);
        let statement = self.cumulative.partition_point(|sum| *sum <= point).min(last);
        let sets = self.statements.get(statement).map_or(1, |statement| statement.binds.len());
        let set = if sets > 1 { random.random_range(0..sets) } else { 0 };
        Choice { statement, set }
    }

    /// Number of statements.
    pub(crate) fn len(&self) -> usize {
        self.statements.len()
    }

    /// Number of parameter sets of a statement; one empty set where it has no parameters.
    pub(crate) fn sets(&self, statement: usize) -> usize {
        self.statements.get(statement).map_or(0, |statement| statement.binds.len())
    }

    /// Writes Parse, Bind, Execute and Sync of a request over what is in `outbox`.
    pub(crate) fn write(&self, choice: Choice, outbox: &mut BytesMut) {
        self.write_bound(choice, outbox);
        // Neither can fail: the portal's name is empty.
        let _ = frontend::execute("", 0, outbox);
        frontend::sync(outbox);
    }

    /// Writes Parse, Bind and Sync of a request: it is planned, and not executed.
    pub(crate) fn write_unexecuted(&self, choice: Choice, outbox: &mut BytesMut) {
        self.write_bound(choice, outbox);
        frontend::sync(outbox);
    }

    fn write_bound(&self, choice: Choice, outbox: &mut BytesMut) {
        outbox.clear();
        if let Some(statement) = self.statements.get(choice.statement)
            && let Some(bind) = statement.binds.get(choice.set)
        {
            outbox.extend_from_slice(&statement.parse);
            outbox.extend_from_slice(bind);
        }
    }

    /// SQLSTATE and message of an error, without the values of the request.
    pub(crate) fn redact(&self, choice: Choice, sqlstate: &str, message: &str) -> String {
        let mut text = message.to_owned();
        if sqlstate.starts_with(DATA_EXCEPTION) {
            text = without_quoted(&text);
        }
        let values = self
            .statements
            .get(choice.statement)
            .and_then(|statement| statement.values.get(choice.set))
            .into_iter()
            .flatten()
            .flatten();
        for value in values.filter(|value| value.chars().count() >= SHORTEST_REDACTED) {
            text = text.replace(value.as_str(), "…");
        }
        format!("{sqlstate} {text}")
    }
}

fn refused(statement: &WorkloadStatement, reason: String) -> LoadError {
    LoadError::Statement { statement: statement.id.clone(), reason }
}

fn encode(statement: &WorkloadStatement) -> Result<Encoded, LoadError> {
    let mut values = statement.parameters.clone();
    if values.is_empty() {
        values.push(Vec::new());
    }
    // A text that cannot be scanned is for the server to judge.
    if let Ok(parameters) = pgassay_sql::parameter_count(&statement.sql)
        && let Some(set) = values.iter().find(|set| set.len() != parameters)
    {
        return Err(refused(
            statement,
            format!("it has {parameters} parameters and {} values were given", set.len()),
        ));
    }
    let failed = |error: &dyn std::fmt::Display| refused(statement, error.to_string());
    let mut parse = BytesMut::new();
    frontend::parse("", &statement.sql, std::iter::empty(), &mut parse)
        .map_err(|error| failed(&error))?;
    let binds = values.iter().map(|set| bind(set).map_err(|reason| refused(statement, reason)));
    Ok(Encoded { parse, binds: binds.collect::<Result<_, _>>()?, values })
}

/// Bind to the unnamed statement, values and results as text.
fn bind(values: &[Option<String>]) -> Result<BytesMut, String> {
    let mut bytes = BytesMut::new();
    frontend::bind(
        "",
        "",
        std::iter::empty(),
        values,
        |value, bytes| {
            Ok(match value {
                Some(text) => {
                    bytes.put_slice(text.as_bytes());
                    IsNull::No
                }
                None => IsNull::Yes,
            })
        },
        std::iter::empty(),
        &mut bytes,
    )
    .map_err(|error| match error {
        frontend::BindError::Conversion(error) => error.to_string(),
        frontend::BindError::Serialization(error) => error.to_string(),
    })?;
    Ok(bytes)
}

/// What stands in quotation marks, in any language's, replaced by an ellipsis.
fn without_quoted(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    let mut closing: Option<&[char]> = None;
    for character in message.chars() {
        match closing {
            Some(marks) if marks.contains(&character) => {
                text.push('…');
                text.push(character);
                closing = None;
            }
            Some(_) => {}
            None => {
                text.push(character);
                closing = match character {
                    '"' => Some(&['"']),
                    '«' => Some(&['»']),
                    '»' => Some(&['«']),
                    '„' => Some(&['“', '”']),
                    '“' => Some(&['”']),
                    '「' => Some(&['」']),
                    _ => None,
                };
            }
        }
    }
    if closing.is_some() {
        text.push('…');
    }
    text
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
                    queryid: None,
                })
                .collect(),
            skipped: Vec::new(),
            scripts: Vec::new(),
            sessions: Vec::new(),
        }
    }

    fn values(values: &[&str]) -> Values {
        values.iter().map(|value| vec![Some((*value).to_owned())]).collect()
    }

    #[test]
    fn statements_come_as_often_as_their_weights_say() {
        let requests =
            Requests::new(&workload(&[("SELECT 1", 8.0, vec![]), ("SELECT 2", 2.0, vec![])]))
                .unwrap();
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let first = (0..10_000).filter(|_| requests.choose(&mut random).statement == 0).count();
        assert!((7_800..8_200).contains(&first), "{first}");
    }

    #[test]
    fn the_same_seed_chooses_the_same_requests() {
        let requests = Requests::new(&workload(&[
            ("SELECT $1", 1.0, values(&["1", "2", "3"])),
            ("SELECT 2", 2.0, vec![]),
        ]))
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
        let error = Requests::new(&workload(&[("SELECT $1", 1.0, vec![])])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "statement s0 cannot be driven: it has 1 parameters and 0 values were given"
        );
        assert!(Requests::new(&workload(&[("SELECT 1", 0.0, vec![])])).is_err());
        assert!(matches!(Requests::new(&workload(&[])), Err(LoadError::EmptyWorkload)));
    }

    #[test]
    fn an_error_message_loses_its_values() {
        let requests =
            Requests::new(&workload(&[("SELECT $1", 1.0, values(&["hunter2"]))])).unwrap();
        let choice = Choice { statement: 0, set: 0 };
        assert_eq!(
            requests.redact(choice, "22P02", "invalid input syntax for type integer: \"12x\""),
            "22P02 invalid input syntax for type integer: \"…\""
        );
        assert_eq!(requests.redact(choice, "P0001", "no hunter2 here"), "P0001 no … here");
        assert_eq!(
            requests.redact(choice, "42P01", "relation \"users\" does not exist"),
            "42P01 relation \"users\" does not exist"
        );
    }
}
