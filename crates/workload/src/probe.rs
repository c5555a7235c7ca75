//! Asks the server whether it can prepare a statement, and for the types of its parameters.
//!
//! By PREPARE and DEALLOCATE of SQL within one transaction: so it also works through a pooler, where a
//! prepared statement of the protocol would stay behind on a backend of the application.

use crate::WorkloadError;
use pgassay_postgres::{PostgresError, Session};

/// The type of a `$n`, as the server infers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParameterType {
    /// `format_type(oid, -1)`: the type's name as a cast takes it, without a length.
    pub name: String,
    /// For an array, the element's name and the delimiter between elements.
    pub element: Option<(String, String)>,
}

const TYPES: &str = "
    SELECT pg_catalog.format_type(t.oid, -1),
           CASE WHEN t.typcategory = 'A' THEN pg_catalog.format_type(e.oid, -1) END,
           e.typdelim::pg_catalog.text
    FROM pg_catalog.pg_prepared_statements AS p,
         pg_catalog.unnest(p.parameter_types) WITH ORDINALITY AS u (type, position)
         JOIN pg_catalog.pg_type AS t ON t.oid = u.type
         LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem
    WHERE p.name = 'pgassay_probe'
    ORDER BY u.position /* pgassay */";

/// The types of a statement's parameters, in order; or the server's reason, with SQLSTATE, why it can't be
/// prepared. `sql` must have been read as one statement.
pub(crate) async fn parameter_types(
    session: &Session,
    sql: &str,
) -> Result<Result<Vec<ParameterType>, String>, WorkloadError> {
    let reading = session.read("preparing the statement").await?;
    // The parser that counted the statements reads backslashes as this setting makes the server read them.
    reading.rows("SET LOCAL standard_conforming_strings = on /* pgassay */", &[]).await?;
    let prepare = format!("PREPARE /* pgassay */ pgassay_probe AS {sql}");
    if let Err(error) = reading.rows(&prepare, &[]).await {
        reading.end().await?;
        return match error.sqlstate() {
            Some("42P01") => Ok(Err(format!(
                "{error}; if it lies in another schema, give the application's search_path in the DSN (options=-csearch_path=…)"
            ))),
            Some(_) => Ok(Err(error.to_string())),
            None => Err(error.into()),
        };
    }
    reading.rows("SAVEPOINT pgassay_probe /* pgassay */", &[]).await?;
    let rows = reading.rows(TYPES, &[]).await;
    reading.rows("ROLLBACK TO SAVEPOINT pgassay_probe /* pgassay */", &[]).await?;
    reading.rows("DEALLOCATE /* pgassay */ pgassay_probe", &[]).await?;
    reading.end().await?;
    let types: Result<Vec<ParameterType>, tokio_postgres::Error> = rows?
        .iter()
        .map(|row| {
            let element: Option<String> = row.try_get(1)?;
            let delimiter: Option<String> = row.try_get(2)?;
            Ok(ParameterType { name: row.try_get(0)?, element: element.zip(delimiter) })
        })
        .collect();
    Ok(Ok(types.map_err(|error| unreadable("reading the types of parameters", &error))?))
}

/// A row that does not hold what was asked for.
pub(crate) fn unreadable(doing: &str, error: &tokio_postgres::Error) -> PostgresError {
    PostgresError::Query { doing: doing.to_owned(), message: error.to_string(), sqlstate: None }
}
