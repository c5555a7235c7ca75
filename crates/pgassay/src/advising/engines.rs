//! Which what-if engine answers: the shadow where one can be built of the target, else HypoPG, else rules from
//! statistics, statement by statement where the shadow lacks some relations only; and why not a better one.

use crate::advising::layered::{Layered, Nobody, Permitted, Told};
use crate::cli::EngineArg;
use crate::failure::{Exit, Failure, chain};
use crate::target::Target;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::what_if::WhatIf;
use pgassay_model::workload::Workload;
use pgassay_postgres::Session;
use pgassay_shadow::blueprint::Taken;
use pgassay_shadow::{Blueprint, BuildOptions, ReadOptions, Shadow, ShadowError, StatementLack};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Part of the time left that the shadow may take to be there; the rest is for asking whoever answers then.
const BUILDING: f64 = 0.75;

/// What is asked for in an engine.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Which.
    pub engine: EngineArg,
    /// Where PostgreSQL's programs are looked for first.
    pub postgres_bin: Option<&'a Path>,
    /// When the advice has to be there.
    pub deadline: Option<Instant>,
}

/// An engine that is ready to be asked.
pub struct Prepared {
    shadow: Option<Arc<Shadow>>,
    /// On the target; None: it is out of reach.
    session: Option<Session>,
    /// Whether the shadow alone is to answer.
    alone: bool,
    /// Why it is not a better one, and what its answers lack.
    pub notes: Vec<String>,
    /// What building the shadow took of the target; None: it was not read for one.
    pub taken: Option<Taken>,
    /// Who answered for what, once it was asked.
    pub told: Told,
}

/// Prepares the engine that was asked for, on a session of its own.
pub async fn prepare(
    target: &Target,
    session: Session,
    snapshot: &Snapshot,
    workload: &Workload,
    wanted: &Wanted<'_>,
) -> Result<Prepared, Failure> {
    let choice = wanted.engine;
    let mut session = session;
    let hypopg = snapshot.server.extensions.contains_key("hypopg") && !session.pooled();
    if choice == EngineArg::Hypopg && !snapshot.server.extensions.contains_key("hypopg") {
        return Err(Failure::new(
            Exit::Missing,
            "the extension HypoPG is not installed in this database",
            "CREATE EXTENSION hypopg; or leave --engine out",
        ));
    }
    uncounted(&session).await;
    let mut prepared = Prepared {
        shadow: None,
        session: None,
        alone: choice == EngineArg::Shadow,
        notes: Vec::new(),
        taken: None,
        told: Told::default(),
    };
    if choice != EngineArg::Hypopg {
        target.progress.step("building a server without data to plan on");
        match wanted.in_time(build(&session, &wanted.options())).await {
            Some(Ok((shadow, taken))) => {
                prepared.taken = Some(taken);
                prepared.take(shadow, snapshot, workload, hypopg);
            }
            Some(Err(error)) if choice == EngineArg::Shadow => {
                return Err(Failure::new(Exit::Missing, chain(&error), error.hint()));
            }
            Some(Err(error)) => {
                prepared.notes.push(format!("no shadow planner: {}", chain(&error)));
            }
            None => {
                prepared.notes.push(wanted.too_late()?);
                // The old one is within a transaction, whose search_path is none of the application's.
                session = target.observe().await?;
                uncounted(&session).await;
            }
        }
    }
    for note in &prepared.notes {
        tracing::info!(note, "what-if engine");
    }
    prepared.session = Some(session);
    Ok(prepared)
}

/// Prepares the shadow of a blueprint, where its source is out of reach.
pub async fn prepare_apart(
    blueprint: &Blueprint,
    snapshot: &Snapshot,
    workload: &Workload,
    wanted: &Wanted<'_>,
) -> Result<Prepared, Failure> {
    if wanted.engine == EngineArg::Hypopg {
        return Err(Failure::input(
            "HypoPG plans on the server, and a bundle is advised on without it",
            "leave --engine out, or give the server and its workload in place of --bundle",
        ));
    }
    let mut prepared = Prepared {
        shadow: None,
        session: None,
        alone: wanted.engine == EngineArg::Shadow,
        notes: Vec::new(),
        taken: None,
        told: Told::default(),
    };
    match wanted.in_time(Shadow::build(blueprint, &wanted.options())).await {
        Some(Ok(shadow)) => prepared.take(shadow, snapshot, workload, false),
        Some(Err(error)) => return Err(Failure::new(Exit::Missing, chain(&error), error.hint())),
        None => prepared.notes.push(wanted.too_late()?),
    }
    Ok(prepared)
}

impl Wanted<'_> {
    fn options(&self) -> BuildOptions {
        BuildOptions { postgres_bin: self.postgres_bin.map(Path::to_path_buf) }
    }

    /// What comes of building a shadow; None: it was not there in time.
    async fn in_time<T>(&self, building: impl Future<Output = T>) -> Option<T> {
        let Some(deadline) = self.deadline else { return Some(building.await) };
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Duration::from_secs_f64(left.as_secs_f64() * BUILDING);
        tokio::time::timeout(left, building).await.ok()
    }

    /// What to say where the shadow was not there in time; a failure where nothing else may answer.
    fn too_late(&self) -> Result<String, Failure> {
        let why = "it was not read and built within its part of the time limit";
        if self.engine == EngineArg::Shadow {
            let message = format!("there is no shadow planner to ask: {why}");
            return Err(Failure::new(
                Exit::Missing,
                message,
                "give a longer --time-limit, or leave --engine out for what answers without a shadow",
            ));
        }
        Ok(format!("no shadow planner: {why}"))
    }
}

/// EXPLAIN looks up the ends of indexes too, which would count as scans of them; who may not say so gets the counts of
/// any other EXPLAIN.
async fn uncounted(session: &Session) {
    if session.pooled() {
        return;
    }
    let uncounted = "SET track_counts = off /* pgassay */";
    if let Err(error) = session.client().batch_execute(uncounted).await {
        tracing::debug!(%error, "scans of this session are counted");
    }
}

impl Prepared {
    /// Takes the shadow where it can answer for a statement at all, and notes what its answers lack.
    fn take(&mut self, shadow: Shadow, snapshot: &Snapshot, workload: &Workload, hypopg: bool) {
        let mut able = workload.statements.is_empty();
        let (mut unable, mut imprecise) = (BTreeSet::new(), BTreeSet::new());
        for statement in &workload.statements {
            match shadow.lack_of_statement(snapshot, &statement.sql) {
                Some(StatementLack { relation, why, grave })
                    if grave || (hypopg && !self.alone) =>
                {
                    unable.insert(format!("the shadow planner can't answer for {relation}: {why}"));
                }
                Some(StatementLack { relation, why, .. }) => {
                    able = true;
                    imprecise.insert(format!(
                        "the shadow planner's estimates over {relation} are less precise: {why}"
                    ));
                }
                None => able = true,
            }
        }
        if !able && !self.alone {
            self.notes.extend(unable);
            return;
        }
        let general = shadow.lacking().iter().filter(|lacking| lacking.relation.is_none());
        self.notes.extend(general.map(|lacking| format!("{}: {}", lacking.what, lacking.why)));
        self.notes.extend(imprecise);
        // Who answers in its place is told with the statements, once they have been asked about.
        self.notes.extend(unable.into_iter().filter(|_| self.alone));
        self.shadow = Some(Arc::new(shadow));
    }

    /// The engine, for the thread that will ask it.
    pub fn engine(self, runtime: Handle, snapshot: &Snapshot) -> Result<Box<dyn WhatIf>, Failure> {
        let on_target = |runtime, session, told| -> Box<dyn WhatIf> {
            let engine = pgassay_postgres::what_if(runtime, session, snapshot);
            Box::new(Permitted::new(engine, snapshot, told))
        };
        let Some(shadow) = self.shadow else {
            return match self.session {
                Some(session) => Ok(on_target(runtime, session, self.told)),
                None => Ok(Box::new(Nobody)),
            };
        };
        let first = match runtime.block_on(shadow.engine(runtime.clone(), snapshot)) {
            Ok(engine) => engine,
            Err(error) => {
                let Some(session) = self.session else {
                    return Err(Failure::new(Exit::Unreachable, chain(&error), error.hint()));
                };
                tracing::warn!(%error, "the shadow planner was built and does not answer");
                return Ok(on_target(runtime, session, self.told));
            }
        };
        if self.alone {
            return Ok(first);
        }
        let second: Box<dyn WhatIf> = match self.session {
            Some(session) => on_target(runtime, session, self.told.clone()),
            None => Box::new(Nobody),
        };
        Ok(Box::new(Layered::new(shadow, snapshot, first, second, self.told)))
    }
}

async fn build(session: &Session, options: &BuildOptions) -> Result<(Shadow, Taken), ShadowError> {
    let blueprint = pgassay_shadow::read(session, &ReadOptions::default()).await?;
    let taken = blueprint.taken;
    Ok((Shadow::build(&blueprint, options).await?, taken))
}
