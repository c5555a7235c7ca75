//! Carries changes out and takes them back: preflight, intent, act, verify, outcome, in that order.
//!
//! It decides nothing: which change to apply, keep or roll back is its caller's.

use crate::building::Building;
use crate::catalog::{Server, marked};
use crate::error::ChangeError;
use crate::journal::{ChangeRecord, Journal, JournalState};
use crate::options::{ExecutorOptions, FaultPoint};
use crate::recovery::Standing;
use crate::set_pooler::{self, EditedFile};
use crate::{
    analyze, create_index, create_statistics, drop_index, lock, reindex, set_parameter, snapshot,
};
use pgassay_model::change::{Change, Undo};
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::plan::{PlanTarget, PlannedChange};
use pgassay_postgres::Session;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// A change in force and verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// How to take it back.
    pub undo: Undo,
    /// It waits for a restart, which pgassay never does.
    pub pending_restart: bool,
    /// What to know.
    pub notes: Vec<String>,
    /// How long it took.
    pub elapsed: Duration,
}

/// Applies changes to one target and takes them back, with its journal; holds the target's advisory lock.
pub struct Executor<'a> {
    pub(crate) journal: &'a Journal,
    pub(crate) server: Server,
    pub(crate) options: ExecutorOptions<'a>,
    pub(crate) session: &'a Session,
    /// In place of `session` after its connection broke.
    pub(crate) replacement: Option<Session>,
}

impl<'a> Executor<'a> {
    /// Looks at the server and takes the advisory lock; `session` has to be read-write.
    pub async fn open(
        journal: &'a Journal,
        session: &'a Session,
        options: ExecutorOptions<'a>,
    ) -> Result<Self, ChangeError> {
        let server = Server::look(session.client(), session.settings()).await?;
        lock::acquire(session.client()).await?;
        heed_the_client(session.client(), &server).await;
        Ok(Executor { journal, server, options, session, replacement: None })
    }

    /// Gives the advisory lock back.
    pub async fn close(self) -> Result<(), ChangeError> {
        lock::release(self.client()).await
    }

    /// The target, as plans and runs name it.
    pub fn target(&self) -> PlanTarget {
        PlanTarget {
            system_identifier: self.server.system_identifier,
            database: self.server.database.clone(),
            version_num: u32::try_from(self.server.version_num).unwrap_or_default(),
            display: self.settings().to_string(),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        self.replacement.as_ref().unwrap_or(self.session).client()
    }

    pub(crate) fn settings(&self) -> &ConnectionSettings {
        self.session.settings()
    }

    pub(crate) fn building(&self, interruptible: bool) -> Building<'_> {
        Building {
            client: self.client(),
            settings: self.settings(),
            options: &self.options,
            interruptible,
        }
    }

    pub(crate) fn fault(&self, point: FaultPoint, change: &str) -> Result<(), ChangeError> {
        match self.options.fault {
            Some(stop) if stop(point, change) => Err(ChangeError::Fault),
            _ => Ok(()),
        }
    }

    /// Refuses a plan that was made for another server or database.
    pub fn check_target(&self, planned: &PlanTarget) -> Result<(), ChangeError> {
        let own = self.target();
        let same_server = match (planned.system_identifier, own.system_identifier) {
            (Some(planned), Some(found)) => planned == found,
            _ => true,
        };
        if same_server && planned.database == own.database {
            return Ok(());
        }
        Err(ChangeError::Refused {
            what: format!("the plan for {}", planned.display),
            reason: format!("it was made for another server or database than {}", own.display),
            hint: "make a plan for this one: pgassay plan".into(),
        })
    }

    /// Checks all that can be checked without touching anything: rights, disk space, whether the plan is
    /// still true. Each change once, before the first is applied.
    pub async fn preflight(&self, changes: &[PlannedChange]) -> Result<(), ChangeError> {
        check_ids(changes)?;
        for change in changes {
            self.preflight_one(change).await?;
        }
        Ok(())
    }

    async fn preflight_one(&self, planned: &PlannedChange) -> Result<(), ChangeError> {
        let (client, server) = (self.client(), &self.server);
        match &planned.change {
            Change::CreateIndex { definition, estimated_size } => {
                let ours = self.left_invalid(&definition.relation.schema, &definition.name)?;
                create_index::preflight(client, server, definition, *estimated_size, ours).await
            }
            Change::DropIndex { relation, name, ddl } => {
                drop_index::preflight(client, server, relation, name, ddl).await
            }
            Change::Analyze { relation } => analyze::preflight(client, server, relation).await,
            Change::CreateStatistics { definition, .. } => {
                create_statistics::preflight(client, server, definition).await
            }
            Change::Reindex { relation, name, ddl, estimated_size } => {
                reindex::preflight(client, server, relation, name, ddl, *estimated_size).await
            }
            Change::SetParameter { name, from, to } => {
                set_parameter::preflight(client, server, name, from, to).await
            }
            Change::SetPooler { edit } => {
                let access = set_pooler::access(&self.options)?;
                set_pooler::edited(client, server, access, edit).await.map(|_| ())
            }
        }
    }

    /// Whether the journal has an open change on this target that may have left an index of this name.
    fn left_invalid(&self, schema: &str, name: &str) -> Result<bool, ChangeError> {
        let own = self.target();
        for run in self.journal.runs()?.iter().filter(|run| run.is_of(&own)) {
            for change in self.journal.changes(&run.run)? {
                if let Some(Undo::DropIndex { schema: s, name: n }) = &change.undo
                    && matches!(change.state, JournalState::Intended | JournalState::RollingBack)
                    && s == schema
                    && n == name
                {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Takes the schema snapshot and the configuration backups of a run, once; [`Executor::apply`] does it
    /// before the first change by itself. Returns where they lie.
    pub async fn back_up(&self, run: &str) -> Result<Vec<PathBuf>, ChangeError> {
        let record = self.journal.run(run)?;
        if !record.backups.is_empty() {
            return Ok(record.backups);
        }
        self.progress("backing up the schema and the configuration");
        let paths = snapshot::take(self, run).await?;
        self.journal.save_backups(run, &paths)?;
        Ok(paths)
    }

    /// Applies one change. On an error nothing of it is left, except where the error is `NotUndone`.
    pub async fn apply(
        &mut self,
        run: &str,
        planned: &PlannedChange,
    ) -> Result<Applied, ChangeError> {
        self.check_run(run)?;
        if self.options.interrupt.requested() {
            return Err(ChangeError::Interrupt);
        }
        if let Ok(record) = self.journal.change(run, &planned.id)
            && record.state.may_be_in_force()
        {
            return Err(ChangeError::Refused {
                what: format!("{} of run {run}", planned.id),
                reason: format!("the journal has it as {}", record.state.name()),
                hint: format!("pgassay rollback {run}/{} DSN takes it back", planned.id),
            });
        }
        let started = Instant::now();
        let observed = match self.observe(run, planned).await {
            Ok(observed) => observed,
            Err(error) => {
                let reason = format!("nothing was touched: {error}");
                self.journal.not_begun(run, planned, JournalState::Failed, &reason)?;
                return Err(error);
            }
        };
        self.progress(&planned.title);
        self.journal.intend(
            run,
            planned,
            &observed.undo,
            observed.file.as_ref().map(|file| file.sha256.as_str()),
        )?;
        self.fault(FaultPoint::AfterIntent, &planned.id)?;
        match self.act(planned, &observed).await {
            Ok((pending_restart, notes)) => {
                self.fault(FaultPoint::AfterAct, &planned.id)?;
                self.journal.set_state(
                    run,
                    &planned.id,
                    JournalState::Applied,
                    &notes.join("; "),
                )?;
                self.fault(FaultPoint::AfterOutcome, &planned.id)?;
                Ok(Applied {
                    undo: observed.undo,
                    pending_restart,
                    notes,
                    elapsed: started.elapsed(),
                })
            }
            Err(cause) => Err(self.clear_up(run, planned, &observed.undo, cause).await),
        }
    }

    /// Undoes what a failed change may have left, and says how that went.
    async fn clear_up(
        &mut self,
        run: &str,
        planned: &PlannedChange,
        undo: &Undo,
        cause: ChangeError,
    ) -> ChangeError {
        let change = format!("{} ({})", planned.id, planned.title);
        let restored = match self.clear(run, planned, undo, &cause).await {
            Ok(()) => self
                .journal
                .set_state(run, &planned.id, JournalState::Failed, &cause.to_string())
                .map_err(ChangeError::from),
            Err(error) => Err(error),
        };
        match restored {
            Ok(()) => ChangeError::Undone { change, cause: Box::new(cause) },
            Err(undo) => {
                let outcome = format!("failed ({cause}) and could not be undone ({undo})");
                let noted =
                    self.journal.set_state(run, &planned.id, JournalState::RollingBack, &outcome);
                if let Err(error) = noted {
                    tracing::error!(run, change = planned.id, %error, "the outcome is not in the journal");
                }
                ChangeError::NotUndone {
                    change,
                    cause: Some(Box::new(cause)),
                    undo: Box::new(undo),
                    remedy: self.remedy(run, planned),
                }
            }
        }
    }

    async fn clear(
        &mut self,
        run: &str,
        planned: &PlannedChange,
        undo: &Undo,
        cause: &ChangeError,
    ) -> Result<(), ChangeError> {
        if cause.nothing_touched() {
            return Ok(());
        }
        if cause.connection_lost() || self.client().is_closed() {
            self.reconnect().await?;
        }
        let record = self.journal.change(run, &planned.id)?;
        if let Standing::Unknown { found, .. } = self.standing(&record).await? {
            return Err(ChangeError::Verification { what: "what is there now".into(), found });
        }
        self.restore(undo, false).await.map(drop)
    }

    pub(crate) fn remedy(&self, run: &str, planned: &PlannedChange) -> Vec<String> {
        let mut remedy = vec![format!("pgassay rollback {run}/{} DSN", planned.id)];
        remedy.extend(planned.undo.iter().map(|statement| format!("or: {statement}")));
        remedy
    }

    /// Preflight, backups, and what taking the change back will need.
    async fn observe(&self, run: &str, planned: &PlannedChange) -> Result<Observed, ChangeError> {
        if let Change::SetPooler { edit } = &planned.change {
            let access = set_pooler::access(&self.options)?;
            let file = set_pooler::edited(self.client(), &self.server, access, edit).await?;
            self.back_up(run).await?;
            let directory = snapshot::directory(self.journal, run)?;
            let undo = set_pooler::back_up(&file, &directory, &planned.id)?;
            return Ok(Observed { undo, file: Some(file) });
        }
        self.preflight_one(planned).await?;
        self.back_up(run).await?;
        let undo = match &planned.change {
            Change::CreateIndex { definition, .. } => create_index::undo_of(definition),
            Change::DropIndex { relation, name, ddl } => drop_index::undo_of(relation, name, ddl),
            Change::SetParameter { name, .. } => {
                set_parameter::observe(self.client(), &self.server, name).await?
            }
            Change::CreateStatistics { definition, .. } => create_statistics::undo_of(definition),
            Change::Reindex { relation, name, .. } => {
                reindex::observe(self.client(), relation, name).await?
            }
            Change::Analyze { .. } | Change::SetPooler { .. } => Undo::Nothing,
        };
        Ok(Observed { undo, file: None })
    }

    async fn act(
        &self,
        planned: &PlannedChange,
        observed: &Observed,
    ) -> Result<(bool, Vec<String>), ChangeError> {
        let building = self.building(true);
        let client = building.client;
        match &planned.change {
            Change::CreateIndex { definition, .. } => {
                // Preflight has let an INVALID index pass only where it is ours.
                building.drop_leftover(&definition.relation.schema, &definition.name).await?;
                let notes = create_index::apply(&building, definition).await?;
                create_index::verify(client, definition).await?;
                Ok((false, notes))
            }
            Change::DropIndex { relation, name, .. } => {
                let notes = drop_index::apply(&building, relation, name).await?;
                drop_index::verify(client, relation, name).await?;
                Ok((false, notes))
            }
            Change::Analyze { relation } => {
                analyze::apply(&building, relation).await.map(|notes| (false, notes))
            }
            Change::CreateStatistics { definition, .. } => {
                let notes = create_statistics::apply(&building, definition).await?;
                create_statistics::verify(client, definition).await?;
                Ok((false, notes))
            }
            Change::Reindex { relation, name, ddl, .. } => {
                let (schema, undo) = (&relation.schema, &observed.undo);
                let notes = reindex::apply(&building, schema, name, undo).await?;
                reindex::verify(client, schema, name, ddl, undo).await?;
                Ok((false, notes))
            }
            Change::SetParameter { name, to, .. } => {
                set_parameter::apply(client, name, to).await?;
                let (pending, now) = set_parameter::verify(client, &self.server, name, to).await?;
                let notes = if pending {
                    vec![set_parameter::pending_note(name, &now)]
                } else {
                    Vec::new()
                };
                Ok((pending, notes))
            }
            Change::SetPooler { edit } => {
                let access = set_pooler::access(&self.options)?;
                let file = observed.file.as_ref().ok_or_else(|| ChangeError::Verification {
                    what: "editing PgBouncer's files".into(),
                    found: "no candidate file".into(),
                })?;
                set_pooler::apply(access, edit, file).await
            }
        }
    }

    /// How the target stands as to one change.
    pub(crate) async fn standing(&self, record: &ChangeRecord) -> Result<Standing, ChangeError> {
        let client = self.client();
        match (&record.planned.change, &record.undo) {
            (_, None) => Ok(Standing::Before),
            (Change::Analyze { .. }, _) => Ok(Standing::Either),
            (Change::CreateIndex { definition, .. }, _) => {
                create_index::standing(client, definition).await
            }
            (Change::DropIndex { relation, name, ddl }, _) => {
                drop_index::standing(client, relation, name, ddl).await
            }
            (Change::CreateStatistics { definition, .. }, _) => {
                create_statistics::standing(client, definition).await
            }
            (Change::Reindex { relation, name, .. }, Some(undo)) => {
                reindex::standing(client, &relation.schema, name, undo).await
            }
            (Change::SetParameter { name, to, .. }, Some(Undo::RestoreParameter { entry, .. })) => {
                set_parameter::standing(client, &self.server, name, to, entry.as_deref()).await
            }
            (Change::SetPooler { .. }, Some(Undo::RestoreFile { path, backup, sha256 })) => {
                set_pooler::standing(path, backup, sha256, record.expected.as_deref())
            }
            (change, Some(undo)) => Ok(Standing::Unknown {
                found: format!("the journal pairs {} with an undo of another kind", change.kind()),
                remedy: vec![format!("look at the target; the undo recorded is {undo:?}")],
            }),
        }
    }

    /// Records that a change is to stay.
    pub fn set_kept(&self, run: &str, change: &str, reason: &str) -> Result<(), ChangeError> {
        Ok(self.journal.set_state(run, change, JournalState::Kept, reason)?)
    }

    /// Records a change that was not tried.
    pub fn skip(
        &self,
        run: &str,
        planned: &PlannedChange,
        reason: &str,
    ) -> Result<(), ChangeError> {
        Ok(self.journal.not_begun(run, planned, JournalState::Skipped, reason)?)
    }

    /// Refuses a run that was on another target.
    pub(crate) fn check_run(&self, run: &str) -> Result<(), ChangeError> {
        let record = self.journal.run(run)?;
        if record.is_of(&self.target()) {
            return Ok(());
        }
        Err(ChangeError::Refused {
            what: format!("run {run}"),
            reason: format!("it was on {}, not on {}", record.target, self.settings()),
            hint: "give the DSN of that server and database".into(),
        })
    }

    pub(crate) fn progress(&self, what: &str) {
        if let Some(progress) = self.options.progress {
            progress(what);
        }
    }
}

/// Refuses ids that are not unique, or that are no plain words: commands name changes by them, and backups
/// are files named after them.
fn check_ids(changes: &[PlannedChange]) -> Result<(), ChangeError> {
    let mut seen = HashSet::new();
    for PlannedChange { id, .. } in changes {
        let plain = (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let reason = match (plain, seen.insert(id.as_str())) {
            (false, _) => "it is no plain word of letters, digits, _ and -",
            (true, false) => "another change has it too",
            (true, true) => continue,
        };
        return Err(ChangeError::Refused {
            what: format!("the id \"{id}\" of a change in the plan"),
            reason: reason.into(),
            hint: "make a new plan: pgassay plan".into(),
        });
    }
    Ok(())
}

/// What was observed before a change, and what it is about to write.
struct Observed {
    undo: Undo,
    file: Option<EditedFile>,
}

/// Lets the server notice within seconds that this process died, so that its last statement does not go on
/// holding the lock (14 and later; not every platform).
pub(crate) async fn heed_the_client(client: &Client, server: &Server) {
    if server.version_num >= 140_000
        && let Err(error) =
            client.batch_execute(&marked("SET client_connection_check_interval = '2s'")).await
    {
        tracing::debug!(%error, "the server can't watch its client's connection");
    }
}
