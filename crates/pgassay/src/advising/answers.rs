//! Who answered for which statement, and what the answers took of the server, as text and JSON.

use crate::advising::layered::{Answered, NONE};
use pgassay_advise::index::{Advices, IndexAdvice, ProposedIndex};
use pgassay_model::units::Bytes;
use pgassay_shadow::blueprint::Taken;
use std::collections::{BTreeMap, BTreeSet};

/// What was asked of the server for the advice, beside the snapshot and the workload; nothing was written there.
pub struct Load {
    /// For building a shadow of it.
    pub taken: Option<Taken>,
    /// Plans that it made, without running anything.
    pub explains: u64,
}

impl Load {
    /// For people.
    pub fn text(&self) -> String {
        let plans = match self.explains {
            0 => "no statement of the workload was planned there".to_owned(),
            number => format!("{number} plans were made there (EXPLAIN without ANALYZE)"),
        };
        match self.taken {
            Some(taken) => format!(
                "load on the server: {} statements read what the planner reads, {} rows and {} ({} of the rows are of tables) in {:.0} ms; {plans}; nothing was written\n",
                taken.statements,
                taken.rows,
                Bytes(taken.bytes),
                taken.table_rows,
                taken.milliseconds
            ),
            None => format!("load on the server: {plans}; nothing was written\n"),
        }
    }

    /// The field `target_load` of an `advice` document.
    pub fn document(&self) -> serde_json::Value {
        serde_json::json!({
            "statements": self.taken.map_or(0, |taken| taken.statements),
            "rows": self.taken.map_or(0, |taken| taken.rows),
            "bytes": self.taken.map_or(0, |taken| taken.bytes),
            "table_rows": self.taken.map_or(0, |taken| taken.table_rows),
            "elapsed_ms": self.taken.map_or(0.0, |taken| taken.milliseconds),
            "explains": self.explains,
        })
    }
}

/// EXPLAINs that the server was asked for; a shadow plans on its own.
pub fn explains(answered: &Answered, advices: &Advices) -> u64 {
    let shadow = advices.by_budget.iter().any(|advice| advice.engine == "shadow");
    let calls = advices.by_budget.first().map_or(0, |advice| advice.what_if_calls);
    if shadow { answered.explains } else { calls }
}

/// The engine that an index's benefit is estimated by, of several the least to be relied on.
pub fn engine_of<'a>(
    index: &ProposedIndex,
    advice: &'a IndexAdvice,
    answered: &Answered,
) -> &'a str {
    let engines: BTreeSet<&str> = index
        .statements
        .iter()
        .map(|id| answered.elsewhere.get(id).map_or(advice.engine.as_str(), |other| other.engine))
        .collect();
    ["rule", "hypopg"].into_iter().find(|engine| engines.contains(engine)).unwrap_or(&advice.engine)
}

/// One sentence for each reason why another engine answered, with the statements.
pub fn elsewhere_notes(answered: &Answered, first: &str) -> Vec<String> {
    let mut by_reason: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for (id, elsewhere) in &answered.elsewhere {
        by_reason.entry((elsewhere.engine, &elsewhere.why)).or_default().push(id);
    }
    by_reason
        .into_iter()
        .map(|((engine, why), ids)| {
            let ids = ids.join(", ");
            match engine {
                NONE => format!("not answered for, by {first} or anything else: {ids} ({why})"),
                "rule" => format!("answered by rules in place of {first}: {ids} ({why})"),
                other => format!("answered by {other} in place of {first}: {ids} ({why})"),
            }
        })
        .collect()
}

/// The field `elsewhere` of an `advice` document.
pub fn elsewhere_document(answered: &Answered) -> serde_json::Value {
    let all = answered.elsewhere.iter().map(|(id, elsewhere)| {
        serde_json::json!({
            "statement": id,
            "engine": elsewhere.engine,
            "reason": elsewhere.why,
        })
    });
    all.collect()
}
