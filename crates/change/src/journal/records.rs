//! What the journal holds of runs and changes, and what a person has to know of those that are open.

use pgassay_model::Timestamp;
use pgassay_model::change::Undo;
use pgassay_model::plan::{PlanTarget, PlannedChange};
use pgassay_model::run::RunState;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where a change stands in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalState {
    /// Its undo is recorded, the target may or may not have been touched.
    Intended,
    /// In force and verified, not judged.
    Applied,
    /// In force, and to stay.
    Kept,
    /// Being taken back.
    RollingBack,
    /// Taken back.
    RolledBack,
    /// Not applied; nothing of it is left.
    Failed,
    /// Not tried.
    Skipped,
}

impl JournalState {
    /// Its name in the journal.
    pub fn name(self) -> &'static str {
        match self {
            JournalState::Intended => "intended",
            JournalState::Applied => "applied",
            JournalState::Kept => "kept",
            JournalState::RollingBack => "rolling_back",
            JournalState::RolledBack => "rolled_back",
            JournalState::Failed => "failed",
            JournalState::Skipped => "skipped",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
    }

    /// Whether something of the change may be on the target.
    pub fn may_be_in_force(self) -> bool {
        matches!(
            self,
            JournalState::Intended
                | JournalState::Applied
                | JournalState::Kept
                | JournalState::RollingBack
        )
    }
}

/// A run as the journal holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Identity.
    pub run: String,
    /// DSN without its password.
    pub target: String,
    /// `pg_control_system().system_identifier`; None where it could not be read.
    pub system_identifier: Option<i64>,
    /// Database.
    pub database: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Where it stands.
    pub state: RunState,
    /// Process that works on it: that started it, or that takes it back.
    pub pid: u32,
    /// Since when it does.
    pub worked_on_since: Timestamp,
    /// Schema snapshot and backups.
    pub backups: Vec<PathBuf>,
}

/// A change as the journal holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChangeRecord {
    /// Its run.
    pub run: String,
    /// The change as planned.
    pub planned: PlannedChange,
    /// Where it stands.
    pub state: JournalState,
    /// How to take it back; None where it was never begun.
    pub undo: Option<Undo>,
    /// SHA-256 of the file as it is to be after the change, for changes of files.
    pub expected: Option<String>,
    /// What came of it, for people.
    pub outcome: String,
}

impl ChangeRecord {
    /// Id and title, for messages.
    pub fn name(&self) -> String {
        format!("{} ({})", self.planned.id, self.planned.title)
    }
}

impl RunRecord {
    /// Whether the run was on this target.
    pub fn is_of(&self, target: &PlanTarget) -> bool {
        self.database == target.database
            && match (self.system_identifier, target.system_identifier) {
                (Some(a), Some(b)) => a == b,
                _ => self.target == target.display,
            }
    }

    /// Whether the process that works on it is still there; a later process of the same number is another.
    pub fn process_alive(&self) -> bool {
        let Ok(pid) = i32::try_from(self.pid) else { return false };
        let there = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None);
        // EPERM: it is there, and another user's.
        matches!(there, Ok(()) | Err(nix::errno::Errno::EPERM))
            && !process_ended(self.pid)
            && process_started(self.pid)
                .is_none_or(|started| started <= self.worked_on_since.as_second() + 1)
    }
}

/// Whether a process has ended and only waits for its parent to notice, which some containers' first process never
/// does (proc(5): field 3 of /proc/PID/stat).
fn process_ended(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit_once(')')?.1.split_whitespace().next().map(str::to_owned))
        .is_some_and(|state| matches!(state.as_str(), "Z" | "X"))
}

/// When a process started, in seconds since 1970; None where the system does not tell (proc(5): field 22 of
/// /proc/PID/stat, in ticks of 1/100 s after `btime` of /proc/stat).
fn process_started(pid: u32) -> Option<i64> {
    const TICKS_PER_SECOND: i64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name in parentheses, may hold spaces.
    let ticks: i64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let system = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: i64 =
        system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + ticks / TICKS_PER_SECOND)
}

/// What a person has to know of a change, where something is open.
pub(super) fn note(run: &RunRecord, change: &ChangeRecord) -> String {
    let open = matches!(change.state, JournalState::Intended | JournalState::RollingBack);
    if run.state != RunState::Unfinished && !open {
        return change.outcome.clone();
    }
    let what = match change.state {
        JournalState::Intended => "it may or may not be in force",
        JournalState::RollingBack => "taking it back was begun and not finished",
        JournalState::Applied => "it is in force and was not judged",
        _ => return change.outcome.clone(),
    };
    if run.process_alive() && run.state == RunState::Unfinished {
        return format!("{what}; process {} is working on it", run.pid);
    }
    let outcome =
        if change.outcome.is_empty() { String::new() } else { format!(" ({})", change.outcome) };
    format!("{what}{outcome}; pgassay rollback {} DSN finds out and restores", run.run)
}
