//! `advise`: indexes for a workload or one statement, as text, DDL or JSON; nothing is applied.

pub mod answers;
pub mod beyond;
pub mod bundling;
pub mod engines;
pub mod layered;
pub mod leaves;
pub mod planning;

use crate::Answer;
use crate::cli;
use crate::commands::Context;
use crate::failure::{Exit, Failure, chain};
use answers::{Load, elsewhere_document, elsewhere_notes, engine_of, explains};
use jiff::Timestamp;
use pgassay_advise::index::{Advices, IndexAdvice, IndexOptions, ProposedIndex};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::units::Bytes;
use pgassay_model::workload::{self, Workload, WorkloadStatement};
use std::time::Instant;

/// Seed of the search's random choices: equal input gives equal advice.
const SEED: u64 = 42;
/// Part of the time left that the search for indexes gets; the rest is for what is advised beside them.
const SEARCHING: f64 = 0.9;

/// Proposes indexes for a workload or one statement; nothing is applied.
pub async fn advise(context: &Context<'_>, arguments: &cli::Advise) -> Result<Answer, Failure> {
    let deadline = arguments.time_limit.and_then(|limit| Instant::now().checked_add(limit));
    let wanted = engines::Wanted {
        engine: arguments.engine,
        postgres_bin: context.common.postgres_bin.as_deref(),
        deadline,
    };
    let mut values = bundling::Values::Kept;
    let (snapshot, workload, mut prepared) = match (&arguments.bundle, &arguments.dsn) {
        (Some(file), _) => {
            let (bundle, unproven) = bundling::read(file)?;
            values = bundle.values;
            let bundling::Bundle { blueprint, snapshot, workload, .. } = bundle;
            let mut prepared =
                engines::prepare_apart(&blueprint, &snapshot, &workload, &wanted).await?;
            prepared.notes.extend(unproven);
            (snapshot, workload, prepared)
        }
        (None, dsn) => {
            observe(context, arguments, dsn.as_deref().unwrap_or_default(), &wanted).await?
        }
    };
    let asked = Asked::of(&workload);
    let of_statement = arguments.sql.is_some();
    let runtime = tokio::runtime::Handle::current();
    let interrupt = context.interrupt.clone();
    let budgets: Vec<Option<Bytes>> = if arguments.budget.is_empty() {
        vec![None]
    } else {
        arguments.budget.iter().copied().map(Some).collect()
    };
    let max_width = arguments.max_width;
    let mut notes = std::mem::take(&mut prepared.notes);
    let (told, taken) = (prepared.told.clone(), prepared.taken);
    let (budgets, elapsed_s, advices, beyond) = tokio::task::spawn_blocking(move || {
        let mut what_if = prepared.engine(runtime, &snapshot)?;
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let time_limit = deadline.map(|deadline| left(deadline).mul_f64(SEARCHING));
        let options = IndexOptions { max_width, time_limit, seed: SEED, ..IndexOptions::default() };
        let began = Instant::now();
        let advices = pgassay_advise::index::advise_budgets(
            &snapshot,
            &workload,
            what_if.as_mut(),
            &options,
            &budgets,
            &interrupt,
        );
        let elapsed_s = began.elapsed().as_secs_f64();
        let interrupt = deadline.map_or(interrupt.clone(), |deadline| interrupt.until(deadline));
        // For the widest budget: what an index that is proposed anyway does is not advised twice.
        let widest = advices.by_budget.iter().max_by_key(|advice| advice.indexes.len());
        let beyond = widest.map(|advice| {
            let what_if = what_if.as_mut();
            let now = Timestamp::now();
            // What else is wrong in the database has nothing to do with one statement.
            let beyond = match of_statement {
                true => pgassay_advise::beyond_of_statements,
                false => pgassay_advise::beyond_indexes,
            };
            beyond(&snapshot, &workload, what_if, advice, now, &interrupt)
        });
        Ok((budgets, elapsed_s, advices, beyond.unwrap_or_default()))
    })
    .await
    .map_err(|error| {
        Failure::new(
            Exit::Unreachable,
            format!("advising stopped: {error}"),
            "report this with the workload",
        )
    })??;
    if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
        notes.push("the time limit came before everything was looked at that could be advised beside indexes".into());
    }
    let answered = told.answered();
    let first = advices.by_budget.first().map_or("planner", |advice| advice.engine.as_str());
    notes.extend(elsewhere_notes(&answered, first));
    let partial = |index: &ProposedIndex| index.definition.predicate.is_some();
    if values != bundling::Values::Kept
        && advices.by_budget.iter().any(|advice| advice.indexes.iter().any(partial))
    {
        notes.push(
            "values in the bundle are not the columns' own: what WHERE of a proposed index compares with may be in disguise; put the value of your statement there".into(),
        );
    }
    let load = Load { taken, explains: explains(&answered, &advices) };
    let mut text = String::new();
    let mut documents = Vec::new();
    if !arguments.ddl {
        if context.common.verbose > 0 && arguments.bundle.is_none() {
            text.push_str(&load.text());
        }
        text.extend(notes.iter().map(|note| format!("note: {note}\n")));
    }
    let frontier = frontier_document(&advices);
    for (budget, advice) in budgets.iter().zip(&advices.by_budget) {
        if !arguments.ddl {
            if let Some(budget) = budget {
                text.push_str(&format!("budget {budget}\n"));
            }
            text.push_str(&match asked.none_looked_at(advice) {
                Some(why) => format!("no statement was looked at: {why}\n"),
                None => format!(
                    "engine {}, {} what-if calls; workload cost {:.1} → {:.1} (estimates of the {})\n",
                    advice.engine,
                    advice.what_if_calls,
                    // A sum of nothing is −0.
                    advice.cost_before + 0.0,
                    advice.cost_after + 0.0,
                    advice.estimates,
                ),
            });
        } else if let Some(why) = asked.none_looked_at(advice) {
            text.push_str(&format!("-- no statement was looked at: {}\n", one_line(&why)));
        }
        for index in &advice.indexes {
            text.push_str(&format!("{};\n", index.ddl));
            if !arguments.ddl {
                let engine = engine_of(index, advice, &answered);
                let by =
                    if engine == advice.engine { String::new() } else { format!(" (by {engine})") };
                text.push_str(&format!(
                    "  -- about {}, saves {:.1} % of the workload's cost{by}; for {}\n",
                    index.size,
                    index.benefit * 100.0,
                    index.statements.join(", ")
                ));
                text.push_str(&format!("  -- {}\n", index.reason));
                if let Some(warning) = &index.warning {
                    text.push_str(&format!("  -- warning: {warning}\n"));
                }
            }
        }
        if !arguments.ddl {
            for rejected in &advice.rejected {
                text.push_str(&format!("not proposed: {} ({})\n", rejected.what, rejected.why));
            }
            for skipped in &advice.skipped {
                text.push_str(&format!(
                    "not advised on: {} ({})\n",
                    one_line(&skipped.statement),
                    skipped.reason
                ));
            }
            text.push_str(&considered_text(advice, context.common.verbose > 0));
        }
        let mut document =
            advice_document(*budget, elapsed_s, advice, &notes, &frontier, &answered);
        if let Some(fields) = document.as_object_mut() {
            fields.extend(beyond::document(&beyond));
            fields.insert("elsewhere".into(), elsewhere_document(&answered));
            fields.insert("target_load".into(), load.document());
        }
        documents.push(document);
    }
    // DDL alone is the indexes within the budget: the rest has to be judged first.
    if !arguments.ddl {
        text.push_str(&beyond::text(&beyond));
    }
    if !arguments.ddl {
        text.push_str(&frontier_text(&advices));
    }
    let document = match documents.len() {
        1 => documents.remove(0),
        _ => serde_json::json!({
            "schema": "pgassay/advice/1",
            "generated_at": Timestamp::now().to_string(),
            "advices": documents,
            "frontier": frontier,
        }),
    };
    // Advice on nothing is none.
    let yes = advices.by_budget.iter().all(|advice| asked.none_looked_at(advice).is_none());
    Ok(Answer { text, json: document.to_string(), yes })
}

/// What advice was asked on.
struct Asked {
    statements: usize,
    scripts: usize,
}

impl Asked {
    fn of(workload: &Workload) -> Self {
        Asked { statements: workload.statements.len(), scripts: workload.scripts.len() }
    }

    /// Why no statement was looked at; None: some were.
    fn none_looked_at(&self, advice: &IndexAdvice) -> Option<String> {
        const FEW: usize = 3;
        if self.statements > advice.skipped.len() {
            return None;
        }
        if self.statements == 0 {
            return Some(match self.scripts {
                0 => "the workload has none".into(),
                _ => "the workload has scripts only, whose statements are not read one by one: capture them while they run, or give them as .sql files".into(),
            });
        }
        // One reason may be that of hundreds.
        let mut reasons: Vec<&str> =
            advice.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let others = reasons.len().saturating_sub(FEW);
        reasons.truncate(FEW);
        let more = if others > 0 { format!("; and {others} more reasons") } else { String::new() };
        Some(format!("{}{more}", reasons.join("; ")))
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The server observed, what is asked of it, and the engine that answers.
async fn observe(
    context: &Context<'_>,
    arguments: &cli::Advise,
    dsn: &str,
    wanted: &engines::Wanted<'_>,
) -> Result<(Snapshot, Workload, engines::Prepared), Failure> {
    let target = context.target(dsn)?;
    let session = target.observe().await?;
    let mut snapshot = target.snapshot(&session).await?;
    leaves::count(&target, &session, &mut snapshot).await?;
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
    let prepared = engines::prepare(&target, session, &snapshot, &workload, wanted).await?;
    Ok((snapshot, workload, prepared))
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

/// Candidates that are not proposed: all of a single statement, of a workload when asked for.
fn considered_text(advice: &IndexAdvice, verbose: bool) -> String {
    const FEW: usize = 10;
    let list = &advice.considered;
    if list.is_empty() {
        return String::new();
    }
    if !verbose && list.len() > FEW {
        return format!(
            "{} other indexes were weighed; --verbose and --json say why each is not proposed\n",
            list.len()
        );
    }
    list.iter().map(|index| format!("weighed: {} ({})\n", index.ddl, index.why)).collect()
}

/// The sets that no other beats in size and cost; `knee` marks where more space stops paying.
fn frontier_document(advices: &Advices) -> Vec<serde_json::Value> {
    let points = advices.frontier.iter().enumerate().map(|(place, point)| {
        serde_json::json!({
            "size_bytes": point.size,
            "cost": point.cost,
            "indexes": point.indexes,
            "knee": advices.knee == Some(place),
        })
    });
    points.collect()
}

fn frontier_text(advices: &Advices) -> String {
    // Nothing to choose from: no index, or one.
    if advices.frontier.len() < 3 {
        return String::new();
    }
    let mut text = String::from("size against cost (estimates), of the best sets found:\n");
    for (place, point) in advices.frontier.iter().enumerate() {
        text.push_str(&format!(
            "  {:>10}  cost {:.1} with {} indexes{}\n",
            point.size.to_string(),
            point.cost,
            point.indexes.len(),
            if advices.knee == Some(place) { "  <- more space pays less from here" } else { "" }
        ));
    }
    text
}

fn advice_document(
    budget: Option<Bytes>,
    elapsed_s: f64,
    advice: &IndexAdvice,
    notes: &[String],
    frontier: &[serde_json::Value],
    answered: &layered::Answered,
) -> serde_json::Value {
    let indexes: Vec<serde_json::Value> = advice
        .indexes
        .iter()
        .map(|index| {
            serde_json::json!({
                "ddl": index.ddl,
                "relation": index.definition.relation.to_string(),
                "method": index.definition.method,
                "engine": engine_of(index, advice, answered),
                "size_bytes": index.size,
                "benefit": index.benefit,
                "write_cost": index.write_cost,
                "statements": index.statements,
                "reason": index.reason,
                "warning": index.warning,
            })
        })
        .collect();
    let considered: Vec<serde_json::Value> = advice
        .considered
        .iter()
        .map(|index| {
            serde_json::json!({
                "ddl": index.ddl,
                "size_bytes": index.size,
                "statements": index.statements,
                "why": index.why,
            })
        })
        .collect();
    serde_json::json!({
        "schema": "pgassay/advice/1",
        "generated_at": Timestamp::now().to_string(),
        "engine": advice.engine,
        "estimates": advice.estimates,
        "notes": notes,
        "elapsed_s": elapsed_s,
        "what_if_calls": advice.what_if_calls,
        "cost_before": advice.cost_before,
        "cost_after": advice.cost_after,
        "budget_bytes": budget,
        "size_bytes": advice.indexes.iter().map(|index| index.size.0).sum::<u64>(),
        "indexes": indexes,
        "rejected": advice.rejected,
        "considered": considered,
        "skipped": advice.skipped,
        "frontier": frontier,
    })
}
