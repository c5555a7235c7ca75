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

/// What is taken as a statement's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// From the request to the answer.
    Wall,
    /// CPU time of the backend, parallel workers switched off: others who use the machine hardly change it.
    BackendCpu,
}

/// Milliseconds of one execution of every statement: by the clock, of those that read the mean over their sets of values
/// of the fastest run, of those that write the mean of the middle half; of CPU the mean. `None` for the ones not asked for.
pub fn times(
    runtime: &Runtime,
    server: &Postgres,
    database: &str,
    statements: &[WorkloadStatement],
    writers: bool,
    clock: Clock,
) -> Vec<Option<f64>> {
    runtime.block_on(async {
        let (client, connection) =
            tokio_postgres::connect(&server.dsn(database), NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut clocked = Clocked { client, backend: None };
        if clock == Clock::BackendCpu {
            let client = &clocked.client;
            client.batch_execute("SET max_parallel_workers_per_gather = 0").await.unwrap();
            let backend = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
            clocked.backend = Some(backend.get(0));
        }
        let mut times = Vec::with_capacity(statements.len());
        for statement in statements {
            times.push(match (statement.writes, writers) {
                (false, false) => Some(clocked.read(statement).await),
                (true, true) => Some(clocked.written(statement).await),
                _ => None,
            });
        }
        // So that the counters are there when this session is gone (PostgreSQL 15 keeps them back up to a second).
        let flush = "SELECT pg_stat_force_next_flush()";
        clocked.client.batch_execute(flush).await.unwrap();
        drop(clocked);
        connection.await.unwrap().unwrap();
        times
    })
}

fn sets(statement: &WorkloadStatement) -> Vec<&[Option<String>]> {
    if statement.parameters.is_empty() {
        return vec![&[]];
    }
    statement.parameters.iter().map(Vec::as_slice).collect()
}

struct Clocked {
    client: Client,
    /// The process whose CPU time counts; None: the clock's does.
    backend: Option<i32>,
}

impl Clocked {
    /// Mean over the sets of values.
    async fn read(&self, statement: &WorkloadStatement) -> f64 {
        let sets = sets(statement);
        let count = sets.len().min(SETS);
        let before = self.used().await;
        let mut total = 0.0;
        for set in sets.iter().take(count) {
            let mut fastest = f64::INFINITY;
            for _ in 0..RUNS {
                fastest = fastest.min(self.run(statement, set).await);
            }
            total += fastest;
        }
        match (before, self.used().await) {
            (Some(before), Some(after)) => (after - before) / (count * RUNS) as f64,
            _ => total / count as f64,
        }
    }

    async fn written(&self, statement: &WorkloadStatement) -> f64 {
        let sets = sets(statement);
        let before = self.used().await;
        let mut times = Vec::with_capacity(WRITES);
        for place in 0..WRITES {
            times.push(self.run(statement, sets[place % sets.len()]).await);
        }
        times.sort_by(f64::total_cmp);
        let middle = &times[WRITES / 4..WRITES - WRITES / 4];
        match (before, self.used().await) {
            (Some(before), Some(after)) => (after - before) / WRITES as f64,
            _ => middle.iter().sum::<f64>() / middle.len() as f64,
        }
    }

    /// Milliseconds from the request to the answer.
    async fn run(&self, statement: &WorkloadStatement, set: &[Option<String>]) -> f64 {
        let values: Vec<TextValue<'_>> =
            set.iter().map(|value| TextValue(value.as_deref())).collect();
        let typed: Vec<(&(dyn ToSql + Sync), Type)> =
            values.iter().map(|value| (value as &(dyn ToSql + Sync), Type::UNKNOWN)).collect();
        let began = Instant::now();
        self.client.query_typed(&statement.sql, &typed).await.unwrap();
        began.elapsed().as_secs_f64() * 1000.0
    }

    /// Milliseconds of CPU that the backend has used: the first field of its `schedstat` (proc(5)), in nanoseconds.
    async fn used(&self) -> Option<f64> {
        let file = format!("/proc/{}/schedstat", self.backend?);
        // What a process used is written down when it waits again: one more question makes sure that it did.
        self.client.simple_query("SELECT 1").await.unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        let nanoseconds: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
        Some(nanoseconds / 1e6)
    }
}
