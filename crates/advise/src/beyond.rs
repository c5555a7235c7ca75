//! Advice beyond new indexes for the workload's cost, all of it from one snapshot: drops, extended statistics,
//! indexes of foreign keys, rebuilds, and statements in another form.

use crate::alternatives;
use crate::drops::{self, DropAdvice};
use crate::extended_statistics::{self, MissingStatistics};
use crate::foreign_keys::{self, ForeignKeyIndex};
use crate::index::IndexAdvice;
use crate::plan_gate::PlanGate;
use crate::reindex::{self, BloatedIndex};
use crate::rewrites::{self, StatementRewrite};
use crate::shapes::Shapes;
use pgassay_model::Timestamp;
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::plan::NotProposed;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::what_if::WhatIf;
use pgassay_model::workload::Workload;
use std::collections::BTreeSet;

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Beyond {
    /// Indexes that could go.
    pub drops: Vec<DropAdvice>,
    /// Indexes that look as if they could and stay, with the reason.
    pub kept: Vec<NotProposed>,
    /// Objects of extended statistics that are missing.
    pub statistics: Vec<MissingStatistics>,
    /// Indexes that foreign keys lack.
    pub foreign_keys: Vec<ForeignKeyIndex>,
    /// Indexes that are mostly empty.
    pub bloated: Vec<BloatedIndex>,
    /// Statements in another form.
    pub rewrites: Vec<StatementRewrite>,
}

/// As [`beyond_indexes`], but only what concerns the workload's statements: of the relations that they name, and the
/// foreign keys whose checks they run into.
pub fn beyond_of_statements(
    snapshot: &Snapshot,
    workload: &Workload,
    what_if: &mut dyn WhatIf,
    indexes: &IndexAdvice,
    now: Timestamp,
    interrupt: &Interrupt,
) -> Beyond {
    let shapes = Shapes::of(workload, snapshot);
    let named: BTreeSet<&RelationName> =
        shapes.iter().flat_map(|(_, shape)| &shape.relations).map(|used| &used.name).collect();
    let mut about = snapshot.clone();
    about.relations.retain(|relation| named.contains(&relation.name));
    let mut foreign_keys = foreign_keys::missing(snapshot, &shapes, &definitions(indexes));
    foreign_keys.retain(|key| !key.statements.is_empty());
    let found = beyond_indexes(&about, workload, what_if, indexes, now, interrupt);
    Beyond { foreign_keys, ..found }
}

fn definitions(indexes: &IndexAdvice) -> Vec<IndexDefinition> {
    indexes.indexes.iter().map(|index| index.definition.clone()).collect()
}

/// Finds it all; `indexes` are proposed anyway. `now`: the age of statistics is counted back from it. Pure but for
/// the questions asked of `what_if`.
pub fn beyond_indexes(
    snapshot: &Snapshot,
    workload: &Workload,
    what_if: &mut dyn WhatIf,
    indexes: &IndexAdvice,
    now: Timestamp,
    interrupt: &Interrupt,
) -> Beyond {
    let shapes = Shapes::of(workload, snapshot);
    let plans = PlanGate::new(workload, Vec::new(), what_if, interrupt);
    let proposed = definitions(indexes);
    let (drops, kept) = drops::find(snapshot, now);
    Beyond {
        drops,
        kept,
        statistics: extended_statistics::find(snapshot, &shapes, plans.plans(), &proposed),
        foreign_keys: foreign_keys::missing(snapshot, &shapes, &proposed),
        bloated: reindex::find(snapshot),
        rewrites: alternatives::named(
            rewrites::find(snapshot, workload, &shapes, what_if, interrupt),
            Some(indexes),
        ),
    }
}
