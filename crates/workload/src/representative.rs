//! Whether drawn values ask the server for what the application's do: rows and blocks per call of a few sets, under
//! EXPLAIN (ANALYZE), against those of pg_stat_statements (design "verification", capture and replay).

use crate::WorkloadError;
use crate::known_reads::{escapes, locks_its_session};
use crate::probe::unreadable;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::StatementStatistics;
use pgassay_model::workload::{Workload, WorkloadStatement};
use pgassay_postgres::what_if::TextValue;
use pgassay_postgres::{PostgresError, Session};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio_postgres::types::{FromSql, ToSql, Type};

/// Sets of each statement that are run at first; of one that looks off all that are run.
const FIRST_SETS: usize = 3;
const MOST_SETS: usize = 15;
/// Statements with fewer calls have no mean that says much.
const LEAST_CALLS: u64 = 10;
/// A single execution is cancelled after this; statements whose mean is above half of it are not run.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Means that are further apart than this are no accident of which sets were taken. It is a rule, not a test: a few
/// sets of a skewed column have no interval that is worth stating.
const FACTOR: f64 = 3.0;
/// Added to both sides, so that 1 row is not taken for 10 times 0.1 rows, nor the blocks of a higher index tree or
/// of a page not yet marked all-visible for more work.
const SLACK_ROWS: f64 = 0.5;
const SLACK_BLOCKS: f64 = 16.0;

const DOING: &str = "checking values with EXPLAIN (ANALYZE)";

/// How values are checked.
#[derive(Debug, Clone)]
pub struct CheckOptions {
    /// All executions together end after this.
    pub time: Duration,
    /// Stops the checking; what was found until then holds.
    pub interrupt: Interrupt,
}

impl Default for CheckOptions {
    fn default() -> Self {
        CheckOptions { time: Duration::from_secs(5), interrupt: Interrupt::default() }
    }
}

/// What was checked. What was found stands with the statements (`not_representative`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Statements checked.
    pub statements: usize,
    /// Executions for it.
    pub executions: usize,
    /// Statements with drawn values that could not be checked, by reason.
    pub unchecked: BTreeMap<String, usize>,
}

/// Runs each statement that reads, and whose values were drawn, with a few of its sets, in read-only transactions
/// that are rolled back, and marks those whose rows or blocks per call are off by more than a factor of 3 (0.5 rows
/// and 16 blocks of slack), and as writing what is refused there for that (25006).
///
/// A load on the server, but a small one: statements that it runs anyway, up to 3 sets of each and up to 15 of one that
/// looks off, `options.time` in all.
pub async fn check_values(
    workload: &mut Workload,
    session: &Session,
    statistics: &[StatementStatistics],
    options: &CheckOptions,
) -> Result<Checked, WorkloadError> {
    let known: HashMap<i64, &StatementStatistics> =
        statistics.iter().map(|own| (own.queryid, own)).collect();
    let end = Instant::now() + options.time;
    let mut checked = Checked::default();
    for statement in workload.statements.iter_mut().filter(|statement| is_drawn(statement)) {
        let own = statement.queryid.and_then(|queryid| known.get(&queryid)).copied();
        let outcome = match (own, statement.writes) {
            (_, true) => Outcome::Unchecked("they write"),
            _ if escapes(&statement.sql) => Outcome::Unchecked("reach beyond this server"),
            _ if locks_its_session(&statement.sql) => {
                Outcome::Unchecked("take locks of their session")
            }
            (None, _) => Outcome::Unchecked("not in pg_stat_statements"),
            (Some(own), _) if own.calls < LEAST_CALLS => Outcome::Unchecked("under 10 calls"),
            (Some(own), _) if mean_ms(own) > TIMEOUT.as_secs_f64() * 500.0 => {
                Outcome::Unchecked("over 500 ms each")
            }
            _ if options.interrupt.requested() => Outcome::Unchecked("interrupted"),
            (Some(own), _) => {
                run(statement, session, own, end, options, &mut checked.executions).await?
            }
        };
        match outcome {
            Outcome::Unchecked(reason) => {
                *checked.unchecked.entry(reason.to_owned()).or_default() += 1;
            }
            Outcome::Writes => {
                statement.writes = true;
                *checked.unchecked.entry("write by their functions".to_owned()).or_default() += 1;
            }
            Outcome::Checked(off) => {
                checked.statements += 1;
                statement.not_representative = off;
            }
        }
    }
    Ok(checked)
}

enum Outcome {
    Unchecked(&'static str),
    /// A read-only transaction refused it, whatever its text says.
    Writes,
    /// What is off, in words.
    Checked(Option<String>),
}

/// Values that were neither given nor captured.
fn is_drawn(statement: &WorkloadStatement) -> bool {
    let source = statement.parameter_source.as_str();
    !statement.parameters.is_empty()
        && !matches!(source, "" | "given" | "none needed")
        && !source.starts_with("log")
}

fn mean_ms(own: &StatementStatistics) -> f64 {
    own.total_exec_ms / own.calls.max(1) as f64
}

async fn run(
    statement: &WorkloadStatement,
    session: &Session,
    own: &StatementStatistics,
    end: Instant,
    options: &CheckOptions,
    executions: &mut usize,
) -> Result<Outcome, WorkloadError> {
    let mut seen = Seen::default();
    let order = order(statement.parameters.len());
    for (number, set) in order.iter().filter_map(|set| statement.parameters.get(*set)).enumerate() {
        if number >= FIRST_SETS && (seen.off(own).is_none() || options.interrupt.requested()) {
            break;
        }
        let left = end.saturating_duration_since(Instant::now()).min(TIMEOUT);
        // A mean that does not fit would be cancelled for nothing.
        if left.is_zero() || left.as_secs_f64() * 500.0 < mean_ms(own) {
            break;
        }
        *executions += 1;
        match explain(session, &statement.sql, set, left).await? {
            Ok((rows, blocks)) => seen.add(rows, blocks),
            // query_canceled: by our own timeout
            Err(sqlstate) if sqlstate == "57014" => {
                let (left, mean) = (left.as_secs_f64() * 1e3, mean_ms(own));
                return Ok(if left >= FACTOR * FACTOR * mean {
                    Outcome::Checked(Some(format!(
                        "over {left:.0} ms with one of its sets, {mean:.1} ms on average in {} calls of the application (pg_stat_statements)",
                        own.calls
                    )))
                } else {
                    Outcome::Unchecked("cancelled after a second")
                });
            }
            Err(sqlstate) => {
                return Ok(match sqlstate.as_str() {
                    "25006" => Outcome::Writes,
                    "55P03" => Outcome::Unchecked("on relations that are locked"),
                    _ => Outcome::Unchecked("that the server refused"),
                });
            }
        }
    }
    Ok(if seen.count == 0 {
        Outcome::Unchecked("no time left")
    } else {
        Outcome::Checked(seen.off(own))
    })
}

/// Sets spread over all, the first few of them spread too.
pub(crate) fn order(sets: usize) -> Vec<usize> {
    let count = sets.min(MOST_SETS);
    let step = count.div_ceil(FIRST_SETS).max(1);
    (0..step)
        .flat_map(|first| (first..count).step_by(step))
        .map(|place| place * sets / count)
        .collect()
}

/// What executions took.
#[derive(Debug, Default)]
struct Seen {
    count: u32,
    rows: f64,
    blocks: f64,
}

impl Seen {
    fn add(&mut self, rows: f64, blocks: f64) {
        self.count += 1;
        self.rows += rows;
        self.blocks += blocks;
    }

    /// In what they differ from the application's calls.
    fn off(&self, own: &StatementStatistics) -> Option<String> {
        let (count, calls) = (f64::from(self.count.max(1)), own.calls.max(1) as f64);
        let blocks = (own.shared_hit + own.shared_read) as f64;
        let found = [
            ("rows", self.rows / count, own.rows as f64 / calls, SLACK_ROWS),
            ("blocks", self.blocks / count, blocks / calls, SLACK_BLOCKS),
        ]
        .into_iter()
        .filter(|(_, drawn, asked, slack)| differ(*drawn, *asked, *slack))
        .map(|(what, drawn, asked, _)| {
            format!("{} {what} per call, the application's {}", short(drawn), short(asked))
        })
        .collect::<Vec<_>>();
        (!found.is_empty()).then(|| {
            format!(
                "{} (means of {} sets and of {} calls in pg_stat_statements)",
                found.join("; "),
                self.count,
                own.calls
            )
        })
    }
}

fn differ(a: f64, b: f64, slack: f64) -> bool {
    a.max(b) + slack >= FACTOR * (a.min(b) + slack)
}

fn short(number: f64) -> String {
    if number >= 10.0 { format!("{number:.0}") } else { format!("{number:.1}") }
}

/// Rows and shared blocks of one execution; the inner error is the SQLSTATE with which the server refused it.
pub(crate) async fn explain(
    session: &Session,
    sql: &str,
    set: &[Option<String>],
    timeout: Duration,
) -> Result<Result<(f64, f64), String>, WorkloadError> {
    let reading = session.read(DOING).await?;
    let settings = format!(
        "SELECT pg_catalog.set_config('statement_timeout', '{}', true),
                pg_catalog.set_config('standard_conforming_strings', 'on', true) /* pgassay */",
        timeout.as_millis().max(1)
    );
    reading.rows(&settings, &[]).await?;
    let sql = format!(
        "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) /* pgassay */ {}",
        sql.trim().trim_end_matches(';')
    );
    let values: Vec<TextValue<'_>> = set.iter().map(|value| TextValue(value.as_deref())).collect();
    let values: Vec<(&(dyn ToSql + Sync), Type)> =
        values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN)).collect();
    let rows = reading.rows(&sql, &values).await;
    reading.end().await?;
    match rows {
        Ok(rows) => {
            let text = match rows.first().map(|row| row.try_get::<_, Json<'_>>(0)) {
                Some(Ok(Json(text))) => text,
                Some(Err(error)) => return Err(unreadable(DOING, &error).into()),
                None => "",
            };
            figures(text).map(Ok).map_err(|message| {
                PostgresError::Query { doing: DOING.to_owned(), message, sqlstate: None }.into()
            })
        }
        Err(error) => match error.sqlstate() {
            Some(sqlstate) => Ok(Err(sqlstate.to_owned())),
            None => Err(error.into()),
        },
    }
}

/// `Actual Rows` and the shared blocks of a plan's root, which hold those of the nodes below it (manual, EXPLAIN).
fn figures(document: &str) -> Result<(f64, f64), String> {
    let document: serde_json::Value =
        serde_json::from_str(document).map_err(|error| error.to_string())?;
    let root = document.get(0).and_then(|plan| plan.get("Plan"));
    let number = |name: &str| root.and_then(|root| root.get(name)).and_then(|found| found.as_f64());
    let rows = number("Actual Rows").ok_or("EXPLAIN gave no row count")?;
    let blocks =
        ["Shared Hit Blocks", "Shared Read Blocks"].map(|name| number(name).unwrap_or(0.0));
    Ok((rows, blocks.iter().sum()))
}

/// A `json` column's text.
struct Json<'a>(&'a str);

impl<'a> FromSql<'a> for Json<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Json(std::str::from_utf8(raw)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSON
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_differences_are_none_and_small_numbers_are_not_blown_up() {
        for (a, b) in [(1.0, 1.0), (1.0, 0.2), (100.0, 40.0), (2.0, 1.0)] {
            assert!(!differ(a, b, SLACK_ROWS) && !differ(b, a, SLACK_ROWS), "{a} {b}");
        }
        for (a, b) in [(1.0, 0.0), (100.0, 30.0), (5.0, 1.0), (4000.0, 1.0)] {
            assert!(differ(a, b, SLACK_ROWS) && differ(b, a, SLACK_ROWS), "{a} {b}");
        }
        assert!(!differ(4.0, 30.0, SLACK_BLOCKS) && differ(4.0, 300.0, SLACK_BLOCKS));
    }

    #[test]
    fn figures_are_those_of_the_root() {
        let of = |rows: &str| {
            figures(&format!(
                "[{{\"Plan\": {{\"Actual Rows\": {rows}, \"Shared Hit Blocks\": 3, \"Shared Read Blocks\": 1}}}}]"
            ))
        };
        assert_eq!(of("7"), Ok((7.0, 4.0)));
        assert_eq!(of("0.50"), Ok((0.5, 4.0)));
        assert!(figures("[]").is_err() && figures("").is_err());
    }

    proptest! {
        #[test]
        fn sets_are_chosen_once_and_exist(sets in 0_usize..300) {
            let mut chosen = order(sets);
            prop_assert_eq!(chosen.len(), sets.min(MOST_SETS));
            prop_assert!(chosen.iter().all(|set| *set < sets));
            chosen.sort_unstable();
            chosen.dedup();
            prop_assert_eq!(chosen.len(), sets.min(MOST_SETS));
        }
    }
}
