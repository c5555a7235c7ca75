//! Connection strings as libpq reads them: URL and keyword form, with defaults from the service file, the
//! environment and the password file (manual, sections 34.1.1, 34.15 to 34.17).

mod environment;
mod files;
mod keywords;
mod url;

#[cfg(test)]
mod tests;

pub use environment::Environment;

use pgassay_model::connection::{ConnectionSettings, Host, Secret, SslMode};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How long connecting may take when nothing is said. libpq waits for ever; a tool should not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// `connect_timeout=0` means no limit: a day, so that sums of durations stay in range.
const NO_TIMEOUT: Duration = Duration::from_secs(86_400);

/// Why a connection string could not be used. Never repeats values: any could be a piece of a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DsnError {
    /// Neither a URL nor keywords.
    #[error("the connection string is neither a postgresql:// URL nor keyword=value pairs")]
    Form,
    /// Something stands where libpq expects something else.
    #[error("the connection string is malformed: {0}")]
    Malformed(&'static str),
    /// A key that libpq does not know.
    #[error("the connection string has an unknown key{}", named(.key))]
    UnknownKey {
        /// The key, where it is safe to repeat.
        key: Option<String>,
    },
    /// A key that libpq knows and this program can't honour.
    #[error("{key} is not supported: {reason}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// A value that its key does not take.
    #[error("{key} is not valid: expected {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// Several hosts: a measurement has to know its server.
    #[error(
        "several hosts are given: name one server, so that what is measured and changed is the same"
    )]
    SeveralHosts,
    /// The service is not in any service file.
    #[error("service \"{service}\" is not defined in {files}")]
    UnknownService {
        /// Its name.
        service: String,
        /// Where it was looked for.
        files: String,
    },
    /// A file could not be read.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// No user is given, and this process's has no name.
    #[error("no user is given, and the operating system's account has no name")]
    NoUser,
}

fn named(key: &Option<String>) -> String {
    key.as_ref().map(|key| format!(" \"{key}\"")).unwrap_or_default()
}

/// Values by key, as given.
type Given = BTreeMap<&'static str, String>;

/// What becomes of a key.
enum Treatment {
    /// Used.
    Used,
    /// Changes neither where we connect nor how safely; left aside.
    LeftAside,
    /// Refused, unless it has one of these values, which mean the default.
    Refused(&'static [&'static str], &'static str),
}

const CLIENT_CERTIFICATE: &str = "client certificates are not supported; use a password";
const KERBEROS: &str = "GSSAPI is not supported; use a password";

/// Every key of libpq (manual, section 34.1.2).
const KEYS: &[(&str, Treatment)] = &[
    ("host", Treatment::Used),
    ("port", Treatment::Used),
    ("user", Treatment::Used),
    ("password", Treatment::Used),
    ("dbname", Treatment::Used),
    ("sslmode", Treatment::Used),
    ("sslrootcert", Treatment::Used),
    ("connect_timeout", Treatment::Used),
    ("options", Treatment::Used),
    ("passfile", Treatment::Used),
    ("service", Treatment::Used),
    ("servicefile", Treatment::Used),
    ("hostaddr", Treatment::Used),
    ("application_name", Treatment::LeftAside),
    ("fallback_application_name", Treatment::LeftAside),
    ("client_encoding", Treatment::LeftAside),
    ("keepalives", Treatment::LeftAside),
    ("keepalives_idle", Treatment::LeftAside),
    ("keepalives_interval", Treatment::LeftAside),
    ("keepalives_count", Treatment::LeftAside),
    ("tcp_user_timeout", Treatment::LeftAside),
    ("sslcompression", Treatment::LeftAside),
    ("sslsni", Treatment::LeftAside),
    ("ssl_min_protocol_version", Treatment::LeftAside),
    ("ssl_max_protocol_version", Treatment::LeftAside),
    ("gssdelegation", Treatment::LeftAside),
    ("load_balance_hosts", Treatment::LeftAside),
    ("sslcert", Treatment::Refused(&[], CLIENT_CERTIFICATE)),
    ("sslkey", Treatment::Refused(&[], CLIENT_CERTIFICATE)),
    ("sslpassword", Treatment::Refused(&[], CLIENT_CERTIFICATE)),
    ("sslcertmode", Treatment::Refused(&["disable", "allow"], CLIENT_CERTIFICATE)),
    ("sslcrl", Treatment::Refused(&[], "revocation lists are not supported")),
    ("sslcrldir", Treatment::Refused(&[], "revocation lists are not supported")),
    (
        "sslnegotiation",
        Treatment::Refused(&["postgres"], "only negotiation by PostgreSQL's protocol is supported"),
    ),
    (
        "requirepeer",
        Treatment::Refused(&[], "the account behind a socket is not checked; leave it out"),
    ),
    (
        "channel_binding",
        Treatment::Refused(
            &["disable", "prefer"],
            "channel binding is used where offered, and cannot be required",
        ),
    ),
    ("require_auth", Treatment::Refused(&[], "the method of log-in cannot be required")),
    ("krbsrvname", Treatment::Refused(&["postgres"], KERBEROS)),
    ("gsslib", Treatment::Refused(&[], KERBEROS)),
    ("gssencmode", Treatment::Refused(&["disable", "prefer"], KERBEROS)),
    ("target_session_attrs", Treatment::Refused(&["any"], "name the server that is meant")),
    (
        "replication",
        Treatment::Refused(
            &["false", "off", "no", "0"],
            "a replication connection takes no statements",
        ),
    ),
];

/// Variables that demand something of a connection: refused like their keys where it can't be honoured.
const DEMANDS: &[(&str, &str)] = &[
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
];

/// Enters a value; `repeat` says whether an unknown key may be named in the error.
fn enter(given: &mut Given, key: &str, value: String, repeat: bool) -> Result<(), DsnError> {
    let Some((name, treatment)) = KEYS.iter().find(|(name, _)| *name == key) else {
        let plain = !key.is_empty()
            && key.len() <= 40
            && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        return Err(DsnError::UnknownKey { key: (repeat && plain).then(|| key.to_owned()) });
    };
    match treatment {
        Treatment::Used => {
            given.insert(name, value);
        }
        Treatment::LeftAside => tracing::debug!(key = name, "left aside"),
        Treatment::Refused(defaults, reason) => {
            if !value.is_empty() && !defaults.contains(&value.as_str()) {
                return Err(DsnError::Unsupported { key: name, reason });
            }
        }
    }
    Ok(())
}

/// Resolves a connection string with this process's environment.
pub fn resolve(text: &str) -> Result<ConnectionSettings, DsnError> {
    resolve_with(text, &Environment::process())
}

/// Resolves a connection string: what it says goes before the service file, that before the environment,
/// and that before the defaults, as in libpq.
pub fn resolve_with(text: &str, environment: &Environment) -> Result<ConnectionSettings, DsnError> {
    let text = text.trim();
    let mut given = match url::rest(text) {
        Some(rest) => url::read(rest)?,
        None if text.is_empty() || text.contains('=') => keywords::read(text)?,
        None => return Err(DsnError::Form),
    };
    let service = given.get("service").cloned().or_else(|| environment.variable("PGSERVICE"));
    if let Some(service) = service {
        let file = given.get("servicefile").map(PathBuf::from);
        for (key, value) in files::service(&service, file, environment)? {
            if key != "service" {
                given.entry(key).or_insert(value);
            }
        }
    }
    for (variable, key) in DEMANDS {
        if let Some(value) = environment.variable(variable).filter(|_| !given.contains_key(key)) {
            enter(&mut Given::new(), key, value, false)?;
        }
    }
    settings(&given, environment)
}

fn settings(given: &Given, environment: &Environment) -> Result<ConnectionSettings, DsnError> {
    // An empty value means the default, as in libpq.
    let value = |key: &str, variable: &str| {
        given
            .get(key)
            .filter(|value| !value.is_empty())
            .cloned()
            .or_else(|| environment.variable(variable))
    };
    let host = host(value("host", "PGHOST"), value("hostaddr", "PGHOSTADDR"), environment)?;
    let port = match value("port", "PGPORT") {
        None => 5432,
        Some(text) if text.contains(',') => return Err(DsnError::SeveralHosts),
        Some(text) => match text.trim().parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(DsnError::Value { key: "port", expected: "a number from 1 to 65535" }),
        },
    };
    let user =
        value("user", "PGUSER").or_else(|| environment.account.clone()).ok_or(DsnError::NoUser)?;
    let database = value("dbname", "PGDATABASE").unwrap_or_else(|| user.clone());
    let ssl_mode = match value("sslmode", "PGSSLMODE") {
        None => SslMode::default(),
        Some(text) => ssl_mode(&text)?,
    };
    let connect_timeout = match value("connect_timeout", "PGCONNECT_TIMEOUT") {
        None => CONNECT_TIMEOUT,
        Some(text) => match text.trim().parse::<i64>() {
            Ok(seconds) if seconds <= 0 => NO_TIMEOUT,
            // libpq never waits less than 2 s.
            Ok(seconds) => Duration::from_secs(seconds.unsigned_abs().max(2)).min(NO_TIMEOUT),
            Err(_) => {
                return Err(DsnError::Value {
                    key: "connect_timeout",
                    expected: "a whole number of seconds",
                });
            }
        },
    };
    let password = match value("password", "PGPASSWORD") {
        Some(password) => Some(Secret::new(password)),
        None => {
            let file = value("passfile", "PGPASSFILE").map(PathBuf::from);
            files::password(file, &host, port, &database, &user, environment)
        }
    };
    for text in [&user, &database] {
        if text.contains('\0') {
            return Err(DsnError::Malformed("a value holds a zero byte"));
        }
    }
    Ok(ConnectionSettings {
        host,
        port,
        user,
        password,
        database,
        ssl_mode,
        ssl_root_cert: value("sslrootcert", "PGSSLROOTCERT").map(PathBuf::from),
        connect_timeout,
        options: value("options", "PGOPTIONS"),
    })
}

fn host(
    name: Option<String>,
    address: Option<String>,
    environment: &Environment,
) -> Result<Host, DsnError> {
    let given = match (name, address) {
        (Some(_), Some(_)) => {
            return Err(DsnError::Unsupported {
                key: "hostaddr",
                reason: "give either host or hostaddr",
            });
        }
        (Some(given), None) | (None, Some(given)) => given,
        (None, None) => return Ok(environment.default_host()),
    };
    if given.contains(',') {
        return Err(DsnError::SeveralHosts);
    }
    if given.contains('\0') {
        return Err(DsnError::Malformed("the host holds a zero byte"));
    }
    // "@" begins the name of a socket in the abstract namespace, which has no file to look at.
    if given.starts_with('@') {
        return Err(DsnError::Unsupported {
            key: "host",
            reason: "sockets in the abstract namespace are not supported",
        });
    }
    Ok(if given.starts_with('/') { Host::Unix(PathBuf::from(given)) } else { Host::Tcp(given) })
}

fn ssl_mode(text: &str) -> Result<SslMode, DsnError> {
    Ok(match text {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            return Err(DsnError::Value {
                key: "sslmode",
                expected: "disable, allow, prefer, require, verify-ca or verify-full",
            });
        }
    })
}
