//! Bundles: a target's snapshot, workload and blueprint in one file, for advice where the target can't be reached.

use crate::Answer;
use crate::cli;
use crate::commands::{Context, read_json};
use crate::failure::{Failure, chain};
use jiff::Timestamp;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::Workload;
use pgassay_shadow::{Blueprint, ReadOptions};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Schema name of a bundle.
const SCHEMA: &str = "pgassay/bundle/1";

/// Everything that advice on indexes needs of a target. Holds no rows unless asked for, but values of columns:
/// statistics' most common ones and histogram bounds, and the workload's parameters.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bundle {
    schema: String,
    generated_at: Timestamp,
    /// The target observed.
    pub snapshot: Snapshot,
    /// What is asked of it, values filled in.
    pub workload: Workload,
    /// What its planner reads.
    pub blueprint: Blueprint,
}

/// Writes a bundle of the target, for this account alone to read.
pub async fn export(
    context: &Context<'_>,
    arguments: &cli::BundleExport,
) -> Result<Answer, Failure> {
    let target = context.target(&arguments.dsn)?;
    let session = target.observe().await?;
    let snapshot = target.snapshot(&session).await?;
    let workload = context.workload(arguments.workload.as_ref(), &session, &snapshot).await?;
    context.step("reading what the planner reads");
    let options = ReadOptions { endpoints: arguments.with_rows };
    let blueprint = pgassay_shadow::read(&session, &options).await.map_err(|error| {
        Failure::new(crate::failure::Exit::Missing, chain(&error), error.hint())
    })?;
    let lacking: Vec<String> = blueprint
        .lacking
        .iter()
        .map(|lacking| {
            let of = lacking.relation.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            format!("{of}{}: {}", lacking.what, lacking.why)
        })
        .collect();
    let generated_at = Timestamp::now();
    let bundle = Bundle { schema: SCHEMA.to_owned(), generated_at, snapshot, workload, blueprint };
    let bytes = write(&arguments.output, &bundle)?;
    let mut text = format!(
        "{}: {} statements, {} relations and indexes, {} bytes; it holds values of your columns\n",
        arguments.output.display(),
        bundle.workload.statements.len(),
        bundle.blueprint.sizes.len(),
        bytes
    );
    text.extend(lacking.iter().map(|line| format!("lacking: {line}\n")));
    let json = serde_json::json!({
        "schema": "pgassay/bundle-export/1",
        "generated_at": generated_at.to_string(),
        "file": arguments.output,
        "bytes": bytes,
        "statements": bundle.workload.statements.len(),
        "lacking": lacking,
    });
    Ok(Answer { text, json: json.to_string(), yes: true })
}

/// Reads a bundle.
pub fn read(path: &Path) -> Result<Bundle, Failure> {
    read_json(path, SCHEMA)
}

fn write(path: &Path, bundle: &Bundle) -> Result<usize, Failure> {
    let cannot = |error: String| {
        Failure::input(
            format!("cannot write {}: {error}", path.display()),
            "name a file in a directory that you may write to",
        )
    };
    let text = serde_json::to_string(bundle).map_err(|error| cannot(error.to_string()))?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| cannot(error.to_string()))?;
    Ok(text.len())
}
