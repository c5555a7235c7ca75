//! What became of changes whose process died: the journal compared with the catalog and the files.
//!
//! Finishes or takes back what it can prove; says what is left to a person where it can't.

use crate::error::ChangeError;
use crate::executor::Executor;
use crate::journal::{ChangeRecord, JournalState};
use crate::{create_index, create_statistics, drop_index, reindex, set_parameter, set_pooler};
use pgassay_model::change::{Change, Undo};
use pgassay_model::run::RunState;

/// How the target stands as to one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// As before the change.
    Before,
    /// As the change was to leave it.
    After,
    /// In between, which taking back clears up (an INVALID index, say).
    Partial(String),
    /// It can't be told and makes no difference (ANALYZE).
    Either,
    /// Neither: somebody else was there since.
    Unknown {
        /// What is there.
        found: String,
        /// What a person has to look at or run.
        remedy: Vec<String>,
    },
}

/// A change that was open, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// As in the plan.
    pub id: String,
    /// As in the plan.
    pub title: String,
    /// What was found on the target.
    pub found: String,
    /// What the journal says now.
    pub state: JournalState,
    /// What was done about it.
    pub outcome: String,
}

impl Executor<'_> {
    /// Settles every change of a run that the journal has as begun and not finished, the last first. Goes on
    /// after one that it can't settle, and returns the first such failure in the end.
    pub async fn recover(&mut self, run: &str) -> Result<Vec<Recovered>, ChangeError> {
        let (recovered, failure) = self.settle_run(run).await?;
        match failure {
            Some(error) => Err(error),
            None => Ok(recovered),
        }
    }

    /// As [`Executor::recover`], with the changes that were settled even where others were not.
    pub(crate) async fn settle_run(
        &mut self,
        run: &str,
    ) -> Result<(Vec<Recovered>, Option<ChangeError>), ChangeError> {
        self.check_run(run)?;
        let record = self.journal.run(run)?;
        if record.state == RunState::Unfinished
            && record.pid != std::process::id()
            && record.process_alive()
        {
            return Err(ChangeError::Refused {
                what: format!("run {run}"),
                reason: format!("process {} is still working on it", record.pid),
                hint: "wait for it, or interrupt it with Ctrl-C: it undoes what is not finished"
                    .into(),
            });
        }
        let mut recovered = Vec::new();
        let mut failure = None;
        for change in self.journal.changes(run)?.iter().rev() {
            if !matches!(change.state, JournalState::Intended | JournalState::RollingBack) {
                continue;
            }
            self.progress(&format!("finding out about {}", change.name()));
            match self.settle(run, change).await {
                Ok(settled) => recovered.push(settled),
                Err(error) => {
                    tracing::warn!(run, change = change.planned.id, %error, "not settled");
                    failure.get_or_insert(error);
                }
            }
        }
        Ok((recovered, failure))
    }

    async fn settle(&mut self, run: &str, change: &ChangeRecord) -> Result<Recovered, ChangeError> {
        let undo = change.undo.clone().unwrap_or(Undo::Nothing);
        if matches!(undo, Undo::RestoreFile { .. }) {
            // Without it the file could be looked at and not be put in force: nothing is recorded then.
            set_pooler::access(&self.options)?;
        }
        if self.client().is_closed() {
            self.reconnect().await?;
        }
        let rolling_back = change.state == JournalState::RollingBack;
        let (found, state, outcome) = match self.standing(change).await? {
            Standing::Unknown { found, remedy } => {
                return Err(ChangeError::NotUndone {
                    change: change.name(),
                    cause: None,
                    undo: Box::new(ChangeError::Verification {
                        what: "what is there now".into(),
                        found,
                    }),
                    remedy,
                });
            }
            Standing::After if !rolling_back => match self.complete(change).await {
                Ok(notes) => {
                    ("it was carried out".to_owned(), JournalState::Applied, notes.join("; "))
                }
                Err(cause) => {
                    self.restore_recorded(change, &undo).await?;
                    (
                        "it was carried out and not in force".to_owned(),
                        JournalState::Failed,
                        format!("its process ended; taken back, since {cause}"),
                    )
                }
            },
            standing => {
                // Where the target is as before, too: a reload may be all that is missing.
                let notes = self.restore_recorded(change, &undo).await?;
                let found = match &standing {
                    Standing::Partial(found) => found.clone(),
                    Standing::Either => "new statistics or old ones; they stay".to_owned(),
                    Standing::After => "it was in force".to_owned(),
                    _ => "nothing of it was there".to_owned(),
                };
                let (state, outcome) = match (rolling_back, &standing) {
                    (true, _) => (JournalState::RolledBack, notes.join("; ")),
                    (_, Standing::Before) => {
                        (JournalState::Failed, "its process ended; nothing was touched".to_owned())
                    }
                    (_, Standing::Either) => {
                        (JournalState::Failed, format!("its process ended; {found}"))
                    }
                    _ => (JournalState::Failed, format!("its process ended; taken back: {found}")),
                };
                (found, state, outcome)
            }
        };
        self.journal.set_state(run, &change.planned.id, state, &outcome)?;
        Ok(Recovered {
            id: change.planned.id.clone(),
            title: change.planned.title.clone(),
            found,
            state,
            outcome,
        })
    }

    /// Brings into force what was written already, and verifies it as applying would have. Returns notes.
    async fn complete(&self, change: &ChangeRecord) -> Result<Vec<String>, ChangeError> {
        let client = self.client();
        match &change.planned.change {
            Change::CreateIndex { definition, .. } => {
                create_index::verify(client, definition).await.map(|()| Vec::new())
            }
            Change::DropIndex { relation, name, .. } => {
                drop_index::verify(client, relation, name).await.map(|()| Vec::new())
            }
            Change::Analyze { .. } => Ok(Vec::new()),
            Change::CreateStatistics { definition, .. } => {
                create_statistics::verify(client, definition).await.map(|()| Vec::new())
            }
            Change::Reindex { relation, name, ddl, .. } => {
                let undo = change.undo.as_ref().unwrap_or(&Undo::Nothing);
                reindex::verify(client, &relation.schema, name, ddl, undo)
                    .await
                    .map(|()| Vec::new())
            }
            Change::SetParameter { name, to, .. } => {
                set_parameter::reload(client, name).await?;
                let (pending, now) = set_parameter::verify(client, &self.server, name, to).await?;
                Ok(if pending { vec![set_parameter::pending_note(name, &now)] } else { Vec::new() })
            }
            Change::SetPooler { edit } => {
                set_pooler::complete(set_pooler::access(&self.options)?, edit).await
            }
        }
    }
}
