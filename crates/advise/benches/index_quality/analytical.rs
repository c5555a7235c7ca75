//! 99 statements over a chain's 24 relations: sets for several budgets, each built for real, beside those of CoPhy and
//! Extend, with what finding them took.

mod grammar;
mod relations;

use crate::asking::{Effort, Planner, workload};
use crate::building::{MEBI, build, costs, drop_indexes};
use crate::timing::{Clock, times};
use crate::tpch::{SETTINGS, listed};
use crate::{Flags, cophy, extend};
use pgassay_model::index::IndexDefinition;
use pgassay_model::units::Bytes;
use pgassay_model::workload::{Workload, WorkloadStatement};
use pgassay_testkit::{Postgres, PostgresOptions};
use std::path::Path;
use tokio::runtime::Runtime;

const DATABASE: &str = "chain";
const SCHEMA: &str = include_str!("analytical/schema.sql");
const ROWS: &str = include_str!("analytical/rows.sql");
const STATEMENTS: usize = 99;
/// MiB, of about 180 MiB of relations.
const BUDGETS: [u64; 6] = [5, 10, 25, 50, 100, 200];

/// Runs the comparison and prints it.
pub fn run(runtime: &Runtime, flags: &Flags) {
    let server = server(&flags.data("pgassay-chain"), flags.scale);
    drop_indexes(&server, DATABASE);
    let seed = flags.seed;
    let statements: Vec<WorkloadStatement> = grammar::statements(STATEMENTS, seed)
        .into_iter()
        .enumerate()
        .map(|(number, sql)| WorkloadStatement {
            id: format!("{:02}", number + 1),
            sql,
            weight: 1.0,
            ..WorkloadStatement::default()
        })
        .collect();
    let before = costs(runtime, &server, DATABASE, &statements);
    let total: f64 = before.iter().sum();
    if flags.sets {
        for (statement, cost) in statements.iter().zip(&before) {
            eprintln!("{} {:.4} {}", statement.id, cost / total, statement.sql);
        }
    }
    let asked = workload("chain", statements);
    let budgets: Vec<u64> = flags.budgets.clone().unwrap_or_else(|| BUDGETS.to_vec());
    let version = server.version_num();
    println!(
        "A chain of shops at scale {}, PostgreSQL {}.{}, primary keys only, {STATEMENTS} statements of weight 1 written by chance (seed {seed}).\n",
        flags.scale,
        version / 10_000,
        version % 10_000,
    );
    let mut comparison =
        Comparison { runtime, server: &server, asked: &asked, total, rows: Vec::new() };

    if flags.peers {
        comparison.cophy(&budgets, flags);
        comparison.extend(&budgets, flags);
    }
    let mut sets = String::new();
    if flags.own {
        sets = comparison.own(&budgets, flags);
    }
    comparison.print(&budgets, flags);
    if flags.sets {
        println!("{sets}");
    }
    server.stop().unwrap();
}

/// A server with the data in `directory`, loaded there where it is not yet.
fn server(directory: &Path, scale: f64) -> Postgres {
    let settings = SETTINGS.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let options = PostgresOptions {
        settings,
        directory: Some(directory.to_path_buf()),
        ..PostgresOptions::default()
    };
    let server = Postgres::start(options).unwrap();
    let loaded = directory.join("loaded");
    // Written last, so that a load that was cut off is begun again, as is one of other rows.
    let label = format!("scale {scale}\n{SCHEMA}{ROWS}");
    if std::fs::read_to_string(&loaded).is_ok_and(|text| text == label) {
        return server;
    }
    eprintln!("loading the chain at scale {scale} into {}", directory.display());
    server.execute("postgres", &format!("DROP DATABASE IF EXISTS {DATABASE}")).unwrap();
    server.execute("postgres", &format!("CREATE DATABASE {DATABASE}")).unwrap();
    server.execute(DATABASE, "CREATE EXTENSION hypopg").unwrap();
    server.execute(DATABASE, SCHEMA).unwrap();
    server.execute(DATABASE, &ROWS.replace("{{scale}}", &scale.to_string())).unwrap();
    server.execute(DATABASE, "VACUUM (ANALYZE)").unwrap();
    server.execute(DATABASE, "CHECKPOINT").unwrap();
    std::fs::write(&loaded, label).unwrap();
    server
}

fn said(who: &str, explains: u64, effort: &Effort) {
    println!(
        "- {who}: {explains} what-if calls, {:.1} s of CPU ({:.1} s client, {:.1} s server), {:.1} s by the clock",
        effort.cpu(),
        effort.client,
        effort.server,
        effort.wall.as_secs_f64()
    );
}

/// A set that was built.
struct Row {
    who: &'static str,
    budget: u64,
    indexes: usize,
    bytes: u64,
    ratio: f64,
    seconds: Option<f64>,
}

struct Comparison<'a> {
    runtime: &'a Runtime,
    server: &'a Postgres,
    asked: &'a Workload,
    /// Cost of all statements without indexes.
    total: f64,
    rows: Vec<Row>,
}

impl Comparison<'_> {
    /// Builds a set, plans all statements with it, and drops it.
    fn row(
        &mut self,
        who: &'static str,
        budget: u64,
        indexes: &[IndexDefinition],
        flags: &Flags,
    ) -> std::collections::HashMap<String, u64> {
        let Comparison { runtime, server, asked, total, .. } = *self;
        let built = build(server, DATABASE, indexes);
        let after: f64 = costs(runtime, server, DATABASE, &asked.statements).iter().sum();
        let seconds = flags.time.then(|| {
            let times = times(runtime, server, DATABASE, &asked.statements, false, Clock::Wall);
            times.into_iter().flatten().sum::<f64>() / 1000.0
        });
        let bytes = built.values().sum();
        if flags.sets {
            for index in indexes {
                let keys: Vec<&str> =
                    index.keys.iter().filter_map(|key| key.column.as_deref()).collect();
                let relation = &index.relation.name;
                eprintln!(
                    "{who} {budget} {relation} ({}) {:.2}",
                    keys.join(", "),
                    built[&index.name] as f64 / MEBI
                );
            }
        }
        let row = Row { who, budget, indexes: indexes.len(), bytes, ratio: after / total, seconds };
        eprintln!("{who} {budget} MiB: {:.1} MiB, {:.5}", bytes as f64 / MEBI, row.ratio);
        self.rows.push(row);
        drop_indexes(server, DATABASE);
        built
    }

    /// The advisor's own sets, all found in one search; what is in them.
    fn own(&mut self, budgets: &[u64], flags: &Flags) -> String {
        let mut planner = Planner::new(self.runtime, self.server, DATABASE, &flags.engine);
        let limits: Vec<Option<Bytes>> = budgets.iter().map(|mib| Some(Bytes(mib << 20))).collect();
        let (advices, effort) = planner.advise(self.asked, &limits);
        said(&format!("pgassay, engine {}", planner.engine.engine()), effort.explains, &effort);
        println!(
            "  (reading the target and building the engine took {:.1} s before)",
            planner.prepared.as_secs_f64()
        );
        drop(planner);
        let mut sets = String::new();
        for (budget, advice) in budgets.iter().zip(&advices.by_budget) {
            let definitions: Vec<IndexDefinition> =
                advice.indexes.iter().map(|index| index.definition.clone()).collect();
            let built = self.row("pgassay", *budget, &definitions, flags);
            let estimated: u64 = advice.indexes.iter().map(|index| index.size.0).sum();
            sets.push_str(&format!(
                "\n{budget} MiB: estimated {:.1} MiB, ratio {:.4}\n{}",
                estimated as f64 / MEBI,
                advice.cost_after / advice.cost_before,
                listed(advice, &built)
            ));
        }
        sets
    }

    fn cophy(&mut self, budgets: &[u64], flags: &Flags) {
        let mut planner = Planner::new(self.runtime, self.server, DATABASE, "hypopg");
        let before = planner.effort();
        let mut questions = cophy::ask(&mut planner, self.asked);
        let asking = planner.effort().since(&before);
        cophy::sizes(&mut planner, &mut questions);
        let before = planner.effort();
        let mut choices = Vec::new();
        for budget in budgets {
            for by_relation in [false, true] {
                choices.push((*budget, cophy::choose(&questions, budget << 20, by_relation)));
            }
        }
        let solving = planner.effort().since(&before);
        said("CoPhy, questions", questions.explains, &asking);
        said("CoPhy, the integer programs", 0, &solving);
        for (budget, choice) in choices {
            eprintln!(
                "CoPhy {budget} MiB: saves {:.4} of the cost, at most {:.4}",
                choice.saved / self.total,
                choice.bound / self.total
            );
            let set: Vec<IndexDefinition> =
                choice.indexes.iter().map(|one| questions.candidates[*one].clone()).collect();
            self.row("CoPhy", budget, &set, flags);
        }
    }

    fn extend(&mut self, budgets: &[u64], flags: &Flags) {
        let mut planner = Planner::new(self.runtime, self.server, DATABASE, "hypopg");
        let singles = cophy::singles(&planner, self.asked);
        let before = planner.effort();
        let mut sets = Vec::new();
        for budget in budgets {
            sets.push(extend::choose(&mut planner, self.asked, &singles, budget << 20));
        }
        let effort = planner.effort().since(&before);
        said("Extend", effort.explains, &effort);
        for (budget, set) in budgets.iter().zip(&sets) {
            self.row("Extend", *budget, set, flags);
        }
    }

    /// One line for each budget, the best set of each.
    fn print(&self, budgets: &[u64], flags: &Flags) {
        let who = ["pgassay", "CoPhy", "Extend"];
        println!(
            "\n| budget |{}",
            who.map(|who| format!(
                " {who}: real size | indexes | cost ratio |{}",
                if flags.time { " time |" } else { "" }
            ))
            .concat()
        );
        println!("|---|{}", "---|".repeat(who.len() * if flags.time { 4 } else { 3 }));
        for budget in budgets {
            let mut line = format!("| {budget} MiB |");
            for who in who {
                let rows = self.rows.iter().filter(|row| row.who == who && row.budget == *budget);
                match rows.min_by(|a, b| a.ratio.total_cmp(&b.ratio)) {
                    Some(row) => line.push_str(&format!(
                        " {:.1} MiB | {} | {:.5} |{}",
                        row.bytes as f64 / MEBI,
                        row.indexes,
                        row.ratio,
                        row.seconds.map_or(String::new(), |seconds| format!(" {seconds:.1} s |"))
                    )),
                    None => line.push_str(" – | – | – |"),
                }
            }
            println!("{line}");
        }
    }
}
