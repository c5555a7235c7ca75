//! Parameters that a session can set, judged before the server is touched: half of the connections with the new
//! values and half with the present ones, at the same time.
//!
//! The strongest design there is without a copy: whatever happens on the machine meets both halves. What one half
//! spares the server the other half gains too, so an effect is rather under- than overestimated.

use crate::failure::Failure;
use crate::judging::Judging;
use crate::judging::paired::{self, Paired, Pairing};
use crate::measure::{self, Options};
use crate::target::Target;
use pgassay_judge::LOOKS;
use pgassay_load::LoadMode;
use pgassay_model::change::Change;
use pgassay_model::connection::ConnectionSettings;
use pgassay_model::measurement::Measurement;
use pgassay_model::plan::PlannedChange;
use pgassay_model::snapshot::Snapshot;
use pgassay_postgres::{Session, SessionOptions};
use std::time::Duration;

/// Shortest block: opening connections must stay small in it.
const SHORTEST_BLOCK: Duration = Duration::from_secs(1);
const BLOCK_WARMUP: Duration = Duration::from_millis(300);
/// Why there is no comparison of the server's CPU.
const NO_CPU: &str =
    "not told apart: both halves of the connections keep the server busy at the same time";

/// A parameter, its present value and its new one.
type Setting<'a> = (&'a str, &'a str, &'a str);

/// The two ways of connecting.
pub struct Halves {
    without: Target,
    with: Target,
    mode: LoadMode,
}

impl Halves {
    /// The two halves for a group of changes, or why they can't be had. The last word have two sessions of the
    /// application's role, one with the new values and one without.
    pub async fn of(
        target: &Target,
        snapshot: &Snapshot,
        mode: &LoadMode,
        changes: &[&PlannedChange],
    ) -> Result<Halves, String> {
        let settings = settings(snapshot, changes)?;
        if target.pooled() {
            return Err(
                "through a pooler a setting of one client would stick to connections of others"
                    .into(),
            );
        }
        let mode = half(mode)?;
        let plain = present(&target.application, &settings).await?;
        let new =
            with_values(&target.application, settings.iter().map(|(name, _, to)| (*name, *to)));
        let set = present(&new, &settings).await?;
        for (((name, from, _), plain), set) in settings.iter().zip(&plain).zip(&set) {
            if plain != from {
                return Err(format!(
                    "{name} is {plain} for the application, which its role or database sets, and {from} for the server"
                ));
            }
            if set == plain {
                return Err(format!("a connection that asks for another {name} does not get it"));
            }
        }
        let old =
            with_values(&target.application, settings.iter().map(|(name, from, _)| (*name, *from)));
        Ok(Halves { without: towards(target, old), with: towards(target, new), mode })
    }
}

impl Judging<'_> {
    /// Measures pairs of blocks, each pair at one time. Nothing of the server is changed.
    pub async fn by_halves(&self, halves: &Halves) -> Result<Paired, Failure> {
        let bench = self.bench;
        bench.target.progress.step(format!(
            "driving half of the connections with the group \"{}\" and half without ({})",
            self.group,
            crate::measure::bench::describe(&bench.options.mode)
        ));
        let pairing = Pairing {
            name: "half of the connections with it and half without, at the same time",
            seed: bench.options.seed,
            looks: &LOOKS,
            offset: 0.0,
        };
        let options = Options {
            mode: halves.mode.clone(),
            duration: (bench.options.duration / 16).max(SHORTEST_BLOCK),
            warmup: BLOCK_WARMUP,
            postmaster: None,
            ..bench.options.clone()
        };
        let mut seed = options.seed;
        let mut paired = paired::at_looks(
            &pairing,
            |line| bench.target.progress.say(line),
            async |with_first: bool| -> Result<(Measurement, Measurement), Failure> {
                // The halves change the requests they ask and the order in which they connect.
                let (one, other) = (seed, seed + 1);
                seed += 2;
                let block = async |target: &Target, seed: u64| {
                    let options = Options { seed, ..options.clone() };
                    measure::block(target, bench.workload, &options).await
                };
                let (without, with) = if with_first {
                    let (with, without) =
                        tokio::join!(block(&halves.with, one), block(&halves.without, other));
                    (without, with)
                } else {
                    tokio::join!(block(&halves.without, one), block(&halves.with, other))
                };
                Ok((without?, with?))
            },
        )
        .await?;
        for entry in &mut paired.comparison {
            if entry.metric == "server_cpu_ms_per_request" {
                entry.method = NO_CPU.to_owned();
            }
        }
        Ok(paired)
    }
}

/// The parameters of a group, if all of its changes are such and a session may set each.
fn settings<'a>(
    snapshot: &Snapshot,
    changes: &[&'a PlannedChange],
) -> Result<Vec<Setting<'a>>, String> {
    changes
        .iter()
        .map(|planned| match &planned.change {
            Change::SetParameter { name, from, to } => match snapshot.parameter(name) {
                Some(parameter) if parameter.session_settable() => {
                    Ok((name.as_str(), from.as_str(), to.as_str()))
                }
                Some(parameter) => Err(format!(
                    "a session can't set {name} for itself (its context is {})",
                    parameter.context
                )),
                None => Err(format!("it is not known who may set {name}")),
            },
            Change::SetPooler { .. } => {
                Err("a setting of PgBouncer holds for all of its clients".into())
            }
            other => Err(format!("{} is not for a session alone", other.kind())),
        })
        .collect()
}

/// Half of a load.
fn half(mode: &LoadMode) -> Result<LoadMode, String> {
    match *mode {
        LoadMode::Closed { clients } if clients >= 2 => {
            Ok(LoadMode::Closed { clients: clients / 2 })
        }
        LoadMode::Open { rate, clients } if clients >= 2 => {
            Ok(LoadMode::Open { rate: rate / 2.0, clients: clients / 2 })
        }
        LoadMode::Replay { .. } => Err("recorded sessions can't be driven by halves".into()),
        LoadMode::Closed { .. } | LoadMode::Open { .. } => {
            Err("a single client can't be two halves".into())
        }
    }
}

/// What a connection's own session says of the parameters.
async fn present(
    way: &ConnectionSettings,
    settings: &[Setting<'_>],
) -> Result<Vec<String>, String> {
    let refused = |error: &dyn std::fmt::Display| {
        format!("a connection of {} could not be tried with it: {error}", way.user)
    };
    let session =
        Session::connect(way, SessionOptions::default()).await.map_err(|error| refused(&error))?;
    if session.pooled() {
        return Err("a pooler answers for the server, and its connections are shared".into());
    }
    let mut values = Vec::new();
    for (name, ..) in settings {
        let row = session
            .client()
            .query_one("SELECT pg_catalog.current_setting($1) /* pgassay */", &[name])
            .await
            .map_err(|error| refused(&error))?;
        values.push(row.try_get(0).map_err(|error| refused(&error))?);
    }
    Ok(values)
}

/// Connection settings that ask for values at start-up (manual, section 34.1.2, `options`).
fn with_values<'a>(
    way: &ConnectionSettings,
    values: impl Iterator<Item = (&'a str, &'a str)>,
) -> ConnectionSettings {
    let mut options = way.options.clone().unwrap_or_default();
    for (name, value) in values {
        if !options.is_empty() {
            options.push(' ');
        }
        options.push_str(&format!("-c {name}={}", escaped(value)));
    }
    ConnectionSettings { options: Some(options), ..way.clone() }
}

/// Within `options` white space separates, and a backslash takes its meaning.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        if character.is_whitespace() || character == '\\' {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

/// The same target, its application connecting another way.
fn towards(target: &Target, application: ConnectionSettings) -> Target {
    Target {
        server: target.server.clone(),
        application,
        console: target.console.clone(),
        ini: target.ini.clone(),
        pgbouncer_binary: target.pgbouncer_binary.clone(),
        postgres_bin: target.postgres_bin.clone(),
        state: target.state.clone(),
        interrupt: target.interrupt.clone(),
        progress: target.progress.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn values_with_spaces_and_backslashes_stay_one_argument() {
        assert_eq!(escaped(r#""$user", public"#), r#""$user",\ public"#);
        assert_eq!(escaped(r"a\b"), r"a\\b");
    }

    #[test]
    fn halves_have_half_of_the_clients_and_of_the_rate() {
        let open = half(&LoadMode::Open { rate: 100.0, clients: 9 }).unwrap();
        assert_eq!(open, LoadMode::Open { rate: 50.0, clients: 4 });
        assert_eq!(
            half(&LoadMode::Closed { clients: 8 }).unwrap(),
            LoadMode::Closed { clients: 4 }
        );
        assert!(half(&LoadMode::Closed { clients: 1 }).is_err());
        assert!(half(&LoadMode::Replay { speed: 1.0, clients: 8 }).is_err());
    }
}
