//! How the index search grows: thousands of statements over hundreds of relations.
//!
//! `cargo bench -p pgassay-advise --bench index_scale -- [statements] [relations] [seconds] [--engine rule|shadow] [--keys]`
//! (default 10,000, 1,000, no limit, rule) prints the time, the questions and the memory it took. The engine `rule` is a
//! formula, so that the time is the search's own. For `shadow` the relations are made in a server, with a primary key
//! each where `--keys` is given; what is read of it to build the shadow, and single statements on the shadow, are
//! measured as well.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark ends at the first failure")]

#[path = "index_scale/process.rs"]
mod process;
#[path = "index_scale/relay.rs"]
mod relay;
#[path = "../tests/scale_support/mod.rs"]
mod scale_support;
#[path = "index_scale/target.rs"]
mod target;

use pgassay_advise::index::{IndexAdvice, IndexOptions, advise};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::Workload;
use pgassay_postgres::{Session, SessionOptions};
use pgassay_shadow::{BuildOptions, ReadOptions, Shadow};
use process::MEBI;
use relay::Relay;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Single statements asked of the shadow.
const SINGLE: usize = 50;

struct Flags {
    statements: usize,
    relations: usize,
    limit: Option<Duration>,
    shadow: bool,
    keys: bool,
}

fn flags() -> Flags {
    let mut numbers = Vec::new();
    let (mut shadow, mut keys) = (false, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--engine" => shadow = arguments.next().as_deref() == Some("shadow"),
            "--keys" => keys = true,
            other => numbers.extend(other.parse::<usize>()),
        }
    }
    Flags {
        statements: numbers.first().copied().unwrap_or(10_000),
        relations: numbers.get(1).copied().unwrap_or(1_000),
        limit: numbers.get(2).map(|seconds| Duration::from_secs(*seconds as u64)),
        shadow,
        keys,
    }
}

fn main() {
    let flags = flags();
    if flags.shadow {
        on_shadow(&flags);
        return;
    }
    let began = Instant::now();
    let advice = scale_support::advise_on(flags.statements, flags.relations, flags.limit);
    report(&flags, &advice, began.elapsed(), process::cpu("self"));
}

fn report(flags: &Flags, advice: &IndexAdvice, taken: Duration, client_cpu: f64) {
    println!(
        "{} statements over {} relations, engine {}: {} indexes in {:.1} s, {:.1} s of the client's CPU, {} questions, {} statements left out; cost {:.0} -> {:.0}; the client's memory at most {:.0} MiB",
        flags.statements,
        flags.relations,
        advice.engine,
        advice.indexes.len(),
        taken.as_secs_f64(),
        client_cpu,
        advice.what_if_calls,
        advice.skipped.len(),
        advice.cost_before,
        advice.cost_after,
        process::peak_memory() / MEBI,
    );
}

fn on_shadow(flags: &Flags) {
    let runtime = Runtime::new().unwrap();
    let began = Instant::now();
    let target = target::make(flags.relations, flags.keys);
    println!("{} relations made in {:.1} s", flags.relations, began.elapsed().as_secs_f64());

    let relay = runtime.block_on(Relay::start(target.port()));
    let settings = pgassay_postgres::dsn::resolve(&target::dsn(relay.port())).unwrap();
    let session = runtime.block_on(Session::connect(&settings, SessionOptions::default())).unwrap();
    let snapshot = relay.measured("the snapshot", || {
        runtime.block_on(pgassay_postgres::snapshot(&session)).unwrap()
    });
    let blueprint = relay.measured("the blueprint", || {
        runtime.block_on(pgassay_shadow::read(&session, &ReadOptions::default())).unwrap()
    });
    drop(session);
    let began = Instant::now();
    let shadow = runtime.block_on(Shadow::build(&blueprint, &BuildOptions::default())).unwrap();
    drop(blueprint);
    assert!(shadow.lacking().is_empty(), "{:?}", shadow.lacking());
    println!("the shadow built in {:.1} s", began.elapsed().as_secs_f64());
    let shadow = Arc::new(shadow);
    // Who planned is not to be answered from memory: single statements are asked of an engine each, before the rest.
    single(&runtime, &shadow, &snapshot, flags);

    let postmaster = process::postmaster(&shadow.data_directory());
    let before = (process::cpu("self"), process::cpu_of_server(&postmaster), Instant::now());
    let workload = scale_support::workload(flags.statements, flags.relations);
    let mut engine = runtime.block_on(shadow.engine(runtime.handle().clone(), &snapshot)).unwrap();
    let options = IndexOptions { time_limit: flags.limit, ..IndexOptions::default() };
    let advice = advise(&snapshot, &workload, engine.as_mut(), &options, &Interrupt::default());
    report(flags, &advice, before.2.elapsed(), process::cpu("self") - before.0);
    println!(
        "the shadow's server: {:.1} s of CPU, {:.0} MiB of memory (PSS of all its processes), {:.0} MiB on disk",
        process::cpu_of_server(&postmaster) - before.1,
        process::memory_of_server(&postmaster) / MEBI,
        process::on_disk(&shadow.data_directory()) / MEBI,
    );
    drop(engine);
    drop(shadow);
    target.stop().unwrap();
}

/// One statement after the other on relations that no candidate was made on yet.
fn single(runtime: &Runtime, shadow: &Arc<Shadow>, snapshot: &Snapshot, flags: &Flags) {
    let all = scale_support::workload(flags.statements, flags.relations);
    let step = (all.statements.len() / SINGLE).max(1);
    let mut times: Vec<f64> = all
        .statements
        .iter()
        .step_by(step)
        .take(SINGLE)
        .map(|statement| {
            let workload = Workload { statements: vec![statement.clone()], ..all.clone() };
            let began = Instant::now();
            let engine = shadow.engine(runtime.handle().clone(), snapshot);
            let mut engine = runtime.block_on(engine).unwrap();
            advise(
                snapshot,
                &workload,
                engine.as_mut(),
                &IndexOptions::default(),
                &Interrupt::default(),
            );
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!(
        "{} single statements on the shadow: median {:.0} ms, at most {:.0} ms",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
}
