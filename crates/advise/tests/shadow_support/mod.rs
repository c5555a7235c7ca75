//! Advice by the shadow planner, as the command line asks for it by default.
#![allow(missing_docs, dead_code, reason = "tests")]

use pgassay_advise::index::{IndexAdvice, IndexOptions, advise};
use pgassay_model::Timestamp;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::workload::{Workload, WorkloadStatement};
use pgassay_postgres::{Session, SessionOptions, snapshot};
use pgassay_shadow::{BuildOptions, ReadOptions, Shadow};
use pgassay_testkit::shared;
use std::sync::Arc;

/// A database of the shared server with its shadow.
pub struct OnShadow {
    runtime: tokio::runtime::Runtime,
    pub snapshot: Snapshot,
    shadow: Arc<Shadow>,
}

impl OnShadow {
    pub fn of(database: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let settings = pgassay_postgres::dsn::resolve(&shared().dsn(database)).unwrap();
        let (snapshot, shadow) = runtime.block_on(async {
            let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
            let snapshot = snapshot(&session).await.unwrap();
            let blueprint = pgassay_shadow::read(&session, &ReadOptions::default()).await.unwrap();
            let shadow = Shadow::build(&blueprint, &BuildOptions::default()).await.unwrap();
            (snapshot, Arc::new(shadow))
        });
        OnShadow { runtime, snapshot, shadow }
    }

    /// Advice on statements, within so many bytes.
    pub fn ask(&self, statements: Vec<WorkloadStatement>, budget: Option<u64>) -> IndexAdvice {
        let workload = Workload {
            schema: pgassay_model::workload::SCHEMA.into(),
            generated_at: Timestamp::UNIX_EPOCH,
            source: "test".into(),
            statements,
            skipped: Vec::new(),
            scripts: Vec::new(),
            sessions: Vec::new(),
        };
        let options = IndexOptions { budget: budget.map(Bytes), ..IndexOptions::default() };
        let engine = self.shadow.engine(self.runtime.handle().clone(), &self.snapshot);
        let mut engine = self.runtime.block_on(engine).unwrap();
        advise(&self.snapshot, &workload, engine.as_mut(), &options, &Interrupt::default())
    }
}
