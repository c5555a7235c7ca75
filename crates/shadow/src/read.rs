//! Reads a [`Blueprint`] from a target, in one read-only transaction of bounded catalog queries.

mod endpoints;
mod heights;
mod meter;
mod schema;
mod statistics;

use crate::ShadowError;
use crate::blueprint::{Blueprint, Database, Lacking, SCHEMA, Size, Taken};
use meter::Metered;
use pgassay_model::index::RelationName;
use pgassay_postgres::Session;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

const DOING: &str = "reading what the planner reads";
const SETTINGS: &str = include_str!("sql/settings.130000.sql");
const SIZES: &str = include_str!("sql/sizes.130000.sql");
const LOCKED: &str = include_str!("sql/locked.130000.sql");
const DATABASE: &[(u32, &str)] = &[
    (130_000, include_str!("sql/database.130000.sql")),
    (150_000, include_str!("sql/database.150000.sql")),
    (170_000, include_str!("sql/database.170000.sql")),
];

/// What a blueprint is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Whether rows at the ends of indexes are copied: the planner looks them up in place of a stale histogram.
    pub endpoints: bool,
}

impl Default for ReadOptions {
    /// With the rows at the ends of indexes.
    fn default() -> Self {
        ReadOptions { endpoints: true }
    }
}

/// Reads the database behind `session`.
pub async fn read(session: &Session, options: &ReadOptions) -> Result<Blueprint, ShadowError> {
    let reading = Metered::begin(session, DOING).await?;
    let result = read_all(session, &reading, options).await;
    let end = reading.end().await;
    let mut blueprint = result?;
    blueprint.taken = end?;
    Ok(blueprint)
}

/// So that none of what is read counts as a scan of an index: whoever looks for unused ones looks there. For a
/// superuser, and from 15 on for whom it was granted to.
const UNCOUNTED: &str = "SET LOCAL track_counts = off /* pgassay */";

async fn read_all(
    session: &Session,
    reading: &Metered<'_>,
    options: &ReadOptions,
) -> Result<Blueprint, ShadowError> {
    let version_num = session.version_num();
    // Settings come first: they are those of the application, until texts are asked for in a form that any
    // session reads back.
    let settings = reading
        .rows(SETTINGS, &[])
        .await?
        .iter()
        .map(|row| Ok((field(row, "name")?, field(row, "setting")?)))
        .collect::<Result<Vec<(String, String)>, ShadowError>>()?;
    reading.batch(NEUTRAL).await?;
    let uncounted = reading.attempt(UNCOUNTED, &[]).await?.is_ok();
    let row = reading
        .row(newest(version_num, DATABASE), &[])
        .await?
        .ok_or_else(|| unexpected("the database is not in pg_database"))?;
    let database = Database {
        encoding: field(&row, "encoding")?,
        collate: field(&row, "collate")?,
        ctype: field(&row, "ctype")?,
        provider: field(&row, "provider")?,
        locale: field(&row, "locale")?,
        block_size: u32::try_from(field::<i32>(&row, "block_size")?).unwrap_or(0),
    };
    let rights = statistics::Rights {
        columns: field(&row, "reads_statistics")?,
        extended: field(&row, "reads_extended")?,
    };
    let mut blueprint = Blueprint {
        schema: SCHEMA.to_owned(),
        version_num,
        database,
        settings,
        beginnings: schema::beginnings(reading).await?,
        definitions: schema::definitions(reading, version_num).await?,
        views: schema::views(reading).await?,
        sizes: Vec::new(),
        statistics: Vec::new(),
        extended: Vec::new(),
        enums: schema::enums(reading).await?,
        endpoints: Vec::new(),
        lacking: Vec::new(),
        taken: Taken::default(),
    };
    sizes(reading, &mut blueprint).await?;
    statistics::read(reading, version_num, rights, &mut blueprint).await?;
    heights::read(reading, &mut blueprint).await?;
    if options.endpoints {
        endpoints::read(reading, uncounted, &mut blueprint).await?;
    }
    Ok(blueprint)
}

/// Texts that mean the same in every session; with only pg_catalog to search, all other names come qualified.
pub(crate) const NEUTRAL: &str = "SET LOCAL search_path = pg_catalog; SET LOCAL DateStyle = 'ISO, MDY'; \
    SET LOCAL IntervalStyle = postgres; SET LOCAL TimeZone = 'UTC'; SET LOCAL extra_float_digits = 1; \
    SET LOCAL bytea_output = hex; SET LOCAL lc_monetary = 'C'; SET LOCAL lc_numeric = 'C'; \
    SET LOCAL quote_all_identifiers = off /* pgassay */";

async fn sizes(reading: &Metered<'_>, blueprint: &mut Blueprint) -> Result<(), ShadowError> {
    for row in &reading.rows(LOCKED, &[]).await? {
        let why = "it was under an ACCESS EXCLUSIVE lock";
        blueprint.lacking.push(Lacking::grave(name(row)?, "all of it", why));
    }
    for row in &reading.rows(SIZES, &[]).await? {
        let size = Size {
            schema: field(row, "schema")?,
            name: field(row, "name")?,
            kind: field(row, "kind")?,
            method: field(row, "method")?,
            of_relation: field(row, "of_relation")?,
            relpages: field(row, "relpages")?,
            reltuples: field(row, "reltuples")?,
            relallvisible: field(row, "relallvisible")?,
            pages: u64::try_from(field::<i64>(row, "pages")?).unwrap_or(0),
            height: None,
            first_page: None,
        };
        let is_heap = size.method.as_deref().is_none_or(|method| method == "heap");
        let why = if size.kind == "f" {
            Some(("it is foreign: only its server plans it", true))
        } else if size.kind == "r" && !is_heap {
            Some(("its access method is not heap", true))
        } else if field(row, "row_security")? {
            Some(("row-level security acts on it for this role", false))
        } else if field(row, "page_costs")? {
            Some(("its tablespace has page costs of its own", false))
        } else {
            None
        };
        if let Some((why, grave)) = why {
            let name = size.of_relation.clone().unwrap_or_else(|| size.name.clone());
            let relation = Some(RelationName { schema: size.schema.clone(), name });
            let (what, why) = ("its plans".to_owned(), why.to_owned());
            blueprint.lacking.push(Lacking { relation, what, why, grave });
        }
        if size.kind != "f" {
            blueprint.sizes.push(size);
        }
    }
    Ok(())
}

/// A column of a row.
pub(crate) fn field<'r, T: FromSql<'r>>(row: &'r Row, name: &str) -> Result<T, ShadowError> {
    row.try_get(name).map_err(|error| unexpected(format!("column {name}: {error}")))
}

fn name(row: &Row) -> Result<RelationName, ShadowError> {
    Ok(RelationName { schema: field(row, "schema")?, name: field(row, "relation")? })
}

fn unexpected(message: impl Into<String>) -> ShadowError {
    ShadowError::Unexpected { doing: DOING, message: message.into() }
}

/// The text of the newest version not above `version_num`, of texts in ascending order.
fn newest(version_num: u32, texts: &[(u32, &'static str)]) -> &'static str {
    texts
        .iter()
        .rev()
        .find(|(from, _)| *from <= version_num)
        .or(texts.first())
        .map_or("", |(_, text)| text)
}
