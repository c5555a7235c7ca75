//! DROP INDEX CONCURRENTLY of an index that its definition alone brings back, and bringing it back.

use crate::building::Building;
use crate::catalog::{self, Server};
use crate::error::ChangeError;
use crate::recovery::Standing;
use pgassay_model::change::Undo;
use pgassay_model::index::RelationName;
use tokio_postgres::Client;

pub(crate) async fn preflight(
    client: &Client,
    server: &Server,
    relation: &RelationName,
    name: &str,
    ddl: &str,
) -> Result<(), ChangeError> {
    let what = format!("dropping index {}.{name}", relation.schema);
    let Some(found) = catalog::index(client, &relation.schema, name).await? else {
        return Err(ChangeError::Stale {
            what: format!("index {}.{name}", relation.schema),
            expected: ddl.to_owned(),
            found: "no such index".into(),
        });
    };
    if !found.bound_by.is_empty() {
        return Err(ChangeError::Refused {
            what,
            reason: found.bound_by.join(", "),
            hint: "leave this change out".into(),
        });
    }
    if found.ddl != ddl || found.relation.as_ref() != Some(relation) {
        return Err(ChangeError::Stale {
            what: format!("index {}.{name}", relation.schema),
            expected: ddl.to_owned(),
            found: found.ddl,
        });
    }
    if concurrently(ddl).is_none() {
        return Err(ChangeError::Refused {
            what,
            reason: format!("its definition could not be run again: {ddl}"),
            hint: "leave this change out".into(),
        });
    }
    // Without CREATE the index could be dropped and never brought back.
    catalog::relation(client, server, relation).await?.may_make(
        server,
        relation,
        &what,
        "undoing it",
    )
}

pub(crate) fn undo_of(relation: &RelationName, name: &str, ddl: &str) -> Undo {
    Undo::RestoreIndex {
        schema: relation.schema.clone(),
        name: name.to_owned(),
        ddl: ddl.to_owned(),
    }
}

pub(crate) async fn apply(
    building: &Building<'_>,
    relation: &RelationName,
    name: &str,
) -> Result<Vec<String>, ChangeError> {
    building.drop_index(&relation.schema, name).await?;
    Ok(Vec::new())
}

pub(crate) async fn verify(
    client: &Client,
    relation: &RelationName,
    name: &str,
) -> Result<(), ChangeError> {
    match catalog::index(client, &relation.schema, name).await? {
        None => Ok(()),
        Some(found) => Err(ChangeError::Verification {
            what: format!("dropping index {}.{name}", relation.schema),
            found: found.ddl,
        }),
    }
}

/// Builds the index again from its definition as observed; nothing to do where it is there and valid.
pub(crate) async fn undo(
    building: &Building<'_>,
    schema: &str,
    name: &str,
    ddl: &str,
) -> Result<Vec<String>, ChangeError> {
    match catalog::index(building.client, schema, name).await? {
        Some(found) if found.valid && found.ddl == ddl => return Ok(Vec::new()),
        // DROP INDEX CONCURRENTLY marks the index INVALID before it removes it, and building it again may
        // have been cut off too.
        Some(found) if !found.valid && found.ddl == ddl => {
            building.drop_index(schema, name).await?;
        }
        Some(found) => {
            return Err(ChangeError::Verification {
                what: format!("restoring index {schema}.{name}"),
                found: format!("something else has its name: {}", found.ddl),
            });
        }
        None => {}
    }
    let statement = concurrently(ddl).ok_or_else(|| ChangeError::Verification {
        what: format!("restoring index {schema}.{name}"),
        found: format!("a definition that can't be run: {ddl}"),
    })?;
    let notes = building
        .build(&format!("restoring index {schema}.{name}"), &statement, schema, name)
        .await?;
    match catalog::index(building.client, schema, name).await? {
        Some(found) if found.valid && found.ddl == ddl => Ok(notes),
        found => Err(ChangeError::Verification {
            what: format!("restoring index {schema}.{name}"),
            found: found.map_or_else(|| "no index".to_owned(), |found| found.ddl),
        }),
    }
}

pub(crate) async fn standing(
    client: &Client,
    relation: &RelationName,
    name: &str,
    ddl: &str,
) -> Result<Standing, ChangeError> {
    Ok(match catalog::index(client, &relation.schema, name).await? {
        None => Standing::After,
        Some(found) if found.valid && found.ddl == ddl => Standing::Before,
        Some(found) if found.ddl == ddl => {
            Standing::Partial(format!("index {}.{name} is INVALID", relation.schema))
        }
        Some(found) => Standing::Unknown {
            found: format!("{}.{name} is something else: {}", relation.schema, found.ddl),
            remedy: vec![format!("look at it; before the change it was: {ddl}")],
        },
    })
}

/// The definition with CONCURRENTLY, for one that `pg_get_indexdef` wrote of an index that is not unique.
fn concurrently(ddl: &str) -> Option<String> {
    ddl.strip_prefix("CREATE INDEX ").map(|rest| format!("CREATE INDEX CONCURRENTLY {rest}"))
}
