//! Engines that are tables, and targets built of values.
#![allow(missing_docs, dead_code, reason = "tests")]

use pgassay_advise::index::{IndexAdvice, IndexOptions, advise};
use pgassay_model::Timestamp;
use pgassay_model::index::{Index, IndexDefinition, IndexKey, RelationName};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::relation::{Column, ColumnStatistics, Relation, RelationActivity};
use pgassay_model::snapshot::{Counters, Server, Snapshot};
use pgassay_model::units::Bytes;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::{Workload, WorkloadStatement};

/// A planner that refuses everything: the rules are on their own.
pub struct NoPlanner;

impl WhatIf for NoPlanner {
    fn engine(&self) -> &'static str {
        "explain"
    }
    fn plans_indexes(&self) -> bool {
        false
    }
    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        _: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        Err(WhatIfError::Plan { statement: statement.id.clone(), reason: "no server".into() })
    }
    fn index_size(&mut self, _: &IndexDefinition) -> Option<Bytes> {
        None
    }
    fn calls(&self) -> u64 {
        0
    }
}

/// A planner that is a table: (statement, keys an index must begin with, cost). No keys: the cost today.
pub struct Table {
    pub rows: Vec<(&'static str, &'static [&'static str], f64)>,
    pub calls: u64,
}

impl WhatIf for Table {
    fn engine(&self) -> &'static str {
        "hypopg"
    }
    fn plans_indexes(&self) -> bool {
        true
    }
    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        self.calls += 1;
        let mut best: Option<(f64, Option<String>)> = None;
        for (id, keys, cost) in &self.rows {
            if *id != statement.id {
                continue;
            }
            let index = hypothesis.indexes.iter().find(|index| {
                let first = index.keys.iter().take(keys.len());
                index.keys.len() >= keys.len()
                    && first.zip(*keys).all(|(key, wanted)| key.column.as_deref() == Some(wanted))
            });
            let name = index.map(|index| index.name.clone());
            if (keys.is_empty() || name.is_some())
                && best.as_ref().is_none_or(|(known, _)| cost < known)
            {
                best = Some((*cost, name.filter(|_| !keys.is_empty())));
            }
        }
        let (total_cost, index) = best.ok_or_else(|| WhatIfError::Plan {
            statement: statement.id.clone(),
            reason: "not in the table".into(),
        })?;
        Ok(PlannedCost {
            total_cost,
            shape: String::new(),
            indexes: index.into_iter().collect(),
            rows: None,
            written: Vec::new(),
        })
    }
    fn index_size(&mut self, _: &IndexDefinition) -> Option<Bytes> {
        None
    }
    fn calls(&self) -> u64 {
        self.calls
    }
}

/// Asks for a stop at the n-th question.
pub struct StopsAfter<'a> {
    pub engine: &'a mut dyn WhatIf,
    pub calls: u64,
    pub interrupt: Interrupt,
}

impl WhatIf for StopsAfter<'_> {
    fn engine(&self) -> &'static str {
        self.engine.engine()
    }
    fn plans_indexes(&self) -> bool {
        self.engine.plans_indexes()
    }
    fn cost(
        &mut self,
        statement: &WorkloadStatement,
        hypothesis: &Hypothesis,
    ) -> Result<PlannedCost, WhatIfError> {
        let answer = self.engine.cost(statement, hypothesis);
        if self.engine.calls() >= self.calls {
            self.interrupt.request();
        }
        answer
    }
    fn index_size(&mut self, index: &IndexDefinition) -> Option<Bytes> {
        self.engine.index_size(index)
    }
    fn calls(&self) -> u64 {
        self.engine.calls()
    }
}

pub fn name(relation: &str) -> RelationName {
    RelationName { schema: "public".into(), name: relation.into() }
}

pub fn index(relation: &str, keys: &[&str]) -> Index {
    Index {
        oid: 1,
        definition: IndexDefinition {
            relation: name(relation),
            name: format!("{relation}_{}_key", keys.join("_")),
            method: "btree".into(),
            unique: keys == ["id"],
            keys: keys.iter().map(|key| IndexKey::column(*key)).collect(),
            include: Vec::new(),
            predicate: None,
            pages_per_range: None,
        },
        ddl: String::new(),
        primary: keys == ["id"],
        constraint: None,
        valid: true,
        replica_identity: false,
        attached: false,
        leaves: None,
        size: Bytes(0),
        scans: 0,
        last_scan: None,
    }
}

pub fn column(name: &str, type_name: &str, width: u32, n_distinct: f64) -> Column {
    Column {
        name: name.into(),
        type_name: type_name.into(),
        not_null: true,
        has_default: false,
        c_collation: None,
        statistics: Some(ColumnStatistics {
            average_width: width,
            n_distinct,
            ..ColumnStatistics::default()
        }),
    }
}

pub fn relation(relation: &str, rows: f64, pages: u64, columns: Vec<Column>) -> Relation {
    Relation {
        oid: 1,
        name: name(relation),
        kind: 'r',
        pages,
        rows: Some(rows),
        size: Bytes(pages * 8192),
        all_visible_pages: pages,
        columns,
        indexes: vec![index(relation, &["id"])],
        foreign_keys: Vec::new(),
        extended_statistics: Vec::new(),
        has_children: false,
        activity: RelationActivity::default(),
    }
}

pub fn snapshot(relations: Vec<Relation>) -> Snapshot {
    Snapshot {
        taken_at: Timestamp::UNIX_EPOCH,
        server: Server { version_num: 150_018, c_collation: false, ..Server::default() },
        parameters: Default::default(),
        relations,
        statements: None,
        counters: Counters::default(),
        host: None,
        pooler: None,
        views: Vec::new(),
        immutable_functions: Default::default(),
        unseen: Vec::new(),
    }
}

pub fn statement(id: &str, weight: f64, sql: &str) -> WorkloadStatement {
    WorkloadStatement {
        id: id.into(),
        sql: sql.into(),
        weight,
        writes: !sql.starts_with("SELECT"),
        parameters: Vec::new(),
        parameter_source: "given".into(),
        ..WorkloadStatement::default()
    }
}

pub fn workload(statements: Vec<WorkloadStatement>) -> Workload {
    Workload {
        schema: pgassay_model::workload::SCHEMA.into(),
        generated_at: Timestamp::UNIX_EPOCH,
        source: "test".into(),
        statements,
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

pub fn with_rules(snapshot: &Snapshot, statements: Vec<WorkloadStatement>) -> IndexAdvice {
    let options = IndexOptions::default();
    advise(snapshot, &workload(statements), &mut NoPlanner, &options, &Interrupt::default())
}

pub fn keys(advice: &IndexAdvice) -> Vec<String> {
    let mut keys: Vec<String> = advice
        .indexes
        .iter()
        .map(|proposed| {
            let definition = &proposed.definition;
            let keys: Vec<&str> = definition
                .keys
                .iter()
                .filter_map(|key| key.column.as_deref().or(key.expression.as_deref()))
                .collect();
            let predicate = definition.predicate.as_ref().map(|text| format!(" where {text}"));
            format!(
                "{}({}){}",
                definition.relation.name,
                keys.join(","),
                predicate.unwrap_or_default()
            )
        })
        .collect();
    keys.sort();
    keys
}
