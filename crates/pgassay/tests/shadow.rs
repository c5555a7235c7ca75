//! Advice by the shadow planner: on a server, from a bundle when the server is gone, and nothing left of a process
//! that was killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::{answer, command};

const TABLE: [&str; 2] = [
    "CREATE TABLE visits (id int PRIMARY KEY, person int, secret text);
     INSERT INTO visits SELECT g, g % 5000, 'row ' || g FROM generate_series(1, 50000) g",
    "VACUUM ANALYZE visits",
];

/// Directories of shadows in `place`.
fn shadows(place: &std::path::Path) -> Vec<PathBuf> {
    std::fs::read_dir(place)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("pgassay-shadow-"))
        .collect()
}

#[test]
fn a_bundle_brings_the_servers_own_advice_and_a_killed_process_leaves_no_shadow() {
    let server = pgassay_testkit::shared();
    let database = pgassay_testkit::fresh_database(server);
    for sql in TABLE {
        server.execute(&database, sql).unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let place = tempfile::Builder::new().prefix("sh").tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let dsn = server.dsn(&database);
    let workload = state.path().join("workload");
    std::fs::create_dir(&workload).unwrap();
    std::fs::write(workload.join("by_person.sql"), "SELECT * FROM visits WHERE person = 77")
        .unwrap();
    let workload = workload.display().to_string();
    let bundle = state.path().join("visits.bundle");
    let file = bundle.display().to_string();
    let run = |arguments: &[&str]| {
        answer(command(state.path()).args(arguments).arg("--json").env("TMPDIR", place.path()))
    };

    let there = run(&["advise", &dsn, "--workload", &workload]);
    assert_eq!(there.status, 0, "{}{}", there.stdout, there.stderr);
    let there = there.json();
    assert_eq!(there["engine"], "shadow", "{there}");
    assert_eq!(there["notes"].as_array().unwrap().len(), 0, "{there}");
    let ddl = there["indexes"][0]["ddl"].as_str().unwrap();
    assert!(ddl.contains("(person)"), "{ddl}");

    let exported = run(&["bundle", "export", &dsn, "--workload", &workload, "-o", &file]);
    assert_eq!(exported.status, 0, "{}", exported.stdout);
    assert_eq!(std::fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600);
    server.execute("postgres", &format!("DROP DATABASE {database}")).unwrap();
    let apart = run(&["advise", "--bundle", &file]);
    assert_eq!(apart.status, 0, "{}{}", apart.stdout, apart.stderr);
    let apart = apart.json();
    for field in ["engine", "cost_before", "cost_after", "indexes"] {
        assert_eq!(apart[field], there[field], "{field}");
    }
    assert_eq!(shadows(place.path()), Vec::<PathBuf>::new());

    // Killed as soon as its shadow's directory is there.
    let mut child = command(state.path())
        .args(["advise", "--bundle", &file])
        .env("TMPDIR", place.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while shadows(place.path()).is_empty()
        && Instant::now() < end
        && child.try_wait().unwrap().is_none()
    {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Its watcher or the next run removes what it left; a server that is still ending may take either a while.
    while !shadows(place.path()).is_empty() {
        assert!(Instant::now() < end, "{:?}", shadows(place.path()));
        assert_eq!(run(&["advise", "--bundle", &file]).status, 0);
    }
}
