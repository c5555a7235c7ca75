//! `measure --writes copy`: the workload is driven on a copy of the server, which takes what it writes.

use crate::copies::SingleCopy;
use crate::failure::Failure;
use crate::measure::bench::CAPACITY_CLIENTS;
use crate::measure::{self, Options};
use crate::target::Target;
use pgassay_load::{LoadMode, Writes};
use pgassay_model::measurement::Measurement;
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::Workload;
use pgassay_postgres::Session;
use std::time::Duration;

/// What a copy can't show, for every measurement on one.
const LIMITS: &str = "measured on a copy of the server on this machine, which takes what the workload writes: the server's own disks, cache, network and pooler, its archiving and standbys, and what its other sessions do meanwhile are not in these figures";
/// Load that fills the caches of a copy, whose server has just been started.
const FILLING: Duration = Duration::from_secs(4);

/// Measures `workload` on a copy of `target`, made for it and removed afterwards.
pub async fn measure(
    target: &Target,
    session: &Session,
    snapshot: &Snapshot,
    workload: &Workload,
    options: &Options,
) -> Result<Measurement, Failure> {
    let single = SingleCopy::make(target, session, snapshot).await?;
    let copy = &single.copy;
    fill_cache(&copy.target, workload, options).await?;
    let options = Options { postmaster: copy.postmaster, ..options.clone() };
    let on_copy = copy.target.observe().await?;
    target.progress.step("measuring on the copy");
    let mut measurement =
        measure::measure(&copy.target, Some(&on_copy), None, workload, &options).await?;
    measurement.target = format!("copy of {}", target.server);
    measurement.notes.insert(0, LIMITS.to_owned());
    measurement.notes.extend(single.notes.iter().cloned());
    Ok(measurement)
}

/// Drives the workload unmeasured. What it writes is taken back, so that the measurement finds the rows of the
/// server, and inserts do not meet themselves.
pub async fn fill_cache(
    copy: &Target,
    workload: &Workload,
    options: &Options,
) -> Result<(), Failure> {
    copy.progress.step("warming the copy");
    let options = Options {
        mode: LoadMode::Closed { clients: CAPACITY_CLIENTS },
        writes: Writes::Rollback,
        duration: FILLING,
        warmup: Duration::ZERO,
        block: FILLING,
        ..options.clone()
    };
    measure::block(copy, workload, &options).await.map(|_| ())
}
