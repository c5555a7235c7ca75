//! Bundles: a target's snapshot, workload and blueprint in one file, for advice where the target can't be reached.

mod arrays;
mod bounds;
mod decimals;
mod file;
mod moments;
mod needed;
mod statements;
mod statistics;
mod values;

use crate::Answer;
use crate::cli;
use crate::commands::Context;
use crate::failure::{Exit, Failure, chain};
use jiff::Timestamp;
use pgassay_model::index::RelationName;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::{SkippedStatement, Workload, WorkloadStatement};
use pgassay_postgres::Session;
use pgassay_postgres::what_if::{self, Explain};
use pgassay_shadow::blueprint::Lacking;
use pgassay_shadow::{Blueprint, ReadOptions};
use serde::{Deserialize, Serialize};
use statistics::WithoutValues;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Schema name of a bundle.
const SCHEMA: &str = "pgassay/bundle/1";

/// Everything that advice on indexes needs of a target. Holds no rows unless asked for, but, as they are, values of
/// columns: statistics' most common ones and histogram bounds, and the workload's parameters.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bundle {
    schema: String,
    generated_at: Timestamp,
    /// Whether the values in it are the columns' own.
    #[serde(default)]
    pub values: Values,
    /// The target observed.
    pub snapshot: Snapshot,
    /// What is asked of it, values filled in.
    pub workload: Workload,
    /// What its planner reads.
    pub blueprint: Blueprint,
}

/// What became of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// They are as they were.
    #[default]
    Kept,
    /// Pseudonyms stand for them where only equality is asked for; the others are left out.
    Hashed,
    /// They are left out.
    LeftOut,
}

impl Values {
    /// What it costs, in words; None: nothing.
    fn cost(self) -> Option<&'static str> {
        match self {
            Values::Kept => None,
            Values::Hashed => Some(
                "without histograms, ranges, patterns and the order of values are estimated by the planner's defaults (a third of the rows above or below a value, 0.5 % between two), and so is every column that the workload compares so; `=` and IN on whole and decimal numbers, texts, UUIDs, dates and times are estimated as on the server, on other types by the number of distinct values",
            ),
            Values::LeftOut => Some(
                "without any value of a column, `=` is estimated by the number of distinct values, as if all were equally common; ranges, patterns and elements of arrays by the planner's defaults (a third of the rows above or below a value, 0.5 % between two); joins of columns with few common values by the numbers of distinct ones",
            ),
        }
    }
}

/// Writes a bundle of the target, for this account alone to read.
pub async fn export(
    context: &Context<'_>,
    arguments: &cli::BundleExport,
) -> Result<Answer, Failure> {
    let target = context.target(&arguments.dsn)?;
    let session = target.observe().await?;
    let mut snapshot = target.snapshot(&session).await?;
    let mut workload = context.workload(arguments.workload.as_ref(), &session, &snapshot).await?;
    context.step("reading what the planner reads");
    let options = ReadOptions { endpoints: arguments.with_rows };
    let mut blueprint = pgassay_shadow::read(&session, &options)
        .await
        .map_err(|error| Failure::new(Exit::Missing, chain(&error), error.hint()))?;
    statistics::without_secrets(&mut snapshot, &workload);
    let values = match (arguments.hash_values, arguments.no_values) {
        (true, _) => Values::Hashed,
        (false, true) => Values::LeftOut,
        (false, false) => Values::Kept,
    };
    // Before constants that definitions spell out are looked for: those of a body that stays here are none.
    let not_needed = needed::leave_out(&mut blueprint, &workload);
    let kept: BTreeSet<&RelationName> =
        blueprint.views.iter().filter_map(|definition| definition.relation.as_ref()).collect();
    snapshot.views.retain(|view| kept.contains(&view.name));
    needed::leave_out_functions(&mut snapshot, &workload);
    // Told to who exports; a bundle without values has no texts of theirs.
    let mut refused = workload.skipped.clone();
    let mut without_values = Vec::new();
    if let Some(cost) = values.cost() {
        context.step("putting values in disguise");
        let plain = workload.statements.clone();
        without_values = disguise(values, &mut snapshot, &mut workload, &mut blueprint);
        refuse_unplannable(session, &mut workload, &plain).await;
        refused.extend(workload.skipped.iter().cloned());
        let what = "values of columns, which its export left out or put in disguise";
        blueprint.lacking.push(Lacking::general(what, cost));
    }
    let lacking: Vec<String> = blueprint
        .lacking
        .iter()
        .map(|lacking| {
            let of = lacking.relation.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            format!("{of}{}: {}", lacking.what, lacking.why)
        })
        .collect();
    let generated_at = Timestamp::now();
    let schema = SCHEMA.to_owned();
    let bundle = Bundle { schema, generated_at, values, snapshot, workload, blueprint };
    let document = serde_json::to_string(&bundle).map_err(|error| {
        Failure::input(format!("the bundle can't be written as JSON: {error}"), "report this")
    })?;
    let bytes = file::write(&arguments.output, &document)?;
    let holds = match values {
        Values::Kept => "it holds values of your columns",
        Values::Hashed => {
            "it holds no value of your columns, but pseudonyms with how often each occurs, and statements with values of the same form; the schema, with the constants that it spells out, and the keys that statements take out of documents (->) are as they are"
        }
        Values::LeftOut => {
            "it holds no value of your columns, but statements with values of the same form; the schema, with the constants that it spells out, and the keys that statements take out of documents (->) are as they are"
        }
    };
    let mut text = format!(
        "{}: {} statements, {} relations and indexes, {} bytes ({} unpacked); {holds}\n",
        arguments.output.display(),
        bundle.workload.statements.len(),
        bundle.blueprint.sizes.len(),
        bytes,
        document.len(),
    );
    text.extend(lacking.iter().map(|line| format!("lacking: {line}\n")));
    text.extend(without_values.iter().map(|one| {
        format!(
            "without values: {}.{} ({}): {}\n",
            one.relation, one.column, one.type_name, one.why
        )
    }));
    if !not_needed.is_empty() {
        text.push_str(&format!(
            "not needed by any statement, and left out: {}\n",
            not_needed.join(", ")
        ));
    }
    text.extend(
        refused.iter().map(|one| format!("left out: {} ({})\n", one.statement, one.reason)),
    );
    let json = serde_json::json!({
        "schema": "pgassay/bundle-export/1",
        "generated_at": generated_at.to_string(),
        "file": arguments.output,
        "bytes": bytes,
        "document_bytes": document.len(),
        "values": values,
        "rows": bundle.blueprint.endpoints.len(),
        "statements": bundle.workload.statements.len(),
        "lacking": lacking,
        "left_out": refused,
        "columns_without_values": without_values,
        "not_needed": not_needed,
    });
    Ok(Answer { text, json: json.to_string(), yes: true })
}

/// Reads a bundle; with what to say of one that does not tell whether it is whole.
pub fn read(path: &Path) -> Result<(Bundle, Option<String>), Failure> {
    file::read(path, SCHEMA)
}

/// Takes the values of columns out of everything, statement by statement: those that can't be told from the rest are
/// left out. Returns which columns that they compare have no values, not even pseudonyms.
fn disguise(
    values: Values,
    snapshot: &mut Snapshot,
    workload: &mut Workload,
    blueprint: &mut Blueprint,
) -> Vec<WithoutValues> {
    let zone = snapshot.parameters.get("TimeZone").map(|zone| zone.current.as_str());
    let utc = matches!(zone, Some("UTC" | "Etc/UTC" | "GMT"));
    let disguise = values::Disguise::new(&mut rand::rng(), spelled(blueprint), utc);
    let partition_keys = partition_keys(blueprint);
    let compared_by_order: BTreeSet<(RelationName, String)> = workload
        .statements
        .iter()
        .flat_map(|statement| statements::compared_by_order(&statement.sql, snapshot))
        .collect();
    let (disguise, snapshot_of_types) = (&disguise, &*snapshot);
    let statements = statements::Statements {
        disguise,
        snapshot: snapshot_of_types,
        partition_keys: &partition_keys,
    };
    let (mut kept, mut skipped) = (Vec::new(), Vec::new());
    for statement in &workload.statements {
        match statements.disguised(statement) {
            Ok(other) => kept.push(other),
            // Its text is what can't be put in disguise.
            Err(reason) => {
                skipped.push(SkippedStatement { statement: statement.id.clone(), reason })
            }
        }
    }
    workload.statements = kept;
    // Texts of what was skipped before, with the server's words about their values.
    workload.skipped = skipped;
    workload.scripts.clear();
    workload.sessions.clear();
    let lists = statistics::Lists {
        disguise: (values == Values::Hashed).then_some(disguise),
        compared_by_order,
    };
    let compared: BTreeSet<(RelationName, String)> = workload
        .statements
        .iter()
        .flat_map(|statement| statements::compared(&statement.sql, snapshot, |_| true))
        .collect();
    let without = match values {
        Values::Hashed => lists.without_values(snapshot, &compared),
        _ => Vec::new(),
    };
    lists.blueprint(blueprint, snapshot);
    lists.snapshot(snapshot);
    without
}

/// Plans every statement on the server once: a value of the same form may be none of its type.
/// `plain`: the statements with their own values, for whether these are refused as well.
async fn refuse_unplannable(
    session: Session,
    workload: &mut Workload,
    plain: &[WorkloadStatement],
) {
    let explain = Explain::new(session);
    let mut kept = Vec::new();
    for statement in std::mem::take(&mut workload.statements) {
        match explain.statement(&statement, &[]).await {
            Ok(_) => kept.push(statement),
            Err(what_if::Failure::Parameter(error) | what_if::Failure::Plan(error)) => {
                let own = plain.iter().find(|known| known.id == statement.id);
                let too = match own {
                    Some(own) => explain.statement(own, &[]).await.is_err(),
                    None => false,
                };
                // The server's words about the statement as it was may hold its values.
                let when = if too { "with its own values and in disguise" } else { "in disguise" };
                let reason = format!("{when} the server refuses it: {}", what_if::words(&error));
                workload.skipped.push(SkippedStatement { statement: statement.id, reason });
            }
        }
    }
    workload.statements = kept;
}

/// Constants that the definitions of relations and views spell out, and labels of enum types.
fn spelled(blueprint: &Blueprint) -> BTreeSet<String> {
    let definitions = blueprint.definitions.iter().filter(|one| one.relation.is_some());
    definitions
        .chain(&blueprint.views)
        .filter_map(|definition| pgassay_sql::constant_values(&definition.sql).ok())
        .flatten()
        .chain(blueprint.enums.iter().map(|label| label.label.clone()))
        .collect()
}

/// What relations are partitioned by, as SQL.
fn partition_keys(blueprint: &Blueprint) -> BTreeMap<RelationName, String> {
    blueprint
        .definitions
        .iter()
        .filter_map(|definition| {
            let (_, key) = definition.sql.rsplit_once(" PARTITION BY ")?;
            Some((definition.relation.clone()?, key.to_owned()))
        })
        .collect()
}
