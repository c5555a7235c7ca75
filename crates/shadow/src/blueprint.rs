//! Everything that a planner reads of a database, as one document without table data.

use pgassay_model::index::RelationName;
use serde::{Deserialize, Serialize};

/// Schema name of a blueprint document.
pub const SCHEMA: &str = "pgassay/blueprint/1";

/// A database as the planner sees it. Statistics hold values of columns (most common ones, histogram bounds), and
/// `endpoints` whole rows: it is as confidential as the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blueprint {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// `server_version_num`.
    pub version_num: u32,
    /// The database.
    pub database: Database,
    /// Parameters in force for the role that read it, in base units as `pg_settings.setting` has them;
    /// `search_path` as a list of identifiers.
    pub settings: Vec<(String, String)>,
    /// DDL that comes first: schemas and enum types, whose labels then get their OIDs.
    pub beginnings: Vec<Definition>,
    /// DDL, in the order in which it is best run: all but views and rules.
    pub definitions: Vec<Definition>,
    /// Views and rules, which come after the rows.
    pub views: Vec<Definition>,
    /// Sizes of relations and indexes, in the order of their OIDs.
    pub sizes: Vec<Size>,
    /// Rows of `pg_statistic`.
    pub statistics: Vec<ColumnStatistics>,
    /// Rows of `pg_statistic_ext_data`.
    pub extended: Vec<ExtendedStatistics>,
    /// Labels of enum types with their OIDs.
    pub enums: Vec<EnumLabel>,
    /// Rows at the ends of B-trees.
    pub endpoints: Vec<EndpointRow>,
    /// What of it could not be read.
    pub lacking: Vec<Lacking>,
    /// What reading it took of the source.
    #[serde(default)]
    pub taken: Taken,
}

/// What reading took of a server; nothing was written there.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Taken {
    /// Statements sent, of catalogs, of EXPLAIN without ANALYZE, and of rows at the ends of indexes.
    pub statements: u64,
    /// Rows that came back.
    pub rows: u64,
    /// Bytes that came back, of the rows alone.
    pub bytes: u64,
    /// From the first statement to the last answer, network included.
    pub milliseconds: f64,
    /// Rows at the ends of indexes among the rows: data of tables.
    pub table_rows: u64,
}

/// Properties of the database that texts and their order depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// `pg_encoding_to_char(encoding)`.
    pub encoding: String,
    /// `datcollate`.
    pub collate: String,
    /// `datctype`.
    pub ctype: String,
    /// `datlocprovider`: `c` libc, `i` ICU, `b` built-in; before 15 always libc.
    pub provider: String,
    /// `daticulocale` (15, 16), `datlocale` (from 17).
    pub locale: Option<String>,
    /// `block_size`, bytes.
    pub block_size: u32,
}

/// One statement of DDL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The relation whose plans are wrong without it; None: its failure shows where it is used.
    pub relation: Option<RelationName>,
    /// Its text, every name in it qualified.
    pub sql: String,
    /// What is wrong without it.
    #[serde(default)]
    pub need: Need,
}

/// What depends on a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// Every plan over its relation.
    #[default]
    Plans,
    /// How precise estimates over its relation are.
    Precision,
    /// No plan over its relation alone: a foreign key, whose other side is lacking then, or a default.
    Nothing,
}

/// A relation or index as `pg_class` and its file have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// `pg_namespace.nspname`.
    pub schema: String,
    /// `pg_class.relname`.
    pub name: String,
    /// `pg_class.relkind`: `r`, `p`, `m`, `i`, `I`.
    pub kind: String,
    /// `pg_am.amname`.
    pub method: Option<String>,
    /// Of an index, its relation.
    pub of_relation: Option<String>,
    /// `pg_class.relpages`: as of the last VACUUM or ANALYZE.
    pub relpages: i32,
    /// `pg_class.reltuples`.
    pub reltuples: f32,
    /// `pg_class.relallvisible`.
    pub relallvisible: i32,
    /// Pages of the main fork now.
    pub pages: u64,
    /// Height of a B-tree: 0 where the root is a leaf. None: no B-tree, or not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// First page of a GIN index, hexadecimal: its statistics for the planner. None where it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_page: Option<String>,
}

/// A row of `pg_statistic`, values as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// Schema of the relation or index.
    pub schema: String,
    /// Relation or index.
    pub relation: String,
    /// Column.
    pub column: String,
    /// Column number, for an index, whose columns have made-up names.
    pub number: Option<i16>,
    /// `stainherit`.
    pub inherited: bool,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The figures of a `pg_statistic` row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// `stanullfrac`.
    pub null_fraction: f32,
    /// `stawidth`.
    pub width: i32,
    /// `stadistinct`.
    pub distinct: f32,
    /// At most five slots.
    pub slots: Vec<Slot>,
}

/// A slot of `pg_statistic`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// `stakindN` (pg_statistic.h): 1 MCV, 2 histogram, 3 correlation, 4 MCELEM, 5 DECHIST, 6 and 7 of ranges.
    pub kind: i16,
    /// `staopN` as `regoperator`; None: the type's own `=` or `<`, as the kind needs it.
    pub operator: Option<String>,
    /// `stacollN` as `regcollation`; None: 0.
    pub collation: Option<String>,
    /// `stanumbersN`.
    pub numbers: Option<String>,
    /// `stavaluesN`.
    pub values: Option<String>,
    /// Element type of the values; None: the column's type.
    pub element: Option<String>,
}

/// A row of `pg_statistic_ext_data`; data in hexadecimal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtendedStatistics {
    /// `stxnamespace`.
    pub schema: String,
    /// Name of its relation, in most cases of the same schema.
    pub relation: String,
    /// `stxname`.
    pub name: String,
    /// `stxdinherit` (15+).
    pub inherited: bool,
    /// `stxdndistinct`.
    pub ndistinct: Option<String>,
    /// `stxddependencies`.
    pub dependencies: Option<String>,
    /// `stxdmcv`.
    pub mcv: Option<String>,
    /// `stxdexpr` (14+), in the order of the expressions.
    pub expressions: Option<Vec<Figures>>,
}

/// A label of an enum type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnumLabel {
    /// Schema of the type.
    pub schema: String,
    /// Type.
    pub name: String,
    /// `enumlabel`.
    pub label: String,
    /// `pg_enum.oid`.
    pub oid: u32,
}

/// A row at one end of an index.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRow {
    /// Its relation.
    pub relation: RelationName,
    /// Its columns.
    pub columns: Vec<String>,
    /// Their values as text, None for NULL.
    pub values: Vec<Option<String>>,
}

impl std::fmt::Debug for EndpointRow {
    /// Without the values: they are the application's data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a row of {} ({} columns)", self.relation, self.columns.len())
    }
}

/// Something without which plans may differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lacking {
    /// The relation whose plans may differ; None: it depends.
    pub relation: Option<RelationName>,
    /// What is lacking.
    pub what: String,
    /// Why.
    pub why: String,
    /// Whether plans over the relation have no foundation: it is not there, or without its indexes or any
    /// statistics. Else their estimates are less precise.
    #[serde(default = "yes")]
    pub grave: bool,
}

/// Before it was told apart, any lack was grave.
fn yes() -> bool {
    true
}

impl Lacking {
    /// Something without which nothing can be said of a relation.
    pub(crate) fn grave(
        relation: RelationName,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Lacking { relation: Some(relation), what: what.into(), why: why.into(), grave: true }
    }

    /// Something without which a relation's estimates are less precise.
    pub(crate) fn slight(
        relation: RelationName,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Lacking { relation: Some(relation), what: what.into(), why: why.into(), grave: false }
    }

    /// Something of the whole.
    pub fn general(what: impl Into<String>, why: impl Into<String>) -> Self {
        Lacking { relation: None, what: what.into(), why: why.into(), grave: false }
    }
}
