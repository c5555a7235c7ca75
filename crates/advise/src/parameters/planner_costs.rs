//! Costs and estimates of the planner: random_page_cost, seq_page_cost, jit, default_statistics_target.

use super::Entry;
use crate::drafts::{Decision, Draft, without_figure};
use crate::evidence::{Evidence, PAGE_CACHE_READ_MS};
use crate::plan_gate::Flip;
use crate::reachable::Lever;
use crate::risk::{self, ParameterReach};
use crate::words;
use pgassay_model::parameter::Parameter;
use pgassay_model::plan::ExpectedSource;
use pgassay_model::units::Ms;

const EXECUTION: Option<Lever> = Some(Lever::Execution);

/// The group's rules.
pub(super) const RULES: &[Entry] = &[
    Entry { parameter: "random_page_cost", lever: EXECUTION, rule: random_page_cost },
    Entry { parameter: "seq_page_cost", lever: EXECUTION, rule: seq_page_cost },
    Entry { parameter: "jit", lever: EXECUTION, rule: jit },
    Entry {
        parameter: "default_statistics_target",
        lever: EXECUTION,
        rule: default_statistics_target,
    },
];

/// Times of page reads relative to a cached sequential one: cached random, uncached sequential, uncached
/// random. Fitted to the measurements in the design file "parameters" (h = 0.99 → 1.3, 0.9 → 3.7, 0 → 10.9,
/// 0.997 → 1.1).
const WARM_RANDOM: f64 = 1.0;
const COLD_SEQUENTIAL: f64 = 3.4;
const COLD_RANDOM: f64 = 37.0;
/// Never below: pages drop out of every cache some time.
const LEAST_RANDOM_PAGE_COST: f64 = 1.1;
/// A difference below this factor is within the error of such an estimate.
const TELLING_FACTOR: f64 = 1.5;

/// Ratio of a random to a sequential read when a share `hit` of all pages is cached somewhere:
/// `[h·wr + (1−h)·cr] ÷ [h·ws + (1−h)·cs]` (design "parameters", formula 3).
fn calibrated(hit: f64) -> f64 {
    let random = hit * WARM_RANDOM + (1.0 - hit) * COLD_RANDOM;
    let sequential = hit + (1.0 - hit) * COLD_SEQUENTIAL;
    random / sequential
}

fn random_page_cost(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let current = &parameter.current;
    let (Some(now), Some(sequential)) = (parameter.number(), evidence.number("seq_page_cost"))
    else {
        return Decision::Keep(format!("its value {current} could not be read as a number"));
    };
    let reads = evidence.page_reads();
    if reads.hit + reads.read == 0 {
        return Decision::Keep(format!(
            "no page was asked for {}, so that how much is cached is unknown; it stays {current}",
            evidence.counted_when()
        ));
    }
    let (hit, how) = match reads.read_ms {
        Some(ms) if ms <= PAGE_CACHE_READ_MS => {
            (1.0, format!("the others took {} each, so the kernel had them cached", Ms(ms)))
        }
        Some(ms) => (reads.hit_share(), format!("the others took {} each, from disk", Ms(ms))),
        None if reads.read == 0 => (1.0, "no other was asked for".to_owned()),
        None => (
            reads.hit_share(),
            "where the others came from is unknown with track_io_timing off, so they count as uncached"
                .to_owned(),
        ),
    };
    let target = (calibrated(hit) * sequential).max(LEAST_RANDOM_PAGE_COST * sequential);
    let target = (target * 10.0).round() / 10.0;
    let figures = format!(
        "{} of the page requests were found in shared_buffers {}; {how}: estimated {target:.1} with seq_page_cost {sequential}",
        words::share(reads.hit_share()),
        evidence.counted_when()
    );
    let factor = if target > now { target / now.max(0.01) } else { now / target.max(0.01) };
    if factor < TELLING_FACTOR {
        return Decision::Keep(format!("{figures}, which is no telling difference to {current}"));
    }
    if target > now && reads.read_ms.is_none() {
        return Decision::Keep(format!(
            "{figures}; a higher value than {current} would need to know that the reads come from disk"
        ));
    }
    let draft = Draft::parameter(
        parameter,
        format!("{target}"),
        "parameters: planner costs",
        risk::parameter(false, &ParameterReach::Plans),
        without_figure(
            "other plans for the statements named; whether they are faster only a measurement can tell, since costs in another unit cannot be compared",
            ExpectedSource::WhatIf,
        ),
        vec![figures],
        "plans of the statements named, and their execution time",
    );
    // Lower, it should spare sequential scans, higher, index scans; other flips on cached pages gain nothing.
    let counts: fn(&Flip) -> bool = if target < now {
        |flip| flip.more("Seq Scan") < 0
    } else {
        |flip| flip.more("Index Scan") < 0
    };
    Decision::IfPlansChange { draft: Box::new(draft), counts }
}

fn seq_page_cost(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let ratio = match (evidence.number("random_page_cost"), parameter.number()) {
        (Some(random), Some(sequential)) if sequential > 0.0 => {
            format!(" (now {:.1})", random / sequential)
        }
        _ => String::new(),
    };
    Decision::Keep(format!(
        "it is the unit that the other costs are given in; the ratio of random_page_cost to it is what is calibrated{ratio}; it stays {}",
        parameter.current
    ))
}

/// Statements whose plans cost more than `jit_above_cost`, so that they are compiled.
pub(crate) fn compiled<'a>(evidence: &'a Evidence<'_>) -> Vec<&'a str> {
    let above = evidence.number("jit_above_cost").unwrap_or(-1.0);
    if above < 0.0 || !evidence.on("jit") {
        return Vec::new();
    }
    evidence
        .plans
        .plans()
        .filter(|(_, planned)| planned.total_cost > above)
        .map(|(statement, _)| statement.id.as_str())
        .collect()
}

fn jit(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    if parameter.setting == "off" {
        return Decision::Keep("it is off".to_owned());
    }
    if let Some(problem) = evidence.plans.problem() {
        return Decision::Keep(format!("whether it is used is unknown: {problem}; it stays on"));
    }
    let above = evidence.snapshot.parameter("jit_above_cost").map_or("?", |p| p.current.as_str());
    let compiled = compiled(evidence);
    Decision::Keep(if compiled.is_empty() {
        format!(
            "no plan of the workload costs more than jit_above_cost ({above}), so nothing is compiled"
        )
    } else {
        format!(
            "{} cost more than jit_above_cost ({above}) and are compiled, but how long that takes is not in the snapshot; see the recommendations",
            words::list(&compiled)
        )
    })
}

fn default_statistics_target(_: &Evidence<'_>, parameter: &Parameter) -> Decision {
    Decision::Keep(format!(
        "it stays {}: no estimate of rows is known to be wrong (only EXPLAIN ANALYZE tells), and every statement would plan longer; raise it for a column, ALTER TABLE … ALTER COLUMN … SET STATISTICS, where one is",
        parameter.current
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calibration_gives_what_was_measured() {
        for (hit, measured) in [(0.99, 1.3), (0.9, 3.7), (0.0, 10.9), (0.997, 1.1)] {
            let value = calibrated(hit);
            assert!((value - measured).abs() < 0.06, "h = {hit}: {value}, measured {measured}");
        }
    }
}
