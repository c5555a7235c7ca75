//! A run from its first change to its end: journal and executor composed.

use crate::failure::{Exit, Failure};
use crate::target::Target;
use pgassay_change::{ChangeError, Executor, ExecutorOptions, Journal, JournalError, PoolerAccess};
use pgassay_model::plan::{Plan, PlannedChange};
use pgassay_model::run::{Run, RunState};
use pgassay_model::workload::Workload;
use pgassay_postgres::Session;
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

    /// The journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// An executor on the target, which holds its advisory lock.
    pub async fn executor(&self, target: &Target) -> Result<Executor<'_>, Failure> {
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
    /// Starts a run whose plan is kept with the workload that it was measured by, so that it can be verified by the
    /// same. The run's document holds no workload: reports go to others.
    pub async fn begin_measured(
        target: &Target,
        access: &'a Access,
        plan: &Plan,
        workload: &Workload,
    ) -> Result<Self, Failure> {
        let plan = Plan { workload: Some(workload.clone()), ..plan.clone() };
        Changing::begin(target, access, &plan).await
    }

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

    /// Checks all of a plan and changes nothing.
    pub async fn check(target: &Target, access: &Access, plan: &Plan) -> Result<(), Failure> {
        let executor = access.executor(target).await?;
        executor.check_target(&plan.target).map_err(change_failure)?;
        refuse_unfinished(&access.journal, &executor)?;
        executor.preflight(&plan.changes).await.map_err(change_failure)?;
        executor.close().await.map_err(change_failure)
    }

    /// Checks all of a plan within the run, before its first change.
    pub async fn preflight(&self, plan: &Plan) -> Result<(), Failure> {
        self.executor.preflight(&plan.changes).await.map_err(change_failure)
    }

    /// Whether progress of single changes is kept to itself, as while they are switched on and off.
    pub fn keep_silent(&self, silent: bool) {
        self.access.silent.store(silent, Ordering::Relaxed);
    }

    /// Keeps the connection from looking dead to what lies in between, while long windows are watched. A
    /// connection that broke all the same is made anew when a change is taken back.
    pub async fn heartbeat(&self) {
        let beat = self.access.session.client().simple_query("SELECT 1 /* pgassay */").await;
        if let Err(error) = beat {
            tracing::debug!(%error, "the connection that changes the server does not answer");
        }
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
        let stored = journal.save_document(&self.run, run);
        stored.and_then(|()| journal.finish_run(&self.run, run.state)).map_err(|error| {
            let failure = journal_failure(error);
            Failure::new(
                Exit::NotUndone,
                format!(
                    "what run {} changed is in force, and its end could not be recorded: {}",
                    self.run, failure.message
                ),
                format!("{}; then `pgassay rollback {} DSN` takes it back", failure.hint, self.run),
            )
        })?;
        self.executor.close().await.map_err(change_failure)
    }

    /// Whether some change of the run was tried on the target; where the journal can't tell, it may have been.
    fn changed_something(&self) -> bool {
        self.access.journal.changes(&self.run).map_or(true, |records| {
            // One that was never begun has nothing to take it back by.
            records.iter().any(|record| record.undo.is_some())
        })
    }

    /// Takes everything back after a failure; returns the failure with what became of it.
    pub async fn abandon(mut self, failure: Failure) -> Failure {
        let changed = self.changed_something();
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
                let became = if changed {
                    format!("everything that run {} had changed was undone", self.run)
                } else {
                    "nothing was changed".to_owned()
                };
                let hint = match failure.hint.as_str() {
                    "" => became,
                    hint => format!("{hint}; {became}"),
                };
                Failure { hint, exit, ..failure }
            }
            Err(error) => {
                let of_journal = matches!(error, ChangeError::Journal(_));
                let mut worse = change_failure(error);
                worse.message =
                    format!("{}; and undoing run {}: {}", failure.message, self.run, worse.message);
                worse.exit = Exit::NotUndone;
                if of_journal {
                    worse.hint = format!(
                        "{}; then `pgassay rollback {} DSN` takes back what is left",
                        worse.hint, self.run
                    );
                } else if worse.hint.is_empty() {
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
    pub fn store_without_changes(
        target: &Target,
        run: &mut Run,
        workload: Option<&Workload>,
    ) -> Result<(), Failure> {
        let journal = Journal::open(&target.state).map_err(journal_failure)?;
        let Some(plan) = &run.plan else {
            return Ok(());
        };
        let workload = workload.cloned().or_else(|| plan.workload.clone());
        let plan = Plan { workload, ..plan.clone() };
        run.run = journal.start_run(&plan.target, Some(&plan)).map_err(journal_failure)?;
        journal.save_document(&run.run, run).map_err(journal_failure)?;
        journal.finish_run(&run.run, run.state).map_err(journal_failure)
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

/// Refuses to begin while an earlier run on the target is open.
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

/// A failure of the journal, with its exit status.
pub fn journal_failure(error: JournalError) -> Failure {
    Failure::input(error.to_string(), journal_hint(&error))
}

fn journal_hint(error: &JournalError) -> &'static str {
    match error {
        error if error.damaged() => {
            "the journal is damaged: bring the state directory back from a backup, or move the file away and begin a new journal (what runs in it changed can then only be undone by hand; backups/ beside it has the schema and configuration of before)"
        }
        JournalError::Directory { .. } | JournalError::Sqlite { .. } => {
            "see that the state directory can be written and its disk has room; --state names another"
        }
        _ => "`pgassay history` lists runs; --state names another journal",
    }
}

/// A failure of a change, with its exit status.
pub fn change_failure(error: ChangeError) -> Failure {
    let exit = match error.exit_status() {
        2 => Exit::Input,
        3 => Exit::Unreachable,
        4 => Exit::Missing,
        6 => Exit::NotUndone,
        130 => Exit::Interrupted,
        _ => Exit::Undone,
    };
    let hint = match &error {
        ChangeError::Journal(error) => Some(journal_hint(error).to_owned()),
        error => error.hint(),
    };
    Failure::new(exit, error.to_string(), hint.unwrap_or_default())
}
