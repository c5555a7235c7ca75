//! The history of all runs, as documents show it.

use super::records::note;
use super::{Journal, JournalError};
use pgassay_model::Timestamp;
use pgassay_model::run::{HISTORY_SCHEMA, History, HistoryChange, HistoryRun, RunState};

impl Journal {
    /// The history: unfinished runs first, then the newest first.
    pub fn history(&self) -> Result<History, JournalError> {
        let mut runs = self.runs()?;
        runs.sort_by_key(|record| record.state != RunState::Unfinished);
        let runs = runs
            .into_iter()
            .map(|record| {
                let changes = self
                    .changes(&record.run)?
                    .into_iter()
                    .map(|change| HistoryChange {
                        note: note(&record, &change),
                        id: change.planned.id,
                        kind: change.planned.change.kind().to_owned(),
                        title: change.planned.title,
                        state: change.state.name().to_owned(),
                    })
                    .collect();
                Ok(HistoryRun {
                    run: record.run,
                    target: record.target,
                    started_at: record.started_at,
                    state: record.state,
                    changes,
                })
            })
            .collect::<Result<_, JournalError>>()?;
        Ok(History { schema: HISTORY_SCHEMA.to_owned(), generated_at: Timestamp::now(), runs })
    }
}
