//! How to reach a server: resolved connection settings whose secrets can't be printed.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A value that must not reach a log, a report or a metric: prints as `********`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Secret(value.into())
    }

    /// The secret itself, for handing to a server or writing to the file that holds it; never to print.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// libpq's `sslmode` (manual, section 34.19.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// No encryption.
    Disable,
    /// Treated as `prefer`: encryption where the server asks for it.
    Allow,
    /// Encryption where the server offers it; the certificate is not checked.
    #[default]
    Prefer,
    /// Encryption or nothing; the certificate is checked only when a root certificate file is given.
    Require,
    /// The certificate chain is checked, the host name is not.
    VerifyCa,
    /// The certificate chain and the host name are checked.
    VerifyFull,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A host name or address, with TCP.
    Tcp(String),
    /// The directory of a Unix-domain socket.
    Unix(PathBuf),
}

/// Connection settings with every default (environment, service file, password file) resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSettings {
    /// Where the server listens.
    pub host: Host,
    /// TCP port, also part of a Unix socket's file name.
    pub port: u16,
    /// Role to log in as.
    pub user: String,
    /// Password, where one is known.
    pub password: Option<Secret>,
    /// Database name (`pgbouncer` for PgBouncer's console).
    pub database: String,
    /// Encryption wanted.
    pub ssl_mode: SslMode,
    /// File with the root certificates; None: `~/.postgresql/root.crt`, else the system's.
    pub ssl_root_cert: Option<PathBuf>,
    /// How long connecting may take.
    pub connect_timeout: Duration,
    /// libpq's `options`: command-line switches for the backend, sent at start-up.
    pub options: Option<String>,
}

impl ConnectionSettings {
    /// The way to a server on this machine by its Unix socket, without a password or encryption.
    pub fn local(directory: PathBuf, port: u16, user: &str, database: &str) -> Self {
        ConnectionSettings {
            host: Host::Unix(directory),
            port,
            user: user.to_owned(),
            password: None,
            database: database.to_owned(),
            ssl_mode: SslMode::Disable,
            ssl_root_cert: None,
            connect_timeout: Duration::from_secs(10),
            options: None,
        }
    }
}

/// Prints as a URL without its password.
impl fmt::Display for ConnectionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => {
                write!(f, "postgresql://{}@[{host}]:{}/{}", self.user, self.port, self.database)
            }
            Host::Tcp(host) => {
                write!(f, "postgresql://{}@{host}:{}/{}", self.user, self.port, self.database)
            }
            Host::Unix(directory) => write!(
                f,
                "postgresql://{}@/{}?host={}&port={}",
                self.user,
                self.database,
                directory.display(),
                self.port
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let settings = ConnectionSettings {
            host: Host::Tcp("db".into()),
            port: 5432,
            user: "app".into(),
            password: Some(Secret::new("hunter2")),
            database: "shop".into(),
            ssl_mode: SslMode::Prefer,
            ssl_root_cert: None,
            connect_timeout: Duration::from_secs(5),
            options: None,
        };
        assert_eq!(settings.to_string(), "postgresql://app@db:5432/shop");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
