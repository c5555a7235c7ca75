//! The closed set of changes, and the undo that each leaves behind.
//!
//! Closed, because journals written years ago must still load: variants are added, never altered.

use crate::extended_statistics::{StatementRows, StatisticsDefinition};
use crate::index::{IndexDefinition, RelationName};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A change to a target; `kind` in JSON is the variant's name in snake case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Change {
    /// CREATE INDEX CONCURRENTLY.
    CreateIndex {
        /// The index.
        definition: IndexDefinition,
        /// Size expected, for the disk-space check.
        estimated_size: Bytes,
    },
    /// DROP INDEX CONCURRENTLY.
    DropIndex {
        /// Relation that loses it.
        relation: RelationName,
        /// Name of the index, in the relation's schema.
        name: String,
        /// `pg_get_indexdef` as observed: what undo runs, and what must still hold when the plan is applied.
        ddl: String,
    },
    /// ANALYZE of one relation. New statistics replace old ones for good: undo has nothing to restore.
    Analyze {
        /// The relation.
        relation: RelationName,
    },
    /// CREATE STATISTICS, and ANALYZE of its columns, in one transaction.
    CreateStatistics {
        /// The statistics object.
        definition: StatisticsDefinition,
        /// What is estimated wrongly without it: whether it helps is told by these afterwards.
        #[serde(default)]
        rows: Vec<StatementRows>,
    },
    /// REINDEX INDEX CONCURRENTLY: the same index without its empty space. The old one is gone: undo has nothing to
    /// restore, and clears up what a rebuild that was cut off has left.
    Reindex {
        /// Its relation.
        relation: RelationName,
        /// Name of the index, in the relation's schema.
        name: String,
        /// `pg_get_indexdef` as observed: what must still hold when the plan is applied.
        ddl: String,
        /// Size expected of the new one, for the disk-space check.
        estimated_size: Bytes,
    },
    /// ALTER SYSTEM SET, and a reload.
    SetParameter {
        /// Parameter name.
        name: String,
        /// `current_setting` when planned; the plan is out of date if it differs when applied.
        from: String,
        /// New value, as `ALTER SYSTEM SET` takes it.
        to: String,
    },
    /// PgBouncer settings and log-in secrets, through its files and a RELOAD.
    SetPooler {
        /// What is edited.
        edit: PoolerEdit,
    },
}

/// An edit of PgBouncer's files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "file", rename_all = "snake_case")]
pub enum PoolerEdit {
    /// Keys of the `[pgbouncer]` section of the ini file.
    Ini {
        /// The file.
        ini: PathBuf,
        /// What changes, in order.
        settings: Vec<PoolerSettingChange>,
    },
    /// Plain-text passwords in the userlist replaced by the SCRAM secrets the server holds for the same roles.
    /// The secrets are read from the server when applied; they are in no document.
    Userlist {
        /// The ini file that names it.
        ini: PathBuf,
        /// The userlist (`auth_file`).
        userlist: PathBuf,
        /// Users whose secret is replaced.
        users: Vec<String>,
    },
}

/// One key of PgBouncer's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolerSettingChange {
    /// Key.
    pub key: String,
    /// SHOW CONFIG's value when planned.
    pub from: String,
    /// New value.
    pub to: String,
}

impl Change {
    /// `kind` as in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Change::CreateIndex { .. } => "create_index",
            Change::DropIndex { .. } => "drop_index",
            Change::Analyze { .. } => "analyze",
            Change::CreateStatistics { .. } => "create_statistics",
            Change::Reindex { .. } => "reindex",
            Change::SetParameter { .. } => "set_parameter",
            Change::SetPooler { .. } => "set_pooler",
        }
    }
}

/// How to take a change back: what was observed before it, never something recomputed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "undo", rename_all = "snake_case")]
pub enum Undo {
    /// Drop an index that did not exist before.
    DropIndex {
        /// Schema of the index.
        schema: String,
        /// Its name.
        name: String,
    },
    /// Create again an index that was dropped.
    RestoreIndex {
        /// Schema of the index.
        schema: String,
        /// Its name.
        name: String,
        /// `pg_get_indexdef` as observed before.
        ddl: String,
    },
    /// Nothing to restore (ANALYZE).
    Nothing,
    /// Drop a statistics object that did not exist before.
    DropStatistics {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
    },
    /// Drop what REINDEX CONCURRENTLY has left of a rebuild that was cut off.
    DropLeftovers {
        /// Schema of the index.
        schema: String,
        /// Its name.
        name: String,
        /// `pg_class.oid` before: the rebuilt index has another.
        oid: u32,
        /// INVALID indexes on the relation that were there before, and are not of ours.
        known: Vec<String>,
    },
    /// The entry of postgresql.auto.conf as it was.
    RestoreParameter {
        /// Parameter name.
        name: String,
        /// Its value in postgresql.auto.conf; None: there was no entry, so RESET.
        entry: Option<String>,
        /// Entries that stood after it, in order, so that undo leaves the file as it was, byte for byte
        /// (ALTER SYSTEM SET moves an entry to the end).
        following: Vec<(String, String)>,
        /// Effective value before (`current_setting`), read back after undo.
        effective: String,
    },
    /// A file as it was, from its backup.
    RestoreFile {
        /// The file.
        path: PathBuf,
        /// Its backup, mode and owner kept.
        backup: PathBuf,
        /// SHA-256 of the backup, hexadecimal.
        sha256: String,
    },
}
