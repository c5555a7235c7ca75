//! Settings and workloads of the tests.

#![allow(dead_code, reason = "each test binary uses its part")]

use pgassay_load::{Driven, LoadError, LoadMode, LoadOptions};
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::Connect;
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use std::time::Duration;

/// The settings of a DSN, with nothing from the environment.
pub fn settings(dsn: &str) -> ConnectionSettings {
    pgassay_postgres::dsn::resolve(dsn).expect("the DSN resolves")
}

/// A statement without parameters.
pub fn statement(id: &str, sql: &str, weight: f64) -> WorkloadStatement {
    WorkloadStatement {
        id: id.into(),
        sql: sql.into(),
        weight,
        writes: false,
        parameters: Vec::new(),
        parameter_source: "none needed".into(),
        ..WorkloadStatement::default()
    }
}

/// The same, with sets of one value each.
pub fn with_values(mut statement: WorkloadStatement, values: &[&str]) -> WorkloadStatement {
    statement.parameters = values.iter().map(|value| vec![Some((*value).to_owned())]).collect();
    statement.parameter_source = "given".into();
    statement
}

pub fn workload(statements: Vec<WorkloadStatement>) -> Workload {
    Workload {
        schema: SCHEMA.into(),
        generated_at: pgassay_model::Timestamp::UNIX_EPOCH,
        source: "test".into(),
        statements,
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

pub fn select_one() -> Workload {
    workload(vec![statement("one", "SELECT 1", 1.0)])
}

/// A short closed loop of two clients.
pub fn options(dsn: &str) -> LoadOptions {
    LoadOptions {
        target: settings(dsn),
        mode: LoadMode::Closed { clients: 2 },
        connect: Connect::Reuse,
        duration: Duration::from_millis(400),
        warmup: Duration::from_millis(100),
        block: Duration::from_millis(100),
        seed: 1,
        server_cpu: None,
        statement_timeout: None,
        protocol: Default::default(),
        writes: Default::default(),
    }
}

pub fn drive(workload: &Workload, options: &LoadOptions) -> Result<Driven, LoadError> {
    pgassay_load::drive(workload, options, &Interrupt::default(), &|_| {})
}
