//! PostgreSQL parameters: one rule each; every one is either proposed or left alone with its figures.

mod io;
mod memory;
mod planner_costs;
mod wal;

pub(crate) use memory::vacuum_needs;
pub(crate) use planner_costs::compiled;

use crate::drafts::{Decision, Draft, not_proposed};
use crate::evidence::{self, Evidence};
use crate::plan_gate::Flip;
use crate::reachable::{Lever, NEGLIGIBLE};
use crate::words;
use pgassay_model::parameter::Parameter;
use pgassay_model::plan::NotProposed;
use pgassay_model::what_if::WhatIf;

/// Decides on a parameter that exists and can be changed.
type Rule = fn(&Evidence<'_>, &Parameter) -> Decision;

/// One parameter and its rule.
struct Entry {
    parameter: &'static str,
    /// The lever whose share bounds what it could win; None where it works on no part of the response time.
    lever: Option<Lever>,
    rule: Rule,
}

/// Groups of parameters that are applied and judged together.
const GROUPS: [&[Entry]; 4] = [memory::RULES, planner_costs::RULES, io::RULES, wal::RULES];

/// Decides on every parameter.
pub(crate) fn decide(
    evidence: &Evidence<'_>,
    what_if: &mut dyn WhatIf,
) -> (Vec<Draft>, Vec<NotProposed>) {
    let (mut drafts, mut kept) = (Vec::new(), Vec::new());
    for entry in GROUPS.into_iter().flatten() {
        match decide_one(evidence, entry, what_if) {
            Ok(draft) => drafts.push(draft),
            Err(why) => kept.push(not_proposed(entry.parameter, why)),
        }
    }
    (drafts, kept)
}

fn decide_one(
    evidence: &Evidence<'_>,
    entry: &Entry,
    what_if: &mut dyn WhatIf,
) -> Result<Draft, String> {
    let parameter = evidence::parameter(evidence, entry.parameter)
        .ok_or_else(|| "the server shows no such parameter".to_owned())?;
    let current = &parameter.current;
    if let Some(closed) = entry.lever.and_then(|lever| evidence.levers.closed(lever)) {
        return Err(format!("{closed}; it stays {current}"));
    }
    let decision = match (entry.rule)(evidence, parameter) {
        Decision::Keep(why) => return Err(why),
        decision => decision,
    };
    if let Some(obstacle) = obstacle(parameter) {
        return Err(format!("it is {current}; {obstacle}"));
    }
    match decision {
        Decision::Keep(why) => Err(why),
        Decision::Propose(draft) => Ok(*draft),
        Decision::IfPlansChange { draft, counts } => {
            gated(evidence, parameter, *draft, counts, what_if)
        }
    }
}

/// What would keep ALTER SYSTEM from having an effect; the executor refuses the same.
fn obstacle(parameter: &Parameter) -> Option<String> {
    match parameter.source.as_str() {
        "command line" | "environment variable" => Some(format!(
            "the server's {} sets it, which ALTER SYSTEM cannot override",
            parameter.source
        )),
        "database" | "user" | "database user" => Some(format!(
            "it is set for this {}, which overrides ALTER SYSTEM: change it there",
            if parameter.source == "user" { "role" } else { &parameter.source }
        )),
        _ if parameter.pending_restart => {
            Some("it was changed already and waits for a restart".to_owned())
        }
        _ => None,
    }
}

/// Asks the planner; statements whose plans would change are named, and they must matter.
fn gated(
    evidence: &Evidence<'_>,
    parameter: &Parameter,
    mut draft: Draft,
    counts: fn(&Flip) -> bool,
    what_if: &mut dyn WhatIf,
) -> Result<Draft, String> {
    let (name, current) = (&parameter.name, &parameter.current);
    let to = draft.title.clone();
    if let Some(problem) = evidence.plans.problem() {
        return Err(format!("{to} cannot be tried on the planner: {problem}"));
    }
    let value = match &draft.change {
        pgassay_model::change::Change::SetParameter { to, .. } => to.clone(),
        _ => return Ok(draft),
    };
    let flips = evidence
        .plans
        .ask(name, &value, what_if, evidence.interrupt)
        .map_err(|error| format!("{to} cannot be tried on the planner: {error}"))?;
    let counting: Vec<Flip> = flips.into_iter().filter(counts).collect();
    let planned = evidence.plans.plans().count();
    if counting.is_empty() {
        return Err(format!(
            "no plan of the workload ({}) changes with {value} in a way that speaks for it (what-if, {}); it stays {current}",
            words::count(planned as u64, "statement"),
            what_if.engine()
        ));
    }
    let ids: Vec<String> = counting.iter().map(|flip| flip.statement.clone()).collect();
    if let Some(share) = evidence.load.share(ids.iter().map(String::as_str))
        && share < NEGLIGIBLE
    {
        return Err(format!(
            "{value} would change the plan of {} only, {} of the load; it stays {current}",
            words::list(&ids),
            words::share(share)
        ));
    }
    draft.evidence.extend(
        counting.iter().map(|flip| format!("planned otherwise with it: {}", flip.description)),
    );
    draft.statements = ids;
    Ok(draft)
}
