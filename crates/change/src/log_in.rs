//! Log-ins through PgBouncer as the application's, before its secret in the userlist is replaced and after.

use crate::options::PoolerAccess;
use pgassay_model::connection::{ConnectionSettings, Host, Secret};
use pgassay_model::pooler::PoolerSnapshot;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_postgres::NoTls;

/// Databases tried for one user.
const ATTEMPTS: usize = 4;
/// How long one log-in may take: PgBouncer lets a client wait for a server that refused it a moment ago
/// (`server_login_retry`, 15 s by default).
const LIMIT: Duration = Duration::from_secs(5);

/// A log-in that works: to a database of the user's pools, else to any; or why none does.
pub(crate) async fn working_log_in(
    access: &PoolerAccess,
    running: &PoolerSnapshot,
    user: &str,
    password: Secret,
) -> Result<ConnectionSettings, String> {
    let pools = running.pools.iter().filter(|pool| pool.user == user).map(|pool| &pool.database);
    let databases = running.databases.iter().map(|database| &database.name);
    let mut seen = BTreeSet::new();
    let mut reason = "PgBouncer has no database".to_owned();
    for database in pools.chain(databases).filter(|name| seen.insert(*name)).take(ATTEMPTS) {
        let log_in = ConnectionSettings {
            user: user.to_owned(),
            password: Some(password.clone()),
            database: database.clone(),
            options: None,
            ..access.console.clone()
        };
        match try_log_in(&log_in).await {
            Ok(()) => return Ok(log_in),
            Err(error) => reason = format!("to {database}: {error}"),
        }
    }
    Err(reason)
}

/// Logs in through PgBouncer and runs a statement, for which PgBouncer has to log in to the server. Without
/// encryption, as the console.
pub(crate) async fn try_log_in(log_in: &ConnectionSettings) -> Result<(), String> {
    let mut config = tokio_postgres::Config::new();
    match &log_in.host {
        Host::Tcp(host) => config.host(host),
        Host::Unix(directory) => config.host_path(directory),
    };
    config
        .port(log_in.port)
        .user(&log_in.user)
        .dbname(&log_in.database)
        .application_name("pgassay")
        .ssl_mode(tokio_postgres::config::SslMode::Disable);
    if let Some(password) = &log_in.password {
        config.password(password.expose());
    }
    let words = |error: tokio_postgres::Error| match error.as_db_error() {
        Some(refusal) => refusal.message().to_owned(),
        None => error.to_string(),
    };
    let work = async {
        let (client, connection) = config.connect(NoTls).await.map_err(words)?;
        let connection = tokio::spawn(connection);
        let answer = client.simple_query("SELECT 1 /* pgassay */").await.map_err(words);
        drop(client);
        connection.abort();
        answer.map(drop)
    };
    tokio::time::timeout(LIMIT, work)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())))
}
