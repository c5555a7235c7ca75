//! Workloads filled and captured on a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod capture;
mod fill;
mod known_reads;
mod pooled;
mod representative;
mod writes;

use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_postgres::{Session, SessionOptions, dsn, snapshot};
use pgassay_testkit::{Postgres, fresh_database, shared};

/// A database of a test's own, observed.
struct Target {
    server: &'static Postgres,
    database: String,
    session: Session,
    snapshot: Snapshot,
}

impl Target {
    /// Runs `schema` and ANALYZE, then observes.
    async fn with(schema: &str) -> Self {
        let server = shared();
        let database = fresh_database(server);
        server.execute(&database, schema).unwrap();
        server.execute(&database, "ANALYZE").unwrap();
        let session = connect(&server.dsn(&database)).await;
        let snapshot = snapshot(&session).await.unwrap();
        Target { server, database, session, snapshot }
    }

    /// Fills one statement.
    async fn fill(&self, sql: &str) -> Workload {
        let mut workload = workload(sql);
        pgassay_workload::fill_parameters(&mut workload, &self.session, &self.snapshot, 7)
            .await
            .unwrap();
        workload
    }

    /// Fills one statement, which must be usable, and runs it with every set in a transaction that is rolled
    /// back.
    async fn filled(&self, sql: &str) -> WorkloadStatement {
        let workload = self.fill(sql).await;
        let statement = workload.statements.first().unwrap_or_else(|| {
            panic!("{sql}: {}", workload.skipped[0].reason);
        });
        self.execute(statement);
        statement.clone()
    }

    /// Runs a statement with every set; returns the rows of all.
    fn execute(&self, statement: &WorkloadStatement) -> Vec<Vec<Option<String>>> {
        let mut script = format!("BEGIN; PREPARE p AS {};", statement.sql);
        for set in &statement.parameters {
            let values: Vec<String> = set
                .iter()
                .map(|value| match value {
                    Some(text) => pgassay_sql::quote_literal(text),
                    None => "NULL".into(),
                })
                .collect();
            script.push_str(&format!("EXECUTE p ({});", values.join(", ")));
        }
        script.push_str("ROLLBACK");
        self.server.query(&self.database, &script).unwrap()
    }

    /// Why one statement is skipped.
    async fn reason(&self, sql: &str) -> String {
        let workload = self.fill(sql).await;
        assert!(workload.statements.is_empty(), "{sql} is used: {:?}", workload.statements);
        workload.skipped[0].reason.clone()
    }
}

async fn connect(dsn: &str) -> Session {
    let settings = dsn::resolve(dsn).unwrap();
    Session::connect(&settings, SessionOptions::default()).await.unwrap()
}

fn workload(sql: &str) -> Workload {
    Workload {
        schema: SCHEMA.into(),
        generated_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        source: "test".into(),
        statements: vec![WorkloadStatement {
            id: "statement".into(),
            sql: sql.into(),
            weight: 1.0,
            writes: false,
            parameters: Vec::new(),
            parameter_source: String::new(),
            ..WorkloadStatement::default()
        }],
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

/// The values of a parameter, over all sets.
fn values(statement: &WorkloadStatement, number: usize) -> Vec<&str> {
    statement.parameters.iter().map(|set| set[number - 1].as_deref().unwrap()).collect()
}
