//! CREATE INDEX CONCURRENTLY: disk space first, lock time-out with retries, no INVALID leftover.

use crate::building::Building;
use crate::catalog::{self, FoundIndex, Server};
use crate::error::ChangeError;
use crate::recovery::Standing;
use pgassay_model::change::Undo;
use pgassay_model::index::IndexDefinition;
use pgassay_model::units::Bytes;
use pgassay_sql::{drop_index_ddl, index_ddl, is_only_index};
use std::path::Path;
use tokio_postgres::Client;

/// Disk space that must stay free after an index is built, as a share of the file system.
const KEPT_FREE: f64 = 0.05;
/// And no more than this, bytes: 5 % of a large file system would be too much to ask for.
const KEPT_FREE_AT_MOST: f64 = 1e9;

fn what(definition: &IndexDefinition) -> String {
    format!("creating index {}.{}", definition.relation.schema, definition.name)
}

/// `ours`: the journal says that an INVALID index of this name was left by pgassay on this target.
pub(crate) async fn preflight(
    client: &Client,
    server: &Server,
    definition: &IndexDefinition,
    estimated_size: Bytes,
    ours: bool,
) -> Result<(), ChangeError> {
    let what = what(definition);
    let refused = |reason: String, hint: &str| ChangeError::Refused {
        what: what.clone(),
        reason,
        hint: hint.to_owned(),
    };
    if !is_only_index(definition) {
        return Err(refused(
            "its definition is not one index and nothing else".into(),
            "make a new plan (pgassay plan)",
        ));
    }
    if definition.unique {
        return Err(refused(
            "a unique index is a constraint, and those are not pgassay's to make".into(),
            "create it by hand if it is wanted",
        ));
    }
    let relation = catalog::relation(client, server, &definition.relation).await?;
    if !matches!(relation.kind.as_str(), "r" | "m") {
        return Err(refused(
            format!(
                "relkind {} of {} can't be indexed concurrently",
                relation.kind, definition.relation
            ),
            "index the partitions one by one",
        ));
    }
    relation.may_make(server, &definition.relation, &what, &what)?;
    if let Some(found) =
        catalog::index(client, &definition.relation.schema, &definition.name).await?
        && !(ours && !found.valid && is_on(&found, definition))
    {
        return Err(ChangeError::Stale {
            what: format!("{}.{}", definition.relation.schema, definition.name),
            expected: "no such index".into(),
            found: if found.ddl.is_empty() { "a relation of that name".into() } else { found.ddl },
        });
    }
    enough_space(server, &what, estimated_size)
}

/// Refuses what would fill the server's disk, where that can be seen.
pub(crate) fn enough_space(
    server: &Server,
    what: &str,
    estimated_size: Bytes,
) -> Result<(), ChangeError> {
    if let Some(directory) = &server.local_data_directory
        && let Some((free, kept)) = free_space(directory)
        && (free.0 as f64) < estimated_size.0 as f64 + kept
    {
        return Err(ChangeError::Refused {
            what: what.to_owned(),
            reason: format!(
                "it takes about {estimated_size} and only {free} are free in {}",
                directory.display()
            ),
            hint: "free disk space, or leave this change out".into(),
        });
    }
    Ok(())
}

/// What is free in the file system of a directory, and how many bytes of it have to stay so.
#[allow(clippy::unnecessary_cast, reason = "these are narrower than 64 bits on other systems")]
fn free_space(directory: &Path) -> Option<(Bytes, f64)> {
    let space = nix::sys::statvfs::statvfs(directory).ok()?;
    let block = space.fragment_size() as u64;
    let free = space.blocks_available() as u64 * block;
    let all = space.blocks() as u64 * block;
    Some((Bytes(free), (all as f64 * KEPT_FREE).min(KEPT_FREE_AT_MOST)))
}

pub(crate) fn undo_of(definition: &IndexDefinition) -> Undo {
    Undo::DropIndex { schema: definition.relation.schema.clone(), name: definition.name.clone() }
}

pub(crate) async fn apply(
    building: &Building<'_>,
    definition: &IndexDefinition,
) -> Result<Vec<String>, ChangeError> {
    let (schema, name) = (&definition.relation.schema, &definition.name);
    building.build(&what(definition), &index_ddl(definition, true), schema, name).await
}

pub(crate) async fn verify(
    client: &Client,
    definition: &IndexDefinition,
) -> Result<(), ChangeError> {
    let (schema, name) = (&definition.relation.schema, &definition.name);
    let wrong =
        |found: String| ChangeError::Verification { what: format!("index {schema}.{name}"), found };
    match catalog::index(client, schema, name).await? {
        None => Err(wrong("it does not exist".into())),
        Some(found) if !found.valid => Err(wrong(format!("it is INVALID: {}", found.ddl))),
        Some(found) if !is_as(&found, definition) => Err(wrong(found.ddl)),
        Some(_) => Ok(()),
    }
}

/// Drops the index; nothing to do where it is gone.
pub(crate) async fn undo(
    building: &Building<'_>,
    schema: &str,
    name: &str,
) -> Result<(), ChangeError> {
    building.drop_index(schema, name).await?;
    match catalog::index(building.client, schema, name).await? {
        None => Ok(()),
        Some(found) => Err(ChangeError::Verification {
            what: format!("dropping index {schema}.{name}"),
            found: found.ddl,
        }),
    }
}

pub(crate) async fn standing(
    client: &Client,
    definition: &IndexDefinition,
) -> Result<Standing, ChangeError> {
    let (schema, name) = (&definition.relation.schema, &definition.name);
    Ok(match catalog::index(client, schema, name).await? {
        None => Standing::Before,
        Some(found) if found.valid && is_as(&found, definition) => Standing::After,
        Some(found) if !found.valid && is_on(&found, definition) => {
            Standing::Partial(format!("an INVALID index {schema}.{name} is left"))
        }
        Some(found) => Standing::Unknown {
            found: format!("{schema}.{name} is something else: {}", found.ddl),
            remedy: vec![format!(
                "look at it, and if it is not wanted: {}",
                drop_index_ddl(schema, name, true)
            )],
        },
    })
}

fn is_on(found: &FoundIndex, definition: &IndexDefinition) -> bool {
    found.relation.as_ref() == Some(&definition.relation)
}

/// Whether the catalog's index is the one defined; expressions are compared by their places only, since
/// the server deparses them in its own way.
fn is_as(found: &FoundIndex, definition: &IndexDefinition) -> bool {
    let columns: Vec<Option<String>> = definition
        .keys
        .iter()
        .map(|key| key.column.clone())
        .chain(definition.include.iter().cloned().map(Some))
        .collect();
    is_on(found, definition)
        && found.method == definition.method
        && found.unique == definition.unique
        && usize::try_from(found.keys).is_ok_and(|keys| keys == definition.keys.len())
        && found.columns == columns
        && found.partial == definition.predicate.is_some()
}
