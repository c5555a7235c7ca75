//! Runs a blueprint's definitions in a shadow: in rounds, so that their order need not be known.

use crate::ShadowError;
use crate::blueprint::{Blueprint, Definition, EndpointRow, EnumLabel, Lacking, Need};
use futures_util::future::join_all;
use pgassay_model::index::RelationName;
use pgassay_postgres::Session;
use pgassay_sql::{quote_identifier, quote_qualified};
use std::collections::BTreeSet;
use tokio_postgres::types::{ToSql, Type};

/// Statements on their way at a time: enough that no round trip is waited for.
const PIPELINE: usize = 30;

/// Triggers and foreign keys are not fired, names come qualified, and functions may refer to what comes later.
const LOADING: &str = "SET session_replication_role = replica; SET plan_cache_mode = force_generic_plan; SET wal_skip_threshold = '2MB'; SET search_path = pg_catalog; \
    SET check_function_bodies = off; SET client_min_messages = error; SET standard_conforming_strings = on; \
    SET row_security = off; SET statement_timeout = 0; SET lc_monetary = 'C'; SET lc_numeric = 'C'; \
    SET DateStyle = 'ISO, MDY'; SET IntervalStyle = postgres; SET TimeZone = 'UTC' /* pgassay */";

/// Candidates are switched by changing their rows here, a dozen for a question, which is rolled back: where a page has
/// room for the new versions, no index of the catalog has to change (manual, "Heap-Only Tuples"), and a switch takes
/// a third of the time.
const ROOM_TO_SWITCH: &str = "ALTER TABLE pg_catalog.pg_index SET (fillfactor = 50) /* pgassay */";

/// Makes a session one that loads, the first on the shadow.
pub(crate) async fn prepare(session: &Session) -> Result<(), ShadowError> {
    for sql in [LOADING, ROOM_TO_SWITCH] {
        let done = session.client().batch_execute(sql).await;
        done.map_err(|error| broken("preparing to load", &error))?;
    }
    Ok(())
}

/// Makes a session one that creates candidates: names are looked up as the application's, and nothing is said.
pub(crate) async fn prepare_making(session: &Session) -> Result<(), ShadowError> {
    let sql =
        "SET client_min_messages = error; SET max_parallel_maintenance_workers = 0 /* pgassay */";
    session
        .client()
        .batch_execute(sql)
        .await
        .map_err(|error| broken("preparing to create indexes", &error))
}

/// Runs definitions; what fails is tried again until a round makes no progress, and what is left is lacking.
pub(crate) async fn define(
    session: &Session,
    definitions: &[Definition],
) -> Result<Vec<Lacking>, ShadowError> {
    let mut left: Vec<&Definition> = definitions.iter().collect();
    loop {
        let mut failed: Vec<(&Definition, String)> = Vec::new();
        for some in left.chunks(PIPELINE) {
            let run =
                some.iter().map(|definition| session.client().query_typed(&definition.sql, &[]));
            for (definition, result) in some.iter().zip(join_all(run).await) {
                match result {
                    Ok(_) => {}
                    Err(error) => failed.push((definition, refusal("loading the schema", &error)?)),
                }
            }
        }
        if failed.is_empty() || failed.len() == left.len() {
            return Ok(failed
                .into_iter()
                .filter_map(|(definition, why)| lack(definition, why))
                .collect());
        }
        left = failed.into_iter().map(|(definition, _)| definition).collect();
    }
}

/// What is lacking without a definition; None: nothing that is not lacking anyway.
fn lack(definition: &Definition, why: String) -> Option<Lacking> {
    let what = beginning(&definition.sql);
    let Some(relation) = &definition.relation else {
        return Some(Lacking::general(what, why));
    };
    let relation = relation.clone();
    match definition.need {
        Need::Plans => Some(Lacking::grave(relation, what, why)),
        Need::Precision => Some(Lacking::slight(relation, what, why)),
        Need::Nothing => {
            tracing::debug!(%relation, what, why, "no plan depends on it");
            None
        }
    }
}

/// Gives enum values the source's OIDs, by which the MCV lists of extended statistics know them. First out of the
/// way of each other: labels of the source and of the shadow may have the same ones.
pub(crate) async fn number_enums(
    session: &Session,
    labels: &[EnumLabel],
) -> Result<(), ShadowError> {
    if labels.is_empty() {
        return Ok(());
    }
    let away = "UPDATE pg_catalog.pg_enum e SET oid = (3000000000 + e2.place)::pg_catalog.oid
                  FROM (SELECT oid AS old, pg_catalog.row_number() OVER () AS place FROM pg_catalog.pg_enum) e2 (old, place)
                 WHERE e.oid = e2.old /* pgassay */";
    let back = "UPDATE pg_catalog.pg_enum e SET oid = u.oid
                  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]), pg_catalog.unnest($3::pg_catalog.text[]), pg_catalog.unnest($4::pg_catalog.oid[]))
                       AS u (schema, name, label, oid)
                  JOIN pg_catalog.pg_namespace n ON n.nspname = u.schema
                  JOIN pg_catalog.pg_type t ON t.typnamespace = n.oid AND t.typname = u.name
                 WHERE e.enumtypid = t.oid AND e.enumlabel = u.label /* pgassay */";
    let texts = |of: fn(&EnumLabel) -> &str| labels.iter().map(of).collect::<Vec<&str>>();
    let (schemas, names, words) =
        (texts(|label| &label.schema), texts(|label| &label.name), texts(|label| &label.label));
    let oids: Vec<u32> = labels.iter().map(|label| label.oid).collect();
    let client = session.client();
    let doing = "numbering enum values";
    client.query_typed(away, &[]).await.map_err(|error| broken(doing, &error))?;
    client
        .query_typed(
            back,
            &[
                (&schemas, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&words, Type::TEXT_ARRAY),
                (&oids, Type::OID_ARRAY),
            ],
        )
        .await
        .map_err(|error| broken(doing, &error))?;
    Ok(())
}

/// Inserts the rows at the ends of indexes.
pub(crate) async fn insert(
    session: &Session,
    rows: &[&EndpointRow],
) -> Result<Vec<Lacking>, ShadowError> {
    let mut lacking = Vec::new();
    for some in rows.chunks(PIPELINE) {
        let statements: Vec<String> = some.iter().map(|row| insertion(row, true)).collect();
        let run = some.iter().zip(&statements).map(|(row, sql)| insert_row(session, row, sql));
        for (row, result) in some.iter().zip(join_all(run).await) {
            let Err(error) = result else { continue };
            // A deferrable constraint takes no ON CONFLICT.
            let Err(again) = insert_row(session, row, &insertion(row, false)).await else {
                continue;
            };
            refusal("inserting rows", &again)?;
            lacking.push(Lacking::general(
                format!(
                    "a row at the end of an index of {}, for which its histogram stands",
                    row.relation
                ),
                refusal("inserting rows", &error)?,
            ));
        }
    }
    Ok(lacking)
}

async fn insert_row(
    session: &Session,
    row: &EndpointRow,
    sql: &str,
) -> Result<(), tokio_postgres::Error> {
    let values: Vec<pgassay_postgres::what_if::TextValue<'_>> = row
        .values
        .iter()
        .map(|value| pgassay_postgres::what_if::TextValue(value.as_deref()))
        .collect();
    let parameters: Vec<(&(dyn ToSql + Sync), Type)> =
        values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN)).collect();
    session.client().query_typed(sql, &parameters).await.map(|_| ())
}

fn insertion(row: &EndpointRow, tolerant: bool) -> String {
    let columns: Vec<String> = row.columns.iter().map(|name| quote_identifier(name)).collect();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("${place}")).collect();
    format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES ({}){} /* pgassay */",
        quote_qualified(&row.relation.schema, &row.relation.name),
        columns.join(", "),
        places.join(", "),
        if tolerant { " ON CONFLICT DO NOTHING" } else { "" }
    )
}

/// Relations that lack something, and those that stand on them: ancestors whose plans contain theirs, and views.
pub(crate) async fn spread(
    session: &Session,
    blueprint: &Blueprint,
    lacking: &mut Vec<Lacking>,
) -> Result<(), ShadowError> {
    // What is grave comes first: a relation that stands on both kinds can't be relied on.
    for grave in [true, false] {
        let there: BTreeSet<RelationName> = blueprint
            .lacking
            .iter()
            .chain(lacking.iter())
            .filter(|one| one.grave == grave)
            .filter_map(|one| one.relation.clone())
            .collect();
        if !there.is_empty() {
            spread_some(session, &there, grave, lacking).await?;
        }
    }
    Ok(())
}

async fn spread_some(
    session: &Session,
    there: &BTreeSet<RelationName>,
    grave: bool,
    lacking: &mut Vec<Lacking>,
) -> Result<(), ShadowError> {
    let schemas: Vec<&str> = there.iter().map(|name| name.schema.as_str()).collect();
    let names: Vec<&str> = there.iter().map(|name| name.name.as_str()).collect();
    let rows = session
        .client()
        .query_typed(
            include_str!("sql/standing_on.130000.sql"),
            &[(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)],
        )
        .await
        .map_err(|error| broken("following what is lacking", &error))?;
    for row in &rows {
        let relation = RelationName {
            schema: crate::read::field(row, "schema")?,
            name: crate::read::field(row, "relation")?,
        };
        let on: String = crate::read::field(row, "on_relation")?;
        if !there.contains(&relation) {
            let (what, why) = ("its plans".to_owned(), format!("it stands on {on}"));
            lacking.push(Lacking { relation: Some(relation), what, why, grave });
        }
    }
    Ok(())
}

/// What kind of thing a statement makes and its name, without the rest.
fn beginning(sql: &str) -> String {
    sql.split_whitespace().take(8).collect::<Vec<_>>().join(" ")
}

/// The server's words; an error without any is a broken connection.
pub(crate) fn refusal(
    doing: &'static str,
    error: &tokio_postgres::Error,
) -> Result<String, ShadowError> {
    error
        .as_db_error()
        .map(|refusal| format!("{} ({})", refusal.message(), refusal.code().code()))
        .ok_or_else(|| broken(doing, error))
}

/// A statement that has to work did not.
pub(crate) fn broken(doing: &'static str, error: &tokio_postgres::Error) -> ShadowError {
    let message = error.as_db_error().map_or_else(
        || error.to_string(),
        |refusal| format!("{} ({})", refusal.message(), refusal.code().code()),
    );
    ShadowError::Unexpected { doing, message }
}
