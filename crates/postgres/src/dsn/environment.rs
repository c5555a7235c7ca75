//! What libpq takes from around the process: variables, home directory, account, socket directory.

use pgassay_model::connection::Host;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The surroundings of a connection string. A value, so that tests choose their own.
#[derive(Clone, Default)]
pub struct Environment {
    /// Environment variables; of those that begin with PG, an empty one counts as unset.
    pub variables: HashMap<String, String>,
    /// Home directory.
    pub home: Option<PathBuf>,
    /// Name of the operating system's account.
    pub account: Option<String>,
    /// Directories where a server's Unix socket may be, the first that exists being the default host.
    pub socket_directories: Vec<PathBuf>,
}

/// Values of variables may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("home", &self.home)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl Environment {
    /// This process's.
    pub fn process() -> Self {
        let variables: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("PG"))
            .collect();
        let account = nix::unistd::User::from_uid(nix::unistd::Uid::effective()).ok().flatten();
        Environment {
            variables,
            home: std::env::var_os("HOME")
                .filter(|home| !home.is_empty())
                .map(PathBuf::from)
                .or_else(|| account.as_ref().map(|account| account.dir.clone())),
            account: account.map(|account| account.name),
            // Debian's and Red Hat's builds use the first, PostgreSQL's own the second.
            socket_directories: vec!["/var/run/postgresql".into(), "/tmp".into()],
        }
    }

    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).filter(|value| !value.is_empty()).cloned()
    }

    pub(super) fn default_host(&self) -> Host {
        match self.socket_directories.iter().find(|directory| directory.is_dir()) {
            Some(directory) => Host::Unix(directory.clone()),
            None => Host::Tcp("localhost".into()),
        }
    }

    /// Whether a directory is where libpq looks for sockets by default.
    pub(super) fn is_default_socket(&self, directory: &Path) -> bool {
        self.socket_directories.iter().any(|known| known == directory)
    }
}
