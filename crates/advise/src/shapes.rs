//! What the statements of the workload ask for, and of which relations.

use pgassay_model::index::RelationName;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::{Workload, WorkloadStatement};
use pgassay_sql::{Relations, StatementKind, StatementShape};
use std::collections::HashMap;

/// Statements that could be read, with what they ask for.
#[derive(Debug, Default)]
pub(crate) struct Shapes<'a> {
    read: Vec<(&'a WorkloadStatement, StatementShape)>,
    by_id: HashMap<&'a str, usize>,
}

impl<'a> Shapes<'a> {
    /// Reads every statement; those that cannot be read are left out, the index advisor says why.
    pub(crate) fn of(workload: &'a Workload, snapshot: &Snapshot) -> Shapes<'a> {
        let relations = Relations::of(snapshot);
        let read: Vec<(&WorkloadStatement, StatementShape)> = workload
            .statements
            .iter()
            .filter_map(|statement| {
                Some((statement, pgassay_sql::shape(&statement.sql, &relations).ok()?))
            })
            .collect();
        // The first of an id counts.
        let places = read.iter().enumerate().rev();
        let by_id = places.map(|(place, (statement, _))| (statement.id.as_str(), place)).collect();
        Shapes { read, by_id }
    }

    /// What the statement of an id asks for.
    pub(crate) fn of_id(&self, id: &str) -> Option<&StatementShape> {
        self.read.get(*self.by_id.get(id)?).map(|(_, shape)| shape)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'a WorkloadStatement, &StatementShape)> {
        self.read.iter().map(|(statement, shape)| (*statement, shape))
    }

    /// Ids of statements that name a relation.
    pub(crate) fn naming(&self, relation: &RelationName) -> Vec<&'a str> {
        self.ids(|shape| shape.relations.iter().any(|named| named.name == *relation))
    }

    /// Ids of statements that write a relation.
    pub(crate) fn writing(&self, relation: &RelationName) -> Vec<&'a str> {
        self.ids(|shape| {
            shape.relations.iter().any(|named| named.target_of_write && named.name == *relation)
        })
    }

    /// Ids of statements that delete rows of a relation, or change one of these columns.
    pub(crate) fn removing(&self, relation: &RelationName, key: &[String]) -> Vec<String> {
        let ids = self.ids(|shape| {
            let target = shape.relations.iter().find(|named| named.target_of_write);
            target.is_some_and(|named| named.name == *relation)
                && match shape.kind {
                    StatementKind::Delete | StatementKind::Merge => true,
                    StatementKind::Update => {
                        shape.columns_written.iter().any(|column| key.contains(column))
                    }
                    _ => false,
                }
        });
        ids.into_iter().map(str::to_owned).collect()
    }

    fn ids(&self, wanted: impl Fn(&StatementShape) -> bool) -> Vec<&'a str> {
        self.iter()
            .filter(|(_, shape)| wanted(shape))
            .map(|(statement, _)| statement.id.as_str())
            .collect()
    }
}
