//! The parameters that a copy of a server takes over from it.

use pgassay_model::parameter::Parameter;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;

/// Parameters that a copy must not take over: where the server lives and listens, whom it talks to, what it
/// says in which language, and logs. A copy with the source's archive or standbys would write into the one and wait for the others.
const NOT_COPIED: [&str; 24] = [
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
    "lc_messages",
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
    if snapshot.parameter("shared_preload_libraries").is_none() {
        notes.push(
            "the copies run without the server's shared_preload_libraries, which this role can't see (GRANT pg_read_all_settings TO this role shows them)".to_owned(),
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_model::snapshot::{Counters, Server};
    use std::collections::BTreeMap;

    fn parameter(name: &str, setting: &str, unit: Option<&str>, current: &str) -> Parameter {
        Parameter {
            name: name.into(),
            setting: setting.into(),
            unit: unit.map(str::to_owned),
            current: current.into(),
            context: "sighup".into(),
            source: "configuration file".into(),
            ..Parameter::default()
        }
    }

    fn snapshot(parameters: Vec<Parameter>) -> Snapshot {
        Snapshot {
            taken_at: jiff::Timestamp::UNIX_EPOCH,
            server: Server::default(),
            parameters: parameters
                .into_iter()
                .map(|parameter| (parameter.name.clone(), parameter))
                .collect::<BTreeMap<_, _>>(),
            relations: Vec::new(),
            statements: None,
            counters: Counters::default(),
            host: None,
            pooler: None,
            views: Vec::new(),
            immutable_functions: Default::default(),
            unseen: Vec::new(),
        }
    }

    fn value<'a>(parameters: &'a CopyParameters, name: &str) -> Option<&'a str> {
        parameters.lines.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn a_copy_has_what_is_set_and_nothing_that_reaches_out_of_it() {
        let mut by_default = parameter("work_mem", "4096", Some("kB"), "4MB");
        by_default.source = "default".into();
        let source = snapshot(vec![
            parameter("random_page_cost", "1.1", None, "1.1"),
            parameter("archive_command", "cp %p /archive", None, "cp %p /archive"),
            parameter("primary_conninfo", "host=x", None, "host=x"),
            parameter("lc_messages", "de_DE.utf8", None, "de_DE.utf8"),
            parameter("shared_preload_libraries", "", None, ""),
            parameter("app.note", "it's", None, "it's"),
            by_default,
        ]);
        let copy = of_source(&source, None, 2);
        assert_eq!(value(&copy, "random_page_cost"), Some("'1.1'"));
        assert_eq!(value(&copy, "app.note"), Some("'it''s'"));
        assert_eq!(value(&copy, "unix_socket_permissions"), Some("'0700'"));
        for absent in ["archive_command", "primary_conninfo", "lc_messages", "work_mem"] {
            assert_eq!(value(&copy, absent), None, "{absent}");
        }
        assert!(copy.notes.is_empty(), "{:?}", copy.notes);
    }

    #[test]
    fn shared_buffers_that_this_machine_has_no_memory_for_are_less_and_that_is_said() {
        let buffers = parameter("shared_buffers", "4194304", Some("8kB"), "32GB");
        let source = snapshot(vec![buffers, parameter("huge_pages", "on", None, "on")]);
        let copy = of_source(&source, Some(Bytes(10 << 30)), 2);
        assert_eq!(value(&copy, "shared_buffers"), Some("'2048MB'"));
        assert_eq!(value(&copy, "huge_pages"), Some("'try'"));
        assert!(copy.notes.iter().any(|note| note.contains("32 GB")), "{:?}", copy.notes);
        let roomy = of_source(&source, Some(Bytes(400 << 30)), 2);
        assert_eq!(value(&roomy, "shared_buffers"), Some("'32GB'"));
    }

    #[test]
    fn libraries_that_this_machine_lacks_are_left_out_and_named() {
        let preloaded =
            parameter("shared_preload_libraries", "", None, "pg_stat_statements, \"aurora\"");
        let mut copy = of_source(&snapshot(vec![preloaded]), None, 1);
        copy.keep_libraries(|library| library == "pg_stat_statements");
        assert_eq!(value(&copy, "shared_preload_libraries"), Some("'pg_stat_statements'"));
        assert!(copy.notes.iter().any(|note| note.contains("aurora")), "{:?}", copy.notes);
    }
}
