//! Packed logs, rotated sets, windows.

use pgassay_workload::{LogOptions, capture_logs};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

fn lines(minute: u32, table: &str) -> String {
    (0..100)
        .map(|second| {
            format!(
                "2026-01-31 12:{:02}:{:02}.000 UTC [7] LOG:  duration: 1.000 ms  statement: SELECT * FROM {table} WHERE id = {second}\n",
                minute + second / 60,
                second % 60
            )
        })
        .collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
}

#[test]
fn packed_and_plain_files_of_a_rotated_set_are_read_in_order_of_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut two_frames = zstd(&lines(2, "b"));
    two_frames.extend(zstd(&lines(4, "b")));
    let mut two_members = gzip(&lines(6, "c"));
    two_members.extend(gzip(&lines(8, "c")));
    for (name, content) in [
        ("log.2.zst", two_frames),
        ("log.1.gz", two_members),
        ("log", lines(10, "d").into_bytes()),
        ("log.3", lines(0, "a").into_bytes()),
    ] {
        fs::write(directory.path().join(name), content).unwrap();
    }
    let capture = capture_logs(&[directory.path().into()], &LogOptions::default()).unwrap();
    let weights: Vec<f64> =
        capture.workload.statements.iter().map(|statement| statement.weight).collect();
    let mut sorted = weights.clone();
    sorted.sort_by(f64::total_cmp);
    assert_eq!(sorted, [100.0, 100.0, 200.0, 200.0]);
    let requests = &capture.workload.sessions[0].requests;
    assert_eq!(requests.len(), 600);
    assert!(requests.is_sorted_by_key(|request| request.at_us));
    assert_eq!(requests[0].at_us, 0);
}

#[test]
fn a_window_counts_back_from_the_last_entry() {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [("a", lines(0, "a").into_bytes()), ("b.gz", gzip(&lines(10, "b")))] {
        fs::write(directory.path().join(name), content).unwrap();
    }
    let options = LogOptions { window: Some(Duration::from_secs(49)), ..LogOptions::default() };
    let capture = capture_logs(&[directory.path().into()], &options).unwrap();
    assert_eq!(capture.workload.statements.len(), 1);
    assert_eq!(capture.workload.statements[0].weight, 50.0);
}

#[test]
fn a_truncated_archive_gives_what_is_whole_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut packed = gzip(&lines(0, "a").repeat(50));
    packed.truncate(packed.len() / 2);
    let path: PathBuf = directory.path().join("log.gz");
    fs::write(&path, packed).unwrap();
    let capture = capture_logs(&[path], &LogOptions::default()).unwrap();
    assert!(capture.workload.statements[0].weight >= 1.0);
    assert!(capture.workload.skipped.iter().any(|skipped| skipped.reason.contains("ends early")));
}

#[test]
fn the_same_log_in_two_formats_of_a_directory_is_read_once() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.log"), lines(0, "a")).unwrap();
    fs::write(
        directory.path().join("a.json"),
        "{\"timestamp\":\"2026-01-31 12:00:00.000 UTC\",\"pid\":7,\"error_severity\":\"LOG\",\
         \"message\":\"duration: 1.000 ms  statement: SELECT * FROM a WHERE id = 1\"}\n",
    )
    .unwrap();
    let capture = capture_logs(&[directory.path().into()], &LogOptions::default()).unwrap();
    assert_eq!(capture.workload.statements[0].weight, 1.0);
    assert!(capture.workload.source.contains("a.json (jsonlog)"));
}

#[test]
fn entries_that_the_server_wrote_in_two_formats_are_read_once_however_they_were_rotated() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.log", "a.log.1", "a.log.2.gz", "b.log.zst"] {
        let text = lines(0, "t");
        let content = match name.rsplit('.').next() {
            Some("gz") => gzip(&text),
            Some("zst") => zstd(&text),
            _ => text.into_bytes(),
        };
        fs::write(directory.path().join(name), content).unwrap();
    }
    let csv = "2026-01-31 12:00:00.000 UTC,\"u\",\"d\",7,,1.7,1,,2026-01-31 11:00:00 UTC,,0,LOG,00000,\
               \"duration: 1.000 ms  statement: SELECT 1 FROM u\",,,,,,,,,\"\",\"client backend\",,0\n";
    for name in ["a.csv", "a.csv.1", "a.csv.2.gz"] {
        let content = if name.ends_with("gz") { gzip(csv) } else { csv.as_bytes().to_vec() };
        fs::write(directory.path().join(name), content).unwrap();
    }
    let capture = capture_logs(&[directory.path().into()], &LogOptions::default()).unwrap();
    let weight = |part: &str| {
        let found = capture.workload.statements.iter().find(|own| own.sql.contains(part));
        found.map(|found| found.weight)
    };
    assert_eq!((weight("FROM u"), weight("FROM t")), (Some(3.0), Some(100.0)));
}
