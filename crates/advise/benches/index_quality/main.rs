//! How good the index advisor's sets are: TPC-H, every set built for real, beside other advisors' sets.
//!
//! `cargo bench -p pgassay-advise --bench index_quality -- [--data DIR] [--scale N] [--budgets 50,90,…] [--engine shadow|hypopg] [--time] [--sets]
//! [--estimates]`
//! prints the report that is committed as `docs/index-quality.md`. The data stays in DIR (default: in the system's
//! temporary directory) for the next run; `--time` runs the statements as well, `--sets` prints the sets,
//! `--estimates` builds none of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark ends at the first failure"
)]

mod data;
mod peers;

use data::DATABASE;
use pgassay_advise::index::{Advices, IndexAdvice, IndexOptions, advise_budgets};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::units::Bytes;
use pgassay_model::what_if::WhatIf;
use pgassay_model::workload::{SCHEMA, Workload, WorkloadStatement};
use pgassay_postgres::{Session, SessionOptions, snapshot, what_if};
use pgassay_shadow::{BuildOptions, ReadOptions, Shadow};
use pgassay_testkit::Postgres;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MEBI: f64 = 1024.0 * 1024.0;
/// A statement that takes more than that, relative to before, is named.
const SLOWER: f64 = 1.10;
/// Runs of a statement, of which the fastest counts: the data is cached, and others use the machine.
const RUNS: usize = 3;

/// The statements of the comparison: 2, 17 and 20 are left out, as in the paper, because they dominate the cost.
macro_rules! statements {
    ($($number:literal),*) => {
        [$(($number, include_str!(concat!("tpch/", $number, ".sql")))),*]
    };
}
const STATEMENTS: [(&str, &str); 19] = statements!(
    "01", "03", "04", "05", "06", "07", "08", "09", "10", "11", "12", "13", "14", "15", "16", "18",
    "19", "21", "22"
);

struct Flags {
    data: PathBuf,
    scale: f64,
    budgets: Vec<u64>,
    engine: String,
    time: bool,
    sets: bool,
    estimates: bool,
}

fn flags() -> Flags {
    let mut flags = Flags {
        data: std::env::temp_dir().join("pgassay-tpch"),
        scale: 1.0,
        budgets: peers::BUDGETS.to_vec(),
        engine: "shadow".into(),
        time: false,
        sets: false,
        estimates: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} takes a value"));
        match argument.as_str() {
            "--data" => flags.data = value().into(),
            "--scale" => flags.scale = value().parse().unwrap(),
            "--budgets" => {
                flags.budgets = value().split(',').map(|text| text.parse().unwrap()).collect();
            }
            "--engine" => flags.engine = value(),
            "--time" => flags.time = true,
            "--sets" => flags.sets = true,
            "--estimates" => flags.estimates = true,
            _ => {}
        }
    }
    flags
}

fn main() {
    let flags = flags();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(data::server(&flags.data, flags.scale));
    drop_indexes(&server);
    let asked = ask(&runtime, &server, &flags);
    let version = server.version_num();
    println!("## Engine {}\n", flags.engine);
    println!(
        "TPC-H, scale factor {}, PostgreSQL {}.{}, primary keys only, 19 statements of weight 1 (2, 17 and 20 are left\nout: they dominate), advised for {} budgets in one search with the engine {}. Every set was built; sizes\nand costs are those of the real indexes. `cargo bench -p pgassay-advise --bench index_quality{}` makes this table.\n",
        flags.scale,
        version / 10_000,
        version % 10_000,
        flags.budgets.len(),
        asked.advices.by_budget.first().map_or("?", |advice| advice.engine.as_str()),
        if flags.time { " -- --time" } else { "" },
    );
    report(&server, &flags, &asked);
    server.stop().unwrap();
}

/// One search and what it took.
struct Asked {
    advices: Advices,
    /// Reading the target, and building the shadow.
    prepared: Duration,
    wall: Duration,
    client_cpu: f64,
    server_cpu: f64,
}

fn ask(runtime: &tokio::runtime::Runtime, server: &Postgres, flags: &Flags) -> Asked {
    let settings = pgassay_postgres::dsn::resolve(&server.dsn(DATABASE)).unwrap();
    let began = Instant::now();
    let (session, snapshot) = runtime.block_on(async {
        let session = Session::connect(&settings, SessionOptions::default()).await.unwrap();
        let snapshot = snapshot(&session).await.unwrap();
        (session, snapshot)
    });
    let workload = workload();
    let budgets: Vec<Option<Bytes>> =
        flags.budgets.iter().map(|budget| Some(Bytes(budget << 20))).collect();
    let shadow = (flags.engine == "shadow").then(|| {
        let blueprint =
            runtime.block_on(pgassay_shadow::read(&session, &ReadOptions::default())).unwrap();
        let built = runtime.block_on(Shadow::build(&blueprint, &BuildOptions::default())).unwrap();
        assert!(built.lacking().is_empty(), "{:?}", built.lacking());
        Arc::new(built)
    });
    // Whoever plans: the backends of the shadow, or the session's own.
    let planning = match &shadow {
        Some(shadow) => runtime.block_on(shadow.session()).unwrap(),
        None => runtime.block_on(Session::connect(&settings, SessionOptions::default())).unwrap(),
    };
    let data_directory: String = runtime
        .block_on(planning.client().query_one("SELECT current_setting('data_directory')", &[]))
        .unwrap()
        .get(0);
    let prepared = began.elapsed();
    let before = (cpu("self"), cpu_of_server(&data_directory), Instant::now());
    let mut engine: Box<dyn WhatIf> = match &shadow {
        Some(shadow) => {
            runtime.block_on(shadow.engine(runtime.handle().clone(), &snapshot)).unwrap()
        }
        None => what_if(runtime.handle().clone(), session, &snapshot),
    };
    let advices = advise_budgets(
        &snapshot,
        &workload,
        engine.as_mut(),
        &IndexOptions::default(),
        &budgets,
        &Interrupt::default(),
    );
    Asked {
        advices,
        prepared,
        wall: before.2.elapsed(),
        client_cpu: cpu("self") - before.0,
        server_cpu: cpu_of_server(&data_directory) - before.1,
    }
}

/// CPU seconds of all processes that a postmaster has started and that still run.
fn cpu_of_server(data_directory: &str) -> f64 {
    let file = std::fs::read_to_string(format!("{data_directory}/postmaster.pid")).unwrap();
    let postmaster = file.lines().next().unwrap().trim().to_owned();
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let process = entry.file_name().into_string().ok()?;
        let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let parent = text.rsplit(')').next()?.split_whitespace().nth(1)?.to_owned();
        (parent == postmaster).then(|| cpu(&process))
    });
    children.sum()
}

fn workload() -> Workload {
    let statement = |(id, sql): &(&str, &str)| -> WorkloadStatement {
        let document = serde_json::json!({ "id": id, "sql": sql, "weight": 1.0, "writes": false });
        serde_json::from_value(document).unwrap()
    };
    Workload {
        schema: SCHEMA.into(),
        generated_at: pgassay_model::Timestamp::UNIX_EPOCH,
        source: "TPC-H".into(),
        statements: STATEMENTS.iter().map(statement).collect(),
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    }
}

fn report(server: &Postgres, flags: &Flags, asked: &Asked) {
    let before = costs(server);
    let times_before = flags.time.then(|| times(server));
    println!(
        "| budget | estimated | real size | indexes | cost ratio, estimated | cost ratio, real | best peer of no more real size | its ratio |{}",
        if flags.time { " time ratio | slower by over 10 % |" } else { "" }
    );
    println!("|---|---|---|---|---|---|---|---|{}", if flags.time { "---|---|" } else { "" });
    let mut sets = String::new();
    for (budget, advice) in flags.budgets.iter().zip(&asked.advices.by_budget) {
        let built = if flags.estimates { Vec::new() } else { build(server, advice) };
        let after = costs(server);
        let estimated: u64 = advice.indexes.iter().map(|index| index.size.0).sum();
        let real: u64 = built.iter().map(|(_, size)| size).sum();
        let ratio = after.iter().sum::<f64>() / before.iter().sum::<f64>();
        // Where the set is larger than the budget, a peer of that size is what it has to be held against.
        let allowed = (real as f64 / MEBI).max(*budget as f64);
        let peer = peers::best(allowed);
        let mut line = format!(
            "| {budget} MiB | {:.1} MiB | {:.1} MiB | {} | {:.3} | {:.3} | {} | {} |",
            estimated as f64 / MEBI,
            real as f64 / MEBI,
            built.len(),
            advice.cost_after / advice.cost_before,
            ratio,
            peer.map_or("–", |peer| peer.who),
            peer.map_or("–".into(), |peer| format!("{:.3}", peer.ratio)),
        );
        if let Some(times_before) = &times_before {
            let times_after = times(server);
            let slower: Vec<String> = STATEMENTS
                .iter()
                .zip(times_before.iter().zip(&times_after))
                .filter(|(_, (before, after))| **after > **before * SLOWER)
                .map(|((id, _), (before, after))| format!("{id} ({:.0} → {:.0} ms)", before, after))
                .collect();
            let ratio = times_after.iter().sum::<f64>() / times_before.iter().sum::<f64>();
            line.push_str(&format!(
                " {ratio:.3} | {} |",
                if slower.is_empty() { "none".into() } else { slower.join(", ") }
            ));
        }
        println!("{line}");
        if flags.sets {
            sets.push_str(&format!("\n{budget} MiB:\n"));
            for index in &advice.indexes {
                let real = built.iter().find(|(name, _)| *name == index.definition.name);
                let real = real.map_or(0, |(_, size)| *size);
                sets.push_str(&format!(
                    "  {} -- estimated {:.1}, real {:.1} MiB ({:.2}), benefit {:.4}\n",
                    index.ddl.replace("CREATE INDEX CONCURRENTLY ", ""),
                    index.size.0 as f64 / MEBI,
                    real as f64 / MEBI,
                    index.size.0 as f64 / real.max(1) as f64,
                    index.benefit
                ));
            }
        }
        drop_indexes(server);
    }
    let advice = asked.advices.by_budget.first();
    println!(
        "\nThe whole search: {} what-if calls, {:.1} s of CPU ({:.1} s client, {:.1} s server), {:.1} s by the clock;\nreading the target and building the engine took {:.1} s before.",
        advice.map_or(0, |advice| advice.what_if_calls),
        asked.client_cpu + asked.server_cpu,
        asked.client_cpu,
        asked.server_cpu,
        asked.wall.as_secs_f64(),
        asked.prepared.as_secs_f64(),
    );
    println!("{sets}");
}

/// Builds a set; names and real sizes.
fn build(server: &Postgres, advice: &IndexAdvice) -> Vec<(String, u64)> {
    for index in &advice.indexes {
        server.execute(DATABASE, &index.ddl.replace(" CONCURRENTLY", "")).unwrap();
    }
    server
        .query(
            DATABASE,
            "SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) FROM pg_index i
             JOIN pg_class c ON c.oid = i.indrelid
             WHERE c.relnamespace = 'public'::regnamespace AND NOT indisprimary",
        )
        .unwrap()
        .into_iter()
        .map(|row| {
            (row[0].clone().unwrap(), row[1].as_deref().and_then(|text| text.parse().ok()).unwrap())
        })
        .collect()
}

fn drop_indexes(server: &Postgres) {
    let drops = "SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index i
        JOIN pg_class c ON c.oid = i.indrelid
        WHERE c.relnamespace = 'public'::regnamespace AND NOT indisprimary";
    for row in server.query(DATABASE, drops).unwrap() {
        server.execute(DATABASE, row[0].as_deref().unwrap()).unwrap();
    }
}

/// The planner's cost of every statement.
fn costs(server: &Postgres) -> Vec<f64> {
    STATEMENTS
        .iter()
        .map(|(_, sql)| {
            let rows = server.query(DATABASE, &format!("EXPLAIN (FORMAT JSON) {sql}")).unwrap();
            let plan: serde_json::Value =
                serde_json::from_str(rows[0][0].as_deref().unwrap()).unwrap();
            plan[0]["Plan"]["Total Cost"].as_f64().unwrap()
        })
        .collect()
}

/// Milliseconds of every statement, the fastest of a few runs.
fn times(server: &Postgres) -> Vec<f64> {
    STATEMENTS
        .iter()
        .map(|(_, sql)| {
            (0..RUNS)
                .map(|_| {
                    let began = Instant::now();
                    server.query(DATABASE, sql).unwrap();
                    began.elapsed().as_secs_f64() * 1000.0
                })
                .fold(f64::INFINITY, f64::min)
        })
        .collect()
}

/// CPU seconds that a process has used: `utime` and `stime` of proc(5), in hundredths (`sysconf(_SC_CLK_TCK)`).
fn cpu(process: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok());
    ticks(11).zip(ticks(12)).map_or(0.0, |(user, system)| (user + system) / 100.0)
}
