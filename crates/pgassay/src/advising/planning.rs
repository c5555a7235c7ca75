//! Makes a plan: the what-if engine on a session of its own, the advice on a thread that may block.

use crate::advising::{answers, engines, leaves};
use crate::cli::EngineArg;
use crate::failure::{Exit, Failure};
use crate::target::Target;
use jiff::Timestamp;
use pgassay_model::measurement::Measurement;
use pgassay_model::plan::{AnsweredElsewhere, Plan, PlanTarget};
use pgassay_model::snapshot::{Counters, Snapshot};
use pgassay_model::units::Bytes;
use pgassay_model::workload::Workload;

/// Plans for `target`; nothing on it is touched.
pub async fn plan(
    target: &Target,
    snapshot: &Snapshot,
    workload: &Workload,
    measurement: Option<&Measurement>,
    counters: Option<&Counters>,
    budget: Option<Bytes>,
) -> Result<Plan, Failure> {
    let session = target.observe().await?;
    let mut snapshot = snapshot.clone();
    leaves::count(target, &session, &mut snapshot).await?;
    let wanted = engines::Wanted {
        engine: EngineArg::Auto,
        postgres_bin: target.postgres_bin.as_deref(),
        deadline: None,
    };
    let mut prepared = engines::prepare(target, session, &snapshot, workload, &wanted).await?;
    let engine_notes = std::mem::take(&mut prepared.notes);
    let workload = workload.clone();
    let (measurement, counters) = (measurement.cloned(), counters.cloned());
    let interrupt = target.interrupt.clone();
    let plan_target = identity(target, &snapshot);
    let runtime = tokio::runtime::Handle::current();
    let told = prepared.told.clone();
    let mut planned: Plan = tokio::task::spawn_blocking(move || {
        let mut what_if = prepared.engine(runtime, &snapshot)?;
        let options = pgassay_advise::Options { budget, ..pgassay_advise::Options::default() };
        let input = pgassay_advise::Input {
            snapshot: &snapshot,
            workload: &workload,
            measurement: measurement.as_ref(),
            counters_delta: counters.as_ref(),
            target: plan_target,
            now: Timestamp::now(),
            options,
        };
        Ok::<Plan, Failure>(pgassay_advise::plan(&input, what_if.as_mut(), &interrupt))
    })
    .await
    .map_err(|error| {
        Failure::new(
            Exit::Unreachable,
            format!("planning stopped: {error}"),
            "report this with the workload",
        )
    })??;
    crate::failure::unless_interrupted(&target.interrupt)?;
    planned.engine_notes = engine_notes;
    let answered = told.answered();
    for note in answers::elsewhere_notes(&answered, &planned.engine) {
        target.progress.say(note);
    }
    let elsewhere = answered.elsewhere.into_iter().map(|(statement, elsewhere)| {
        let engine = elsewhere.engine.to_owned();
        AnsweredElsewhere { statement, engine, reason: elsewhere.why }
    });
    planned.elsewhere = elsewhere.collect();
    Ok(planned)
}

/// The server that a plan is for.
pub fn identity(target: &Target, snapshot: &Snapshot) -> PlanTarget {
    PlanTarget {
        system_identifier: snapshot.server.system_identifier,
        database: snapshot.server.database.clone(),
        version_num: snapshot.server.version_num,
        display: target.server.to_string(),
    }
}

/// What was counted between two readings; a counter that went backwards was reset and counts as 0.
pub fn delta(before: &Counters, after: &Counters) -> Counters {
    let optional = |a: Option<u64>, b: Option<u64>| Some(b?.saturating_sub(a?));
    Counters {
        stats_reset: after.stats_reset,
        commits: after.commits.saturating_sub(before.commits),
        rollbacks: after.rollbacks.saturating_sub(before.rollbacks),
        blocks_hit: after.blocks_hit.saturating_sub(before.blocks_hit),
        blocks_read: after.blocks_read.saturating_sub(before.blocks_read),
        block_read_ms: (after.block_read_ms - before.block_read_ms).max(0.0),
        temp_bytes: after.temp_bytes.saturating_sub(before.temp_bytes),
        deadlocks: after.deadlocks.saturating_sub(before.deadlocks),
        sessions: optional(before.sessions, after.sessions),
        checkpoints_timed: optional(before.checkpoints_timed, after.checkpoints_timed),
        checkpoints_requested: optional(before.checkpoints_requested, after.checkpoints_requested),
        wal_bytes: optional(before.wal_bytes, after.wal_bytes),
        wal_full_page_images: optional(before.wal_full_page_images, after.wal_full_page_images),
        wal_buffers_full: optional(before.wal_buffers_full, after.wal_buffers_full),
        ..after.clone()
    }
}
