//! How good the index advisor's sets are: every set built for real, beside other ways to choose.
//!
//! `cargo bench -p pgassay-advise --bench index_quality -- [--set tpch|oltp|analytical] [--data DIR] [--scale N] [--budgets 50,90,…]
//! [--engine shadow|hypopg] [--time] [--sets] [--estimates] [--seed N] [--no-peers | --only-peers]`
//! prints a report; what is worth keeping of it is in `docs/index-quality.md`. The data stays in DIR (default: in the
//! system's temporary directory) for the next run; `--time` runs the statements as well, `--sets` prints the sets,
//! `--estimates` builds none of TPC-H's. Budgets are in mebibytes; `--seed`, `--no-peers` and
//! `--only-peers` are for the analytical set.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark ends at the first failure"
)]

mod analytical;
mod asking;
mod building;
mod cophy;
mod extend;
mod oltp;
mod peers;
mod timing;
mod tpch;

use std::path::PathBuf;

/// What was asked for.
pub struct Flags {
    set: String,
    data: Option<PathBuf>,
    scale: f64,
    budgets: Option<Vec<u64>>,
    engine: String,
    time: bool,
    sets: bool,
    estimates: bool,
    peers: bool,
    own: bool,
    seed: u64,
}

impl Flags {
    /// Where the data is kept.
    fn data(&self, name: &str) -> PathBuf {
        self.data.clone().unwrap_or_else(|| std::env::temp_dir().join(name))
    }
}

fn flags() -> Flags {
    let mut flags = Flags {
        set: "tpch".into(),
        data: None,
        scale: 1.0,
        budgets: None,
        engine: "shadow".into(),
        time: false,
        sets: false,
        estimates: false,
        peers: true,
        own: true,
        seed: 7,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_else(|| panic!("{argument} takes a value"));
        match argument.as_str() {
            "--set" => flags.set = value(),
            "--data" => flags.data = Some(value().into()),
            "--scale" => flags.scale = value().parse().unwrap(),
            "--budgets" => {
                flags.budgets =
                    Some(value().split(',').map(|text| text.parse().unwrap()).collect());
            }
            "--engine" => flags.engine = value(),
            "--time" => flags.time = true,
            "--sets" => flags.sets = true,
            "--estimates" => flags.estimates = true,
            "--no-peers" => flags.peers = false,
            "--only-peers" => flags.own = false,
            "--seed" => flags.seed = value().parse().unwrap(),
            _ => {}
        }
    }
    flags
}

fn main() {
    let flags = flags();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match flags.set.as_str() {
        "oltp" => oltp::run(&runtime, &flags),
        "analytical" => analytical::run(&runtime, &flags),
        _ => tpch::run(&runtime, &flags),
    }
}
