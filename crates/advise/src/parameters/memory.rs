//! Memory: work_mem, maintenance_work_mem, effective_cache_size, shared_buffers.

use super::Entry;
use crate::drafts::{Decision, Draft, without_figure};
use crate::evidence::{Evidence, PAGE, PAGE_CACHE_READ_MS};
use crate::plan_gate::Flip;
use crate::reachable::{Lever, NEGLIGIBLE};
use crate::risk::{self, ParameterReach};
use crate::words;
use pgassay_model::parameter::Parameter;
use pgassay_model::plan::ExpectedSource;
use pgassay_model::units::{Bytes, Ms};

const EXECUTION: Option<Lever> = Some(Lever::Execution);

/// The group's rules.
pub(super) const RULES: &[Entry] = &[
    Entry { parameter: "work_mem", lever: EXECUTION, rule: work_mem },
    Entry { parameter: "maintenance_work_mem", lever: None, rule: maintenance_work_mem },
    Entry { parameter: "effective_cache_size", lever: EXECUTION, rule: effective_cache_size },
    Entry { parameter: "shared_buffers", lever: EXECUTION, rule: shared_buffers },
];

/// A sort in memory needs more than its tuples take in a temporary file (design "parameters": target ≈
/// 1.6 × the spill).
const SPILL_FACTOR: f64 = 1.6;
/// Share of the free memory that all backends together may take (design "parameters").
const SHARE_OF_FREE_MEMORY: f64 = 0.5;
/// RAM ÷ 4 to start from (manual, shared_buffers: "a reasonable starting value … is 25 % of the memory").
const SHARED_BUFFERS_DIVISOR: u64 = 4;
/// Bytes per dead row that VACUUM holds, and its limit, before 17 (manual, maintenance_work_mem).
const BYTES_PER_DEAD_ROW: u64 = 6;

const NO_HOST: &str =
    "memory is unknown, since the server's host is not visible from here: run pgassay on it";

/// Proposed where a statement that matters writes temporary files, and the planner chooses another plan.
fn work_mem(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let current = &parameter.current;
    let when = evidence.counted_when();
    if let Some(delta) = evidence.delta
        && delta.temp_bytes == 0
    {
        return Decision::Keep(format!(
            "no statement wrote a temporary file {when}: {current} was enough"
        ));
    }
    let Some(spills) = evidence.spills() else {
        let written = evidence.delta.map_or_else(String::new, |delta| {
            format!(", though {} were written {when}", Bytes(delta.temp_bytes))
        });
        return Decision::Keep(format!(
            "no statement of the workload is known to write temporary files (pg_stat_statements, plans with a sort or hash){written}; it stays {current}"
        ));
    };
    let (spill, written) = (spills.per_call, &spills.description);
    let share = evidence.load.share(spills.statements.iter().map(String::as_str));
    if let Some(share) = share
        && share < NEGLIGIBLE
    {
        return Decision::Keep(format!(
            "{written}, yet what spills is {} of the load",
            words::share(share)
        ));
    }
    let Some(host) = &evidence.snapshot.host else {
        return Decision::Keep(format!("{written}, but {NO_HOST}"));
    };
    let megabytes = (spill.0 as f64 * SPILL_FACTOR / f64::from(1 << 20)).ceil() as u64;
    let target = Bytes(megabytes.max(1) << 20);
    let now = parameter.bytes().unwrap_or(Bytes(0));
    if target <= now {
        return Decision::Keep(format!(
            "{written}, which {current} should hold already: a hash or sort of a wrong estimate, not a lack of memory"
        ));
    }
    // 0.5 · (MemAvailable − shared_buffers) ÷ (active × memory nodes × (workers + 1) × hash multiplier),
    // with one memory node (design "parameters").
    let active = active_backends(evidence);
    let workers = evidence.number("max_parallel_workers_per_gather").unwrap_or(0.0) + 1.0;
    let multiplier = evidence.number("hash_mem_multiplier").unwrap_or(1.0).max(1.0);
    let buffers = evidence.bytes("shared_buffers").unwrap_or(Bytes(0));
    let free = host.available.0.saturating_sub(buffers.0) as f64 * SHARE_OF_FREE_MEMORY;
    let ceiling = Bytes((free / (active * workers * multiplier)) as u64);
    if target > ceiling {
        return Decision::Keep(format!(
            "{written}: that would need {target}, and {active:.0} backends × {workers:.0} processes × {multiplier} could then take more than half of the {} available: at most {ceiling} for all; set it for that role or session instead",
            host.available
        ));
    }
    let most = (target.0 - now.0) as f64 * active * workers * multiplier;
    let draft = Draft::parameter(
        parameter,
        target.to_parameter(),
        "parameters: memory",
        risk::parameter(false, &ParameterReach::Memory(Bytes(most as u64))),
        without_figure(
            "sorts and hashes stay in memory; how much that wins depends on where the temporary files lay (on cached files 1 % was measured for 200 MB)",
            ExpectedSource::WhatIf,
        ),
        vec![written.clone(), format!("the ceiling for {active:.0} active backends is {ceiling}")],
        "pg_stat_statements.temp_blks_written of the statement",
    );
    // The unit of cost stays, so that a lower cost of the same plan counts too.
    Decision::IfPlansChange { draft: Box::new(draft), counts: |_| true }
}

/// Most backends at work: sampled, the pool's servers, or the clients of the load, whatever is most.
fn active_backends(evidence: &Evidence<'_>) -> f64 {
    let sampled = evidence.snapshot.counters.backends_active as f64;
    let pooled =
        evidence.measurement.and_then(|m| m.pool).map_or(0.0, |pool| pool.max_servers as f64);
    let driven = evidence.in_flight().unwrap_or(0.0);
    sampled.max(if pooled > 0.0 { pooled } else { driven }).max(1.0).ceil()
}

/// Works on VACUUM and index builds only, which no measurement of the response time can judge.
fn maintenance_work_mem(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let current = &parameter.current;
    let most = evidence
        .snapshot
        .relations
        .iter()
        .max_by_key(|relation| relation.activity.dead_rows)
        .filter(|relation| relation.activity.dead_rows > 0);
    let dead = most.map_or(0, |relation| relation.activity.dead_rows);
    let needed = Bytes(dead * BYTES_PER_DEAD_ROW);
    let fits = parameter.bytes().is_none_or(|now| needed <= now);
    let whose = most.map_or_else(
        || "no relation has dead rows".to_owned(),
        |relation| {
            format!(
                "the most dead rows are {dead} in {}, {needed} at {BYTES_PER_DEAD_ROW} bytes each",
                relation.name
            )
        },
    );
    Decision::Keep(if fits {
        format!(
            "{whose}: VACUUM passes over the indexes once with {current}, and no statement uses it"
        )
    } else {
        format!(
            "{whose}: VACUUM passes over the indexes more than once with {current}; no statement gets faster by it, so no measurement could judge it: see the recommendations"
        )
    })
}

/// Whether VACUUM needs several passes over the indexes of some relation, with what would hold its dead rows.
pub(crate) fn vacuum_needs(evidence: &Evidence<'_>) -> Option<Bytes> {
    let now = evidence.bytes("maintenance_work_mem")?;
    let dead = evidence.snapshot.relations.iter().map(|r| r.activity.dead_rows).max()?;
    let needed = Bytes(dead * BYTES_PER_DEAD_ROW);
    (needed > now && evidence.snapshot.server.version_num < 170_000).then_some(needed)
}

/// An estimate for the planner: proposed where it is off by more than 2 × and a plan flips.
fn effective_cache_size(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let current = &parameter.current;
    let (Some(now), Some(buffers)) = (parameter.bytes(), evidence.bytes("shared_buffers")) else {
        return Decision::Keep(format!("its value {current} could not be read as a size"));
    };
    let Some(host) = &evidence.snapshot.host else {
        return Decision::Keep(format!("it stays {current}: {NO_HOST}"));
    };
    let cache = Bytes((buffers.0 + host.page_cache.0).min(host.memory.0));
    let figures = format!(
        "shared_buffers {buffers} + page cache {} = {cache}, it is {current}",
        host.page_cache
    );
    let database = evidence.snapshot.server.database_size;
    if database.0 > 0 && database <= now && database <= cache {
        return Decision::Keep(format!(
            "the whole database ({database}) fits into either value ({figures}), so that it makes no difference to the planner"
        ));
    }
    let ratio = now.0 as f64 / cache.0.max(1) as f64;
    if (0.5..=2.0).contains(&ratio) {
        return Decision::Keep(format!("within a factor of 2 of what is there: {figures}"));
    }
    let megabytes = (cache.0 >> 20).max(1);
    let draft = Draft::parameter(
        parameter,
        Bytes(megabytes << 20).to_parameter(),
        "parameters: planner costs",
        risk::parameter(false, &ParameterReach::Plans),
        without_figure(
            "index scans are costed for the cache that is really there",
            ExpectedSource::WhatIf,
        ),
        vec![figures],
        "plans of the statements named, and their execution time",
    );
    Decision::IfPlansChange { draft: Box::new(draft), counts: Flip::shape_changes }
}

/// Takes a restart: proposed only where reading pages takes a real share of the response time.
fn shared_buffers(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let current = &parameter.current;
    let reads = evidence.page_reads();
    let when = evidence.counted_when();
    let hits = words::share(reads.hit_share());
    if reads.read == 0 || reads.hit_share() >= 0.99 {
        return Decision::Keep(format!(
            "{hits} of {} page requests were found in it {when}: a larger one has nothing to win, and takes a restart",
            reads.hit + reads.read
        ));
    }
    let Some(read_ms) = reads.read_ms else {
        return Decision::Keep(format!(
            "{hits} of the page requests were found in it {when}, but what the others cost is unknown with track_io_timing off; no restart on a guess, it stays {current}"
        ));
    };
    let Some(measurement) = evidence.measurement.filter(|_| evidence.delta.is_some()) else {
        return Decision::Keep(format!(
            "{hits} of the page requests were found in it {when}; without a measurement the share of reading in the response time is unknown, and it takes a restart"
        ));
    };
    let all_ms = measurement.requests as f64 * measurement.latency_ms.mean;
    let share = if all_ms > 0.0 { read_ms * reads.read as f64 / all_ms } else { 0.0 };
    let from = if read_ms <= PAGE_CACHE_READ_MS { "the kernel's page cache" } else { "disk" };
    let figures = format!(
        "{} pages were read {when} at {} each, which is {from}: {} of the response time",
        reads.read,
        Ms(read_ms),
        words::share(share)
    );
    if share < NEGLIGIBLE {
        return Decision::Keep(format!(
            "{figures}; that is not worth a restart, it stays {current}"
        ));
    }
    let Some(host) = &evidence.snapshot.host else {
        return Decision::Keep(format!("{figures}, but {NO_HOST}"));
    };
    let target = Bytes(((host.memory.0 / SHARED_BUFFERS_DIVISOR) >> 20) << 20);
    let now = parameter.bytes().unwrap_or(Bytes(0));
    if target.0 < now.0.saturating_mul(2) {
        return Decision::Keep(format!(
            "{figures}; it is {current} already, and a quarter of the memory is {target}: fix the statements that read so much"
        ));
    }
    Decision::Propose(Box::new(Draft::parameter(
        parameter,
        target.to_parameter(),
        "parameters: shared buffers",
        risk::parameter(true, &ParameterReach::Memory(Bytes(target.0.saturating_sub(now.0)))),
        without_figure(
            format!(
                "at most {} of the response time, which is what reading takes",
                words::share(share)
            ),
            ExpectedSource::Model,
        ),
        vec![figures, format!("{} of memory ÷ {SHARED_BUFFERS_DIVISOR} = {target}", host.memory)],
        "pg_stat_database.blks_read",
    )))
}

/// A page's worth of bytes times pages, for reasons.
pub(super) fn pages(count: u64) -> Bytes {
    Bytes(count * PAGE)
}
