//! `pg_settings` as other sessions see it.

use crate::fields::Fields;
use crate::{PostgresError, Session, connect};
use pgassay_model::parameter::Parameter;
use std::collections::BTreeMap;
use tokio_postgres::Row;

const PARAMETERS: &str = include_str!("sql/parameters.130000.sql");
const DOING: &str = "reading parameters";

/// What our own start-up sets, and so hides.
const GUARDS: [&str; 5] = [
    "default_transaction_read_only",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
];

/// Parameters, and whether those that guard our own session had to be left out.
pub(crate) struct Parameters {
    pub parameters: BTreeMap<String, Parameter>,
    pub guards_unseen: bool,
}

/// Reads parameters on a connection without our guards, since a snapshot shows what the application gets:
/// one statement, bounded by the time-out that the session's guard would set. Through a pooler the session
/// itself has none outside of a transaction.
pub(crate) async fn read_parameters(session: &Session) -> Result<Parameters, PostgresError> {
    if session.pooled() {
        let rows = ask(session, session.client()).await?;
        return Ok(Parameters { parameters: parameters(&rows)?, guards_unseen: false });
    }
    let settings = session.settings();
    match connect::connect(settings, settings.options.as_deref()).await {
        Ok(connected) => {
            let rows = ask(session, &connected.client).await?;
            Ok(Parameters { parameters: parameters(&rows)?, guards_unseen: false })
        }
        Err(refused) => {
            tracing::debug!(error = %refused.into_error(), "no second connection for parameters");
            let mut parameters = parameters(&ask(session, session.client()).await?)?;
            parameters.retain(|name, _| !GUARDS.contains(&name.as_str()));
            Ok(Parameters { parameters, guards_unseen: true })
        }
    }
}

async fn ask(
    session: &Session,
    client: &tokio_postgres::Client,
) -> Result<Vec<Row>, PostgresError> {
    tokio::time::timeout(session.options().statement_timeout, client.query_typed(PARAMETERS, &[]))
        .await
        .map_err(|_| PostgresError::Query {
            doing: DOING.into(),
            message: "no answer within the statement time-out".into(),
            sqlstate: None,
        })?
        .map_err(|error| PostgresError::query(DOING, &error))
}

fn parameters(rows: &[Row]) -> Result<BTreeMap<String, Parameter>, PostgresError> {
    let mut parameters = BTreeMap::new();
    for row in rows {
        let fields = Fields::new(row, DOING);
        let parameter = Parameter {
            name: fields.get("name")?,
            setting: fields.get::<Option<String>>("setting")?.unwrap_or_default(),
            unit: fields.get("unit")?,
            context: fields.get("context")?,
            vartype: fields.get("vartype")?,
            source: fields.get("source")?,
            sourcefile: fields.get("sourcefile")?,
            boot_val: fields.get("boot_val")?,
            reset_val: fields.get("reset_val")?,
            min_val: fields.get("min_val")?,
            max_val: fields.get("max_val")?,
            enumvals: fields.get("enumvals")?,
            pending_restart: fields.get("pending_restart")?,
            current: fields.get::<Option<String>>("current")?.unwrap_or_default(),
        };
        parameters.insert(parameter.name.clone(), parameter);
    }
    Ok(parameters)
}
