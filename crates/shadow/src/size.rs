//! Pages and rows of an index that does not exist, by the formulas that all engines share (`pgassay_model::index_size`).

use pgassay_model::index::IndexDefinition;
use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::PostgresError;
use pgassay_postgres::what_if::{Explain, extent};

/// Pages and rows; None for access methods without a formula.
pub(crate) async fn estimate(
    explain: &mut Explain,
    snapshot: &Snapshot,
    index: &IndexDefinition,
) -> Result<Option<(u64, f64)>, PostgresError> {
    extent(explain, snapshot, index).await
}
