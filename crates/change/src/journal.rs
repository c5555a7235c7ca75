//! The journal: runs, changes, intents and outcomes in one SQLite file, durable at every step.
//!
//! It knows nothing of servers. An intent and its undo are committed before the target is touched, an
//! outcome after; what lies between the two is for `recovery` to find out.

mod history;
mod records;

pub use records::{ChangeRecord, JournalState, RunRecord};

use pgassay_model::Timestamp;
use pgassay_model::change::Undo;
use pgassay_model::observation::Observation;
use pgassay_model::plan::{Plan, PlanTarget, PlannedChange};
use pgassay_model::run::{Run, RunState};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Version of the stored format, in `PRAGMA user_version`.
const VERSION: i64 = 3;

/// Name of the file in the state directory.
const FILE: &str = "journal.sqlite";

const TABLES: &str = "
CREATE TABLE runs (
  run TEXT PRIMARY KEY,
  target TEXT NOT NULL,
  system_identifier INTEGER,
  database TEXT NOT NULL,
  started_at TEXT NOT NULL,
  state TEXT NOT NULL,
  plan TEXT,
  pid INTEGER NOT NULL,
  backups TEXT NOT NULL DEFAULT '[]',
  document TEXT
);
CREATE TABLE changes (
  run TEXT NOT NULL REFERENCES runs (run),
  position INTEGER NOT NULL,
  id TEXT NOT NULL,
  kind TEXT NOT NULL,
  title TEXT NOT NULL,
  state TEXT NOT NULL,
  change TEXT NOT NULL,
  undo TEXT,
  expected TEXT,
  outcome TEXT NOT NULL DEFAULT '',
  intended_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  PRIMARY KEY (run, id)
);
";

/// What came with version 2.
const OBSERVATIONS: &str = "
CREATE TABLE observations (
  run TEXT PRIMARY KEY REFERENCES runs (run),
  before TEXT NOT NULL
);
";

/// What came with version 3: a run is worked on again by the process that rolls it back.
const WORKED_ON: &str = "ALTER TABLE runs ADD COLUMN worked_on_since TEXT;";

/// What went wrong with the journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The state directory or the file can't be used.
    #[error("{path}: {source} (give another directory with --state)")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// SQLite.
    #[error("{path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Cause.
        source: rusqlite::Error,
    },
    /// Written by a later pgassay.
    #[error("{path} has format {found}, this pgassay knows up to {VERSION}; use a newer pgassay")]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// A stored document could not be read.
    #[error("{what} in the journal is not readable: {source}")]
    Document {
        /// Which.
        what: String,
        /// Cause.
        source: serde_json::Error,
    },
    /// No such run.
    #[error("there is no run {0} in the journal; pgassay history lists them")]
    NoRun(String),
    /// No such change.
    #[error("run {run} has no change {change}; pgassay history lists them")]
    NoChange {
        /// The run.
        run: String,
        /// The id asked for.
        change: String,
    },
}

impl JournalError {
    /// Whether the file is no journal any more, or never was one.
    pub fn damaged(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let JournalError::Sqlite { source, .. } = self else { return false };
        matches!(source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
    }
}

/// The journal of a state directory.
#[derive(Debug)]
pub struct Journal {
    connection: Mutex<Connection>,
    path: PathBuf,
    directory: PathBuf,
}

impl Journal {
    /// Opens the journal in `state_dir`, and makes both where they do not exist (mode 0700 and 0600).
    pub fn open(state_dir: &Path) -> Result<Self, JournalError> {
        let directory = |source| JournalError::Directory { path: state_dir.to_owned(), source };
        if !state_dir.is_dir() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(state_dir)
                .map_err(directory)?;
        }
        let path = state_dir.join(FILE);
        let failed = |source| JournalError::Sqlite { path: path.clone(), source };
        let mut connection = Connection::open(&path).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(directory)?;
        connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", "ON").map_err(failed)?;
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed)?;
        let found: i64 = transaction
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        if found > VERSION {
            return Err(JournalError::TooNew { path: path.clone(), found });
        }
        if found == 0 {
            transaction.execute_batch(TABLES).map_err(failed)?;
        }
        if found < 2 {
            transaction.execute_batch(OBSERVATIONS).map_err(failed)?;
        }
        if found < VERSION {
            transaction.execute_batch(WORKED_ON).map_err(failed)?;
            transaction.pragma_update(None, "user_version", VERSION).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        Ok(Journal { connection: Mutex::new(connection), path, directory: state_dir.to_owned() })
    }

    /// The state directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Records the start of a run; `plan` is stored as it is. Returns the run's identity.
    pub fn start_run(
        &self,
        target: &PlanTarget,
        plan: Option<&Plan>,
    ) -> Result<String, JournalError> {
        let now = Timestamp::now();
        // The start's second and a piece of its fraction mixed with the process: unique on one machine, and
        // the primary key refuses the rest.
        let mixed = (now.as_nanosecond() as u64 ^ (u64::from(std::process::id()) << 20))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let run = format!("{}-{:04x}", now.strftime("%Y%m%dT%H%M%S"), mixed >> 48);
        let plan = plan.map(|plan| encode("the plan", plan)).transpose()?;
        self.execute(
            "INSERT INTO runs (run, target, system_identifier, database, started_at, state, plan, pid)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                run,
                target.display,
                target.system_identifier,
                target.database,
                now.to_string(),
                state_name(RunState::Unfinished),
                plan,
                std::process::id()
            ],
        )?;
        Ok(run)
    }

    /// Stores the plan of a run that was started before there was one.
    pub fn save_plan(&self, run: &str, plan: &Plan) -> Result<(), JournalError> {
        let plan = encode("the plan", plan)?;
        self.update_run(run, "UPDATE runs SET plan = ?2 WHERE run = ?1", &plan)
    }

    /// The plan of a run.
    pub fn load_plan(&self, run: &str) -> Result<Option<Plan>, JournalError> {
        self.load_text(run, "SELECT plan FROM runs WHERE run = ?1")?
            .map(|text| decode(&format!("the plan of run {run}"), &text))
            .transpose()
    }

    /// Records that a run is over, or what became of it later.
    pub fn finish_run(&self, run: &str, state: RunState) -> Result<(), JournalError> {
        self.update_run(run, "UPDATE runs SET state = ?2 WHERE run = ?1", &state_name(state))
    }

    /// Records that this process works on a run that another one has left.
    pub fn take_up(&self, run: &str) -> Result<(), JournalError> {
        let (state, now) = (state_name(RunState::Unfinished), Timestamp::now().to_string());
        self.execute(
            "UPDATE runs SET state = ?2, pid = ?3, worked_on_since = ?4 WHERE run = ?1",
            params![run, state, std::process::id(), now],
        )?;
        Ok(())
    }

    /// Records where the schema snapshot and the backups of a run lie.
    pub fn save_backups(&self, run: &str, paths: &[PathBuf]) -> Result<(), JournalError> {
        let text = encode("the backups", &paths)?;
        self.update_run(run, "UPDATE runs SET backups = ?2 WHERE run = ?1", &text)
    }

    /// Stores the run's document, which reports are made from.
    pub fn save_document(&self, run: &str, document: &Run) -> Result<(), JournalError> {
        let text = encode("the run's document", document)?;
        self.update_run(run, "UPDATE runs SET document = ?2 WHERE run = ?1", &text)
    }

    /// The run's document; None where none was stored.
    pub fn load_document(&self, run: &str) -> Result<Option<Run>, JournalError> {
        self.load_text(run, "SELECT document FROM runs WHERE run = ?1")?
            .map(|text| decode(&format!("the document of run {run}"), &text))
            .transpose()
    }

    /// Stores what the application ran before the first change of a run.
    pub fn save_observation(&self, run: &str, before: &Observation) -> Result<(), JournalError> {
        let text = encode("what was observed before", before)?;
        self.execute("INSERT INTO observations (run, before) VALUES (?1, ?2)", params![run, text])?;
        Ok(())
    }

    /// What the application ran before the first change of a run; None where that was not observed.
    pub fn load_observation(&self, run: &str) -> Result<Option<Observation>, JournalError> {
        let found = self
            .lock()
            .query_row("SELECT before FROM observations WHERE run = ?1", [run], |row| row.get(0))
            .optional()
            .map_err(|e| self.failed(e))?;
        found
            .map(|text: String| decode(&format!("what was observed before run {run}"), &text))
            .transpose()
    }

    /// A run by its identity.
    pub fn run(&self, run: &str) -> Result<RunRecord, JournalError> {
        self.runs()?
            .into_iter()
            .find(|record| record.run == run)
            .ok_or_else(|| JournalError::NoRun(run.to_owned()))
    }

    /// All runs, the newest first.
    pub fn runs(&self) -> Result<Vec<RunRecord>, JournalError> {
        let connection = self.lock();
        let mut statement = connection
            .prepare(
                "SELECT run, target, system_identifier, database, started_at, state, pid, backups,
                        coalesce(worked_on_since, started_at)
                 FROM runs ORDER BY started_at DESC, rowid DESC",
            )
            .map_err(|e| self.failed(e))?;
        let rows = statement
            .query_map([], |row| {
                Ok((
                    RunRecord {
                        run: row.get(0)?,
                        target: row.get(1)?,
                        system_identifier: row.get(2)?,
                        database: row.get(3)?,
                        started_at: row
                            .get::<_, String>(4)?
                            .parse()
                            .unwrap_or(Timestamp::UNIX_EPOCH),
                        state: serde_json::from_value(serde_json::Value::String(row.get(5)?))
                            .unwrap_or(RunState::Unfinished),
                        pid: row.get(6)?,
                        worked_on_since: row
                            .get::<_, String>(8)?
                            .parse()
                            .unwrap_or(Timestamp::UNIX_EPOCH),
                        backups: Vec::new(),
                    },
                    row.get::<_, String>(7)?,
                ))
            })
            .map_err(|e| self.failed(e))?;
        rows.map(|row| {
            let (mut record, backups) = row.map_err(|e| self.failed(e))?;
            record.backups = decode(&format!("the backups of run {}", record.run), &backups)?;
            Ok(record)
        })
        .collect()
    }

    /// Runs that were never finished, on one target or on all.
    pub fn unfinished(&self, target: Option<&PlanTarget>) -> Result<Vec<RunRecord>, JournalError> {
        Ok(self
            .runs()?
            .into_iter()
            .filter(|record| record.state == RunState::Unfinished)
            .filter(|record| target.is_none_or(|target| record.is_of(target)))
            .collect())
    }

    /// Commits the intent: the change and how to take it back. The target may be touched only after this.
    pub fn intend(
        &self,
        run: &str,
        change: &PlannedChange,
        undo: &Undo,
        expected: Option<&str>,
    ) -> Result<(), JournalError> {
        let undo = encode("the undo", undo)?;
        self.insert(run, change, JournalState::Intended, Some(undo), expected, "")
    }

    /// Records a change that was never begun: skipped, or refused before anything was touched.
    pub fn not_begun(
        &self,
        run: &str,
        change: &PlannedChange,
        state: JournalState,
        reason: &str,
    ) -> Result<(), JournalError> {
        self.insert(run, change, state, None, None, reason)
    }

    fn insert(
        &self,
        run: &str,
        change: &PlannedChange,
        state: JournalState,
        undo: Option<String>,
        expected: Option<&str>,
        outcome: &str,
    ) -> Result<(), JournalError> {
        let text = encode("the change", change)?;
        // A change that failed may be tried again in the same run; one that may be in force may not.
        self.execute(
            "INSERT INTO changes (run, position, id, kind, title, state, change, undo, expected, outcome,
                                  intended_at, changed_at)
             VALUES (?1, (SELECT coalesce(max(position), 0) + 1 FROM changes WHERE run = ?1),
                     ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)
             ON CONFLICT (run, id) DO UPDATE SET position = excluded.position, state = excluded.state,
               change = excluded.change, undo = excluded.undo, expected = excluded.expected,
               outcome = excluded.outcome, intended_at = excluded.intended_at,
               changed_at = excluded.changed_at
             WHERE changes.state IN ('failed', 'skipped', 'rolled_back')",
            params![
                run,
                change.id,
                change.change.kind(),
                change.title,
                state.name(),
                text,
                undo,
                expected,
                outcome,
                Timestamp::now().to_string()
            ],
        )?;
        Ok(())
    }

    /// Records what became of a change.
    pub fn set_state(
        &self,
        run: &str,
        change: &str,
        state: JournalState,
        outcome: &str,
    ) -> Result<(), JournalError> {
        let rows = self.execute(
            "UPDATE changes SET state = ?3, outcome = ?4, changed_at = ?5 WHERE run = ?1 AND id = ?2",
            params![run, change, state.name(), outcome, Timestamp::now().to_string()],
        )?;
        if rows == 0 {
            return Err(JournalError::NoChange { run: run.to_owned(), change: change.to_owned() });
        }
        Ok(())
    }

    /// The changes of a run in the order in which they were begun.
    pub fn changes(&self, run: &str) -> Result<Vec<ChangeRecord>, JournalError> {
        let connection = self.lock();
        let mut statement = connection
            .prepare(
                "SELECT change, state, undo, expected, outcome FROM changes
                 WHERE run = ?1 ORDER BY position",
            )
            .map_err(|e| self.failed(e))?;
        let read = |row: &Row<'_>| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, Option<String>>(2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        };
        let rows = statement.query_map([run], read).map_err(|e| self.failed(e))?;
        rows.map(|row| {
            let (change, state, undo, expected, outcome) = row.map_err(|e| self.failed(e))?;
            Ok(ChangeRecord {
                run: run.to_owned(),
                planned: decode(&format!("a change of run {run}"), &change)?,
                // An unknown state is of a later pgassay: the most cautious reading is that it is open.
                state: JournalState::parse(&state).unwrap_or(JournalState::Intended),
                undo: undo
                    .map(|undo| decode(&format!("an undo of run {run}"), &undo))
                    .transpose()?,
                expected,
                outcome,
            })
        })
        .collect()
    }

    /// One change of a run.
    pub fn change(&self, run: &str, id: &str) -> Result<ChangeRecord, JournalError> {
        self.changes(run)?
            .into_iter()
            .find(|record| record.planned.id == id)
            .ok_or_else(|| JournalError::NoChange { run: run.to_owned(), change: id.to_owned() })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // SQLite's own transactions keep the file whole, so a thread's panic leaves nothing half done here.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: rusqlite::Error) -> JournalError {
        JournalError::Sqlite { path: self.path.clone(), source }
    }

    fn execute(&self, sql: &str, values: impl rusqlite::Params) -> Result<usize, JournalError> {
        self.lock().execute(sql, values).map_err(|e| self.failed(e))
    }

    fn update_run(&self, run: &str, sql: &str, value: &str) -> Result<(), JournalError> {
        match self.execute(sql, params![run, value])? {
            0 => Err(JournalError::NoRun(run.to_owned())),
            _ => Ok(()),
        }
    }

    fn load_text(&self, run: &str, sql: &str) -> Result<Option<String>, JournalError> {
        self.lock()
            .query_row(sql, [run], |row| row.get::<_, Option<String>>(0))
            .optional()
            .map_err(|e| self.failed(e))?
            .ok_or_else(|| JournalError::NoRun(run.to_owned()))
    }
}

fn state_name(state: RunState) -> String {
    match serde_json::to_value(state) {
        Ok(serde_json::Value::String(name)) => name,
        _ => "unfinished".to_owned(),
    }
}

fn encode<T: Serialize>(what: &str, value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value)
        .map_err(|source| JournalError::Document { what: what.to_owned(), source })
}

fn decode<T: for<'de> Deserialize<'de>>(what: &str, text: &str) -> Result<T, JournalError> {
    serde_json::from_str(text)
        .map_err(|source| JournalError::Document { what: what.to_owned(), source })
}
