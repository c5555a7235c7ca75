//! `advise`: indexes for a workload or one statement, as text, DDL or JSON; nothing is applied.

use crate::Answer;
use crate::cli;
use crate::commands::Context;
use crate::engines;
use crate::failure::{Exit, Failure, chain};
use jiff::Timestamp;
use pgassay_model::units::Bytes;
use pgassay_model::workload::{self, Workload, WorkloadStatement};

/// Proposes indexes for a workload or one statement; nothing is applied.
pub async fn advise(context: &Context<'_>, arguments: &cli::Advise) -> Result<Answer, Failure> {
    let target = context.target(&arguments.dsn)?;
    let session = target.observe().await?;
    let snapshot = target.snapshot(&session).await?;
    let workload = match &arguments.sql {
        Some(sql) => {
            let mut workload = single(sql)?;
            pgassay_workload::fill_parameters(&mut workload, &session, &snapshot, 42)
                .await
                .map_err(|error| {
                    Failure::input(chain(&error), "write the statement with its values")
                })?;
            if let Some(skipped) = workload.skipped.first() {
                return Err(Failure::input(
                    format!("the statement can't be advised on: {}", skipped.reason),
                    "write it with its values, and its relations with their schemas",
                ));
            }
            workload
        }
        None => context.workload(arguments.workload.as_ref(), &session, &snapshot).await?,
    };
    let runtime = tokio::runtime::Handle::current();
    let interrupt = context.interrupt.clone();
    let budgets: Vec<Option<Bytes>> = if arguments.budget.is_empty() {
        vec![None]
    } else {
        arguments.budget.iter().copied().map(Some).collect()
    };
    let (max_width, time_limit) = (arguments.max_width, arguments.time_limit);
    let bin = context.common.postgres_bin.as_deref();
    let mut prepared =
        engines::prepare(&target, session, &snapshot, &workload, arguments.engine, bin).await?;
    let notes = std::mem::take(&mut prepared.notes);
    let advices = tokio::task::spawn_blocking(move || {
        let mut what_if = prepared.engine(runtime, &snapshot);
        budgets
            .into_iter()
            .map(|budget| {
                let options =
                    pgassay_advise::index::IndexOptions { budget, max_width, time_limit, seed: 42 };
                let began = std::time::Instant::now();
                let advice = pgassay_advise::index::advise(
                    &snapshot,
                    &workload,
                    what_if.as_mut(),
                    &options,
                    &interrupt,
                );
                (budget, began.elapsed().as_secs_f64(), advice)
            })
            .collect::<Vec<_>>()
    })
    .await
    .map_err(|error| {
        Failure::new(
            Exit::Unreachable,
            format!("advising stopped: {error}"),
            "report this with the workload",
        )
    })?;
    let mut text = String::new();
    let mut documents = Vec::new();
    if !arguments.ddl {
        text.extend(notes.iter().map(|note| format!("note: {note}\n")));
    }
    for (budget, elapsed_s, advice) in &advices {
        if !arguments.ddl {
            text.push_str(&format!(
                "engine {}, {} what-if calls; workload cost {:.1} → {:.1} (estimates of the {})\n",
                advice.engine,
                advice.what_if_calls,
                advice.cost_before,
                advice.cost_after,
                if advice.engine == "rule" { "rule from statistics" } else { "planner" },
            ));
        }
        for index in &advice.indexes {
            text.push_str(&format!("{};\n", index.ddl));
            if !arguments.ddl {
                text.push_str(&format!(
                    "  -- about {}, saves {:.1} % of the workload's cost; for {}\n",
                    index.size,
                    index.benefit * 100.0,
                    index.statements.join(", ")
                ));
            }
        }
        if !arguments.ddl {
            for rejected in &advice.rejected {
                text.push_str(&format!("not proposed: {} ({})\n", rejected.what, rejected.why));
            }
        }
        documents.push(advice_document(*budget, *elapsed_s, advice, &notes));
    }
    let document = match documents.len() {
        1 => documents.remove(0),
        _ => serde_json::json!({
            "schema": "pgassay/advice/1",
            "generated_at": Timestamp::now().to_string(),
            "advices": documents,
        }),
    };
    Ok(Answer { text, json: document.to_string(), yes: true })
}

fn single(sql: &str) -> Result<Workload, Failure> {
    pgassay_sql::single_statement(sql)
        .map_err(|error| Failure::input(chain(&error), "give exactly one SQL statement"))?;
    Ok(Workload {
        schema: workload::SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        source: "command line".into(),
        statements: vec![WorkloadStatement {
            id: "statement".into(),
            sql: sql.to_owned(),
            weight: 1.0,
            writes: false,
            parameters: Vec::new(),
            parameter_source: String::new(),
            ..WorkloadStatement::default()
        }],
        skipped: Vec::new(),
        scripts: Vec::new(),
        sessions: Vec::new(),
    })
}

fn advice_document(
    budget: Option<Bytes>,
    elapsed_s: f64,
    advice: &pgassay_advise::index::IndexAdvice,
    notes: &[String],
) -> serde_json::Value {
    let indexes: Vec<serde_json::Value> = advice
        .indexes
        .iter()
        .map(|index| {
            serde_json::json!({
                "ddl": index.ddl,
                "relation": index.definition.relation.to_string(),
                "method": index.definition.method,
                "size_bytes": index.size,
                "benefit": index.benefit,
                "write_cost": index.write_cost,
                "statements": index.statements,
            })
        })
        .collect();
    serde_json::json!({
        "schema": "pgassay/advice/1",
        "generated_at": Timestamp::now().to_string(),
        "engine": advice.engine,
        "notes": notes,
        "elapsed_s": elapsed_s,
        "what_if_calls": advice.what_if_calls,
        "cost_before": advice.cost_before,
        "cost_after": advice.cost_after,
        "budget_bytes": budget,
        "size_bytes": advice.indexes.iter().map(|index| index.size.0).sum::<u64>(),
        "indexes": indexes,
        "drops": [],
        "statistics": [],
        "rewrites": [],
        "rejected": advice.rejected,
        "skipped": advice.skipped,
        "frontier": [],
    })
}
