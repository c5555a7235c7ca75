//! Which what-if engine answers: the shadow where one can be built of the target, else HypoPG, else rules from
//! statistics; and why not a better one.

use crate::cli::EngineArg;
use crate::failure::{Exit, Failure, chain};
use crate::target::Target;
use pgassay_model::index::RelationName;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::what_if::WhatIf;
use pgassay_model::workload::Workload;
use pgassay_postgres::Session;
use pgassay_shadow::{Blueprint, BuildOptions, ReadOptions, Shadow, ShadowError};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;

/// An engine that is ready to be asked.
pub struct Prepared {
    shadow: Option<Arc<Shadow>>,
    /// On the target; None: it is out of reach.
    session: Option<Session>,
    /// Why it is not a better one, and what its answers lack.
    pub notes: Vec<String>,
}

/// Prepares the engine that was asked for, on a session of its own.
pub async fn prepare(
    target: &Target,
    session: Session,
    snapshot: &Snapshot,
    workload: &Workload,
    choice: EngineArg,
    postgres_bin: Option<&Path>,
) -> Result<Prepared, Failure> {
    let mut notes = Vec::new();
    let mut shadow = None;
    if choice != EngineArg::Hypopg {
        target.progress.step("building a server without data to plan on");
        let options = BuildOptions { postgres_bin: postgres_bin.map(Path::to_path_buf) };
        match build(&session, &options).await {
            Ok(built) => {
                let doubtful = doubtful(&built, snapshot, workload);
                let general = built.lacking().iter().filter(|lacking| lacking.relation.is_none());
                notes.extend(general.map(|lacking| format!("{}: {}", lacking.what, lacking.why)));
                if doubtful.is_empty() || choice == EngineArg::Shadow {
                    notes.extend(doubtful);
                    shadow = Some(Arc::new(built));
                } else {
                    notes = doubtful;
                }
            }
            Err(error) if choice == EngineArg::Shadow => {
                return Err(Failure::new(Exit::Missing, chain(&error), error.hint()));
            }
            Err(error) => notes.push(format!("no shadow planner: {}", chain(&error))),
        }
    }
    if choice == EngineArg::Hypopg && !snapshot.server.extensions.contains_key("hypopg") {
        return Err(Failure::new(
            Exit::Missing,
            "the extension HypoPG is not installed in this database",
            "CREATE EXTENSION hypopg; or leave --engine out",
        ));
    }
    for note in &notes {
        tracing::info!(note, "what-if engine");
    }
    Ok(Prepared { shadow, session: Some(session), notes })
}

/// Prepares the shadow of a blueprint, where its source is out of reach.
pub async fn prepare_apart(
    blueprint: &Blueprint,
    snapshot: &Snapshot,
    workload: &Workload,
    postgres_bin: Option<&Path>,
) -> Result<Prepared, Failure> {
    let options = BuildOptions { postgres_bin: postgres_bin.map(Path::to_path_buf) };
    let shadow = Shadow::build(blueprint, &options)
        .await
        .map_err(|error| Failure::new(Exit::Missing, chain(&error), error.hint()))?;
    let general = shadow.lacking().iter().filter(|lacking| lacking.relation.is_none());
    let mut notes: Vec<String> =
        general.map(|lacking| format!("{}: {}", lacking.what, lacking.why)).collect();
    notes.extend(doubtful(&shadow, snapshot, workload));
    Ok(Prepared { shadow: Some(Arc::new(shadow)), session: None, notes })
}

impl Prepared {
    /// The engine, for the thread that will ask it.
    pub fn engine(self, runtime: Handle, snapshot: &Snapshot) -> Result<Box<dyn WhatIf>, Failure> {
        let failed = match &self.shadow {
            Some(shadow) => match runtime.block_on(shadow.engine(runtime.clone(), snapshot)) {
                Ok(engine) => return Ok(engine),
                Err(error) => Some(error),
            },
            None => None,
        };
        match (self.session, failed) {
            (Some(session), failed) => {
                if let Some(error) = failed {
                    tracing::warn!(%error, "the shadow planner was built and does not answer");
                }
                Ok(pgassay_postgres::what_if(runtime, session, snapshot))
            }
            (None, Some(error)) => {
                Err(Failure::new(Exit::Unreachable, chain(&error), error.hint()))
            }
            (None, None) => Err(Failure::new(
                Exit::Missing,
                "there is no engine to ask",
                "give the DSN of the server",
            )),
        }
    }
}

async fn build(session: &Session, options: &BuildOptions) -> Result<Shadow, ShadowError> {
    let blueprint = pgassay_shadow::read(session, &ReadOptions::default()).await?;
    Shadow::build(&blueprint, options).await
}

/// Relations of the workload whose plans the shadow can't answer for, and why.
fn doubtful(shadow: &Shadow, snapshot: &Snapshot, workload: &Workload) -> Vec<String> {
    let named: BTreeSet<RelationName> = workload
        .statements
        .iter()
        .filter_map(|statement| pgassay_sql::shape(&statement.sql, snapshot).ok())
        .flat_map(|shape| shape.relations.into_iter().map(|used| used.name))
        .collect();
    named
        .iter()
        .filter_map(|relation| {
            shadow
                .unable_for(relation)
                .map(|why| format!("the shadow planner can't answer for {relation}: {why}"))
        })
        .collect()
}
