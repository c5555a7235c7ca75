//! What writing an entry of an index takes, in planner units: estimates by rule, for the planner counts reads only.

use super::rule_path::{Costs, pages_fetched};
use super::selectivity::rows;
use super::{brin, size};
use pgassay_model::index::IndexDefinition;
use pgassay_model::index_size::{BLOCK, keys_a_row};
use pgassay_model::relation::Relation;
use pgassay_model::snapshot::Snapshot;

/// Entries of a B-tree page, about.
const ENTRIES: f64 = 300.0;
/// Entries of a GiST page, about, each of which is looked at for where a new one fits best (`gistchoose`).
const GIST_ENTRIES: f64 = 100.0;
/// `gin_pending_list_limit` by default, kB (manual, section 20.11.1).
const PENDING: f64 = 4096.0;
/// Bytes of a key in the pending list, with its row's address, about.
const PENDING_ENTRY: f64 = 24.0;

/// What entries cost on a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryCosts {
    costs: Costs,
    /// `gin_pending_list_limit`, bytes.
    pending: f64,
}

impl EntryCosts {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let limit = snapshot.parameter("gin_pending_list_limit");
        EntryCosts {
            costs: Costs::of(snapshot),
            pending: limit.and_then(|limit| limit.number()).unwrap_or(PENDING) * 1024.0,
        }
    }

    /// Of a row that VACUUM takes out: it reads the index in order.
    pub(super) fn removed(&self) -> f64 {
        self.costs.index_tuple
    }

    /// Of a row that is written.
    pub(super) fn written(&self, relation: &Relation, index: &IndexDefinition) -> f64 {
        let Costs { random_page, index_tuple, operator, .. } = self.costs;
        match index.method.as_str() {
            // The bucket's page; the metapage is in the session's memory (`_hash_getcachedmetap`).
            "hash" => random_page + index_tuple + operator,
            "brin" => {
                // The range's summary, which rows that come one after the other share, is read and compared with;
                // it is written only where the row lies outside (`brininsert`).
                let length = f64::from(index.pages_per_range.unwrap_or(brin::DEFAULT_RANGE));
                let pages = (relation.pages as f64).max(1.0);
                let a_range = (rows(relation) / pages * length).max(1.0);
                let keys = index.keys.len() as f64;
                index_tuple + 2.0 * operator * keys + 2.0 * random_page / a_range
            }
            "gin" => self.gin(relation, index),
            "gist" | "spgist" => {
                let levels = rows(relation).max(2.0).log(GIST_ENTRIES).ceil();
                levels * (GIST_ENTRIES + 50.0) * operator + random_page
            }
            _ => {
                self.costs.descent(rows(relation), (rows(relation) / ENTRIES).max(1.0))
                    + random_page
            }
        }
    }

    /// With fastupdate, the default, a row's keys are appended to the pending list, and a full list is merged into the
    /// tree at once (manual, section "GIN Fast Update Technique"): each of the pages that its keys fall on is fetched once,
    /// by Mackert and Lohman.
    fn gin(&self, relation: &Relation, index: &IndexDefinition) -> f64 {
        let Costs { seq_page, random_page, index_tuple, operator, .. } = self.costs;
        let keys = keys_a_row(relation, index);
        let bytes = keys * PENDING_ENTRY;
        let appended = keys * index_tuple + 2.0 * seq_page * bytes / BLOCK;
        let a_list = (self.pending / bytes).max(1.0);
        let pages = size::estimate(relation, index, 1.0).max(1.0);
        let fetched = pages_fetched(pages, a_list * keys);
        let merged = keys * (self.costs.descent(pages * 100.0, pages) + operator)
            + fetched * random_page / a_list;
        appended + merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_model::index::{IndexKey, RelationName};
    use pgassay_model::relation::{Column, ColumnStatistics, ElementStatistics, RelationActivity};
    use pgassay_model::units::Bytes;

    fn relation(tags: f64) -> Relation {
        let elements = ElementStatistics {
            frequencies: vec![tags / 1000.0; 1000],
            width: Some(8.0),
            mean_count: Some(tags),
        };
        Relation {
            oid: 1,
            name: RelationName { schema: "public".into(), name: "t".into() },
            kind: 'r',
            pages: 10_000,
            rows: Some(500_000.0),
            size: Bytes(0),
            all_visible_pages: 0,
            columns: vec![Column {
                name: "tags".into(),
                type_name: "text[]".into(),
                not_null: true,
                has_default: false,
                c_collation: None,
                statistics: Some(ColumnStatistics {
                    average_width: 40,
                    elements: Some(elements),
                    ..ColumnStatistics::default()
                }),
            }],
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            extended_statistics: Vec::new(),
            has_children: false,
            activity: RelationActivity::default(),
        }
    }

    #[test]
    fn brin_costs_writers_least_and_gin_the_more_the_more_keys_a_row_has() {
        let costs = EntryCosts {
            costs: Costs {
                seq_page: 1.0,
                random_page: 4.0,
                tuple: 0.01,
                index_tuple: 0.005,
                operator: 0.0025,
            },
            pending: PENDING * 1024.0,
        };
        let of = |method: &str, tags: f64| {
            let relation = relation(tags);
            let index = IndexDefinition {
                relation: relation.name.clone(),
                name: "i".into(),
                method: method.into(),
                unique: false,
                keys: vec![IndexKey::column("tags")],
                include: Vec::new(),
                predicate: None,
                pages_per_range: None,
            };
            costs.written(&relation, &index)
        };
        let of_ten = |method: &str| of(method, 10.0);
        assert!(of_ten("brin") < of_ten("hash") / 10.0, "{} {}", of_ten("brin"), of_ten("hash"));
        assert!(of_ten("hash") < of_ten("btree") && of_ten("btree") < of_ten("gist"));
        assert!(of("gin", 2.0) < of("gin", 10.0) / 3.0, "{} {}", of("gin", 2.0), of("gin", 10.0));
    }
}
