//! Runs that are over, or were cut off: their reports, the history, and taking them back.

use crate::changing::{Access, change_failure, journal_failure};
use crate::failure::{Exit, Failure};
use crate::optimize::outcome;
use crate::target::Target;
use jiff::Timestamp;
use pgassay_change::{ChangeError, Executor, Journal, JournalState, RunRecord};
use pgassay_model::run::{ChangeState, History, Run, RunState};
use pgassay_model::workload::Workload;
use std::path::Path;

/// What a user must know before anything else: runs that were cut off, or failed and left something.
pub fn cut_off(state: &Path) -> Vec<String> {
    if !state.join("journal.sqlite").exists() {
        return Vec::new();
    }
    let Ok(journal) = Journal::open(state) else { return Vec::new() };
    let Ok(runs) = journal.runs() else { return Vec::new() };
    let mut warnings = Vec::new();
    for run in &runs {
        let what = match run.state {
            RunState::Unfinished if run.process_alive() => continue,
            RunState::Unfinished => "was cut off and may have left changes",
            RunState::FailedPartly => "failed and has left changes",
            _ => {
                warnings.extend(half_taken_back(&journal, run));
                continue;
            }
        };
        warnings.push(format!(
            "run {} on {} {what}; `pgassay rollback {} DSN` finds out and restores",
            run.run, run.target, run.run
        ));
    }
    warnings
}

/// Single changes of a finished run that were being taken back when the process was killed.
fn half_taken_back(journal: &Journal, run: &RunRecord) -> Vec<String> {
    let changes = journal.changes(&run.run).unwrap_or_default();
    changes
        .iter()
        .filter(|change| change.state == JournalState::RollingBack)
        .map(|change| {
            let id = &change.planned.id;
            format!(
                "taking back {id} of run {} on {} was begun and not finished; `pgassay rollback {}/{id} DSN` \
                 finishes it",
                run.run, run.target, run.run
            )
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

/// The workload that a run was measured by, as its plan holds it; None: of a run of before it was kept.
pub fn workload_of(state: &Path, run: &Run) -> Result<Option<Workload>, Failure> {
    if let Some(own) = run.plan.as_ref().and_then(|plan| plan.workload.clone()) {
        return Ok(Some(own));
    }
    let journal = Journal::open(state).map_err(journal_failure)?;
    let plan = journal.load_plan(&run.run).map_err(journal_failure)?;
    Ok(plan.and_then(|plan| plan.workload))
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
        "latest" => newest_to_undo(access.journal(), &executor)?,
        named => access.journal().run(named).map_err(journal_failure)?.run,
    };
    let text = match change {
        Some(change) => {
            executor.rollback(&run, change).await.map_err(not_taken_back)?;
            format!("{change} of run {run} is taken back")
        }
        None => match executor.rollback_run(&run).await.map_err(not_taken_back)?.as_slice() {
            [] => format!("run {run} has nothing in force: nothing to take back"),
            changes => format!("run {run} is taken back: {}", changes.join(", ")),
        },
    };
    note_in_document(access.journal(), &run, change)?;
    executor.close().await.map_err(change_failure)?;
    Ok((text, history(&target.state, None)?))
}

/// A failure to take something back: what failed is in force still, whatever it failed by.
fn not_taken_back(error: ChangeError) -> Failure {
    let failure = change_failure(error);
    match failure.exit {
        Exit::Undone => Failure {
            exit: Exit::NotUndone,
            hint: match failure.hint.as_str() {
                "" => {
                    "once that is settled, roll back again: it goes on where it stopped".to_owned()
                }
                hint => format!("{hint}; then roll back again: it goes on where it stopped"),
            },
            ..failure
        },
        _ => failure,
    }
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
    if let Some(plan) = &document.plan {
        document.risk = outcome::risk(plan, &document.changes);
    }
    if let Some(id) = change {
        let own = format!("{run}/{id} ");
        document.rollback.retain(|command| !command.contains(&own));
    }
    if !document.changes.iter().any(|outcome| crate::commands::in_force(outcome.state)) {
        if document.state != RunState::RolledBack {
            document.headline = format!("Taken back on demand; before that: {}", document.headline);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use pgassay_change::JournalError;

    #[test]
    fn a_roll_back_that_the_journal_has_no_room_for_has_not_undone_everything() {
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = JournalError::Directory { path: "/state".into(), source };
        let failure = not_taken_back(ChangeError::Journal(error));
        assert_eq!(failure.exit, Exit::NotUndone);
        assert!(failure.hint.contains("disk has room"), "{}", failure.hint);
        assert!(failure.hint.contains("roll back again"), "{}", failure.hint);
    }
}
