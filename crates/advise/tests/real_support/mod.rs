//! Advice on a real server, asked for as the command line does.
#![allow(missing_docs, dead_code, reason = "tests")]

use pgassay_advise::index::{IndexAdvice, IndexOptions, advise};
use pgassay_model::Timestamp;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::units::Bytes;
use pgassay_model::workload::{Workload, WorkloadStatement};
use pgassay_postgres::{Session, SessionOptions, snapshot, what_if};
use pgassay_testkit::{fresh_database, shared};

/// Builds a database, and asks for advice as the command line does.
pub fn ask(schema: &str, hypopg: bool, statements: Vec<WorkloadStatement>) -> IndexAdvice {
    ask_in(&build(schema, hypopg), statements)
}

pub fn build(schema: &str, hypopg: bool) -> String {
    let server = shared();
    let database = fresh_database(server);
    if hypopg {
        server.execute(&database, "CREATE EXTENSION hypopg").unwrap();
    }
    server.execute(&database, schema).unwrap();
    server.execute(&database, "VACUUM ANALYZE").unwrap();
    database
}

pub fn ask_in(database: &str, statements: Vec<WorkloadStatement>) -> IndexAdvice {
    asked(database, statements, IndexOptions::default())
}

/// The same within so many bytes.
pub fn ask_within(database: &str, statements: Vec<WorkloadStatement>, budget: u64) -> IndexAdvice {
    let options = IndexOptions { budget: Some(Bytes(budget)), ..IndexOptions::default() };
    asked(database, statements, options)
}

fn asked(database: &str, statements: Vec<WorkloadStatement>, options: IndexOptions) -> IndexAdvice {
    let workload = Workload {
        schema: pgassay_model::workload::SCHEMA.into(),
        generated_at: Timestamp::UNIX_EPOCH,
        source: "test".into(),
        statements,
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = pgassay_postgres::dsn::resolve(&shared().dsn(database)).unwrap();
    let (session, snapshot) = runtime.block_on(async {
        let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
        let snapshot = snapshot(&session).await.unwrap();
        (session, snapshot)
    });
    let mut engine = what_if(runtime.handle().clone(), session, &snapshot);
    advise(&snapshot, &workload, engine.as_mut(), &options, &Interrupt::default())
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
            format!("{}({})", definition.relation.name, keys.join(","))
        })
        .collect();
    keys.sort();
    keys
}

/// Indexes that could go.
pub fn drops(database: &str) -> Vec<pgassay_advise::DropAdvice> {
    let advice = ask_in(database, Vec::new());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let settings = pgassay_postgres::dsn::resolve(&shared().dsn(database)).unwrap();
    let (session, snapshot) = runtime.block_on(async {
        let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
        let snapshot = snapshot(&session).await.unwrap();
        (session, snapshot)
    });
    let mut engine = what_if(runtime.handle().clone(), session, &snapshot);
    let workload = Workload {
        schema: pgassay_model::workload::SCHEMA.into(),
        generated_at: Timestamp::UNIX_EPOCH,
        source: "test".into(),
        statements: Vec::new(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    };
    let (now, interrupt) = (Timestamp::now(), Interrupt::default());
    pgassay_advise::beyond_indexes(&snapshot, &workload, engine.as_mut(), &advice, now, &interrupt)
        .drops
}
