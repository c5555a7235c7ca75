//! Whether anything was measured: figures of a load of which no request was answered would all read 0 ms.

use crate::failure::{Exit, Failure};
use pgassay_model::measurement::Measurement;

/// Refuses a measurement without a single request that was answered without an error.
pub fn some_answered(measurement: &Measurement) -> Result<(), Failure> {
    if measurement.requests > measurement.errors {
        return Ok(());
    }
    if measurement.requests == 0 {
        return Err(Failure::input(
            format!(
                "no request was answered within {:.1} s, so nothing was measured",
                measurement.duration_s
            ),
            "measure for longer (--duration), or see what the statements wait for (pg_stat_activity)",
        ));
    }
    let named = measurement.scripts.iter().chain(&measurement.statements);
    let first = named.filter_map(|own| Some((&own.id, own.first_error.as_ref()?))).next();
    let why = first.map(|(id, error)| format!("; {id} failed with: {error}")).unwrap_or_default();
    let (exit, hint) = match first.and_then(|(_, error)| error.get(..5)) {
        Some("42501") => {
            (Exit::Missing, "GRANT the role that drives the load what the workload needs")
        }
        Some("53300") => (
            Exit::Unreachable,
            "no connection slot is free: raise max_connections, end idle sessions, or drive fewer clients",
        ),
        _ => (
            Exit::Input,
            "run the statement by hand as the role that drives the load: the workload has to work for it first",
        ),
    };
    Err(Failure::new(
        exit,
        format!("all {} requests failed, so nothing was measured{why}", measurement.requests),
        hint,
    ))
}
