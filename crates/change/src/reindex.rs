//! REINDEX INDEX CONCURRENTLY of one index, and clearing up what a rebuild that was cut off has left.
//!
//! The server builds `name_ccnew` beside the index, gives it the name, and drops the old one as `name_ccold`; either
//! stays INVALID where that is cut off (manual, REINDEX, "Rebuilding Indexes Concurrently").

use crate::building::Building;
use crate::catalog::{self, Server, column};
use crate::create_index;
use crate::error::ChangeError;
use crate::recovery::Standing;
use pgassay_model::change::Undo;
use pgassay_model::index::RelationName;
use pgassay_model::units::Bytes;
use pgassay_sql::{drop_index_ddl, quote_qualified};
use tokio_postgres::Client;

fn what(schema: &str, name: &str) -> String {
    format!("rebuilding index {schema}.{name}")
}

pub(crate) async fn preflight(
    client: &Client,
    server: &Server,
    relation: &RelationName,
    name: &str,
    ddl: &str,
    estimated_size: Bytes,
) -> Result<(), ChangeError> {
    let what = what(&relation.schema, name);
    let stale = |found: String| ChangeError::Stale {
        what: format!("index {}.{name}", relation.schema),
        expected: ddl.to_owned(),
        found,
    };
    let refused = |reason: &str, hint: &str| ChangeError::Refused {
        what: what.clone(),
        reason: reason.to_owned(),
        hint: hint.to_owned(),
    };
    let Some(found) = catalog::index(client, &relation.schema, name).await? else {
        return Err(stale("no such index".into()));
    };
    if found.ddl != ddl || found.relation.as_ref() != Some(relation) {
        return Err(stale(found.ddl));
    }
    if found.kind != "i" {
        return Err(refused("it is a partitioned index", "rebuild those of the partitions"));
    }
    if !found.valid {
        return Err(refused("it is INVALID", "drop it and create it again"));
    }
    if excludes(client, &relation.schema, name).await? {
        return Err(refused(
            "an exclusion constraint rests on it, and such an index can't be rebuilt concurrently",
            "REINDEX INDEX, in quiet hours: it blocks writes",
        ));
    }
    // The new index is one more in the schema, until it has replaced the old one.
    catalog::relation(client, server, relation).await?.may_make(server, relation, &what, &what)?;
    create_index::enough_space(server, &what, estimated_size)
}

async fn excludes(client: &Client, schema: &str, name: &str) -> Result<bool, ChangeError> {
    let row = catalog::row(
        client,
        &format!("looking up index {schema}.{name}"),
        "SELECT i.indisexclusion AS excludes FROM pg_catalog.pg_index i
           JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = $1 AND c.relname = $2",
        &[&schema, &name],
    )
    .await?;
    row.map_or(Ok(false), |row| column(&row, "excludes"))
}

/// What will tell afterwards whether it was rebuilt, and what is not of ours.
pub(crate) async fn observe(
    client: &Client,
    relation: &RelationName,
    name: &str,
) -> Result<Undo, ChangeError> {
    let oid = oid(client, &relation.schema, name).await?.ok_or_else(|| ChangeError::Stale {
        what: format!("index {}.{name}", relation.schema),
        expected: "an index".into(),
        found: "no such index".into(),
    })?;
    Ok(Undo::DropLeftovers {
        schema: relation.schema.clone(),
        name: name.to_owned(),
        oid,
        known: leftovers(client, &relation.schema, name, &[]).await?,
    })
}

async fn oid(client: &Client, schema: &str, name: &str) -> Result<Option<u32>, ChangeError> {
    let row = catalog::row(
        client,
        &format!("looking up index {schema}.{name}"),
        "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'i'",
        &[&schema, &name],
    )
    .await?;
    row.map(|row| column(&row, "oid")).transpose()
}

/// INVALID indexes beside this one that bear its name with `_ccnew` or `_ccold`, but those known before. A long name
/// is cut to fit (`makeObjectName` in indexcmds.c), and a number follows where the name was taken.
async fn leftovers(
    client: &Client,
    schema: &str,
    name: &str,
    known: &[String],
) -> Result<Vec<String>, ChangeError> {
    let rows = catalog::rows(
        client,
        &format!("looking for what rebuilding {schema}.{name} has left"),
        "SELECT c.relname::pg_catalog.text AS name FROM pg_catalog.pg_index i
           JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
           JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname = $1 AND NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'
            AND pg_catalog.starts_with($2, pg_catalog.regexp_replace(c.relname::pg_catalog.text, '_cc(new|old)[0-9]*$', ''))
            AND i.indrelid = (SELECT o.indrelid FROM pg_catalog.pg_index o
                                JOIN pg_catalog.pg_class oc ON oc.oid = o.indexrelid
                               WHERE oc.relnamespace = n.oid AND oc.relname = $2)
          ORDER BY c.relname",
        &[&schema, &name],
    )
    .await?;
    let mut names: Vec<String> = Vec::new();
    for row in &rows {
        let found: String = column(row, "name")?;
        // Only what is cut may be shorter than the name.
        let stem = found.rsplit_once("_cc").map_or(found.as_str(), |(stem, _)| stem);
        if (stem == name || found.len() >= MOST_BYTES) && !known.contains(&found) {
            names.push(found);
        }
    }
    Ok(names)
}

/// NAMEDATALEN − 1, less what cutting within a character may take.
const MOST_BYTES: usize = 63 - 3;

pub(crate) async fn apply(
    building: &Building<'_>,
    schema: &str,
    name: &str,
    undo: &Undo,
) -> Result<Vec<String>, ChangeError> {
    let sql = format!("REINDEX INDEX CONCURRENTLY {}", quote_qualified(schema, name));
    let known: &[String] = match undo {
        Undo::DropLeftovers { known, .. } => known,
        _ => &[],
    };
    let client = building.client;
    building
        .rebuild(&what(schema, name), &sql, schema, || leftovers(client, schema, name, known))
        .await
}

pub(crate) async fn verify(
    client: &Client,
    schema: &str,
    name: &str,
    ddl: &str,
    undo: &Undo,
) -> Result<(), ChangeError> {
    let Undo::DropLeftovers { oid: before, known, .. } = undo else { return Ok(()) };
    let wrong =
        |found: String| ChangeError::Verification { what: format!("index {schema}.{name}"), found };
    match catalog::index(client, schema, name).await? {
        None => return Err(wrong("it does not exist".into())),
        Some(found) if !found.valid => return Err(wrong(format!("it is INVALID: {}", found.ddl))),
        Some(found) if found.ddl != ddl => return Err(wrong(found.ddl)),
        Some(_) => {}
    }
    if oid(client, schema, name).await? == Some(*before) {
        return Err(wrong("it is the old one still".into()));
    }
    match leftovers(client, schema, name, known).await?.as_slice() {
        [] => Ok(()),
        left => Err(wrong(format!("INVALID indexes are left: {}", left.join(", ")))),
    }
}

/// Drops what a rebuild has left. The index itself stays as it is: rebuilt, it holds the same.
pub(crate) async fn undo(
    building: &Building<'_>,
    schema: &str,
    name: &str,
    oid_before: u32,
    known: &[String],
) -> Result<Vec<String>, ChangeError> {
    for left in leftovers(building.client, schema, name, known).await? {
        building.drop_index(schema, &left).await?;
    }
    match oid(building.client, schema, name).await? {
        Some(oid) if oid != oid_before => {
            Ok(vec!["a rebuilt index has no undo: it holds what the old one held".into()])
        }
        _ => Ok(Vec::new()),
    }
}

pub(crate) async fn standing(
    client: &Client,
    schema: &str,
    name: &str,
    undo: &Undo,
) -> Result<Standing, ChangeError> {
    let Undo::DropLeftovers { oid: before, known, .. } = undo else { return Ok(Standing::Either) };
    let left = leftovers(client, schema, name, known).await?;
    Ok(match (left.is_empty(), oid(client, schema, name).await?) {
        (_, None) => Standing::Unknown {
            found: format!("index {schema}.{name} does not exist"),
            remedy: vec!["see who dropped it, and create it again where it is wanted".into()],
        },
        (false, Some(_)) => Standing::Partial(format!(
            "INVALID {} left: {}",
            if left.len() == 1 { "index is" } else { "indexes are" },
            left.iter()
                .map(|left| drop_index_ddl(schema, left, true))
                .collect::<Vec<_>>()
                .join("; ")
        )),
        (true, Some(oid)) if oid == *before => Standing::Before,
        (true, Some(_)) => Standing::After,
    })
}
