//! ANALYZE of one relation. There is nothing to take back.

use crate::building::Building;
use crate::catalog::{self, Server};
use crate::error::ChangeError;
use pgassay_model::index::RelationName;
use tokio_postgres::Client;

pub(crate) async fn preflight(
    client: &Client,
    server: &Server,
    relation: &RelationName,
) -> Result<(), ChangeError> {
    let found = catalog::relation(client, server, relation).await?;
    if !found.may_analyze {
        // Without the right ANALYZE only warns, and does nothing.
        return Err(ChangeError::MissingPrivilege {
            what: format!("ANALYZE of {relation} takes the rights of its owner"),
            grant: catalog::grant_owner(&found.owner, &server.user),
        });
    }
    if !matches!(found.kind.as_str(), "r" | "m" | "p" | "f") {
        return Err(ChangeError::Refused {
            what: format!("ANALYZE of {relation}"),
            reason: format!("relkind {} holds no rows", found.kind),
            hint: "leave this change out".into(),
        });
    }
    Ok(())
}

pub(crate) async fn apply(
    building: &Building<'_>,
    relation: &RelationName,
) -> Result<Vec<String>, ChangeError> {
    let sql = format!("ANALYZE {}", pgassay_sql::quote_qualified(&relation.schema, &relation.name));
    building.run(&format!("ANALYZE of {relation}"), &sql).await?;
    Ok(Vec::new())
}
