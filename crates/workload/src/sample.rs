//! Rows of a relation, sampled together so that the correlation of its columns is kept.

use crate::WorkloadError;
use crate::plan::{Group, Output};
use crate::probe::unreadable;
use pgassay_model::relation::Relation;
use pgassay_postgres::Session;
use pgassay_sql::{Subject, quote_identifier, quote_qualified};

/// Rows sampled for one statement.
pub(crate) const SAMPLE_ROWS: usize = 200;
/// Relations up to this many pages are read whole (16 MB), larger ones in as many pages chosen at random.
const WHOLE_PAGES: u64 = 2000;
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

/// How rows are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Method {
    /// All rows, in an order that the seed decides.
    Whole,
    /// A percentage of the pages.
    Pages(f64),
    /// The first that come.
    First,
}

/// Up to [`SAMPLE_ROWS`] rows, the same for the same seed while the relation does not change.
pub(crate) async fn rows(
    session: &Session,
    relation: &Relation,
    group: &Group,
    seed: u64,
) -> Result<Result<Vec<SampledRow>, Unreadable>, WorkloadError> {
    let pages = match relation.kind {
        'p' => partition_pages(session, relation.oid).await?,
        _ => relation.pages,
    };
    let method = match relation.kind {
        'f' => Method::First,
        _ if pages <= WHOLE_PAGES => Method::Whole,
        _ => Method::Pages(100.0 * SAMPLE_PAGES as f64 / pages as f64),
    };
    let sampled = query(session, group, method, seed).await?;
    match sampled {
        Ok(rows) if rows.len() < TOO_FEW && matches!(method, Method::Pages(_)) => {
            match query(session, group, Method::First, seed).await? {
                Ok(more) if more.len() > rows.len() => Ok(Ok(more)),
                _ => Ok(Ok(rows)),
            }
        }
        other => Ok(other),
    }
}

async fn query(
    session: &Session,
    group: &Group,
    method: Method,
    seed: u64,
) -> Result<Result<Vec<SampledRow>, Unreadable>, WorkloadError> {
    let sql = sample_sql(group, method, seed);
    let reading = session.read("sampling rows").await?;
    for setting in [
        &*format!("SET LOCAL statement_timeout = {TIMEOUT_MS} /* pgassay */"),
        "SET LOCAL datestyle = 'ISO, YMD' /* pgassay */",
        "SET LOCAL intervalstyle = 'postgres' /* pgassay */",
        "SET LOCAL bytea_output = 'hex' /* pgassay */",
        "SET LOCAL extra_float_digits = 1 /* pgassay */",
    ] {
        reading.rows(setting, &[]).await?;
    }
    let result = reading.rows(&sql, &[]).await;
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
    let rows: Result<Vec<SampledRow>, tokio_postgres::Error> = rows
        .iter()
        .map(|row| (0..group.outputs.len()).map(|column| row.try_get(column)).collect())
        .collect();
    Ok(Ok(rows.map_err(|error| unreadable("reading sampled rows", &error))?))
}

/// `hashtextextended` of a row's address orders rows at random and yet the same every time; it is what
/// hash partitioning of text uses, with a seed.
fn sample_sql(group: &Group, method: Method, seed: u64) -> String {
    let columns: Vec<String> = group
        .outputs
        .iter()
        .enumerate()
        .map(|(index, output)| format!("{} AS v{index}", expression(output)))
        .collect();
    let known: Vec<String> = group
        .outputs
        .iter()
        .filter(|output| !output.nullable)
        .map(|output| format!("{} IS NOT NULL", expression(output)))
        .collect();
    let condition =
        if known.is_empty() { String::new() } else { format!(" WHERE {}", known.join(" AND ")) };
    let values: Vec<String> = group
        .outputs
        .iter()
        .enumerate()
        .map(|(index, output)| {
            let value = if output.next {
                format!(
                    "COALESCE((SELECT o.v{index} FROM sample AS o WHERE o.v{index} > s.v{index} ORDER BY 1 LIMIT 1), s.v{index})"
                )
            } else {
                format!("s.v{index}")
            };
            format!("{value}::{}::pg_catalog.text", output.type_name)
        })
        .collect();
    let name = quote_qualified(&group.relation.schema, &group.relation.name);
    let seed_of_hash = seed as i64;
    let place = format!("pg_catalog.hashtextextended(ctid::pg_catalog.text, {seed_of_hash})");
    let (from, place) = match method {
        Method::Whole => (name, place),
        Method::Pages(percentage) => {
            // REPEATABLE takes a float8: small enough to be exact.
            let seed = seed % (1 << 31);
            (format!("{name} TABLESAMPLE SYSTEM ({percentage:.6}) REPEATABLE ({seed})"), place)
        }
        Method::First => (name, "0::pg_catalog.int8".to_owned()),
    };
    let order = match method {
        Method::First => String::new(),
        Method::Whole | Method::Pages(_) => " ORDER BY place, part".to_owned(),
    };
    format!(
        "WITH sample AS MATERIALIZED (SELECT {columns}, {place} AS place, tableoid AS part FROM {from}{condition}{order} LIMIT {SAMPLE_ROWS}) \
         SELECT {values} FROM sample AS s ORDER BY s.place, s.part /* pgassay */",
        columns = columns.join(", "),
        values = values.join(", "),
    )
}

fn expression(output: &Output) -> String {
    match &output.subject {
        Subject::Column(column) => quote_identifier(column),
        Subject::Expression(text) => format!("({text})"),
    }
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
    relation: &pgassay_model::index::RelationName,
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
