//! Takes changes back, as the journal has them: one by one, or all of a run.

use crate::error::ChangeError;
use crate::executor::{Executor, heed_the_client};
use crate::journal::{ChangeRecord, JournalState};
use crate::options::FaultPoint;
use crate::recovery::Standing;
use crate::{
    create_index, create_statistics, drop_index, lock, reindex, set_parameter, set_pooler,
};
use pgassay_model::change::Undo;
use pgassay_model::run::RunState;
use pgassay_postgres::{Session, SessionOptions};
use std::time::{Duration, Instant};

/// How long a server that went away may take to come back, before a change is left for recovery.
const RECONNECT_LIMIT: Duration = Duration::from_secs(30);

impl Executor<'_> {
    /// Takes one change back; nothing to do where nothing of it is in force.
    pub async fn rollback(&mut self, run: &str, change: &str) -> Result<(), ChangeError> {
        self.check_run(run)?;
        let record = self.journal.change(run, change)?;
        let Some(undo) = record.undo.clone().filter(|_| record.state.may_be_in_force()) else {
            return Ok(());
        };
        if matches!(undo, Undo::RestoreFile { .. }) {
            set_pooler::access(&self.options)?;
        }
        let title = record.name();
        self.progress(&format!("taking back {title}"));
        if self.client().is_closed() {
            self.reconnect().await?;
        }
        if let Standing::Unknown { found, remedy } = self.standing(&record).await? {
            return Err(ChangeError::NotUndone {
                change: title,
                cause: None,
                undo: Box::new(ChangeError::Verification {
                    what: "what is there now".into(),
                    found,
                }),
                remedy,
            });
        }
        self.journal.set_state(run, change, JournalState::RollingBack, &record.outcome)?;
        self.fault(FaultPoint::BeforeUndo, change)?;
        let notes = self.restore_recorded(&record, &undo).await?;
        self.fault(FaultPoint::AfterUndo, change)?;
        Ok(self.journal.set_state(run, change, JournalState::RolledBack, &notes.join("; "))?)
    }

    /// Takes a change back and returns what to know; what can't be taken back is recorded as such.
    pub(crate) async fn restore_recorded(
        &mut self,
        record: &ChangeRecord,
        undo: &Undo,
    ) -> Result<Vec<String>, ChangeError> {
        let error = match self.restore(undo, false).await {
            Ok(notes) => return Ok(notes),
            Err(error) => error,
        };
        let outcome = format!("could not be taken back: {error}");
        let (run, id) = (&record.run, &record.planned.id);
        self.journal.set_state(run, id, JournalState::RollingBack, &outcome)?;
        Err(ChangeError::NotUndone {
            change: record.name(),
            cause: None,
            undo: Box::new(error),
            remedy: self.remedy(run, &record.planned),
        })
    }

    /// Takes back all of a run that is in force, the last change first, and records the run as rolled back.
    /// Goes on after a failure, and returns the first.
    pub async fn rollback_run(&mut self, run: &str) -> Result<Vec<String>, ChangeError> {
        // What can't be settled can't be taken back either, and is met again below.
        let (recovered, _) = self.settle_run(run).await?;
        let changes = self.journal.changes(run)?;
        if changes.iter().any(|record| record.state.may_be_in_force()) {
            // So that the next command tells of a process that is killed in the middle.
            self.journal.take_up(run)?;
        }
        // What an earlier attempt had begun to take back is taken back now.
        let mut taken_back: Vec<String> = recovered
            .into_iter()
            .filter(|change| change.state == JournalState::RolledBack)
            .map(|change| change.id)
            .collect();
        let mut failure = None;
        for record in changes.iter().rev() {
            if !record.state.may_be_in_force() {
                continue;
            }
            match self.rollback(run, &record.planned.id).await {
                Ok(()) => taken_back.push(record.planned.id.clone()),
                Err(ChangeError::Fault) => return Err(ChangeError::Fault),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        match failure {
            Some(error) => {
                self.journal.finish_run(run, RunState::FailedPartly)?;
                Err(error)
            }
            None => {
                self.journal.finish_run(run, RunState::RolledBack)?;
                Ok(taken_back)
            }
        }
    }

    /// Takes back what `undo` describes, once more on a new connection where the old one is lost.
    /// Returns what to know.
    pub(crate) async fn restore(
        &mut self,
        undo: &Undo,
        lost: bool,
    ) -> Result<Vec<String>, ChangeError> {
        if lost || self.client().is_closed() {
            self.reconnect().await?;
        }
        match self.take_back(undo).await {
            Err(error) if error.connection_lost() => {
                self.reconnect().await?;
                self.take_back(undo).await
            }
            result => result,
        }
    }

    async fn take_back(&self, undo: &Undo) -> Result<Vec<String>, ChangeError> {
        let building = self.building(false);
        match undo {
            Undo::DropIndex { schema, name } => {
                create_index::undo(&building, schema, name).await.map(|()| Vec::new())
            }
            Undo::RestoreIndex { schema, name, ddl } => {
                drop_index::undo(&building, schema, name, ddl).await
            }
            Undo::DropStatistics { schema, name } => {
                create_statistics::undo(&building, schema, name).await
            }
            Undo::DropLeftovers { schema, name, oid, known } => {
                reindex::undo(&building, schema, name, *oid, known).await
            }
            Undo::Nothing => Ok(vec!["ANALYZE has no undo: the new statistics stay".into()]),
            Undo::RestoreParameter { name, entry, following, effective } => {
                set_parameter::undo(
                    building.client,
                    &self.server,
                    name,
                    entry.as_deref(),
                    following,
                    effective,
                )
                .await
            }
            Undo::RestoreFile { path, backup, sha256 } => {
                let access = set_pooler::access(&self.options)?;
                set_pooler::undo(access, path, backup, sha256).await
            }
        }
    }

    pub(crate) async fn reconnect(&mut self) -> Result<(), ChangeError> {
        let started = Instant::now();
        self.progress("the connection broke; connecting again");
        loop {
            let tried = match Session::connect(self.settings(), read_write()).await {
                Err(error) => Err(ChangeError::Connect(error.to_string())),
                Ok(session) => lock::acquire(session.client()).await.map(|()| session),
            };
            match tried {
                Ok(session) => {
                    heed_the_client(session.client(), &self.server).await;
                    self.replacement = Some(session);
                    return Ok(());
                }
                Err(error) if started.elapsed() > RECONNECT_LIMIT => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }
}

fn read_write() -> SessionOptions {
    SessionOptions { read_only: false, ..SessionOptions::default() }
}
