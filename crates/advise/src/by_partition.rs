//! How an index is built by hand. CREATE INDEX CONCURRENTLY is refused on a partitioned table, and without
//! CONCURRENTLY writers of every partition wait.

use pgassay_model::index::IndexDefinition;
use pgassay_model::relation::Relation;
use pgassay_sql::{index_ddl, quote_identifier, quote_qualified};

/// Without blocking who writes, whatever kind its relation is.
pub(crate) fn by_hand(relation: &Relation, index: &IndexDefinition) -> String {
    match relation.kind {
        'p' => steps(index),
        _ => index_ddl(index, true),
    }
}

/// Of a partitioned table: the parent's index by name only, each partition's concurrently, then attached
/// (manual, CREATE INDEX and section 5.12.2.2).
pub(crate) fn steps(index: &IndexDefinition) -> String {
    let quoted = quote_identifier(&index.name);
    let ddl = index_ddl(index, false);
    let rest = ddl.strip_prefix(&format!("CREATE INDEX {quoted} ON ")).unwrap_or(&ddl);
    let keys = rest
        .strip_prefix(&quote_qualified(&index.relation.schema, &index.relation.name))
        .unwrap_or_default();
    let whole = quote_qualified(&index.relation.schema, &index.name);
    format!(
        "CREATE INDEX {quoted} ON ONLY {rest}; and for each partition p: CREATE INDEX CONCURRENTLY p_idx ON p{keys}; ALTER INDEX {whole} ATTACH PARTITION p_idx"
    )
}
