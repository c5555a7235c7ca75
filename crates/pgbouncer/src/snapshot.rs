//! Everything observed of a PgBouncer: its console, its files and its process, read only.

use crate::account::running_pid;
use crate::{Console, Ini, PgBouncerError, Userlist};
use pgassay_model::pooler::{PoolerSetting, PoolerSnapshot};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Observes a PgBouncer. A file that can't be read or edited is no error: `ini_problem` says why.
pub async fn snapshot(
    console: &Console,
    ini: Option<&Path>,
) -> Result<PoolerSnapshot, PgBouncerError> {
    let config = console.show_config().await?;
    let value =
        |key: &str| config.get(key).map(|setting| setting.value.as_str()).unwrap_or_default();
    let pid = running_pid(console.settings(), value("pidfile"));
    let directory = working_directory(pid);
    let (ini, ini_problem) = match ini {
        None => (None, None),
        Some(path) => match editable(path, &config, &directory) {
            Ok(()) => (Some(path.to_path_buf()), None),
            Err(problem) => (None, Some(problem)),
        },
    };
    // Another host's file of the same name says nothing about this PgBouncer.
    let userlist = if pid.is_some() || ini.is_some() {
        let path = value("auth_file");
        (!path.is_empty()).then(|| Userlist::read(&directory.join(path)).ok()).flatten()
    } else {
        None
    };
    Ok(PoolerSnapshot {
        version: console.version().await?,
        pools: console.pools().await?,
        databases: console.databases().await?,
        userlist: userlist.map(|list| list.secrets()),
        ini,
        ini_problem,
        pid,
        open_files_limit: pid.and_then(open_files_limit),
        somaxconn: pid
            .and_then(|_| std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok())
            .and_then(|text| text.trim().parse().ok()),
        refused: None,
        config,
    })
}

/// Working directory of a process, where relative paths of PgBouncer are looked up; `/` where unknown, which is
/// what a service has.
pub fn working_directory(pid: Option<u32>) -> PathBuf {
    pid.and_then(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).ok())
        .unwrap_or_else(|| PathBuf::from("/"))
}

/// Why a configuration file can't be edited, or is not the one that runs.
fn editable(
    path: &Path,
    config: &BTreeMap<String, PoolerSetting>,
    directory: &Path,
) -> Result<(), String> {
    let ini = Ini::read(path, directory).map_err(|error| error.to_string())?;
    if ini.headers() != 1 {
        return Err(format!(
            "{} and its includes hold {} [pgbouncer] headers; each one starts again from the defaults, so keep one",
            path.display(),
            ini.headers()
        ));
    }
    if let Some(running) = config.get("conffile").filter(|setting| !setting.value.is_empty()) {
        let running = directory.join(&running.value);
        if running.canonicalize().ok() != path.canonicalize().ok() {
            return Err(format!(
                "PgBouncer runs on {}, not on {}",
                running.display(),
                path.display()
            ));
        }
    }
    // RELOAD would bring these in too, whatever else is changed.
    for key in ["listen_port", "auth_file"] {
        if let (Some(file), Some(running)) = (ini.get(key), config.get(key))
            && file != running.value
        {
            return Err(format!(
                "{key} is {} in PgBouncer and {file} in {}",
                running.value,
                path.display()
            ));
        }
    }
    let target = path.canonicalize().map_err(|error| error.to_string())?;
    let parent = target.parent().unwrap_or(Path::new("/"));
    nix::unistd::access(parent, nix::unistd::AccessFlags::W_OK)
        .map_err(|error| format!("no file can be written in {}: {error}", parent.display()))
}

fn open_files_limit(pid: u32) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}
