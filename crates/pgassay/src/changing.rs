//! A run from its first change to its end: journal and executor composed, and what the history says of runs.

use crate::failure::{Exit, Failure};
use crate::target::Target;
use jiff::Timestamp;
use pgassay_change::{ChangeError, Executor, ExecutorOptions, Journal, JournalError, PoolerAccess};
use pgassay_model::plan::{Plan, PlannedChange, Risk, RiskLevel};
use pgassay_model::run::{self, ChangeOutcome, ChangeState, History, Run, RunState};
use pgassay_postgres::Session;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a run works with: the journal, a session that may write, and where progress goes.
pub struct Access {
    journal: Journal,
    session: Session,
    say: Box<dyn Fn(&str) + Sync>,
    silent: Arc<AtomicBool>,
}

impl Access {
    /// Opens the journal and a session that may write.
    pub async fn open(target: &Target) -> Result<Self, Failure> {
        let session = target.writer().await?;
        let progress = target.progress.clone();
        let silent = Arc::new(AtomicBool::new(false));
        let muted = Arc::clone(&silent);
        Ok(Access {
            journal: Journal::open(&target.state).map_err(journal_failure)?,
            session,
            say: Box::new(move |what| {
                if !muted.load(Ordering::Relaxed) {
                    progress.step(what);
                }
            }),
            silent,
        })
    }

    async fn executor(&self, target: &Target) -> Result<Executor<'_>, Failure> {
        let options = ExecutorOptions {
            pooler: pooler_access(target)?,
            interrupt: target.interrupt.clone(),
            progress: Some(self.say.as_ref()),
            ..ExecutorOptions::default()
        };
        Executor::open(&self.journal, &self.session, options).await.map_err(change_failure)
    }
}

/// What came of trying a change.
pub enum Tried {
    /// It is in force.
    Applied {
        /// Seconds it took.
        elapsed_s: f64,
        /// It waits for a restart, which pgassay never does.
        pending_restart: bool,
        /// What to know.
        notes: Vec<String>,
    },
    /// It was refused before anything was touched.
    Refused(String),
}

/// A run that is going on.
pub struct Changing<'a> {
    access: &'a Access,
    executor: Executor<'a>,
    run: String,
}

impl<'a> Changing<'a> {
    /// Starts a run. Refused while an earlier run on this target is open, since what was before it is not known.
    pub async fn begin(target: &Target, access: &'a Access, plan: &Plan) -> Result<Self, Failure> {
        let executor = access.executor(target).await?;
        executor.check_target(&plan.target).map_err(change_failure)?;
        refuse_unfinished(&access.journal, &executor)?;
        let run =
            access.journal.start_run(&executor.target(), Some(plan)).map_err(journal_failure)?;
        Ok(Changing { access, executor, run })
    }

    /// Refuses now what [`Changing::begin`] would refuse after minutes of measuring: a server that can't be
    /// changed, a journal that can't be written, another pgassay at work, an earlier run that was cut off.
    pub async fn ready(target: &Target) -> Result<(), Failure> {
        let access = Access::open(target).await?;
        let executor = access.executor(target).await?;
        let ready = refuse_unfinished(&access.journal, &executor);
        executor.close().await.map_err(change_failure)?;
        ready
    }

    /// Whether progress of single changes is kept to itself, as while they are switched on and off.
    pub fn keep_silent(&self, silent: bool) {
        self.access.silent.store(silent, Ordering::Relaxed);
    }

    /// Identity of the run.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Where the schema snapshot and the configuration backups lie.
    pub fn backups(&self) -> Vec<String> {
        self.access
            .journal
            .run(&self.run)
            .map(|record| record.backups.iter().map(|path| path.display().to_string()).collect())
            .unwrap_or_default()
    }

    /// Applies one change; what the target refuses before anything is touched is no failure of the run.
    pub async fn apply(&mut self, change: &PlannedChange) -> Result<Tried, Failure> {
        match self.executor.apply(&self.run, change).await {
            Ok(applied) => Ok(Tried::Applied {
                elapsed_s: applied.elapsed.as_secs_f64(),
                pending_restart: applied.pending_restart,
                notes: applied.notes,
            }),
            Err(
                error @ (ChangeError::Refused { .. }
                | ChangeError::Stale { .. }
                | ChangeError::MissingPrivilege { .. }),
            ) => {
                let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                Ok(Tried::Refused(format!("{error}{hint}")))
            }
            Err(error) => Err(change_failure(error)),
        }
    }

    /// Records that a change is to stay.
    pub fn keep(&self, change: &PlannedChange, reason: &str) -> Result<(), Failure> {
        self.executor.set_kept(&self.run, &change.id, reason).map_err(change_failure)
    }

    /// Records a change that was not tried.
    pub fn skip(&self, change: &PlannedChange, reason: &str) -> Result<(), Failure> {
        self.executor.skip(&self.run, change, reason).map_err(change_failure)
    }

    /// Takes one change back.
    pub async fn rollback(&mut self, change: &PlannedChange) -> Result<(), Failure> {
        self.executor.rollback(&self.run, &change.id).await.map_err(change_failure)
    }

    /// Ends the run and stores its document.
    pub async fn finish(self, run: &Run) -> Result<(), Failure> {
        let journal = &self.access.journal;
        journal.save_document(&self.run, run).map_err(journal_failure)?;
        journal.finish_run(&self.run, run.state).map_err(journal_failure)?;
        self.executor.close().await.map_err(change_failure)
    }

    /// Takes everything back after a failure; returns the failure with what became of it.
    pub async fn abandon(mut self, failure: Failure) -> Failure {
        let undone = self.executor.rollback_run(&self.run).await;
        let failure = match undone {
            Ok(_) if failure.exit == Exit::NotUndone => failure,
            Ok(_) => {
                let (state, exit) = match failure.exit {
                    Exit::Interrupted => (RunState::Interrupted, Exit::Interrupted),
                    Exit::Undone => (RunState::FailedUndone, Exit::Undone),
                    other => (RunState::FailedUndone, other),
                };
                if let Err(error) = self.access.journal.finish_run(&self.run, state) {
                    tracing::warn!(%error, run = self.run, "the end of the run is not in the journal");
                }
                let hint = match failure.hint.as_str() {
                    "" => format!("everything that run {} had changed was undone", self.run),
                    hint => {
                        format!("{hint}; everything that run {} had changed was undone", self.run)
                    }
                };
                Failure { hint, exit, ..failure }
            }
            Err(error) => {
                let mut worse = change_failure(error);
                worse.message =
                    format!("{}; and undoing run {}: {}", failure.message, self.run, worse.message);
                worse.exit = Exit::NotUndone;
                if worse.hint.is_empty() {
                    worse.hint = format!(
                        "once the server answers again, `pgassay rollback {} DSN` takes back what is left",
                        self.run
                    );
                }
                worse
            }
        };
        // The lock goes with the session in any case.
        let _ = self.executor.close().await;
        failure
    }

    /// Stores a run on which nothing was tried, so that its report can be made again.
    pub fn store_without_changes(target: &Target, run: &mut Run) -> Result<(), Failure> {
        let journal = Journal::open(&target.state).map_err(journal_failure)?;
        let Some(plan) = &run.plan else {
            return Ok(());
        };
        run.run = journal.start_run(&plan.target, Some(plan)).map_err(journal_failure)?;
        journal.save_document(&run.run, run).map_err(journal_failure)?;
        journal.finish_run(&run.run, run.state).map_err(journal_failure)
    }

    /// Applies a whole plan without measuring; a failure takes back all of it. `dry_run`: checks only.
    pub async fn apply_all(target: &Target, plan: &Plan, dry_run: bool) -> Result<Run, Failure> {
        let access = Access::open(target).await?;
        if dry_run {
            let executor = access.executor(target).await?;
            executor.check_target(&plan.target).map_err(change_failure)?;
            refuse_unfinished(&access.journal, &executor)?;
            executor.preflight(&plan.changes).await.map_err(change_failure)?;
            executor.close().await.map_err(change_failure)?;
            let outcomes = plan
                .changes
                .iter()
                .map(|change| {
                    outcome(change, ChangeState::Skipped, "dry run: it could be applied", None)
                })
                .collect();
            return Ok(document(target, plan, String::new(), RunState::Finished, outcomes));
        }
        let mut changing = Changing::begin(target, &access, plan).await?;
        if let Err(error) = changing.executor.preflight(&plan.changes).await {
            return Err(changing.abandon(change_failure(error)).await);
        }
        let mut outcomes = Vec::new();
        for change in &plan.changes {
            match changing.apply(change).await {
                Ok(Tried::Applied { elapsed_s, pending_restart, notes }) => {
                    let mut reason = "applied, not measured".to_owned();
                    if pending_restart {
                        reason.push_str("; comes into force when the server is restarted");
                    }
                    for note in notes {
                        reason.push_str(&format!("; {note}"));
                    }
                    outcomes.push(outcome(change, ChangeState::Applied, &reason, Some(elapsed_s)));
                }
                // Preflight let it pass: the target changed meanwhile.
                Ok(Tried::Refused(reason)) => {
                    let failure =
                        Failure::new(Exit::Undone, format!("{}: {reason}", change.id), "");
                    return Err(changing.abandon(failure).await);
                }
                Err(failure) => return Err(changing.abandon(failure).await),
            }
        }
        let mut run =
            document(target, plan, changing.run().to_owned(), RunState::Finished, outcomes);
        run.backups = changing.backups();
        run.rollback = crate::outcome::rollback_commands(&run.run, target, &run.changes);
        changing.finish(&run).await?;
        Ok(run)
    }
}

fn outcome(
    change: &PlannedChange,
    state: ChangeState,
    reason: &str,
    elapsed_s: Option<f64>,
) -> ChangeOutcome {
    ChangeOutcome {
        id: change.id.clone(),
        kind: change.change.kind().to_owned(),
        title: change.title.clone(),
        group: change.group.clone(),
        state,
        verdict: None,
        reason: reason.to_owned(),
        comparison: Vec::new(),
        undo: change.undo.clone(),
        elapsed_s,
    }
}

/// The document of a run that was not measured.
fn document(
    target: &Target,
    plan: &Plan,
    run: String,
    state: RunState,
    changes: Vec<ChangeOutcome>,
) -> Run {
    let applied = changes.iter().filter(|change| change.state == ChangeState::Applied).count();
    let reasons: Vec<String> = plan
        .changes
        .iter()
        .flat_map(|change| {
            change.risk.reasons.iter().map(|reason| format!("{}: {reason}", change.id))
        })
        .collect();
    Run {
        schema: run::SCHEMA.to_owned(),
        generated_at: Timestamp::now(),
        run,
        state,
        target: target.server.to_string(),
        server_version: String::new(),
        headline: format!(
            "{applied} changes applied, none of them measured: no improvement is claimed"
        ),
        before: None,
        after: None,
        comparison: Vec::new(),
        changes,
        targets: Vec::new(),
        risk: Risk {
            level: plan
                .changes
                .iter()
                .map(|change| change.risk.level)
                .max()
                .unwrap_or(RiskLevel::Low),
            reasons,
        },
        checks: Vec::new(),
        rollback: Vec::new(),
        plan: Some(plan.clone()),
        backups: Vec::new(),
        notes: Vec::new(),
    }
}

/// How PgBouncer is reached and edited, where console and file were given.
fn pooler_access(target: &Target) -> Result<Option<PoolerAccess>, Failure> {
    let (Some(console), Some(ini)) = (&target.console, &target.ini) else {
        return Ok(None);
    };
    let binary = pgassay_testkit::find_pgbouncer(target.pgbouncer_binary.as_deref()).map_err(|error| {
        Failure::new(
            Exit::Missing,
            error.to_string(),
            "a new configuration is tried on a throw-away PgBouncer first: name the program with --pgbouncer-bin",
        )
    })?;
    Ok(Some(PoolerAccess { console: console.clone(), ini: ini.clone(), binary }))
}

fn refuse_unfinished(journal: &Journal, executor: &Executor<'_>) -> Result<(), Failure> {
    match journal.unfinished(Some(&executor.target())).map_err(journal_failure)?.first() {
        None => Ok(()),
        Some(open) if open.process_alive() => Err(Failure::input(
            format!("run {} is going on (process {})", open.run, open.pid),
            "wait until it is done; `pgassay history` lists runs",
        )),
        Some(open) => Err(Failure::input(
            format!("run {} was cut off and may have left changes", open.run),
            format!("`pgassay rollback {} DSN` finds out and restores; then start again", open.run),
        )),
    }
}

/// What a user must know before anything else: runs that were cut off, or failed and left something.
pub fn cut_off(state: &Path) -> Vec<String> {
    if !state.join("journal.sqlite").exists() {
        return Vec::new();
    }
    let Ok(runs) = Journal::open(state).and_then(|journal| journal.runs()) else {
        return Vec::new();
    };
    runs.iter()
        .filter_map(|run| {
            let what = match run.state {
                RunState::Unfinished if !run.process_alive() => {
                    "was cut off and may have left changes"
                }
                RunState::FailedPartly => "failed and has left changes",
                _ => return None,
            };
            Some(format!(
                "run {} on {} {what}; `pgassay rollback {} DSN` finds out and restores",
                run.run, run.target, run.run
            ))
        })
        .collect()
}

/// A stored run by its identity, or `latest`.
pub fn load_run(state: &Path, run: &str) -> Result<Run, Failure> {
    let journal = Journal::open(state).map_err(journal_failure)?;
    let run = match run {
        "latest" => journal
            .runs()
            .map_err(journal_failure)?
            .first()
            .map(|record| record.run.clone())
            .ok_or_else(|| {
                Failure::input("the journal has no run", "`pgassay optimize` or `apply` makes one")
            })?,
        named => named.to_owned(),
    };
    journal.load_document(&run).map_err(journal_failure)?.ok_or_else(|| {
        Failure::input(
            format!("run {run} did not come to its end and has no report"),
            "`pgassay history` tells what it left",
        )
    })
}

/// Stores the document of a run anew, as after measuring again.
pub fn store(state: &Path, run: &Run) -> Result<(), Failure> {
    Journal::open(state)
        .and_then(|journal| journal.save_document(&run.run, run))
        .map_err(journal_failure)
}

/// Takes back a run, or one of its changes; returns what to tell, and the history.
pub async fn rollback(
    target: &Target,
    run: &str,
    change: Option<&str>,
) -> Result<(String, History), Failure> {
    let access = Access::open(target).await?;
    let mut executor = access.executor(target).await?;
    let run = match run {
        "latest" => newest_to_undo(&access.journal, &executor)?,
        named => access.journal.run(named).map_err(journal_failure)?.run,
    };
    let text = match change {
        Some(change) => {
            executor.rollback(&run, change).await.map_err(change_failure)?;
            format!("{change} of run {run} is taken back")
        }
        None => match executor.rollback_run(&run).await.map_err(change_failure)?.as_slice() {
            [] => format!("run {run} has nothing in force: nothing to take back"),
            changes => format!("run {run} is taken back: {}", changes.join(", ")),
        },
    };
    note_in_document(&access.journal, &run, change)?;
    executor.close().await.map_err(change_failure)?;
    Ok((text, history(&target.state, None)?))
}

/// Brings the stored document up to date with a roll-back.
fn note_in_document(journal: &Journal, run: &str, change: Option<&str>) -> Result<(), Failure> {
    let Some(mut document) = journal.load_document(run).map_err(journal_failure)? else {
        return Ok(());
    };
    let now = Timestamp::now();
    for outcome in &mut document.changes {
        if change.is_none_or(|id| outcome.id == id) && crate::commands::in_force(outcome.state) {
            outcome.state = ChangeState::RolledBack;
            outcome.reason =
                format!("taken back on demand at {now:.0}; before that: {}", outcome.reason);
        }
    }
    document.notes.push(match change {
        Some(id) => {
            format!("{id} was taken back on demand at {now:.0}; what was measured after is with it")
        }
        None => format!(
            "the whole run was taken back on demand at {now:.0}; what was measured after is with it"
        ),
    });
    if !document.changes.iter().any(|outcome| crate::commands::in_force(outcome.state)) {
        document.state = RunState::RolledBack;
        document.rollback.clear();
        journal.finish_run(run, RunState::RolledBack).map_err(journal_failure)?;
    }
    journal.save_document(run, &document).map_err(journal_failure)
}

/// The newest run on the executor's target with something to take back.
fn newest_to_undo(journal: &Journal, executor: &Executor<'_>) -> Result<String, Failure> {
    let own = executor.target();
    for record in journal.runs().map_err(journal_failure)? {
        let open = record.state == RunState::Unfinished
            || journal
                .changes(&record.run)
                .map_err(journal_failure)?
                .iter()
                .any(|change| change.state.may_be_in_force());
        if record.is_of(&own) && open {
            return Ok(record.run);
        }
    }
    Err(Failure::input(
        format!("no run on {} has anything to take back", own.display),
        "`pgassay history` lists runs; --state names another journal",
    ))
}

/// All runs, or those on one target.
pub fn history(state: &Path, only: Option<&str>) -> Result<History, Failure> {
    let mut history =
        Journal::open(state).and_then(|journal| journal.history()).map_err(journal_failure)?;
    if let Some(target) = only {
        history.runs.retain(|run| run.target == target);
    }
    Ok(history)
}

fn journal_failure(error: JournalError) -> Failure {
    let hint = match error {
        JournalError::Directory { .. } | JournalError::Sqlite { .. } => {
            "see that the state directory can be written and its disk has room; --state names another"
        }
        _ => "`pgassay history` lists runs; --state names another journal",
    };
    Failure::input(error.to_string(), hint)
}

fn change_failure(error: ChangeError) -> Failure {
    let exit = match error.exit_status() {
        2 => Exit::Input,
        3 => Exit::Unreachable,
        4 => Exit::Missing,
        6 => Exit::NotUndone,
        130 => Exit::Interrupted,
        _ => Exit::Undone,
    };
    Failure::new(exit, error.to_string(), error.hint().unwrap_or_default())
}
