//! TPC-H: sets for nine budgets, each built for real, beside those of other advisors.

mod data;
mod peers;

pub use data::SETTINGS;

use crate::Flags;
use crate::asking::{Planner, workload};
use crate::building::{MEBI, build, costs, drop_indexes};
use crate::timing::{Clock, times};
use data::DATABASE;
use pgassay_advise::index::IndexAdvice;
use pgassay_model::units::Bytes;
use pgassay_model::workload::WorkloadStatement;
use pgassay_testkit::Postgres;
use std::collections::HashMap;
use tokio::runtime::Runtime;

/// A statement that takes more than that, relative to before, is named.
const SLOWER: f64 = 1.10;

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

/// Runs the comparison and prints it.
pub fn run(runtime: &Runtime, flags: &Flags) {
    let directory = flags.data("pgassay-tpch");
    let server = runtime.block_on(data::server(&directory, flags.scale));
    drop_indexes(&server, DATABASE);
    let statements: Vec<WorkloadStatement> = STATEMENTS
        .iter()
        .map(|(id, sql)| WorkloadStatement {
            id: (*id).into(),
            sql: (*sql).into(),
            weight: 1.0,
            ..WorkloadStatement::default()
        })
        .collect();
    let budgets = flags.budgets.clone().unwrap_or_else(|| peers::BUDGETS.to_vec());
    let asked: Vec<Option<Bytes>> =
        budgets.iter().map(|budget| Some(Bytes(budget << 20))).collect();
    let mut planner = Planner::new(runtime, &server, DATABASE, &flags.engine);
    let (advices, effort) = planner.advise(&workload("TPC-H", statements.clone()), &asked);
    let version = server.version_num();
    println!("## Engine {}\n", flags.engine);
    println!(
        "TPC-H, scale factor {}, PostgreSQL {}.{}, primary keys only, 19 statements of weight 1 (2, 17 and 20 are left\nout: they dominate), advised for {} budgets in one search with the engine {}. Every set was built; sizes\nand costs are those of the real indexes. `cargo bench -p pgassay-advise --bench index_quality{}` makes this table.\n",
        flags.scale,
        version / 10_000,
        version % 10_000,
        budgets.len(),
        planner.engine.engine(),
        if flags.time { " -- --time" } else { "" },
    );
    let report = Report { runtime, server: &server, flags, statements: &statements };
    report.print(&budgets, &advices.by_budget);
    println!(
        "\nThe whole search: {} what-if calls, {:.1} s of CPU ({:.1} s client, {:.1} s server), {:.1} s by the clock;\nreading the target and building the engine took {:.1} s before.",
        effort.explains,
        effort.cpu(),
        effort.client,
        effort.server,
        effort.wall.as_secs_f64(),
        planner.prepared.as_secs_f64(),
    );
    drop(planner);
    server.stop().unwrap();
}

struct Report<'a> {
    runtime: &'a Runtime,
    server: &'a Postgres,
    flags: &'a Flags,
    statements: &'a [WorkloadStatement],
}

impl Report<'_> {
    fn print(&self, budgets: &[u64], advices: &[IndexAdvice]) {
        let Report { server, flags, .. } = *self;
        let before: f64 = self.costs().iter().sum();
        let times_before = flags.time.then(|| self.times());
        println!(
            "| budget | estimated | real size | indexes | cost ratio, estimated | cost ratio, real | best peer of no more real size | its ratio |{}",
            if flags.time { " time ratio | slower by over 10 % |" } else { "" }
        );
        println!("|---|---|---|---|---|---|---|---|{}", if flags.time { "---|---|" } else { "" });
        let mut sets = String::new();
        for (budget, advice) in budgets.iter().zip(advices) {
            let built = if flags.estimates {
                HashMap::new()
            } else {
                build(server, DATABASE, advice.indexes.iter().map(|index| &index.definition))
            };
            let after: f64 = self.costs().iter().sum();
            let estimated: u64 = advice.indexes.iter().map(|index| index.size.0).sum();
            let real: u64 = built.values().sum();
            // Where the set is larger than the budget, a peer of that size is what it has to be held against.
            let allowed = (real as f64 / MEBI).max(*budget as f64);
            let peer = peers::best(allowed);
            let mut line = format!(
                "| {budget} MiB | {:.1} MiB | {:.1} MiB | {} | {:.3} | {:.3} | {} | {} |",
                estimated as f64 / MEBI,
                real as f64 / MEBI,
                built.len(),
                advice.cost_after / advice.cost_before,
                after / before,
                peer.map_or("–", |peer| peer.who),
                peer.map_or("–".into(), |peer| format!("{:.3}", peer.ratio)),
            );
            if let Some(times_before) = &times_before {
                line.push_str(&self.slower(times_before));
            }
            println!("{line}");
            if flags.sets {
                sets.push_str(&format!("\n{budget} MiB:\n{}", listed(advice, &built)));
            }
            drop_indexes(server, DATABASE);
        }
        println!("{sets}");
    }

    fn slower(&self, before: &[f64]) -> String {
        let after = self.times();
        let slower: Vec<String> = STATEMENTS
            .iter()
            .zip(before.iter().zip(&after))
            .filter(|(_, (before, after))| **after > **before * SLOWER)
            .map(|((id, _), (before, after))| format!("{id} ({before:.0} → {after:.0} ms)"))
            .collect();
        let ratio = after.iter().sum::<f64>() / before.iter().sum::<f64>();
        let slower = if slower.is_empty() { "none".into() } else { slower.join(", ") };
        format!(" {ratio:.3} | {slower} |")
    }

    fn costs(&self) -> Vec<f64> {
        costs(self.runtime, self.server, DATABASE, self.statements)
    }

    fn times(&self) -> Vec<f64> {
        let times = times(self.runtime, self.server, DATABASE, self.statements, false, Clock::Wall);
        times.into_iter().flatten().collect()
    }
}

/// The indexes of a set with their sizes.
pub fn listed(advice: &IndexAdvice, built: &HashMap<String, u64>) -> String {
    let mut text = String::new();
    for index in &advice.indexes {
        let real = built.get(&index.definition.name).copied().unwrap_or(0);
        text.push_str(&format!(
            "  {} -- estimated {:.2}, real {:.2} MiB ({:.3}), benefit {:.4}, write cost {:.4}\n",
            index.ddl.replace("CREATE INDEX CONCURRENTLY ", ""),
            index.size.0 as f64 / MEBI,
            real as f64 / MEBI,
            index.size.0 as f64 / real.max(1) as f64,
            index.benefit,
            index.write_cost
        ));
    }
    text
}
