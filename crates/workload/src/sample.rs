//! Rows of a relation, sampled together so that the correlation of its columns is kept.

use crate::WorkloadError;
use crate::plan::{Edge, Group};
use crate::probe::unreadable;
use crate::sample_query::{Method, Query};
use pgassay_model::index::RelationName;
use pgassay_model::relation::Relation;
use pgassay_postgres::Session;
use pgassay_sql::{quote_identifier, quote_qualified};

/// Rows sampled for one statement.
pub(crate) const SAMPLE_ROWS: usize = 200;
/// Relations up to this many pages are read whole (8 MB), larger ones in pages chosen at random.
const WHOLE_PAGES: u64 = 1000;
/// Pages read of a larger relation: twice the rows wanted, so that most rows come from pages of their own.
const SAMPLE_PAGES: u64 = 400;
/// A sample smaller than this is looked for again without choosing pages (a column that is mostly NULL).
const TOO_FEW: usize = 20;
/// Time for one sample.
const TIMEOUT_MS: u32 = 5000;

/// One sampled row: a value for each output.
pub(crate) type SampledRow = Vec<Option<String>>;

/// Why rows could not be read, where that is no failure of the connection.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// Not permitted, or not in time: statistics may stand in.
    Refused(String),
    /// The values can't be used as the parameters' types.
    Unusable(String),
}

/// Up to [`SAMPLE_ROWS`] rows of `base`, with one row of each group that `edges` lead to; by group, in that
/// order. The same for the same seed while the relations do not change.
pub(crate) async fn rows(
    session: &Session,
    relation: &Relation,
    groups: &[Group],
    base: usize,
    edges: &[Edge],
    seed: u64,
) -> Result<Result<Vec<Vec<SampledRow>>, Unreadable>, WorkloadError> {
    let pages = match relation.kind {
        'p' => partition_pages(session, relation.oid).await?,
        _ => relation.pages,
    };
    let method = match relation.kind {
        'f' => Method::First,
        _ if pages <= WHOLE_PAGES => Method::Whole,
        _ => Method::Pages(100.0 * SAMPLE_PAGES as f64 / pages as f64),
    };
    let query = Query { groups, base, edges, seed };
    let sampled = run(session, &query, method).await?;
    let few = matches!(&sampled, Ok(rows) if rows.iter().any(|rows| rows.len() < TOO_FEW));
    if few && matches!(method, Method::Pages(_)) {
        return run(session, &query, Method::First).await;
    }
    Ok(sampled)
}

async fn run(
    session: &Session,
    query: &Query<'_>,
    method: Method,
) -> Result<Result<Vec<Vec<SampledRow>>, Unreadable>, WorkloadError> {
    let doing = "sampling rows";
    let reading = session.read(doing).await?;
    // Text forms that every session reads alike.
    let settings = format!(
        "SELECT pg_catalog.set_config('statement_timeout', '{TIMEOUT_MS}', true),
                pg_catalog.set_config('datestyle', 'ISO, YMD', true),
                pg_catalog.set_config('intervalstyle', 'postgres', true),
                pg_catalog.set_config('bytea_output', 'hex', true),
                pg_catalog.set_config('extra_float_digits', '1', true) /* pgassay */"
    );
    reading.rows(&settings, &[]).await?;
    let result = reading.rows(&query.sql(method), &[]).await;
    reading.end().await?;
    let rows = match result {
        Ok(rows) => rows,
        Err(error) => {
            let reason = error.to_string();
            return match error.sqlstate() {
                None => Err(error.into()),
                // insufficient_privilege, query_canceled, lock_not_available
                Some("42501" | "57014" | "55P03") => Ok(Err(Unreadable::Refused(reason))),
                Some(_) => Ok(Err(Unreadable::Unusable(reason))),
            };
        }
    };
    let mut first = 0;
    let mut sampled = Vec::new();
    for group in query.reached() {
        let columns = first..first + group.outputs.len();
        first = columns.end;
        let of_group: Result<Vec<SampledRow>, tokio_postgres::Error> = rows
            .iter()
            .map(|row| columns.clone().map(|column| row.try_get(column)).collect())
            .collect();
        sampled.push(of_group.map_err(|error| unreadable(doing, &error))?);
    }
    Ok(Ok(sampled))
}

/// Pages of all partitions.
async fn partition_pages(session: &Session, oid: u32) -> Result<u64, WorkloadError> {
    let doing = "measuring partitions";
    let reading = session.read(doing).await?;
    let sql = format!(
        "SELECT (COALESCE(pg_catalog.sum(pg_catalog.pg_relation_size(relid)), 0)
                 / pg_catalog.current_setting('block_size')::pg_catalog.int8)::pg_catalog.int8
         FROM pg_catalog.pg_partition_tree({oid}::pg_catalog.regclass) /* pgassay */"
    );
    let row = reading.row(&sql, &[]).await;
    reading.end().await?;
    let pages: i64 = match row? {
        Some(row) => row.try_get(0).map_err(|error| unreadable(doing, &error))?,
        None => 0,
    };
    Ok(u64::try_from(pages).unwrap_or(0))
}

/// The greatest value of a column, for new ones above it; 0 where the relation is empty.
pub(crate) async fn greatest(
    session: &Session,
    relation: &RelationName,
    column: &str,
) -> Result<Result<i128, String>, WorkloadError> {
    let doing = "looking for the greatest value";
    let reading = session.read(doing).await?;
    let sql = format!(
        "SELECT pg_catalog.trunc(pg_catalog.max({})::pg_catalog.numeric)::pg_catalog.text FROM {} /* pgassay */",
        quote_identifier(column),
        quote_qualified(&relation.schema, &relation.name)
    );
    reading.rows(&format!("SET LOCAL statement_timeout = {TIMEOUT_MS} /* pgassay */"), &[]).await?;
    let row = reading.row(&sql, &[]).await;
    reading.end().await?;
    match row {
        Ok(row) => {
            let text: Option<String> = match row {
                Some(row) => row.try_get(0).map_err(|error| unreadable(doing, &error))?,
                None => None,
            };
            Ok(Ok(text.and_then(|text| text.parse().ok()).unwrap_or(0)))
        }
        Err(error) if error.sqlstate().is_some() => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}
