//! Reading from storage: effective_io_concurrency, track_io_timing.

use super::Entry;
use crate::drafts::{Decision, Draft, without_figure};
use crate::evidence::{Evidence, PAGE_CACHE_READ_MS};
use crate::reachable::Lever;
use crate::risk::{self, ParameterReach};
use crate::words;
use pgassay_model::parameter::Parameter;
use pgassay_model::plan::ExpectedSource;
use pgassay_model::units::Ms;

/// The group's rules.
pub(super) const RULES: &[Entry] = &[
    Entry {
        parameter: "effective_io_concurrency",
        lever: Some(Lever::Execution),
        rule: effective_io_concurrency,
    },
    Entry { parameter: "track_io_timing", lever: None, rule: track_io_timing },
];

/// For storage that answers many requests at a time (manual, effective_io_concurrency: "SSDs … the best
/// value might be in the hundreds"; design "parameters": 200–300).
const SOLID_STATE: u32 = 200;

/// Prefetching serves bitmap heap scans that read from disk, and nothing else before 18.
fn effective_io_concurrency(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let current = &parameter.current;
    let when = evidence.counted_when();
    let reads = evidence.page_reads();
    if reads.read == 0 {
        return Decision::Keep(format!(
            "no page was read from outside shared_buffers {when}; it stays {current}"
        ));
    }
    let Some(read_ms) = reads.read_ms else {
        return Decision::Keep(format!(
            "{} pages were read {when}, but whether from disk is unknown with track_io_timing off; on cached data it gained nothing (−3 … +10 % measured), it stays {current}",
            reads.read
        ));
    };
    if read_ms <= PAGE_CACHE_READ_MS {
        return Decision::Keep(format!(
            "{} pages were read {when} at {} each, which is the kernel's page cache: there is nothing to prefetch; it stays {current}",
            reads.read,
            Ms(read_ms)
        ));
    }
    let scans: Vec<String> = evidence
        .plans
        .plans()
        .filter(|(_, planned)| planned.shape.contains("Bitmap Heap"))
        .map(|(statement, _)| statement.id.clone())
        .collect();
    if scans.is_empty() {
        return Decision::Keep(format!(
            "pages come from disk ({} each {when}), but no plan of the workload has a bitmap heap scan, which is what it prefetches for; it stays {current}",
            Ms(read_ms)
        ));
    }
    if evidence.snapshot.host.as_ref().and_then(|host| host.rotational) != Some(false) {
        return Decision::Keep(format!(
            "the data directory's disk spins, or is not known not to; it stays {current}"
        ));
    }
    if parameter.number().is_some_and(|now| now >= f64::from(SOLID_STATE) / 2.0) {
        return Decision::Keep(format!("{current} is enough for {}", words::list(&scans)));
    }
    let mut draft = Draft::parameter(
        parameter,
        SOLID_STATE.to_string(),
        "parameters: reading",
        risk::parameter(false, &ParameterReach::Bounded),
        without_figure(
            format!("bitmap heap scans of {} wait less for the disk", words::list(&scans)),
            ExpectedSource::Rule,
        ),
        vec![
            format!("pages were read at {} each {when}, from disk", Ms(read_ms)),
            format!("bitmap heap scans in the plans of {}", words::list(&scans)),
        ],
        "pg_stat_database.blk_read_time per page read",
    );
    draft.statements = scans;
    Decision::Propose(Box::new(draft))
}

fn track_io_timing(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let reads = evidence.page_reads();
    Decision::Keep(match (parameter.setting.as_str(), reads.read) {
        ("on", _) => "it is on".to_owned(),
        (_, 0) => format!(
            "it makes no statement faster, and there was nothing to time: no page was read from outside shared_buffers {}",
            evidence.counted_when()
        ),
        (_, read) => format!(
            "it makes no statement faster; switched on, it would tell what the {read} pages read {} cost",
            evidence.counted_when()
        ),
    })
}
