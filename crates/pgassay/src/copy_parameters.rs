//! The parameters that a copy of a server takes over from it.

use pgassay_model::parameter::Parameter;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;

/// Parameters that a copy must not take over: where the server lives and listens, whom it talks to, what it
/// logs. A copy with the source's archive or standbys would write into the one and wait for the others.
const NOT_COPIED: [&str; 23] = [
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "external_pid_file",
    "port",
    "listen_addresses",
    "unix_socket_directories",
    "unix_socket_group",
    "unix_socket_permissions",
    "bonjour",
    "cluster_name",
    "event_source",
    "synchronous_standby_names",
    "hot_standby",
    "restore_command",
    "logging_collector",
    "restart_after_crash",
    "session_preload_libraries",
    "local_preload_libraries",
    "dynamic_library_path",
    "application_name",
    "stats_temp_directory",
];
const NOT_COPIED_PREFIXES: [&str; 8] =
    ["ssl", "archive_", "primary_", "recovery_", "log_", "syslog_", "krb_", "promote_"];
/// What is kept elsewhere than in the data directory, which a restored dump does not have.
const OF_TABLESPACES: [&str; 2] = ["default_tablespace", "temp_tablespaces"];
/// Copies together take no more of this machine's memory for shared buffers than this share of it: the manual calls
/// more than 40 % unlikely to work better for the one server that a machine has ("Resource Consumption").
const MOST_MEMORY: f64 = 0.4;

/// What a copy is started with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyParameters {
    /// Lines of postgresql.conf, values quoted.
    pub lines: Vec<(String, String)>,
    /// Where a copy differs from the server by that.
    pub notes: Vec<String>,
}

/// What the source has set and a copy may have too; `memory` is this machine's, `copies` run on it at a time.
pub fn of_source(snapshot: &Snapshot, memory: Option<Bytes>, copies: u64) -> CopyParameters {
    let mut notes = Vec::new();
    let mut lines: Vec<(String, String)> = snapshot
        .parameters
        .values()
        .filter(|parameter| is_set(parameter) && may_be_copied(&parameter.name))
        .map(|parameter| (parameter.name.clone(), quoted(&parameter.current)))
        .collect();
    let buffers = snapshot.parameter("shared_buffers").and_then(Parameter::bytes);
    if let (Some(Bytes(buffers)), Some(Bytes(memory))) = (buffers, memory) {
        let most = (memory as f64 * MOST_MEMORY) as u64 / copies.max(1);
        if buffers > most {
            // Whole megabytes, as a person would write it.
            let megabytes = (most >> 20).max(1);
            set(&mut lines, "shared_buffers", &format!("{megabytes}MB"));
            notes.push(format!(
                "shared_buffers of each copy is {megabytes} MB and {} on the server: this machine has no more memory",
                Bytes(buffers)
            ));
        }
    }
    if lines.iter().any(|(name, value)| name == "huge_pages" && value == "'on'") {
        // A copy is to start where no huge pages are set aside for it.
        set(&mut lines, "huge_pages", "try");
    }
    // A copy holds what the server holds and trusts its socket: for this account alone.
    set(&mut lines, "unix_socket_permissions", "0700");
    CopyParameters { lines, notes }
}

impl CopyParameters {
    /// The libraries loaded at start.
    pub fn preloaded(&self) -> Vec<String> {
        let value = self.lines.iter().find(|(name, _)| name == "shared_preload_libraries");
        let value = value.map(|(_, value)| value.trim_matches('\'')).unwrap_or_default();
        value
            .split(',')
            .map(|library| library.trim().trim_matches('"').to_owned())
            .filter(|library| !library.is_empty())
            .collect()
    }

    /// Leaves the libraries out that `there` does not find on this machine.
    pub fn keep_libraries(&mut self, there: impl Fn(&str) -> bool) {
        let (kept, missing): (Vec<_>, Vec<_>) =
            self.preloaded().into_iter().partition(|library| there(library));
        if missing.is_empty() {
            return;
        }
        set(&mut self.lines, "shared_preload_libraries", &kept.join(","));
        self.notes.push(format!(
            "the copies run without the libraries {}, which this machine does not have",
            missing.join(", ")
        ));
    }

    /// Leaves a parameter out, and says why.
    pub fn leave_out(&mut self, name: &str, why: &str) {
        self.lines.retain(|(known, _)| known != name);
        self.notes.push(format!("the copies run without the server's {name}: {why}"));
    }

    /// Leaves out what names tablespaces.
    pub fn without_tablespaces(&mut self) {
        self.lines.retain(|(name, _)| !OF_TABLESPACES.contains(&name.as_str()));
    }
}

fn is_set(parameter: &Parameter) -> bool {
    parameter.context != "internal"
        && matches!(
            parameter.source.as_str(),
            "configuration file" | "command line" | "environment variable"
        )
}

fn may_be_copied(name: &str) -> bool {
    !NOT_COPIED.contains(&name)
        && !NOT_COPIED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn set(lines: &mut Vec<(String, String)>, name: &str, value: &str) {
    lines.retain(|(known, _)| known != name);
    lines.push((name.to_owned(), quoted(value)));
}

/// A value as postgresql.conf takes it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// This machine's physical memory; None where the kernel does not tell.
pub fn machine_memory() -> Option<Bytes> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(Bytes(kilobytes << 10))
}
