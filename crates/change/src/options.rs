//! How an executor works: where PgBouncer is, time-outs and attempts, who is told, where a test stops it.

use pgassay_model::connection::ConnectionSettings;
use pgassay_model::interrupt::Interrupt;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach PgBouncer and its files.
#[derive(Debug, Clone)]
pub struct PoolerAccess {
    /// The console (database `pgbouncer`).
    pub console: ConnectionSettings,
    /// The configuration file that is running.
    pub ini: PathBuf,
    /// The binary that rehearses a candidate file: the same as the one running.
    pub binary: PathBuf,
}

/// A place where a test can stop the executor as a crash would: nothing is cleaned up after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPoint {
    /// The intent is durable, the target untouched.
    AfterIntent,
    /// The target is changed, the outcome not recorded.
    AfterAct,
    /// The outcome is recorded.
    AfterOutcome,
    /// The journal says `rolling_back`, nothing is taken back.
    BeforeUndo,
    /// The change is taken back, the outcome not recorded.
    AfterUndo,
}

/// Asked at each point, with the change's id, whether to stop there.
pub type Fault<'a> = &'a (dyn Fn(FaultPoint, &str) -> bool + Sync);

/// How an executor works.
pub struct ExecutorOptions<'a> {
    /// PgBouncer, where one is to be changed.
    pub pooler: Option<PoolerAccess>,
    /// Asks the work to stop: what is going on is cancelled and undone.
    pub interrupt: Interrupt,
    /// `lock_timeout` of index builds and drops, at the first attempt; doubles each time. CONCURRENTLY waits
    /// for every older transaction to end: that holds up no reads or writes, and DDL of others queues behind.
    pub lock_timeout: Duration,
    /// How often they are tried.
    pub attempts: u32,
    /// Wait after the first attempt that ran into the lock time-out; doubles each time.
    pub backoff: Duration,
    /// `pg_dump` for the schema snapshot; None: the one on PATH, else the catalog is written out.
    pub pg_dump: Option<PathBuf>,
    /// Told what is being done.
    pub progress: Option<&'a (dyn Fn(&str) + Sync)>,
    /// Stops the work as a crash would; for tests.
    pub fault: Option<Fault<'a>>,
}

impl Default for ExecutorOptions<'_> {
    fn default() -> Self {
        ExecutorOptions {
            pooler: None,
            interrupt: Interrupt::default(),
            lock_timeout: Duration::from_secs(5),
            attempts: 6,
            backoff: Duration::from_secs(1),
            pg_dump: None,
            progress: None,
            fault: None,
        }
    }
}
