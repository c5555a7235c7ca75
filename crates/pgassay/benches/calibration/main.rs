//! How often the verdicts are right: comparisons of a real server with itself, and with real slow-downs.
//!
//! `cargo bench -p pgassay --bench calibration -- [A/A comparisons] [comparisons for each slow-down] [FILE] [ms]`
//! (default 200 and 40) takes the blocks, each of so many milliseconds (default 200), adds them to FILE (default
//! `target/calibration.jsonl`), and prints the report that is committed as `docs/calibration.md`. With `0 0` it only
//! judges the blocks of FILE, as after a change of the judge. One core is disturbed at random all the while.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark ends at the first failure"
)]

mod judging;
mod taking;

use pgassay_testkit::{Postgres, PostgresOptions};
use std::io::Write;
use std::time::Duration;
use taking::{Bench, Blocks, Case, Noise};

/// The slow-downs, each with its own share of the A/A comparisons, from which it goes on.
const SLOWED: [Case; 4] = [Case::Cpu(3), Case::Cpu(10), Case::Cpu(30), Case::IndexDropped];

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|text| !text.starts_with('-')).collect();
    let number = |index: usize, default: usize| {
        arguments.get(index).map_or(default, |text| text.parse().expect("a number of comparisons"))
    };
    let (same, slowed) = (number(0, 200), number(1, 40));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/calibration.jsonl");
    let file = arguments.get(2).map_or(root, String::as_str);
    let version = pgassay_testkit::find_postgres(None).map_or(0, |found| found.major);
    if same > 0 {
        take(same, slowed, file, Duration::from_millis(number(3, 200) as u64));
    }
    judging::report(
        file,
        &format!("cargo bench -p pgassay --bench calibration -- {same} {slowed}"),
        version,
    );
}

/// Takes blocks and adds them to the file, the cases in turn, so that what is there at any time is balanced.
fn take(same: usize, slowed: usize, file: &str, block: Duration) {
    let server =
        Postgres::start(PostgresOptions { stop_with_process: true, ..PostgresOptions::default() })
            .unwrap();
    let _noise = Noise::start();
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    let mut keep = |blocks: &Blocks| {
        let mut line = serde_json::to_string(blocks).unwrap();
        line.push('\n');
        file.write_all(line.as_bytes()).unwrap();
    };
    let mut bench = Bench::new(&server, block);
    for round in 0..same.max(slowed * SLOWED.len()) {
        let [pairs, sides] = bench.same();
        keep(&pairs);
        keep(&sides);
        if round / SLOWED.len() < slowed {
            let case = SLOWED[round % SLOWED.len()];
            keep(&bench.sides(case, sides.after));
            keep(&bench.pairs(case));
        }
        eprintln!("{} of {same}", round + 1);
    }
}
