//! What two measurements do not have in common: such a difference is in the figures beside what is judged.

use pgassay_model::measurement::{Connect, Measurement, Mode, Protocol, StatementMeasurement};
use std::collections::BTreeMap;

/// Share of the requests from which on a statement can't be missing in another measurement by chance.
const NO_CHANCE: f64 = 0.05;
/// Most statements named in one line.
const MOST_NAMED: usize = 5;

/// How the load and the statements of two measurements differ, in words; empty where they are alike.
pub fn differences(before: &Measurement, after: &Measurement) -> Vec<String> {
    let mut found = loads(&before.mode, &after.mode);
    let (of_before, of_after) = (statements(before), statements(after));
    let named = |ids: Vec<&str>| {
        let more = ids.len().saturating_sub(MOST_NAMED);
        let shown = ids.iter().take(MOST_NAMED).copied().collect::<Vec<&str>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    let others: Vec<&str> = of_before
        .iter()
        .filter(|(id, own)| {
            of_after
                .get(*id)
                .is_some_and(|other| !own.sql.split_whitespace().eq(other.sql.split_whitespace()))
        })
        .map(|(id, _)| *id)
        .collect();
    if !others.is_empty() {
        found.push(format!("another statement after than before: {}", named(others)));
    }
    for (side, own, other, when) in
        [(before, &of_before, &of_after, "before"), (after, &of_after, &of_before, "after")]
    {
        let least = side.requests as f64 * NO_CHANCE;
        let missing: Vec<&str> = own
            .iter()
            .filter(|(id, own)| own.requests as f64 >= least.max(1.0) && !other.contains_key(*id))
            .map(|(id, _)| *id)
            .collect();
        if !missing.is_empty() {
            found.push(format!("asked only {when}: {}", named(missing)));
        }
    }
    found
}

fn statements(measurement: &Measurement) -> BTreeMap<&str, &StatementMeasurement> {
    measurement.statements.iter().map(|own| (own.id.as_str(), own)).collect()
}

fn loads(before: &Mode, after: &Mode) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or("none".to_owned(), |value| value.to_string());
    let mut found = Vec::new();
    for (what, one, other) in [
        ("clients", before.clients.map(f64::from), after.clients.map(f64::from)),
        ("requests per second asked for", before.rate, after.rate),
        ("speed of the recorded sessions", before.speed, after.speed),
    ] {
        if one != other {
            found.push(format!("{what}: {} before, {} after", number(one), number(other)));
        }
    }
    if before.connect != after.connect {
        let words = |connect| match connect {
            Connect::Reuse => "once per client",
            Connect::PerRequest => "for every request",
        };
        found.push(format!(
            "connections opened: {} before, {} after",
            words(before.connect),
            words(after.connect)
        ));
    }
    if before.protocol != after.protocol {
        let words = |protocol| match protocol {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
            Protocol::Prepared => "prepared",
        };
        found.push(format!(
            "protocol: {} before, {} after",
            words(before.protocol),
            words(after.protocol)
        ));
    }
    found
}
