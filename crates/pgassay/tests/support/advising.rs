//! What tests of advice share: a relation, workloads of files, what is in a bundle.
#![allow(dead_code, reason = "each test binary uses a part")]

use super::{Answer, answer, command};
use std::io::Read;
use std::path::Path;

/// A relation without an index on `person`.
pub const TABLE: [&str; 2] = [
    "CREATE TABLE visits (id int PRIMARY KEY, person int, secret text);
     INSERT INTO visits SELECT g, g % 5000, 'row ' || g FROM generate_series(1, 50000) g",
    "VACUUM ANALYZE visits",
];

/// A workload of one file for each statement.
pub fn workload(directory: &Path, statements: &[(&str, &str)]) -> String {
    let workload = directory.join("workload");
    std::fs::create_dir_all(&workload).unwrap();
    for (id, sql) in statements {
        std::fs::write(workload.join(format!("{id}.sql")), sql).unwrap();
    }
    workload.display().to_string()
}

/// Runs pgassay for its JSON.
pub fn run(state: &Path, arguments: &[&str]) -> Answer {
    answer(command(state).args(arguments).arg("--json"))
}

/// The document within a bundle.
pub fn unpacked(bundle: &str) -> String {
    let bytes = std::fs::read(bundle).unwrap();
    let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
    let mut packed = &bytes[8 + length..];
    let mut text = String::new();
    ruzstd::decoding::StreamingDecoder::new(&mut packed)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}
