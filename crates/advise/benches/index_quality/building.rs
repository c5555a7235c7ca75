//! Builds sets of indexes for real: their sizes, and what statements cost with them.

use pgassay_model::index::IndexDefinition;
use pgassay_model::workload::WorkloadStatement;
use pgassay_postgres::what_if::Explain;
use pgassay_postgres::{Session, SessionOptions};
use pgassay_sql::index_ddl;
use pgassay_testkit::Postgres;
use std::collections::HashMap;
use tokio::runtime::Runtime;

/// Bytes of a mebibyte.
pub const MEBI: f64 = 1024.0 * 1024.0;

const INDEXES: &str = "FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT indisprimary";

/// Builds indexes; real sizes by name.
pub fn build<'i>(
    server: &Postgres,
    database: &str,
    indexes: impl IntoIterator<Item = &'i IndexDefinition>,
) -> HashMap<String, u64> {
    for index in indexes {
        server.execute(database, &index_ddl(index, false)).unwrap();
    }
    let sizes =
        format!("SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) {INDEXES}");
    let row = |row: Vec<Option<String>>| -> (String, u64) {
        (row[0].clone().unwrap(), row[1].as_deref().and_then(|text| text.parse().ok()).unwrap())
    };
    server.query(database, &sizes).unwrap().into_iter().map(row).collect()
}

/// Drops all that is no primary key.
pub fn drop_indexes(server: &Postgres, database: &str) {
    let drops = format!("SELECT format('DROP INDEX %s', indexrelid::regclass) {INDEXES}");
    for row in server.query(database, &drops).unwrap() {
        server.execute(database, row[0].as_deref().unwrap()).unwrap();
    }
}

/// The planner's cost of every statement, weighted, on average over a few of its parameter sets.
pub fn costs(
    runtime: &Runtime,
    server: &Postgres,
    database: &str,
    statements: &[WorkloadStatement],
) -> Vec<f64> {
    let settings = pgassay_postgres::dsn::resolve(&server.dsn(database)).unwrap();
    runtime.block_on(async {
        let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
        let explain = Explain::new(session);
        let mut costs = Vec::with_capacity(statements.len());
        for statement in statements {
            let plans = explain.statement(statement, &[]).await.unwrap();
            let total = |plan: &serde_json::Value| plan["Total Cost"].as_f64().unwrap();
            let mean = plans.iter().map(total).sum::<f64>() / plans.len() as f64;
            costs.push(mean * statement.weight);
        }
        costs
    })
}
