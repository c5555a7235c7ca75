//! Everything observed of a server at one moment.

use crate::counters::{read_counters, read_statements};
use crate::fields::Fields;
use crate::functions::read_immutable_functions;
use crate::parameters::read_parameters;
use crate::relations::read_relations;
use crate::views::read_views;
use crate::{PostgresError, Reading, Session, host, unseen};
use pgassay_model::Timestamp;
use pgassay_model::snapshot::{Server, Snapshot};
use pgassay_model::units::Bytes;

const SERVER: &str = include_str!("sql/server.130000.sql");
const SYSTEM: &str =
    "SELECT c.system_identifier FROM pg_catalog.pg_control_system() c /* pgassay */";

/// The session's backend, for finding the server's processes on this host.
pub(crate) struct Backend {
    /// `pg_backend_pid()`.
    pub pid: i32,
    /// `session_user`, which the process title shows.
    pub user: String,
    /// `current_database()`.
    pub database: String,
}

/// Observes a server; `pooler` is left None. What the role may not see is listed in `unseen`, and fails
/// nothing.
pub async fn snapshot(session: &Session) -> Result<Snapshot, PostgresError> {
    let parameters = read_parameters(session).await?;
    let reading = session.read("taking a snapshot").await?;
    let (server, backend) = server(&reading, session.version_num()).await?;
    let counters = read_counters(&reading, session.version_num()).await?;
    let relations = read_relations(&reading, session.version_num()).await?;
    let statements = read_statements(&reading).await?;
    // Within the transaction: a pooler may give the backend to another client after it.
    let host = host::observe(&backend, server.data_directory.as_deref());
    let immutable_functions = read_immutable_functions(&reading).await?;
    // Last, because it sets the transaction's search_path.
    let views = read_views(&reading).await?;
    reading.end().await?;
    let mut snapshot = Snapshot {
        taken_at: Timestamp::now(),
        server,
        parameters: parameters.parameters,
        relations: relations.relations,
        views,
        immutable_functions,
        statements: None,
        counters,
        host,
        pooler: None,
        unseen: Vec::new(),
    };
    snapshot.unseen = unseen::list(&unseen::Observed {
        snapshot: &snapshot,
        unreadable: relations.unreadable,
        locked: &relations.locked,
        no_utf8: &relations.no_utf8,
        pooled: session.pooled(),
        no_statements: statements.as_ref().err().map(String::as_str),
        guards_unseen: parameters.guards_unseen,
    });
    snapshot.statements = statements.ok();
    Ok(snapshot)
}

async fn server(
    reading: &Reading<'_>,
    version_num: u32,
) -> Result<(Server, Backend), PostgresError> {
    let doing = reading.doing();
    let row = reading.row(SERVER, &[]).await?.ok_or_else(|| PostgresError::Query {
        doing: doing.into(),
        message: "the catalog does not show this database".into(),
        sqlstate: None,
    })?;
    let fields = Fields::new(&row, doing);
    let system_identifier = reading
        .attempt(SYSTEM, &[])
        .await?
        .ok()
        .and_then(|rows| rows.first().and_then(|row| row.try_get(0).ok()));
    let superuser: bool = fields.get("superuser")?;
    let versions = fields.texts("extension_versions")?;
    let server = Server {
        version_num,
        version: fields.get("version")?,
        system_identifier,
        database: fields.get("database")?,
        user: fields.get("user")?,
        superuser,
        monitor: superuser || fields.get("monitor")?,
        read_all_data: superuser || fields.get("read_all_data")?,
        in_recovery: fields.get("in_recovery")?,
        extensions: fields.texts("extensions")?.into_iter().zip(versions).collect(),
        available_extensions: fields.texts("available_extensions")?.into_iter().collect(),
        data_directory: fields.get("data_directory")?,
        database_size: Bytes(fields.count("database_size")?),
        c_collation: fields.get::<Option<bool>>("c_collation")?.unwrap_or(false),
        standbys: Some(fields.count("standbys")?),
    };
    let backend = Backend {
        pid: fields.get("backend_pid")?,
        user: fields.get("session_user")?,
        database: server.database.clone(),
    };
    Ok((server, backend))
}
