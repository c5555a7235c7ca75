//! Workload files on disk.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pgassay_workload::{WorkloadError, read, write};
use std::fs;
use std::path::Path;

fn directory(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

#[test]
fn a_directory_is_read_in_order_of_names_and_oddities_are_listed() {
    let directory = directory(&[
        ("b.sql", b"\xef\xbb\xbf-- weight: 3\r\nDELETE FROM t WHERE a = $1;\r\n-- params: [1]\r\n"),
        ("a.SQL", b"SELECT 1 FROM t FOR UPDATE"),
        ("a.sql", b"SELECT 2"),
        ("c.sql", b""),
        ("d.sql", b"SELECT 1; SELECT 2"),
        ("e.sql", b"SELEC 1"),
        ("readme.txt", b"\\set"),
        (".hidden.sql", b"-- weight: 0"),
    ]);
    let workload = read(directory.path()).unwrap();
    let found: Vec<_> =
        workload.statements.iter().map(|s| (s.id.as_str(), s.weight, s.writes)).collect();
    assert_eq!(found, [("a", 1.0, true), ("a.sql", 1.0, false), ("b", 3.0, true)]);
    assert_eq!(workload.statements[2].sql, "DELETE FROM t WHERE a = $1");
    assert_eq!(workload.statements[2].parameters, [[Some("1".to_owned())]]);
    assert_eq!(workload.statements[2].parameter_source, "given");
    let reasons: Vec<_> = workload.skipped.iter().map(|s| s.reason.as_str()).collect();
    assert!(reasons[0].starts_with("c.sql: holds no statement"), "{reasons:?}");
    assert!(reasons[1].starts_with("d.sql: expected one statement, found 2"), "{reasons:?}");
    assert!(reasons[2].starts_with("e.sql: not SQL"), "{reasons:?}");
}

#[test]
fn what_is_no_workload_is_refused_with_the_file_and_the_way_out() {
    let directory = directory(&[
        ("script.txt", b"SELECT 1;\n\\sett aid random(1, 10)\n"),
        ("one.sql", b"-- params: [1]\nSELECT $1"),
        ("list.json", b"[1]"),
        ("run.json", b"{\"schema\": \"pgassay/run/1\"}"),
        ("bare.json", b"{\n}"),
        ("broken.json", b"{\n\"schema\": \"pgassay/workload/1\",\n\"statements\": 7}"),
        ("latin.json", b"{\"schema\": \"\xe9\"}"),
    ]);
    let error = |name: &str| read(directory.path().join(name)).unwrap_err();
    let script = error("script.txt").to_string();
    assert!(script.contains("script.txt, line 2: \\sett is no command"), "{script}");
    let one = error("one.sql").to_string();
    assert!(one.contains("line 2: $1 is no variable") && one.contains("directory"), "{one}");
    assert!(matches!(error("list.json"), WorkloadError::Script { .. }));
    assert!(matches!(error("script.txt@3"), WorkloadError::Script { .. }));
    let weight = error("script.txt@x").to_string();
    assert!(weight.contains("\"x\" is no weight"), "{weight}");
    assert!(matches!(error("run.json"), WorkloadError::Schema { .. }));
    assert!(matches!(error("bare.json"), WorkloadError::Schema { .. }));
    assert!(error("broken.json").to_string().contains("broken.json, line 3"));
    assert!(matches!(error("latin.json"), WorkloadError::NotText { .. }));
    assert!(matches!(error("absent.json"), WorkloadError::File { .. }));
}

#[test]
fn a_directory_without_statements_is_refused() {
    let directory = directory(&[("readme.txt", b"SELECT 1")]);
    assert!(matches!(read(directory.path()), Err(WorkloadError::NoFiles { .. })));
}

#[test]
fn a_weight_of_zero_in_a_document_is_refused() {
    let directory = directory(&[("a.sql", b"SELECT 1")]);
    let mut workload = read(directory.path()).unwrap();
    workload.statements[0].weight = 0.0;
    let file = directory.path().join("w.json");
    write(&file, &workload).unwrap();
    assert!(matches!(read(&file), Err(WorkloadError::Weight { .. })));
}

#[test]
fn a_document_is_replaced_whole_and_only_its_owner_reads_it() {
    let directory = directory(&[("a.sql", b"SELECT 1"), ("w.json", b"old")]);
    let workload = read(directory.path()).unwrap();
    let file = directory.path().join("w.json");
    write(&file, &workload).unwrap();
    assert_eq!(read(&file).unwrap(), workload);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "no temporary file is left");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(write(directory.path().join("absent/w.json"), &workload).is_err());
    assert!(write(Path::new(""), &workload).is_err());
}
