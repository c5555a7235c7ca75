//! Relations with their columns, statistics and activity.

use crate::Timestamp;
use crate::extended_statistics::StatisticsDefinition;
use crate::index::{Index, RelationName};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};

/// A table, partitioned table or materialized view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: u32,
    /// Name.
    pub name: RelationName,
    /// `pg_class.relkind` as the catalog's letter: `r`, `p`, `m`, `f` … (unknown letters are kept).
    pub kind: char,
    /// `pg_class.relpages` × block size is `size` at the last VACUUM; this is the live number of pages.
    pub pages: u64,
    /// `pg_class.reltuples`; None when never vacuumed or analyzed (−1 from 14 on).
    pub rows: Option<f64>,
    /// `pg_relation_size(oid)`, main fork.
    pub size: Bytes,
    /// `pg_class.relallvisible` pages.
    pub all_visible_pages: u64,
    /// Columns in order of `attnum`, dropped ones left out.
    pub columns: Vec<Column>,
    /// Indexes on it.
    pub indexes: Vec<Index>,
    /// Foreign keys from it to others.
    pub foreign_keys: Vec<ForeignKey>,
    /// Extended statistics on it, an expression's text left out (`pg_statistic_ext`).
    #[serde(default)]
    pub extended_statistics: Vec<StatisticsDefinition>,
    /// Whether others inherit from it or are its partitions (`pg_class.relhassubclass`).
    #[serde(default)]
    pub has_children: bool,
    /// Activity since `stats_reset`.
    pub activity: RelationActivity,
}

impl Relation {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

/// A view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Name.
    pub name: RelationName,
    /// Its query, relations named with their schemas (`pg_get_viewdef` under a `search_path` of `pg_catalog`).
    pub definition: String,
}

/// A column with the planner's statistics of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// `pg_attribute.attname`.
    pub name: String,
    /// `format_type(atttypid, atttypmod)`.
    pub type_name: String,
    /// `pg_attribute.attnotnull`.
    pub not_null: bool,
    /// Whether a value is made by the server when none is given (default, identity, generated).
    pub has_default: bool,
    /// Whether its collation is C or POSIX; None: it has the database's, or its type has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub c_collation: Option<bool>,
    /// `pg_stats` of the column; None when never analyzed or not readable.
    pub statistics: Option<ColumnStatistics>,
}

/// The row of `pg_stats` of a column.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// `null_frac`, 0–1.
    pub null_fraction: f64,
    /// `avg_width`, bytes.
    pub average_width: u32,
    /// `n_distinct`: above 0 a count, below 0 minus a share of the rows.
    pub n_distinct: f64,
    /// `most_common_vals` as text, with `most_common_freqs`.
    pub most_common: Vec<(String, f64)>,
    /// `histogram_bounds` as text.
    pub histogram: Vec<String>,
    /// `correlation` of physical and logical order, −1 to 1.
    pub correlation: Option<f64>,
    /// Of arrays and full-text values what their elements are like; None where the server keeps nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elements: Option<ElementStatistics>,
}

/// `pg_stats` of the elements of a column's values, of lexemes of full-text values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ElementStatistics {
    /// `most_common_elem_freqs`, one for each of `most_common_elems`, the greatest first: share of the rows that hold it.
    pub frequencies: Vec<f64>,
    /// Mean bytes of the text of `most_common_elems`; None: there are none.
    pub width: Option<f64>,
    /// Mean number of distinct elements of a value, the last of `elem_count_histogram`; None: not kept (lexemes).
    pub mean_count: Option<f64>,
}

impl ColumnStatistics {
    /// Number of distinct values among `rows` rows, at least 1 (manual, pg_stats.n_distinct).
    pub fn distinct(&self, rows: f64) -> f64 {
        if self.n_distinct >= 0.0 {
            self.n_distinct.max(1.0)
        } else {
            (-self.n_distinct * rows).max(1.0)
        }
    }
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// `pg_constraint.conname`.
    pub name: String,
    /// Referencing columns.
    pub columns: Vec<String>,
    /// Relation referred to.
    pub references: RelationName,
    /// Columns referred to, in the order of `columns`.
    #[serde(default)]
    pub referenced: Vec<String>,
}

/// Counters of `pg_stat_user_tables`, since the statistics were last reset.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RelationActivity {
    /// `seq_scan`.
    pub sequential_scans: u64,
    /// `seq_tup_read`.
    pub sequential_rows_read: u64,
    /// `idx_scan`.
    pub index_scans: u64,
    /// `n_tup_ins`.
    pub inserted: u64,
    /// `n_tup_upd`.
    pub updated: u64,
    /// `n_tup_hot_upd`.
    pub hot_updated: u64,
    /// `n_tup_del`.
    pub deleted: u64,
    /// `n_live_tup`.
    pub live_rows: u64,
    /// `n_dead_tup`.
    pub dead_rows: u64,
    /// `n_mod_since_analyze`.
    pub modified_since_analyze: u64,
    /// The later of `last_analyze` and `last_autoanalyze`; None: never.
    pub last_analyze: Option<Timestamp>,
    /// The later of `last_vacuum` and `last_autovacuum`; None: never.
    pub last_vacuum: Option<Timestamp>,
}
