//! Copies of real servers: made by a base backup or else by a dump, judged and written on, and gone afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{DATABASE, PASSWORD, ROLE, Shop};

/// Where copies of a test lie; short, since sockets lie in it too.
struct Temporary(tempfile::TempDir);

impl Temporary {
    fn new() -> Temporary {
        let directory = tempfile::Builder::new().prefix("t").tempdir_in("/tmp").unwrap();
        // Servers in it may run as another account.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
        Temporary(directory)
    }

    fn command(&self, shop: &Shop) -> Command {
        let mut command = support::command(&shop.state());
        command.env("TMPDIR", self.0.path());
        command
    }

    fn left(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

/// The application's own role, straight to the server: it owns the relations, and may not replicate.
fn owner(shop: &Shop) -> String {
    shop.server.tcp_dsn(ROLE, PASSWORD, DATABASE)
}

fn rows(shop: &Shop) -> Vec<Vec<Option<String>>> {
    shop.server
        .query(
            DATABASE,
            "SELECT count(*), sum(hashtext(t::text)), max(xmin::text::bigint) FROM tokens AS t",
        )
        .unwrap()
}

/// A folder with one statement that writes and one that reads.
fn writing_workload(shop: &Shop) -> String {
    let folder = shop.directory.path().join("writing");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in [
        (
            "touch.sql",
            "-- weight: 2\nUPDATE tokens SET expiry = now() WHERE user_id = $1 AND service = $2",
        ),
        ("user.sql", "SELECT username FROM users WHERE id = $1"),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    folder.display().to_string()
}

fn notes(run: &Value) -> String {
    run["notes"].to_string()
}

#[test]
fn what_a_measured_workload_writes_goes_to_a_copy_and_never_to_the_server() {
    let shop = Shop::open(10_000);
    let (workload, temporary) = (writing_workload(&shop), Temporary::new());
    let before = rows(&shop);
    let measure = |dsn: &str| {
        support::answer(temporary.command(&shop).args([
            "measure",
            dsn,
            "--workload",
            &workload,
            "--writes",
            "copy",
            "--clients",
            "2",
            "--duration",
            "2s",
            "--warmup",
            "500ms",
            "--json",
        ]))
    };
    // The superuser may take a base backup, the owner of the relations has to dump.
    for (dsn, way) in [(shop.dsn(), "pg_basebackup"), (owner(&shop), "pg_dump")] {
        let answer = measure(&dsn);
        assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
        assert!(answer.stderr.contains(way), "{}", answer.stderr);
        let measurement = answer.json();
        assert!(measurement["requests"].as_u64().unwrap() > 0);
        assert_eq!(measurement["errors"], 0, "{measurement}");
        assert!(measurement["target"].as_str().unwrap().starts_with("copy of "), "{measurement}");
        assert!(notes(&measurement).contains("measured on a copy"), "{}", notes(&measurement));
        assert_eq!(notes(&measurement).contains("bloat"), way == "pg_dump");
    }
    assert_eq!(rows(&shop), before, "the server's own rows are as they were");
    assert!(temporary.left().is_empty(), "{:?}", temporary.left());

    // Through a pooler there is no server to copy; a verification is of the server itself.
    let answer = measure(&shop.app_dsn());
    assert_eq!(answer.status, 2, "{}", answer.stdout);
    assert!(answer.json()["hint"].as_str().unwrap().contains("--direct"), "{}", answer.stdout);
    let answer = shop.pgassay(&["verify", "latest", &shop.dsn(), "--writes", "copy", "--json"]);
    assert_eq!(answer.status, 2, "{}", answer.stdout);
}

#[test]
fn a_dumped_copy_has_the_roles_rights_settings_and_relations_of_the_server() {
    let shop = Shop::open(1_000);
    shop.server
        .execute(
            DATABASE,
            &format!(
                "CREATE ROLE \"Odd-Role\" NOLOGIN; GRANT \"Odd-Role\" TO {ROLE};
                 ALTER ROLE {ROLE} SET search_path = \"$user\", public;
                 ALTER DATABASE {DATABASE} SET work_mem = '7MB';
                 CREATE VIEW seen AS SELECT current_setting('work_mem') AS work_mem,
                     current_setting('search_path') AS search_path, pg_has_role('Odd-Role', 'MEMBER') AS member;
                 GRANT SELECT ON seen TO {ROLE};
                 ALTER TABLE tokens ENABLE ROW LEVEL SECURITY;"
            ),
        )
        .unwrap();
    // Statements that fail where anything is missing: a division by zero is an error of the request.
    let folder = shop.directory.path().join("seen");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(
        folder.join("seen.sql"),
        "SELECT 1 / (work_mem = '7MB' AND search_path = '\"$user\", public' AND member)::int,
                1 / (SELECT count(*) FROM tokens) FROM seen",
    )
    .unwrap();
    let temporary = Temporary::new();
    let answer = support::answer(temporary.command(&shop).args([
        "measure",
        &owner(&shop),
        "--workload",
        folder.to_str().unwrap(),
        "--writes",
        "copy",
        "--clients",
        "1",
        "--duration",
        "1s",
        "--warmup",
        "0s",
        "--json",
    ]));
    assert_eq!(answer.status, 0, "{}{}", answer.stdout, answer.stderr);
    let measurement = answer.json();
    assert_eq!(measurement["errors"], 0, "{measurement}");
    assert!(!notes(&measurement).contains("left out"), "{}", notes(&measurement));
}

/// Starts a measurement on a copy and returns once the copy is being made.
fn copying(shop: &Shop, temporary: &Temporary) -> std::process::Child {
    let mut child = temporary
        .command(shop)
        .args(["measure", &owner(shop), "--workload", &writing_workload(shop), "--writes", "copy"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("holds one snapshot")));
    // Read on, so that nothing stands still by a full pipe.
    std::thread::spawn(move || lines.count());
    child
}

fn servers_of(temporary: &Temporary) -> usize {
    let own = temporary.0.path().display().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok())
        .filter(|line| line.contains(&own) && line.contains("postgres"))
        .count()
}

#[test]
fn ctrl_c_while_copying_removes_the_copy_and_what_kill_9_leaves_the_next_run_removes() {
    let shop = Shop::open(100_000);
    let temporary = Temporary::new();
    let mut child = copying(&shop, &temporary);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(temporary.left().is_empty(), "{:?}", temporary.left());

    let mut child = copying(&shop, &temporary);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(temporary.left().len(), 1);
    // The watchers that it left stop its servers.
    let started = Instant::now();
    while servers_of(&temporary) > 0 {
        assert!(started.elapsed() < Duration::from_secs(30), "the server of the dead goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    let place = &temporary.left()[0];
    std::fs::write(place.join("left"), "").unwrap();
    let answer = support::answer(temporary.command(&shop).args([
        "measure",
        &shop.dsn(),
        "--workload",
        &shop.workload(),
        "--writes",
        "copy",
        "--clients",
        "1",
        "--duration",
        "1s",
        "--warmup",
        "0s",
    ]));
    assert_eq!(answer.status, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("left by a pgassay that was killed"), "{}", answer.stderr);
    assert!(temporary.left().is_empty(), "{:?}", temporary.left());
}

#[test]
fn copies_for_which_there_is_no_room_are_refused_before_anything_is_written() {
    let shop = Shop::open(1_000);
    let temporary = Temporary::new();
    let small = temporary.0.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64m,mode=0711", "tmpfs"])
        .arg(&small)
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        // Mounting takes rights that not every machine gives its tests; the figures are tested on values too.
        return;
    }
    let answer = support::answer(temporary.command(&shop).env("TMPDIR", &small).args([
        "measure",
        &shop.dsn(),
        "--workload",
        &writing_workload(&shop),
        "--writes",
        "copy",
        "--json",
    ]));
    let left = std::fs::read_dir(&small).unwrap().count();
    let _ = Command::new("umount").arg(&small).status();
    assert_eq!(answer.status, 2, "{}", answer.stdout);
    let error = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("a copy") && error.contains("are free"), "{error}");
    assert!(answer.json()["hint"].as_str().unwrap().contains("TMPDIR"));
    assert!(!answer.stderr.contains("by pg_dump"), "{}", answer.stderr);
    assert_eq!(left, 0);
}

#[test]
fn where_no_base_backup_can_be_made_a_dump_judges_and_the_server_gets_what_proved_itself() {
    let shop = Shop::open(30_000);
    let (workload, temporary) = (writing_workload(&shop), Temporary::new());
    let before = rows(&shop);
    let answer = support::answer(temporary.command(&shop).args([
        "optimize",
        &owner(&shop),
        "--workload",
        &workload,
        "--writes",
        "copy",
        "--duration",
        "4s",
        "--warmup",
        "500ms",
        "--out",
        &shop.file("report"),
        "--json",
    ]));
    eprintln!("{}", answer.stderr);
    assert!(matches!(answer.status, 0 | 1), "{}{}", answer.stdout, answer.stderr);
    let run = answer.json();
    let said = notes(&run);
    for word in ["made by pg_dump", "walsender", "bloat", "without touch"] {
        assert!(said.contains(word), "{word} in {said}");
    }
    let kept: Vec<&Value> = run["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["state"] == "kept" && change["kind"] == "create_index")
        .collect();
    assert_eq!(kept.len(), 1, "the index that the UPDATE searches by: {}", run["changes"]);
    assert!(kept[0]["comparison"].to_string().contains("two copies"));
    assert!(run["plan"]["changes"].to_string().contains("\"rehearsed\""), "{}", run["plan"]);
    assert!(kept[0]["reason"].as_str().unwrap().contains("what reads"), "{}", kept[0]["reason"]);
    let statements = run["before"]["statements"].as_array().unwrap();
    assert_eq!(statements.len(), 1, "the server was driven only by what reads");
    assert_eq!(rows(&shop), before, "the server's own rows are as they were");
    assert!(temporary.left().is_empty(), "{:?}", temporary.left());
}
