//! Indexes: those that exist, as the catalog shows them, and definitions of those that could.

use crate::units::Bytes;
use serde::{Deserialize, Serialize};

/// A schema-qualified relation name, unquoted as the catalog stores it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RelationName {
    /// `pg_namespace.nspname`.
    pub schema: String,
    /// `pg_class.relname`.
    pub name: String,
}

impl std::fmt::Display for RelationName {
    /// For people and for keys of maps; SQL goes through the quoting functions of `pgassay-sql`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// One key of an index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IndexKey {
    /// A column name, or for an expression None.
    pub column: Option<String>,
    /// The expression's SQL text (as `pg_get_indexdef` or the deparser writes it), for an expression.
    pub expression: Option<String>,
    /// DESC.
    #[serde(default)]
    pub descending: bool,
    /// NULLS FIRST where true, NULLS LAST where false.
    #[serde(default)]
    pub nulls_first: bool,
    /// Operator class, where it is not the type's default.
    #[serde(default)]
    pub opclass: Option<String>,
}

impl IndexKey {
    /// An ascending key on a column.
    pub fn column(name: impl Into<String>) -> Self {
        IndexKey {
            column: Some(name.into()),
            expression: None,
            descending: false,
            nulls_first: false,
            opclass: None,
        }
    }
}

/// What an index is, or would be; its SQL is written by `pgassay_sql::index_ddl`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IndexDefinition {
    /// The indexed relation.
    pub relation: RelationName,
    /// Name of the index, without schema (it lives in the relation's).
    pub name: String,
    /// `pg_am.amname`: `btree`, `hash`, `brin`, `gin`, `gist` …
    pub method: String,
    /// UNIQUE.
    #[serde(default)]
    pub unique: bool,
    /// Keys, in order.
    pub keys: Vec<IndexKey>,
    /// INCLUDE columns.
    #[serde(default)]
    pub include: Vec<String>,
    /// Text of the WHERE clause, without the word, for a partial index.
    #[serde(default)]
    pub predicate: Option<String>,
    /// BRIN's storage parameter of that name, heap pages; None: the server's default, 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pages_per_range: Option<u32>,
}

/// An index that exists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// `pg_class.oid`.
    pub oid: u32,
    /// What it is.
    pub definition: IndexDefinition,
    /// `pg_get_indexdef(oid)`: exact DDL, without CONCURRENTLY.
    pub ddl: String,
    /// `pg_index.indisprimary`.
    pub primary: bool,
    /// Name of the constraint that owns it, if any.
    pub constraint: Option<String>,
    /// `pg_index.indisvalid`.
    pub valid: bool,
    /// `pg_index.indisreplident` or used as a replication identity.
    pub replica_identity: bool,
    /// Whether it is a part of a partitioned index (`pg_class.relispartition`): it goes with the whole alone.
    #[serde(default)]
    pub attached: bool,
    /// How full its leaf pages were counted to be; None: nobody counted.
    #[serde(default)]
    pub leaves: Option<IndexLeaves>,
    /// `pg_relation_size(oid)`.
    pub size: Bytes,
    /// `pg_stat_user_indexes.idx_scan`.
    pub scans: u64,
    /// `pg_stat_user_indexes.last_idx_scan` (16+); None: never since the statistics were reset, or not known.
    #[serde(default)]
    pub last_scan: Option<crate::Timestamp>,
}

/// The leaf pages of a B-tree as `pgstatindex` (extension pgstattuple) counted them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IndexLeaves {
    /// `leaf_pages`: those that hold entries; empty and deleted ones are not among them.
    pub pages: u64,
    /// `internal_pages`.
    pub internal_pages: u64,
    /// `avg_leaf_density`, 0–1: the share of the leaf pages' room that entries take, dead ones included.
    pub density: f64,
}
