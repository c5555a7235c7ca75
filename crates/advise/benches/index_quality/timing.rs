//! Runs statements with their values and takes the time.

use pgassay_model::workload::WorkloadStatement;
use pgassay_postgres::what_if::TextValue;
use pgassay_testkit::Postgres;
use std::time::Instant;
use tokio::runtime::Runtime;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

/// Sets of values that a reading statement is run with, and runs with each, of which the fastest counts: the data
/// is cached, and others use the machine.
const SETS: usize = 10;
const RUNS: usize = 3;
/// Executions of a writing statement, each a transaction of its own.
const WRITES: usize = 200;

/// Milliseconds of one execution of every statement: of those that read the mean over their sets of values, of those
/// that write the mean of the middle half of the executions. `None` for the ones not asked for.
pub fn times(
    runtime: &Runtime,
    server: &Postgres,
    database: &str,
    statements: &[WorkloadStatement],
    writers: bool,
) -> Vec<Option<f64>> {
    runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&server.dsn(database), NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut times = Vec::with_capacity(statements.len());
        for statement in statements {
            times.push(match (statement.writes, writers) {
                (false, false) => Some(read(&client, statement).await),
                (true, true) => Some(written(&client, statement).await),
                _ => None,
            });
        }
        // So that the counters are there when this session is gone (PostgreSQL 15 keeps them back up to a second).
        client.batch_execute("SELECT pg_stat_force_next_flush()").await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
        times
    })
}

async fn read(client: &Client, statement: &WorkloadStatement) -> f64 {
    let sets = sets(statement);
    let mut total = 0.0;
    let count = sets.len().min(SETS);
    for set in sets.iter().take(count) {
        let mut fastest = f64::INFINITY;
        for _ in 0..RUNS {
            fastest = fastest.min(run(client, statement, set).await);
        }
        total += fastest;
    }
    total / count as f64
}

async fn written(client: &Client, statement: &WorkloadStatement) -> f64 {
    let sets = sets(statement);
    let mut times = Vec::with_capacity(WRITES);
    for place in 0..WRITES {
        times.push(run(client, statement, sets[place % sets.len()]).await);
    }
    times.sort_by(f64::total_cmp);
    let middle = &times[WRITES / 4..WRITES - WRITES / 4];
    middle.iter().sum::<f64>() / middle.len() as f64
}

fn sets(statement: &WorkloadStatement) -> Vec<&[Option<String>]> {
    if statement.parameters.is_empty() {
        return vec![&[]];
    }
    statement.parameters.iter().map(Vec::as_slice).collect()
}

async fn run(client: &Client, statement: &WorkloadStatement, set: &[Option<String>]) -> f64 {
    let values: Vec<TextValue<'_>> = set.iter().map(|value| TextValue(value.as_deref())).collect();
    let typed: Vec<(&(dyn ToSql + Sync), Type)> =
        values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN)).collect();
    let began = Instant::now();
    client.query_typed(&statement.sql, &typed).await.unwrap();
    began.elapsed().as_secs_f64() * 1000.0
}
