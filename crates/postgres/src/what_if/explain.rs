//! EXPLAIN of a statement with values for its parameters, under parameters set for one transaction.

use super::plan::Json;
use crate::{PostgresError, Session};
use bytes::BytesMut;
use futures_util::future::join_all;
use pgassay_model::workload::WorkloadStatement;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// How many parameter sets of a statement are planned with, spread evenly over those it has.
const PARAMETER_SETS: usize = 5;
const DOING: &str = "planning";

/// Why there is no plan.
#[derive(Debug)]
pub enum Failure {
    /// A parameter of the server could not be set.
    Parameter(PostgresError),
    /// The statement could not be planned.
    Plan(PostgresError),
}

/// A session that explains.
#[derive(Debug)]
pub struct Explain {
    session: Session,
    calls: AtomicU64,
}

impl Explain {
    /// Explains in this session.
    pub fn new(session: Session) -> Self {
        Explain { session, calls: AtomicU64::new(0) }
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// EXPLAINs so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Plans of a statement, one for each of up to five parameter sets.
    pub async fn statement(
        &self,
        statement: &WorkloadStatement,
        parameters: &[(String, String)],
    ) -> Result<Vec<serde_json::Value>, Failure> {
        let sql = explain(&statement.sql);
        let sets = spread(&statement.parameters);
        self.calls.fetch_add(sets.len() as u64, Ordering::Relaxed);
        if parameters.is_empty() && !self.session.pooled() {
            // The session's guards hold, and one round trip is a third of the time of three.
            // All are sent before the first is answered.
            let asked = join_all(sets.iter().map(|set| self.plain(&sql, set))).await;
            return asked.into_iter().map(|plan| plan.map_err(Failure::Plan)).collect();
        }
        let mut plans = Vec::with_capacity(sets.len());
        let reading = self.session.read(DOING).await.map_err(Failure::Plan)?;
        let result = async {
            for (name, value) in parameters {
                let set = "SELECT pg_catalog.set_config($1, $2, true) /* pgassay */";
                reading
                    .rows(set, &[(name, Type::TEXT), (value, Type::TEXT)])
                    .await
                    .map_err(Failure::Parameter)?;
            }
            for set in sets {
                let values = typed(set);
                let rows = reading.rows(&sql, &borrowed(&values)).await.map_err(Failure::Plan)?;
                plans.push(Json::first(&rows, DOING).map_err(Failure::Plan)?);
            }
            Ok(plans)
        }
        .await;
        let end = reading.end().await;
        let plans = result?;
        end.map_err(Failure::Plan)?;
        Ok(plans)
    }

    /// The plan of a statement of our own, without parameters.
    pub async fn own(&self, sql: &str) -> Result<serde_json::Value, PostgresError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !self.session.pooled() {
            return self.plain(&explain(sql), &[]).await;
        }
        let reading = self.session.read(DOING).await?;
        let rows = reading.rows(&explain(sql), &[]).await;
        reading.end().await?;
        Json::first(&rows?, DOING)
    }

    async fn plain(
        &self,
        sql: &str,
        set: &[Option<String>],
    ) -> Result<serde_json::Value, PostgresError> {
        let values = typed(set);
        let rows = self
            .session
            .client()
            .query_typed(sql, &borrowed(&values))
            .await
            .map_err(|error| PostgresError::query(DOING, &error))?;
        Json::first(&rows, DOING)
    }
}

/// Without ANALYZE nothing is executed, so that INSERT, UPDATE and DELETE can be explained too, also in a
/// read-only transaction.
fn explain(sql: &str) -> String {
    format!("EXPLAIN (FORMAT JSON) /* pgassay */ {}", sql.trim().trim_end_matches(';'))
}

fn spread(sets: &[Vec<Option<String>>]) -> Vec<&[Option<String>]> {
    if sets.is_empty() {
        return vec![&[]];
    }
    let count = sets.len().min(PARAMETER_SETS);
    (0..count).filter_map(|place| sets.get(place * sets.len() / count)).map(Vec::as_slice).collect()
}

/// A value in text form, bound without a type: the server infers the parameter's type from the statement,
/// plans with the value as a constant, and no value becomes part of a text.
#[derive(Debug)]
pub struct TextValue<'a>(pub Option<&'a str>);

impl ToSql for TextValue<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

fn typed(set: &[Option<String>]) -> Vec<TextValue<'_>> {
    set.iter().map(|value| TextValue(value.as_deref())).collect()
}

fn borrowed<'a>(values: &'a [TextValue<'a>]) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN)).collect()
}
