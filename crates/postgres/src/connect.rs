//! Connecting as libpq does for each `sslmode`, and telling refusals apart.

use crate::error::causes;
use crate::{PostgresError, tls};
use pgassay_model::connection::{ConnectionSettings, Host, SslMode};
use tokio_postgres::config::SslMode as Negotiate;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// PgBouncer's words under `client_tls_sslmode=require`, of which the SQLSTATE says nothing.
pub(crate) const POOLER_WANTS_TLS: &str = "SSL required";

/// A connection that was made.
pub(crate) struct Connected {
    pub client: Client,
    pub encrypted: bool,
}

/// Why a connection was not made.
pub(crate) enum Attempt {
    /// A pooler does not take `options`.
    OptionsRefused(PostgresError),
    /// Anything else.
    Failed(PostgresError),
}

impl Attempt {
    pub(crate) fn into_error(self) -> PostgresError {
        match self {
            Attempt::OptionsRefused(error) | Attempt::Failed(error) => error,
        }
    }

    /// Whether the other kind of connection, encrypted or not, may still be welcome: libpq tries it under
    /// `allow` and `prefer` when the handshake fails or pg_hba.conf has no line for this kind.
    fn other_kind_may_do(&self) -> bool {
        match self {
            Attempt::Failed(PostgresError::TlsFailed { .. }) => true,
            Attempt::Failed(PostgresError::LoginRefused { sqlstate, message, .. }) => {
                sqlstate.as_deref() == Some("28000") || message == POOLER_WANTS_TLS
            }
            _ => false,
        }
    }
}

/// A plain connection, without the guards of a session: what is asked of it is not a server's SQL.
pub async fn client(settings: &ConnectionSettings) -> Result<Client, PostgresError> {
    connect(settings, None).await.map(|made| made.client).map_err(Attempt::into_error)
}

/// Connects with `options` as start-up switches.
pub(crate) async fn connect(
    settings: &ConnectionSettings,
    options: Option<&str>,
) -> Result<Connected, Attempt> {
    // sslmode is ignored for Unix-domain sockets (manual, section 34.1.2).
    if matches!(settings.host, Host::Unix(_)) {
        return once(settings, options, false).await;
    }
    match settings.ssl_mode {
        SslMode::Disable => once(settings, options, false).await,
        SslMode::Allow => match once(settings, options, false).await {
            Err(refused) if refused.other_kind_may_do() => once(settings, options, true).await,
            result => result,
        },
        SslMode::Prefer => match once(settings, options, true).await {
            Err(refused) if refused.other_kind_may_do() => once(settings, options, false).await,
            result => result,
        },
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            once(settings, options, true).await
        }
    }
}

async fn once(
    settings: &ConnectionSettings,
    options: Option<&str>,
    encrypted: bool,
) -> Result<Connected, Attempt> {
    let mut config = Config::new();
    match &settings.host {
        Host::Tcp(host) => config.host(host),
        Host::Unix(directory) => config.host_path(directory),
    };
    config
        .port(settings.port)
        .user(&settings.user)
        .dbname(&settings.database)
        .application_name("pgassay")
        .connect_timeout(settings.connect_timeout)
        .ssl_mode(if encrypted { Negotiate::Require } else { Negotiate::Disable });
    if let Some(password) = &settings.password {
        config.password(password.expose());
    }
    if let Some(options) = options {
        config.options(options);
    }
    let refused = |error: tokio_postgres::Error| refusal(settings, encrypted, &error);
    if encrypted {
        tls::server_name(settings).map_err(Attempt::Failed)?;
        let tls = tls::client_config(settings).map_err(Attempt::Failed)?;
        let connector = MakeRustlsConnect::new(tls.as_ref().clone());
        let (client, connection) = config.connect(connector).await.map_err(refused)?;
        run(connection);
        Ok(Connected { client, encrypted })
    } else {
        let (client, connection) = config.connect(NoTls).await.map_err(refused)?;
        run(connection);
        Ok(Connected { client, encrypted })
    }
}

/// The connection lives until its client is dropped.
fn run<C>(connection: C)
where
    C: Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
}

fn refusal(
    settings: &ConnectionSettings,
    encrypted: bool,
    error: &tokio_postgres::Error,
) -> Attempt {
    let server = settings.to_string();
    let Some(refusal) = error.as_db_error() else {
        let message = causes(error);
        // The client's own words: it has no kinds to match on.
        let handshake = message.starts_with("error performing TLS handshake");
        return Attempt::Failed(if encrypted && handshake {
            PostgresError::TlsFailed { server, message }
        } else if message.contains("authentication") || message.contains("password missing") {
            PostgresError::LoginRefused { server, message, sqlstate: None }
        } else {
            PostgresError::Unreachable { server, message }
        });
    };
    let message = refusal.message().to_owned();
    let sqlstate = refusal.code().code().to_owned();
    match sqlstate.as_str() {
        // cannot_connect_now; admin_shutdown and crash_shutdown while it goes down.
        "57P03" | "57P01" | "57P02" => {
            Attempt::Failed(PostgresError::StartingUp { server, message, sqlstate })
        }
        // PgBouncer: "unsupported startup parameter: options", from 1.20 also "… in options: …"; other
        // poolers: feature_not_supported.
        code if code == "0A000" || message.contains("startup parameter") => {
            Attempt::OptionsRefused(PostgresError::LoginRefused {
                server,
                message,
                sqlstate: Some(sqlstate),
            })
        }
        _ => Attempt::Failed(PostgresError::LoginRefused {
            server,
            message,
            sqlstate: Some(sqlstate),
        }),
    }
}
