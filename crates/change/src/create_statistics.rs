//! CREATE STATISTICS and the ANALYZE that fills it, in one transaction; DROP STATISTICS takes it back.

use crate::building::Building;
use crate::catalog::{self, Server, column};
use crate::error::ChangeError;
use crate::recovery::Standing;
use pgassay_model::change::Undo;
use pgassay_model::extended_statistics::StatisticsDefinition;
use pgassay_model::index::RelationName;
use pgassay_sql::{
    analyze_ddl, drop_statistics_ddl, is_only_statistics, quote_qualified, statistics_ddl,
};
use tokio_postgres::Client;

fn what(definition: &StatisticsDefinition) -> String {
    format!("creating statistics {}.{}", definition.relation.schema, definition.name)
}

/// A statistics object as the catalog shows it.
struct Found {
    relation: RelationName,
    columns: Vec<String>,
    kinds: Vec<String>,
    ddl: String,
}

async fn find(client: &Client, schema: &str, name: &str) -> Result<Option<Found>, ChangeError> {
    // `stxkind` e stands for expressions, whose own statistics come with them (14+).
    let Some(row) = catalog::row(
        client,
        &format!("looking up statistics {schema}.{name}"),
        "SELECT tn.nspname::pg_catalog.text AS relation_schema, t.relname::pg_catalog.text AS relation,
                ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.unnest(s.stxkeys::pg_catalog.int2[]) AS k (attnum)
                      JOIN pg_catalog.pg_attribute a ON a.attrelid = s.stxrelid AND a.attnum = k.attnum
                      ORDER BY a.attnum) AS columns,
                ARRAY(SELECT k::pg_catalog.text FROM pg_catalog.unnest(s.stxkind) AS k WHERE k <> 'e' ORDER BY k) AS kinds,
                pg_catalog.pg_get_statisticsobjdef(s.oid) AS ddl
           FROM pg_catalog.pg_statistic_ext s
           JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace
           JOIN pg_catalog.pg_class t ON t.oid = s.stxrelid
           JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
          WHERE n.nspname = $1 AND s.stxname = $2",
        &[&schema, &name],
    )
    .await?
    else {
        return Ok(None);
    };
    Ok(Some(Found {
        relation: RelationName {
            schema: column(&row, "relation_schema")?,
            name: column(&row, "relation")?,
        },
        columns: column(&row, "columns")?,
        kinds: column(&row, "kinds")?,
        ddl: column(&row, "ddl")?,
    }))
}

/// Whether it is the one defined; an expression's text is the server's own, so its columns and kinds are compared.
fn is_as(found: &Found, definition: &StatisticsDefinition) -> bool {
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let kinds = definition.kinds.iter().map(|kind| kind.letter().to_string()).collect();
    found.relation == definition.relation
        && sorted(found.columns.clone()) == sorted(definition.columns.clone())
        && sorted(found.kinds.clone()) == sorted(kinds)
}

pub(crate) async fn preflight(
    client: &Client,
    server: &Server,
    definition: &StatisticsDefinition,
) -> Result<(), ChangeError> {
    let what = what(definition);
    let refused = |reason: String, hint: &str| ChangeError::Refused {
        what: what.clone(),
        reason,
        hint: hint.to_owned(),
    };
    if !is_only_statistics(definition) {
        return Err(refused(
            "its definition is not one statistics object and nothing else".into(),
            "make a new plan (pgassay plan)",
        ));
    }
    if definition.expression.is_some() && server.version_num < 140_000 {
        return Err(refused(
            "statistics on an expression take PostgreSQL 14".into(),
            "leave this change out",
        ));
    }
    let relation = catalog::relation(client, server, &definition.relation).await?;
    if !matches!(relation.kind.as_str(), "r" | "m" | "p") {
        return Err(refused(
            format!("relkind {} of {} has no statistics", relation.kind, definition.relation),
            "leave this change out",
        ));
    }
    relation.may_make(server, &definition.relation, &what, &what)?;
    match find(client, &definition.relation.schema, &definition.name).await? {
        None => Ok(()),
        Some(found) => Err(ChangeError::Stale {
            what: format!("{}.{}", definition.relation.schema, definition.name),
            expected: "no such statistics".into(),
            found: found.ddl,
        }),
    }
}

pub(crate) fn undo_of(definition: &StatisticsDefinition) -> Undo {
    Undo::DropStatistics {
        schema: definition.relation.schema.clone(),
        name: definition.name.clone(),
    }
}

pub(crate) async fn apply(
    building: &Building<'_>,
    definition: &StatisticsDefinition,
) -> Result<Vec<String>, ChangeError> {
    // Several statements in one message are one transaction (manual, "Multiple Statements in a Simple Query"):
    // an object without data is never left.
    let sql = format!("{}; {}", statistics_ddl(definition), analyze_ddl(definition));
    building.run_again(&what(definition), &sql).await
}

pub(crate) async fn verify(
    client: &Client,
    definition: &StatisticsDefinition,
) -> Result<(), ChangeError> {
    let (schema, name) = (&definition.relation.schema, &definition.name);
    let wrong = |found: String| ChangeError::Verification {
        what: format!("statistics {schema}.{name}"),
        found,
    };
    match find(client, schema, name).await? {
        None => Err(wrong("they do not exist".into())),
        Some(found) if !is_as(&found, definition) => Err(wrong(found.ddl)),
        Some(_) => Ok(()),
    }
}

/// Drops the object; nothing to do where it is gone.
pub(crate) async fn undo(
    building: &Building<'_>,
    schema: &str,
    name: &str,
) -> Result<Vec<String>, ChangeError> {
    let sql = format!("DROP STATISTICS IF EXISTS {}", quote_qualified(schema, name));
    let notes = building.run_again(&format!("dropping statistics {schema}.{name}"), &sql).await?;
    match find(building.client, schema, name).await? {
        None => Ok(notes),
        Some(found) => Err(ChangeError::Verification {
            what: format!("dropping statistics {schema}.{name}"),
            found: found.ddl,
        }),
    }
}

pub(crate) async fn standing(
    client: &Client,
    definition: &StatisticsDefinition,
) -> Result<Standing, ChangeError> {
    let (schema, name) = (&definition.relation.schema, &definition.name);
    Ok(match find(client, schema, name).await? {
        None => Standing::Before,
        Some(found) if is_as(&found, definition) => Standing::After,
        Some(found) => Standing::Unknown {
            found: format!("statistics {schema}.{name} are something else: {}", found.ddl),
            remedy: vec![format!(
                "look at them, and if they are not wanted: {}",
                drop_statistics_ddl(schema, name)
            )],
        },
    })
}
