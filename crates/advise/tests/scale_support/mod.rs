//! A workload of any size: relations of 100,000 rows, each with statements that look up, join, sort and write.
#![allow(missing_docs, dead_code, reason = "tests and benchmarks, of which none needs all of it")]

use pgassay_advise::index::{IndexAdvice, IndexOptions, advise};
use pgassay_model::Timestamp;
use pgassay_model::index::{IndexDefinition, RelationName};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::relation::{Column, ColumnStatistics, Relation, RelationActivity};
use pgassay_model::snapshot::{Counters, Server, Snapshot};
use pgassay_model::units::Bytes;
use pgassay_model::what_if::{Hypothesis, PlannedCost, WhatIf, WhatIfError};
use pgassay_model::workload::{Workload, WorkloadStatement};
use std::time::Duration;

/// Of each relation.
pub const ROWS: f64 = 100_000.0;
/// Of each relation.
pub const PAGES: u64 = 1_500;
/// `c0` to `c11`, integers.
pub const COLUMNS: usize = 12;

/// A planner that refuses everything: rules answer.
struct NoPlanner;

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

/// Advice on a synthetic workload by rules, after at most that long.
pub fn advise_on(statements: usize, relations: usize, time_limit: Option<Duration>) -> IndexAdvice {
    let snapshot = snapshot(relations);
    let workload = workload(statements, relations);
    let options = IndexOptions { time_limit, ..IndexOptions::default() };
    advise(&snapshot, &workload, &mut NoPlanner, &options, &Interrupt::default())
}

/// That many relations, as statistics show them.
pub fn snapshot(relations: usize) -> Snapshot {
    Snapshot {
        taken_at: Timestamp::UNIX_EPOCH,
        server: Server { version_num: 150_018, c_collation: true, ..Server::default() },
        parameters: Default::default(),
        relations: (0..relations).map(relation).collect(),
        statements: None,
        counters: Counters::default(),
        host: None,
        pooler: None,
        views: Vec::new(),
        immutable_functions: Default::default(),
        unseen: Vec::new(),
    }
}

/// That many statements on that many relations, each with one set of values.
pub fn workload(statements: usize, relations: usize) -> Workload {
    Workload {
        schema: pgassay_model::workload::SCHEMA.into(),
        generated_at: Timestamp::UNIX_EPOCH,
        source: "synthetic".into(),
        statements: (0..statements).map(|number| statement(number, relations)).collect(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

/// Distinct values of a column, as `pg_stats.n_distinct` has them.
pub fn distinct(place: usize) -> f64 {
    [-1.0, 1_000.0, 50.0, 20_000.0][place % 4]
}

fn relation(number: usize) -> Relation {
    let column = |place: usize| Column {
        name: format!("c{place}"),
        type_name: "integer".into(),
        not_null: true,
        has_default: false,
        c_collation: None,
        statistics: Some(ColumnStatistics {
            average_width: 4,
            n_distinct: distinct(place),
            ..ColumnStatistics::default()
        }),
    };
    Relation {
        oid: number as u32 + 16_384,
        name: RelationName { schema: "public".into(), name: format!("t{number}") },
        kind: 'r',
        pages: PAGES,
        rows: Some(ROWS),
        size: Bytes(PAGES * 8192),
        all_visible_pages: PAGES,
        columns: (0..COLUMNS).map(column).collect(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
        activity: RelationActivity::default(),
        extended_statistics: Vec::new(),
        has_children: false,
    }
}

fn statement(number: usize, relations: usize) -> WorkloadStatement {
    let (t, other) = (number % relations, (number * 7 + 1) % relations);
    let (a, b) = (number / relations % COLUMNS, (number / relations * 5 + 3) % COLUMNS);
    let sql = match number / relations % 5 {
        0 => format!("SELECT * FROM t{t} WHERE c{a} = $1"),
        1 => format!("SELECT c{b} FROM t{t} WHERE c{a} = $1 AND c{b} > $2 ORDER BY c{b} LIMIT 10"),
        2 => format!("SELECT x.c1 FROM t{t} x JOIN t{other} y ON x.c{a} = y.c{b} WHERE y.c3 = $1"),
        3 => format!("UPDATE t{t} SET c{b} = $1 WHERE c{a} = $2"),
        _ => format!("SELECT count(*) FROM t{t} WHERE c{a} = $1 AND c{b} = $2"),
    };
    WorkloadStatement {
        id: format!("q{number}"),
        writes: sql.starts_with("UPDATE"),
        weight: 1.0 + (number % 17) as f64,
        // No relation holds it more often than the statistics say of any other value.
        parameters: vec![vec![Some("7".into()); sql.matches('$').count()]],
        parameter_source: "synthetic".into(),
        sql,
        ..WorkloadStatement::default()
    }
}
