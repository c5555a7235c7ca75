//! How full the leaf pages of B-trees are, counted by `pgstatindex` of the extension pgstattuple, which reads an index
//! from its first page to its last.

use crate::counters::extension;
use crate::fields::Fields;
use crate::{PostgresError, Reading, Session};
use pgassay_model::index::IndexLeaves;
use pgassay_sql::quote_qualified;
use std::collections::BTreeMap;
use tokio_postgres::types::Type;

/// What was counted, and why the rest was not.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Leaves {
    /// By the index's `pg_class.oid`.
    pub counted: BTreeMap<u32, IndexLeaves>,
    /// Why some or all were not; None: all were.
    pub why_not: Option<Uncounted>,
}

/// Why indexes were not counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncounted {
    /// In words.
    pub why: String,
    /// What would let them be.
    pub remedy: String,
}

/// Counts the leaf pages of indexes, one after the other, within the session's time-outs. What the role may not read,
/// or what takes too long, is left out.
pub async fn index_leaves(session: &Session, indexes: &[u32]) -> Result<Leaves, PostgresError> {
    let mut leaves = Leaves::default();
    for index in indexes {
        // Each in a transaction of its own: no snapshot is held for as long as all of them take.
        let reading = session.read("counting leaf pages of indexes").await?;
        let counted = count(&reading, *index).await?;
        reading.end().await?;
        match counted {
            Ok(counted) => leaves.counted.extend(counted.map(|counted| (*index, counted))),
            Err(uncounted) => {
                leaves.why_not.get_or_insert(uncounted);
            }
        }
    }
    Ok(leaves)
}

async fn count(
    reading: &Reading<'_>,
    index: u32,
) -> Result<Result<Option<IndexLeaves>, Uncounted>, PostgresError> {
    let Some((schema, _)) = extension(reading, "pgstattuple").await? else {
        return Ok(Err(Uncounted {
            why: "the extension pgstattuple is not installed in this database".into(),
            remedy: "CREATE EXTENSION pgstattuple".into(),
        }));
    };
    let sql = format!(
        "SELECT s.leaf_pages, s.internal_pages, s.avg_leaf_density
           FROM {}($1::pg_catalog.oid::pg_catalog.regclass) s /* pgassay */",
        quote_qualified(&schema, "pgstatindex")
    );
    let rows = match reading.attempt(&sql, &[(&index, Type::OID)]).await? {
        Ok(rows) => rows,
        Err(error) => {
            let remedy = match &error {
                PostgresError::MissingPrivilege { .. } => "GRANT pg_stat_scan_tables TO this role",
                // The index went, is locked, or is too large for the time-out.
                _ => "pgstatindex by hand, while the index is not locked",
            };
            return Ok(Err(Uncounted { why: error.to_string(), remedy: remedy.into() }));
        }
    };
    let Some(row) = rows.first() else { return Ok(Ok(None)) };
    let fields = Fields::new(row, reading.doing());
    let density: f64 = fields.get("avg_leaf_density")?;
    // Without a leaf page there is no density: it is NaN.
    Ok(Ok(density.is_finite().then_some(IndexLeaves {
        pages: fields.count("leaf_pages")?,
        internal_pages: fields.count("internal_pages")?,
        density: density / 100.0,
    })))
}
