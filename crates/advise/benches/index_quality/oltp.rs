//! A shop that reads and writes, at PostgreSQL's default parameters: kinds of indexes found, their sizes, and what
//! they do to the time of those who read and those who write.

#[path = "../../tests/shop_support/mod.rs"]
mod shop_support;

use crate::Flags;
use crate::asking::{Effort, Planner, workload};
use crate::building::{MEBI, build, costs, drop_indexes};
use crate::peers::{dexter, every_column};
use crate::timing::{Clock, times};
use crate::tpch::listed;
use pgassay_advise::index::IndexAdvice;
use pgassay_model::index::IndexDefinition;
use pgassay_model::units::Bytes;
use pgassay_model::workload::WorkloadStatement;
use pgassay_testkit::{Postgres, PostgresOptions};
use std::collections::{BTreeMap, HashMap};
use tokio::runtime::Runtime;

const DATABASE: &str = "shop";
/// Customers at scale 1, which makes about a million rows in all.
const CUSTOMERS: f64 = 50_000.0;
/// Bytes from which an index's size is held against its estimate: 20 pages.
const FEW_PAGES: u64 = 20 * 8192;

/// Runs the comparison and prints it.
pub fn run(runtime: &Runtime, flags: &Flags) {
    let customers = (CUSTOMERS * flags.scale) as u64;
    // Autovacuum would come at another moment in each run; VACUUM stands between the measurements instead.
    let settings = vec![("autovacuum".into(), "off".into())];
    let server = Postgres::start(PostgresOptions { settings, ..Default::default() }).unwrap();
    server.execute("postgres", &format!("CREATE DATABASE {DATABASE}")).unwrap();
    server.execute(DATABASE, "CREATE EXTENSION hypopg").unwrap();
    server.execute(DATABASE, &shop_support::sql(customers)).unwrap();
    server.execute(DATABASE, "VACUUM (ANALYZE)").unwrap();
    server.execute(DATABASE, "CHECKPOINT").unwrap();
    let statements = shop_support::statements(customers);
    let writers = statements.iter().filter(|statement| statement.writes).count();
    let version = server.version_num();
    println!(
        "A shop of {customers} customers, PostgreSQL {}.{} at its default parameters, primary keys only, {} statements of which {writers} write,\nweighted by how often a second they are asked.\n",
        version / 10_000,
        version % 10_000,
        statements.len(),
    );
    let asked = workload("shop", statements.clone());
    let mut planner = Planner::new(runtime, &server, DATABASE, &flags.engine);
    let (all, effort) = planner.advise(&asked, &[None]);
    let all = all.by_budget.into_iter().next().unwrap();
    let whole = size(&all);
    let parts = [Some(Bytes(whole / 2)), Some(Bytes(whole / 4))];
    let (advices, effort_of_parts) = planner.advise(&asked, &parts);
    said("no budget", &effort, &planner);
    said("half and a quarter of that", &effort_of_parts, &planner);
    let mut hypopg = Planner::new(runtime, &server, DATABASE, "hypopg");
    let single = every_column(&hypopg.snapshot, &asked);
    let halving = dexter(&mut hypopg, &asked);
    drop((planner, hypopg));

    let mut shop = Shop { runtime, server: &server, statements: &statements, before: None };
    println!(
        "\n| set | budget | estimated | real size | indexes | on expressions | partial | covering | not B-trees | cost ratio, estimated | cost ratio, real | CPU of readers | CPU of writers | INSERTs alone |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    shop.row("none", None, &[], None);
    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut sets = String::new();
    let budgets = [None].into_iter().chain(parts);
    for (budget, advice) in budgets.zip([&all].into_iter().chain(&advices.by_budget)) {
        let definitions: Vec<IndexDefinition> =
            advice.indexes.iter().map(|index| index.definition.clone()).collect();
        let built = shop.row("pgassay", budget, &definitions, Some(advice));
        for index in &advice.indexes {
            let real = built[&index.definition.name];
            // Of a few pages one more or less is much, and means nothing.
            if real >= FEW_PAGES {
                let ratio = index.size.0 as f64 / real as f64;
                ratios.entry(kind(&index.definition)).or_default().push(ratio);
            }
        }
        let label = budget.map_or("no budget".into(), |bytes| bytes.to_string());
        sets.push_str(&format!("\n{label}:\n{}", listed(advice, &built)));
    }
    shop.row("halving (as Dexter)", None, &halving, None);
    shop.row("every column", None, &single, None);

    println!(
        "\n| kind of index | indexes of at least 20 pages, in the three sets | estimated ÷ real size, least | greatest |"
    );
    println!("|---|---|---|---|");
    for (kind, mut ratios) in ratios {
        ratios.sort_by(f64::total_cmp);
        println!(
            "| {kind} | {} | {:.3} | {:.3} |",
            ratios.len(),
            ratios[0],
            ratios[ratios.len() - 1]
        );
    }
    println!("\nNot proposed without a budget:\n");
    for rejected in &all.rejected {
        println!("- {}: {}", rejected.what, rejected.why);
    }
    if flags.sets {
        println!("{sets}");
        println!("halving: {:#?}", halving.iter().map(|index| &index.name).collect::<Vec<_>>());
    }
    server.stop().unwrap();
}

fn said(budget: &str, effort: &Effort, planner: &Planner) {
    println!(
        "Advice ({budget}, engine {}): {} what-if calls, {:.2} s of CPU, {:.2} s by the clock.",
        planner.engine.engine(),
        effort.explains,
        effort.cpu(),
        effort.wall.as_secs_f64()
    );
}

fn size(advice: &IndexAdvice) -> u64 {
    advice.indexes.iter().map(|index| index.size.0).sum()
}

fn is_on_expression(index: &IndexDefinition) -> bool {
    index.keys.iter().any(|key| key.expression.is_some())
}

/// The first that holds.
fn kind(index: &IndexDefinition) -> &'static str {
    match index.method.as_str() {
        "btree" if is_on_expression(index) => "B-tree on an expression",
        "btree" if index.predicate.is_some() => "partial B-tree",
        "btree" if !index.include.is_empty() => "covering B-tree",
        "btree" if index.keys.len() > 1 => "B-tree of several columns",
        "btree" => "B-tree of one column",
        "hash" => "hash",
        "brin" => "BRIN",
        "gin" => "GIN",
        _ => "GiST",
    }
}

/// Milliseconds a second of the workload, and the counters of updates.
struct Measured {
    cost: f64,
    readers: f64,
    writers: f64,
    inserts: f64,
    each: Vec<Option<f64>>,
}

struct Shop<'a> {
    runtime: &'a Runtime,
    server: &'a Postgres,
    statements: &'a [WorkloadStatement],
    /// Without any index.
    before: Option<Measured>,
}

impl Shop<'_> {
    /// Builds a set, measures with it, prints its row, and drops it.
    fn row(
        &mut self,
        set: &str,
        budget: Option<Bytes>,
        indexes: &[IndexDefinition],
        advice: Option<&IndexAdvice>,
    ) -> HashMap<String, u64> {
        let built = build(self.server, DATABASE, indexes);
        let measured = self.measure();
        let before = self.before.as_ref().unwrap_or(&measured);
        let count = |test: &dyn Fn(&IndexDefinition) -> bool| {
            indexes.iter().filter(|index| test(index)).count()
        };
        let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / MEBI);
        println!(
            "| {set} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.4} | {:.1} ms/s, {:.4} | {:.1} ms/s, {:.3} | {:.2} ms/s, {:.3} |",
            budget.map_or("–".into(), |bytes| mebibytes(bytes.0)),
            advice.map_or("–".into(), |advice| mebibytes(size(advice))),
            mebibytes(built.values().sum()),
            indexes.len(),
            count(&is_on_expression),
            count(&|index| index.predicate.is_some()),
            count(&|index| !index.include.is_empty()),
            count(&|index| index.method != "btree"),
            advice.map_or("–".into(), |advice| format!(
                "{:.4}",
                advice.cost_after / advice.cost_before
            )),
            measured.cost / before.cost,
            measured.readers,
            measured.readers / before.readers,
            measured.writers,
            measured.writers / before.writers,
            measured.inserts,
            measured.inserts / before.inserts,
        );
        eprintln!("{set}: HOT updates {}", self.hot());
        for (statement, time) in self.statements.iter().zip(&measured.each) {
            eprintln!("  {} {:.3} ms", statement.id, time.unwrap_or(f64::NAN));
        }
        if self.before.is_none() {
            self.before = Some(measured);
        }
        drop_indexes(self.server, DATABASE);
        built
    }

    fn measure(&self) -> Measured {
        let Shop { runtime, server, statements, .. } = *self;
        // Statistics of expressions, and pages that index-only scans need not look into.
        server.execute(DATABASE, "VACUUM (ANALYZE)").unwrap();
        server.execute(DATABASE, "CHECKPOINT").unwrap();
        let cost = costs(runtime, server, DATABASE, statements).iter().sum();
        let reading = times(runtime, server, DATABASE, statements, false, Clock::BackendCpu);
        server.execute(DATABASE, "SELECT pg_stat_reset()").unwrap();
        let writing = times(runtime, server, DATABASE, statements, true, Clock::BackendCpu);
        let sum = |times: &[Option<f64>], test: &dyn Fn(&WorkloadStatement) -> bool| -> f64 {
            let known = statements.iter().zip(times);
            known
                .filter(|(statement, _)| test(statement))
                .map(|(statement, time)| statement.weight * time.unwrap_or(0.0))
                .sum()
        };
        let each = reading.iter().zip(&writing).map(|(a, b)| a.or(*b)).collect();
        Measured {
            cost,
            readers: sum(&reading, &|_| true),
            writers: sum(&writing, &|_| true),
            inserts: sum(&writing, &|statement| statement.sql.starts_with("INSERT")),
            each,
        }
    }

    /// Updates of the last measurement that were HOT, by relation.
    fn hot(&self) -> String {
        let counters = "SELECT relname, n_tup_hot_upd, n_tup_upd FROM pg_stat_user_tables WHERE n_tup_upd > 0 ORDER BY 1";
        let rows = self.server.query(DATABASE, counters).unwrap();
        let text = |row: Vec<Option<String>>| {
            let mut fields = row.into_iter().flatten();
            let mut next = || fields.next().unwrap_or_default();
            format!("{} {} of {}", next(), next(), next())
        };
        rows.into_iter().map(text).collect::<Vec<_>>().join(", ")
    }
}
