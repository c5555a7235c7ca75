//! Whom a throw-away PgBouncer runs as, and how a running one is found on this host.

use nix::unistd::{Uid, User, chown};
use pgassay_model::connection::{ConnectionSettings, Host};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A user and group of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// The owner of the process `pid`, else `postgres`, else `pgbouncer`, else `nobody`. None: we are not
    /// root, so everything runs as ourselves.
    pub fn choose(pid: Option<u32>) -> Option<Account> {
        if !Uid::effective().is_root() {
            return None;
        }
        let running = pid
            .and_then(|pid| std::fs::metadata(format!("/proc/{pid}")).ok())
            .map(|process| Account { uid: process.uid(), gid: process.gid() })
            .filter(|account| account.uid != 0);
        running.or_else(|| {
            ["postgres", "pgbouncer", "nobody"].into_iter().find_map(|name| {
                let user = User::from_name(name).ok().flatten()?;
                Some(Account { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
            })
        })
    }

    pub(crate) fn own(self, path: &Path) -> std::io::Result<()> {
        chown(path, Some(self.uid.into()), Some(self.gid.into())).map_err(std::io::Error::from)
    }
}

/// The process id in a pidfile, where the console is on this host and the process is a PgBouncer.
pub(crate) fn running_pid(settings: &ConnectionSettings, pidfile: &str) -> Option<u32> {
    let local = match &settings.host {
        Host::Unix(_) => true,
        Host::Tcp(host) => {
            host == "localhost"
                || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    };
    if !local || pidfile.is_empty() {
        return None;
    }
    let pid: u32 = std::fs::read_to_string(pidfile).ok()?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    name.trim().starts_with("pgbouncer").then_some(pid)
}
