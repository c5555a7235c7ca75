//! Leaf pages of indexes that may be bloated, counted before advice is given, where the extension pgstattuple is
//! installed and the role may; else they are estimated, and what would let them be counted is said.

use crate::failure::Failure;
use crate::target::{Target, postgres_failure};
use pgassay_model::snapshot::{Snapshot, Unseen};
use pgassay_postgres::Session;

/// Counts them, and puts what was counted into the snapshot.
pub async fn count(
    target: &Target,
    session: &Session,
    snapshot: &mut Snapshot,
) -> Result<(), Failure> {
    let perhaps = pgassay_advise::perhaps_bloated(snapshot);
    if perhaps.is_empty() {
        return Ok(());
    }
    if snapshot.server.extensions.contains_key("pgstattuple") {
        target.progress.step(format!(
            "counting the leaf pages of {} that may be bloated (pgstatindex)",
            if perhaps.len() == 1 {
                "an index".to_owned()
            } else {
                format!("{} indexes", perhaps.len())
            }
        ));
    }
    let leaves =
        pgassay_postgres::index_leaves(session, &perhaps).await.map_err(postgres_failure)?;
    for index in snapshot.relations.iter_mut().flat_map(|relation| &mut relation.indexes) {
        index.leaves = leaves.counted.get(&index.oid).copied();
    }
    if let Some(uncounted) = leaves.why_not {
        snapshot.unseen.push(Unseen {
            what: "how full the pages of indexes are that may be bloated".into(),
            why: uncounted.why,
            remedy: uncounted.remedy,
        });
    }
    Ok(())
}
