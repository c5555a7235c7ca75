//! Changes that a reload brings into force and takes back: judged by switching them on and off in random order.

use crate::changing::{Changing, Tried};
use crate::failure::{Exit, Failure};
use crate::judging::paired::{self, Arm, Paired, Pairing};
use crate::judging::{Applied, Judging};
use crate::measure::{self, Options};
use pgassay_judge::LOOKS;
use pgassay_model::change::Change;
use pgassay_model::measurement::Measurement;
use pgassay_model::plan::PlannedChange;
use std::time::Duration;

/// Shortest block: opening connections and waiting for the reload to reach every backend must stay small in it.
const SHORTEST_BLOCK: Duration = Duration::from_secs(1);
const BLOCK_WARMUP: Duration = Duration::from_millis(300);

/// Whether a group can be switched on and off while the application runs.
pub fn possible(changes: &[&PlannedChange]) -> bool {
    changes.iter().all(|planned| {
        !planned.needs_restart
            && matches!(planned.change, Change::SetParameter { .. } | Change::SetPooler { .. })
    })
}

impl Judging<'_> {
    /// Measures pairs of blocks with the group on and off, each switch journalled as any change is. The group
    /// is on before; afterwards it is `on` as returned.
    pub async fn switch_on_and_off(
        &self,
        changing: &mut Changing<'_>,
        applied: &[Applied<'_>],
    ) -> Result<(Paired, bool), Failure> {
        let bench = self.bench;
        bench.target.progress.step(format!(
            "switching the group \"{}\" on and off ({})",
            self.group,
            crate::measure::bench::describe(&bench.options.mode)
        ));
        let block = (bench.options.duration / 16).max(SHORTEST_BLOCK);
        let pairing = Pairing {
            name: "switchback: on and off in random order",
            seed: bench.options.seed,
            looks: &LOOKS,
            offset: 0.0,
        };
        let mut on = true;
        let mut number = 0;
        changing.keep_silent(true);
        let paired = paired::compare(
            &pairing,
            |line| bench.target.progress.say(line),
            async |arm| -> Result<Measurement, Failure> {
                let wanted = arm == Arm::With;
                if wanted != on {
                    switch(changing, applied, wanted).await?;
                    on = wanted;
                }
                number += 1;
                let options = Options {
                    duration: block,
                    warmup: BLOCK_WARMUP,
                    // Both blocks of a pair ask the same.
                    seed: bench.options.seed + (number - 1) / 2,
                    ..bench.options.clone()
                };
                measure::block(bench.target, bench.workload, &options).await
            },
        )
        .await;
        changing.keep_silent(false);
        Ok((paired?, on))
    }
}

/// Switches a group on, in its order, or off, the last change first.
pub async fn switch(
    changing: &mut Changing<'_>,
    applied: &[Applied<'_>],
    on: bool,
) -> Result<(), Failure> {
    if !on {
        for (change, _) in applied.iter().rev() {
            changing.rollback(change).await?;
        }
        return Ok(());
    }
    for (change, _) in applied {
        if let Tried::Refused(reason) = changing.apply(change).await? {
            return Err(Failure::new(
                Exit::Undone,
                format!("{} could be applied once and not again: {reason}", change.id),
                "somebody else changed the target meanwhile",
            ));
        }
    }
    Ok(())
}
