//! PgBouncer's administration console: simple query only, columns read by name.

use crate::PgBouncerError;
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::pooler::{Pool, PoolerDatabase, PoolerSetting, PoolerTotals};
use pgassay_postgres::PostgresError;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// PgBouncer's own database.
const OWN: &str = "pgbouncer";
/// The console answers at once unless it hangs; PAUSE has a limit of its own.
const ANSWER: Duration = Duration::from_secs(15);

/// A connection to the console.
#[derive(Debug)]
pub struct Console {
    client: tokio_postgres::Client,
    settings: ConnectionSettings,
}

impl Console {
    /// Connects, encrypted as `sslmode` asks for it.
    pub async fn connect(settings: &ConnectionSettings) -> Result<Console, PgBouncerError> {
        let console = || settings.to_string();
        let limit = settings.connect_timeout.max(Duration::from_secs(1));
        let client = tokio::time::timeout(limit, pgassay_postgres::client(settings))
            .await
            .map_err(|_| PgBouncerError::Unreachable {
                console: console(),
                message: format!("no answer within {} s", limit.as_secs()),
            })?
            .map_err(|error| match error {
                PostgresError::TlsFailed { message, .. } => {
                    PgBouncerError::TlsFailed { console: console(), message }
                }
                PostgresError::LoginRefused { message, .. }
                | PostgresError::StartingUp { message, .. } => {
                    PgBouncerError::LoginRefused { console: console(), message }
                }
                PostgresError::Unreachable { message, .. } => {
                    PgBouncerError::Unreachable { console: console(), message }
                }
                error => {
                    PgBouncerError::Unreachable { console: console(), message: error.to_string() }
                }
            })?;
        Ok(Console { client, settings: settings.clone() })
    }

    /// How it was connected.
    pub fn settings(&self) -> &ConnectionSettings {
        &self.settings
    }

    /// SHOW VERSION without the name, e.g. `1.18.0`.
    pub async fn version(&self) -> Result<String, PgBouncerError> {
        let rows = self.rows("SHOW VERSION").await?;
        let text = rows
            .first()
            .and_then(|row| row.get(0))
            .ok_or(PgBouncerError::MissingColumn { command: "SHOW VERSION", column: "version" })?;
        Ok(text.split_whitespace().nth(1).unwrap_or(text).to_string())
    }

    /// SHOW CONFIG by key.
    pub async fn show_config(&self) -> Result<BTreeMap<String, PoolerSetting>, PgBouncerError> {
        let mut config = BTreeMap::new();
        for row in self.rows("SHOW CONFIG").await? {
            let key = required(&row, "SHOW CONFIG", "key")?;
            config.insert(
                key.to_string(),
                PoolerSetting {
                    value: text(&row, "value").unwrap_or_default().to_string(),
                    default: text(&row, "default").map(str::to_string),
                    changeable: required(&row, "SHOW CONFIG", "changeable")? == "yes",
                },
            );
        }
        Ok(config)
    }

    /// SHOW POOLS, PgBouncer's own left out.
    pub async fn pools(&self) -> Result<Vec<Pool>, PgBouncerError> {
        let command = "SHOW POOLS";
        let mut pools = Vec::new();
        for row in self.rows(command).await? {
            let database = required(&row, command, "database")?;
            if database == OWN {
                continue;
            }
            pools.push(Pool {
                database: database.to_string(),
                user: required(&row, command, "user")?.to_string(),
                clients_active: count(&row, command, "cl_active")?,
                clients_waiting: count(&row, command, "cl_waiting")?,
                servers_active: count(&row, command, "sv_active")?,
                servers_idle: count(&row, command, "sv_idle")?,
                servers_other: ["sv_used", "sv_tested", "sv_login"]
                    .into_iter()
                    .filter_map(|column| count(&row, command, column).ok())
                    .sum(),
                max_wait_s: count(&row, command, "maxwait")? as f64
                    + count(&row, command, "maxwait_us").unwrap_or(0) as f64 / 1e6,
                mode: text(&row, "pool_mode").unwrap_or_default().to_string(),
            });
        }
        Ok(pools)
    }

    /// SHOW DATABASES, PgBouncer's own left out.
    pub async fn databases(&self) -> Result<Vec<PoolerDatabase>, PgBouncerError> {
        let command = "SHOW DATABASES";
        let mut databases = Vec::new();
        for row in self.rows(command).await? {
            let name = required(&row, command, "name")?;
            if name == OWN {
                continue;
            }
            databases.push(PoolerDatabase {
                name: name.to_string(),
                host: text(&row, "host").unwrap_or_default().to_string(),
                port: text(&row, "port").and_then(|port| port.parse().ok()).unwrap_or(0),
                database: text(&row, "database").unwrap_or_default().to_string(),
                pool_size: count(&row, command, "pool_size")?,
            });
        }
        Ok(databases)
    }

    /// SHOW STATS_TOTALS summed over databases, PgBouncer's own left out.
    pub async fn totals(&self) -> Result<PoolerTotals, PgBouncerError> {
        let command = "SHOW STATS_TOTALS";
        let mut totals = PoolerTotals::default();
        for row in self.rows(command).await? {
            if required(&row, command, "database")? == OWN {
                continue;
            }
            totals.transactions += count(&row, command, "xact_count")?;
            totals.queries += count(&row, command, "query_count")?;
            totals.xact_us += count(&row, command, "xact_time")?;
            totals.query_us += count(&row, command, "query_time")?;
            totals.wait_us += count(&row, command, "wait_time")?;
        }
        Ok(totals)
    }

    /// SHOW USERS: the names PgBouncer knows.
    pub async fn users(&self) -> Result<Vec<String>, PgBouncerError> {
        self.rows("SHOW USERS")
            .await?
            .iter()
            .map(|row| required(row, "SHOW USERS", "name").map(str::to_string))
            .collect()
    }

    /// RELOAD: reads the files again and discards every SET. 1.18 answers success even where a line of the
    /// file is bad: always [`read_back`](crate::read_back) afterwards.
    pub async fn reload(&self) -> Result<(), PgBouncerError> {
        self.run("RELOAD", "RELOAD", ANSWER).await.map(drop)
    }

    /// SET, until the next RELOAD or restart. Answers success on restart-only keys too, and does nothing.
    pub async fn set(&self, key: &str, value: &str) -> Result<(), PgBouncerError> {
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(PgBouncerError::Command {
                command: "SET".into(),
                message: format!("{key:?} is no key of PgBouncer"),
                sqlstate: None,
            });
        }
        let command = format!("SET {key} = '{}'", value.replace('\'', "''"));
        self.run(&command, &format!("SET {key}"), ANSWER).await.map(drop)
    }

    /// RECONNECT of one database or all: servers are replaced when they are next released.
    pub async fn reconnect(&self, database: Option<&str>) -> Result<(), PgBouncerError> {
        self.on("RECONNECT", database, ANSWER).await
    }

    /// PAUSE of one database or all: waits for transactions to end, at most `limit`.
    /// Where time runs out the pause still stands; RESUME ends it.
    pub async fn pause(
        &self,
        database: Option<&str>,
        limit: Duration,
    ) -> Result<(), PgBouncerError> {
        self.on("PAUSE", database, limit).await
    }

    /// RESUME of one database or all.
    pub async fn resume(&self, database: Option<&str>) -> Result<(), PgBouncerError> {
        self.on("RESUME", database, ANSWER).await
    }

    async fn on(
        &self,
        verb: &str,
        database: Option<&str>,
        limit: Duration,
    ) -> Result<(), PgBouncerError> {
        let command = match database {
            None => verb.to_string(),
            Some(name) => format!("{verb} \"{}\"", name.replace('"', "\"\"")),
        };
        self.run(&command, verb, limit).await.map(drop)
    }

    async fn rows(&self, command: &str) -> Result<Vec<SimpleQueryRow>, PgBouncerError> {
        let messages = self.run(command, command, ANSWER).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    async fn run(
        &self,
        command: &str,
        shown: &str,
        limit: Duration,
    ) -> Result<Vec<SimpleQueryMessage>, PgBouncerError> {
        let failed = |message: String, sqlstate| PgBouncerError::Command {
            command: shown.to_string(),
            message,
            sqlstate,
        };
        tokio::time::timeout(limit, self.client.simple_query(command))
            .await
            .map_err(|_| failed(format!("no answer within {} s", limit.as_secs()), None))?
            .map_err(|error| match error.as_db_error() {
                Some(refusal) => {
                    failed(refusal.message().to_string(), Some(refusal.code().code().to_string()))
                }
                None => failed(causes(&error), None),
            })
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        message.push_str(&format!(": {next}"));
        cause = next.source();
    }
    message
}

fn text<'a>(row: &'a SimpleQueryRow, column: &str) -> Option<&'a str> {
    let position = row.columns().iter().position(|candidate| candidate.name() == column)?;
    row.get(position)
}

fn required<'a>(
    row: &'a SimpleQueryRow,
    command: &'static str,
    column: &'static str,
) -> Result<&'a str, PgBouncerError> {
    text(row, column).ok_or(PgBouncerError::MissingColumn { command, column })
}

fn count(
    row: &SimpleQueryRow,
    command: &'static str,
    column: &'static str,
) -> Result<u64, PgBouncerError> {
    required(row, command, column)?
        .parse()
        .map_err(|_| PgBouncerError::MissingColumn { command, column })
}
