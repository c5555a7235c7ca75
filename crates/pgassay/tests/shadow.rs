//! Advice by the shadow planner: on a server, from a bundle when the server is gone, beside another engine where it
//! lacks some relations, and nothing left of a process that was killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_testkit::{Postgres, fresh_database, shared};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use support::advising::{TABLE, run, workload};
use support::{answer, command};

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

    // Signalled as soon as its shadow's directory is there.
    for signal in [nix::sys::signal::SIGINT, nix::sys::signal::SIGKILL] {
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
        let process = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(process, signal).unwrap();
        child.wait().unwrap();
        if signal == nix::sys::signal::SIGINT {
            // Ctrl-C lets it clean up itself.
            assert_eq!(shadows(place.path()), Vec::<PathBuf>::new());
        }
        // Its watcher or the next run removes what it left; a server that is still ending may take either a while.
        while !shadows(place.path()).is_empty() {
            assert!(Instant::now() < end, "{:?}", shadows(place.path()));
            assert_eq!(run(&["advise", "--bundle", &file]).status, 0);
        }
    }
}

/// What is proposed, and by whom.
fn engines(advice: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let indexes = advice["indexes"].as_array().unwrap();
    indexes.iter().map(|index| (text(&index["relation"]), text(&index["engine"]))).collect()
}

/// A relation that a shadow can be built of, and one of a type that only this server has.
fn partly_strange(server: &Postgres) -> String {
    let database = fresh_database(server);
    for sql in [
        TABLE[0],
        "CREATE TYPE strange; CREATE FUNCTION strange_in(cstring) RETURNS strange LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
         CREATE FUNCTION strange_out(strange) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'int4out';
         CREATE TYPE strange (INPUT = strange_in, OUTPUT = strange_out, LIKE = int4);
         CREATE TABLE odd (id int PRIMARY KEY, person int, thing strange);
         INSERT INTO odd SELECT g, g % 5000, (g % 10)::text::strange FROM generate_series(1, 50000) g",
        TABLE[1],
        "VACUUM ANALYZE odd",
    ] {
        server.execute(&database, sql).unwrap();
    }
    database
}

#[test]
fn what_the_shadow_lacks_is_answered_by_the_next_engine_statement_by_statement() {
    let server = shared();
    let database = partly_strange(server);
    let state = tempfile::tempdir().unwrap();
    let workload = workload(
        state.path(),
        &[
            ("plain", "SELECT * FROM visits WHERE person = 77"),
            ("strange", "SELECT * FROM odd WHERE person = 77"),
        ],
    );
    let dsn = server.dsn(&database);
    let bundle = state.path().join("b").display().to_string();
    let advise = ["advise", &dsn, "--workload", &workload];
    let both = |other: &str| {
        BTreeMap::from([
            ("public.odd".into(), other.into()),
            ("public.visits".into(), "shadow".into()),
        ])
    };

    // Without HypoPG there are rules for it.
    let advice = run(state.path(), &advise).json();
    assert_eq!(advice["engine"], "shadow", "{advice:#}");
    assert_eq!(engines(&advice), both("rule"), "{advice:#}");
    let elsewhere = advice["elsewhere"].as_array().unwrap();
    assert_eq!(elsewhere.len(), 1, "{advice:#}");
    assert_eq!(elsewhere[0]["statement"], "strange");
    let reason = elsewhere[0]["reason"].as_str().unwrap();
    assert!(reason.contains("public.odd") && reason.contains("strange"), "{reason}");
    let load = &advice["target_load"];
    assert!(
        load["statements"].as_u64().unwrap() > 30 && load["bytes"].as_u64().unwrap() > 1000,
        "{load}"
    );
    assert!(load["explains"].as_u64().unwrap() >= 1, "{load}");

    let text = answer(command(state.path()).args(advise)).stdout;
    assert!(text.contains("(estimates of the rule from statistics)"), "{text}");
    let file = state.path().join("plan.json").display().to_string();
    let plan = run(state.path(), &["plan", &dsn, "--workload", &workload, "-o", &file]).json();
    let sources: BTreeMap<String, &str> = plan["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["kind"] == "create_index")
        .map(|change| (change["title"].to_string(), change["expected"]["source"].as_str().unwrap()))
        .collect();
    assert_eq!(sources.len(), 2, "{plan:#}");
    assert!(
        sources.iter().all(|(title, source)| (*source == "rule") == title.contains("odd")),
        "{sources:?}"
    );

    // The plan says so itself.
    let elsewhere = &plan["elsewhere"];
    assert_eq!(elsewhere[0]["statement"], "strange", "{elsewhere:#}");
    assert_eq!(elsewhere[0]["engine"], "rule", "{elsewhere:#}");
    assert_eq!(elsewhere[0]["reason"], reason, "{elsewhere:#}");

    // The same from a bundle, where nobody else is left to ask.
    let exported =
        run(state.path(), &["bundle", "export", &dsn, "--workload", &workload, "-o", &bundle]);
    assert_eq!(exported.status, 0, "{}", exported.stdout);
    let apart = run(state.path(), &["advise", "--bundle", &bundle]).json();
    assert_eq!(engines(&apart), both("rule"), "{apart:#}");

    // The shadow alone, when it is asked for by name.
    let alone = run(state.path(), &[&advise[..], &["--engine", "shadow"]].concat()).json();
    assert_eq!(engines(&alone).len(), 1, "{alone:#}");
    assert_eq!(alone["skipped"].as_array().unwrap().len(), 1, "{alone:#}");

    if server.execute(&database, "CREATE EXTENSION hypopg").is_ok() {
        let advice = run(state.path(), &advise).json();
        assert_eq!(engines(&advice), both("hypopg"), "{advice:#}");
        let text = answer(command(state.path()).args(advise).arg("-v")).stdout;
        assert!(text.contains("answered by hypopg in place of shadow: strange"), "{text}");
        assert!(text.contains("(by hypopg)"), "{text}");
        assert!(
            text.contains("load on the server: ") && text.contains("plans were made there"),
            "{text}"
        );
    }
}

#[test]
fn a_role_that_may_read_some_relations_is_advised_on_those_by_the_shadow() {
    let server = shared();
    let database = fresh_database(server);
    for sql in TABLE.iter().chain(&["CREATE TABLE closed AS SELECT * FROM visits"]) {
        server.execute(&database, sql).unwrap();
    }
    let role = format!("reader_{database}");
    let grants = format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON visits TO {role}");
    server.execute(&database, &grants).unwrap();
    let state = tempfile::tempdir().unwrap();
    let workload = workload(
        state.path(),
        &[
            ("open", "SELECT * FROM visits WHERE person = 77"),
            ("closed", "SELECT * FROM closed WHERE person = 77"),
        ],
    );
    let dsn = server.dsn(&database).replace("postgres@", &format!("{role}@"));
    let advice = run(state.path(), &["advise", &dsn, "--workload", &workload]).json();
    assert_eq!(advice["engine"], "shadow", "{advice:#}");
    assert_eq!(engines(&advice)["public.visits"], "shadow", "{advice:#}");
    let elsewhere = advice["elsewhere"].as_array().unwrap();
    assert!(elsewhere.len() == 1 && elsewhere[0]["engine"] == "rule", "{advice:#}");
    let reason = elsewhere[0]["reason"].as_str().unwrap();
    let grant = format!("GRANT SELECT ON public.closed TO {role}");
    assert!(reason.contains(&grant), "{reason}");

    // Who may read none of them gets no shadow, and is told.
    let sql = format!("REVOKE SELECT ON visits FROM {role}; GRANT pg_monitor TO {role}");
    server.execute(&database, &sql).unwrap();
    let advice = run(state.path(), &["advise", &dsn, "--workload", &workload]).json();
    assert_eq!(advice["engine"], "rule", "{advice:#}");
    assert!(advice["notes"].to_string().contains("can't answer for public.visits"), "{advice:#}");
    // HypoPG plans on the server, which does not let it plan either.
    if server.execute(&database, "CREATE EXTENSION hypopg").is_ok() {
        let advice = run(state.path(), &["advise", &dsn, "--workload", &workload]).json();
        let elsewhere = advice["elsewhere"].as_array().unwrap();
        assert_eq!(elsewhere.len(), 2, "{advice:#}");
        assert!(elsewhere.iter().all(|one| one["engine"] == "rule"), "{advice:#}");
        assert!(elsewhere[0]["reason"].to_string().contains("42501"), "{advice:#}");
    }
}

#[test]
fn a_plan_uses_the_programs_it_is_given_for_its_shadow() {
    let server = shared();
    let database = fresh_database(server);
    for sql in TABLE {
        server.execute(&database, sql).unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let workload = workload(state.path(), &[("one", "SELECT * FROM visits WHERE person = 77")]);
    // As the server's own programs, but for a note that they were called.
    let programs = tempfile::Builder::new().prefix("pb").tempdir_in("/tmp").unwrap();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(programs.path(), 0o777);
    let installation = pgassay_testkit::find_postgres(None).unwrap();
    for name in ["initdb", "postgres", "pg_ctl"] {
        let own = programs.path().join(name);
        let real = installation.bin_dir.join(name);
        let mark = programs.path().join("called");
        let text =
            format!("#!/bin/sh\n: >> {}.{name}\nexec {} \"$@\"\n", mark.display(), real.display());
        std::fs::write(&own, text).unwrap();
        open(&own, 0o755);
    }
    let bin = programs.path().display().to_string();
    let dsn = server.dsn(&database);
    let file = state.path().join("plan.json").display().to_string();
    let arguments = ["plan", &dsn, "--workload", &workload, "-o", &file, "--postgres-bin", &bin];
    let plan = run(state.path(), &arguments).json();
    assert_eq!(plan["engine"], "shadow", "{plan:#}");
    assert!(programs.path().join("called.initdb").exists(), "another server was started");
}

#[test]
fn where_the_time_limit_comes_before_the_shadow_another_engine_answers_and_it_is_said() {
    let server = shared();
    let database = fresh_database(server);
    for sql in TABLE {
        server.execute(&database, sql).unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let statements = [("one", "SELECT * FROM visits WHERE person = 77")];
    let workload = workload(state.path(), &statements);
    let dsn = server.dsn(&database);
    let bundle = state.path().join("b").display().to_string();
    let exported =
        run(state.path(), &["bundle", "export", &dsn, "--workload", &workload, "-o", &bundle]);
    assert_eq!(exported.status, 0, "{}", exported.stdout);
    let on_server = ["advise", &dsn, "--workload", &workload, "--time-limit", "100ms"];
    for arguments in [&on_server[..], &["advise", "--bundle", &bundle, "--time-limit", "100ms"]] {
        let began = Instant::now();
        let answer = run(state.path(), arguments);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        // 1: on a busy machine the time is up before that one is asked.
        assert!(answer.status <= 1, "{}", answer.stdout);
        let advice = answer.json();
        assert_eq!(advice["engine"], "rule", "{advice:#}");
        assert!(advice["notes"].to_string().contains("part of the time limit"), "{advice:#}");
        // Nothing else may answer.
        let alone = run(state.path(), &[arguments, &["--engine", "shadow"]].concat());
        assert_eq!(alone.status, 4, "{}", alone.stdout);
        assert!(alone.json()["hint"].to_string().contains("--time-limit"), "{}", alone.stdout);
    }
}
