//! Load on real servers: what is counted, and what happens when something goes wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use pgassay_load::{LoadError, LoadMode, Protocol, ServerParts, ledger, probe};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::Connect;
use pgassay_testkit::{
    PgBouncer, PgBouncerOptions, Postgres, PostgresOptions, fresh_database, shared,
};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use support::{drive, options, select_one, settings, statement, with_values, workload};

fn count(server: &Postgres, database: &str, sql: &str) -> u64 {
    let rows = server.query(database, sql).unwrap();
    rows[0][0].as_deref().unwrap().parse().unwrap()
}

/// Asks until the answer is at least `least`.
fn wait_for(server: &Postgres, sql: &str, least: u64) {
    let end = Instant::now() + Duration::from_secs(10);
    while count(server, "postgres", sql) < least {
        assert!(Instant::now() < end, "not {least} within 10 s: {sql}");
    }
}

#[test]
fn blocks_cut_the_window_and_sum_to_it() {
    let server = shared();
    let progress = Mutex::new(Vec::new());
    let mut options = options(&server.dsn("postgres"));
    options.server_cpu = Some(server.postmaster_pid().unwrap());
    let load =
        workload(vec![statement("often", "SELECT 1", 9.0), statement("rare", "SELECT 2", 1.0)]);
    let driven = pgassay_load::drive(&load, &options, &Interrupt::default(), &|share| {
        progress.lock().unwrap().push(share);
    })
    .unwrap();
    let measurement = driven.measurement;
    assert_eq!(measurement.blocks.len(), 4);
    assert!(measurement.blocks.iter().all(|block| (block.duration_s - 0.1).abs() < 1e-6));
    assert_eq!(
        measurement.blocks.iter().map(|block| block.requests).sum::<u64>(),
        measurement.requests
    );
    assert_eq!(
        measurement.statements.iter().map(|own| own.requests).sum::<u64>(),
        measurement.requests
    );
    let often = measurement.statements[0].requests as f64 / measurement.requests as f64;
    let deviation = (0.9 * 0.1 / measurement.requests as f64).sqrt();
    assert!((often - 0.9).abs() < 5.0 * deviation, "{often}");
    let latency = measurement.latency_ms;
    assert!(latency.p50 > 0.0 && latency.p50 <= latency.p99 && latency.p99 <= latency.max);
    assert!((measurement.throughput - measurement.requests as f64 / 0.4).abs() < 1e-6);
    assert!(measurement.server_cpu_ms_per_request.is_some_and(|cpu| cpu > 0.0), "{measurement:?}");
    let parts = driven.client_parts;
    assert_eq!((parts.connect_ms, parts.tls_ms, parts.auth_ms), (0.0, 0.0, 0.0));
    assert!((parts.request_ms - latency.mean).abs() < 1e-9);
    let progress = progress.into_inner().unwrap();
    assert!(progress.is_sorted() && progress.last() == Some(&1.0), "{progress:?}");
}

#[test]
fn a_connection_per_request_is_opened_and_timed_for_every_request() {
    let server = shared();
    let database = fresh_database(server);
    server.execute("postgres", "CREATE ROLE reconnecting LOGIN PASSWORD 'r'").unwrap();
    let mut options = options(&server.tcp_dsn("reconnecting", "r", &database));
    options.connect = Connect::PerRequest;
    options.warmup = Duration::ZERO;
    let driven = drive(&select_one(), &options).unwrap();
    let (measurement, parts) = (driven.measurement, driven.client_parts);
    assert_eq!(measurement.errors, 0);
    assert!(parts.per_request && parts.connect_ms > 0.0 && parts.auth_ms > 0.0, "{parts:?}");
    let sum = parts.connect_ms + parts.tls_ms + parts.auth_ms + parts.request_ms;
    assert!((sum - measurement.latency_ms.mean).abs() < 1e-6);
    // Sessions are counted when they end and report; the first look of each client is one more.
    let sessions =
        format!("SELECT sessions FROM pg_catalog.pg_stat_database WHERE datname = '{database}'");
    wait_for(server, &sessions, measurement.requests);
    let (ledger, sources, _) =
        ledger::compose(&parts, &ServerParts::default(), measurement.latency_ms.mean);
    let known: f64 = ledger.parts().iter().filter_map(|(_, value)| *value).sum();
    assert!((known - ledger.total).abs() < 1e-9);
    assert!(sources.contains_key("auth"));
}

#[test]
fn an_open_loop_does_not_omit_what_a_lock_delays() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, "CREATE TABLE account AS SELECT 1 AS id").unwrap();
    let load = workload(vec![statement("read", "SELECT id FROM account", 1.0)]);
    let mut options = options(&server.dsn(&database));
    options.mode = LoadMode::Open { rate: 200.0, clients: 4 };
    options.duration = Duration::from_secs(3);
    options.block = Duration::from_millis(500);
    let (measurement, parts) = std::thread::scope(|scope| {
        scope.spawn(|| {
            server
                .execute(
                    &database,
                    "SELECT pg_catalog.pg_sleep(1); BEGIN; LOCK TABLE account; \
                     SELECT pg_catalog.pg_sleep(1); COMMIT",
                )
                .unwrap();
        });
        let driven = drive(&load, &options).unwrap();
        (driven.measurement, driven.client_parts)
    });
    // A third of the requests meet the lock, and wait from 1 s down to 0: p99 of all is near the 97th
    // percentile of those.
    assert!((0.85e3..1.5e3).contains(&measurement.latency_ms.p99), "{:?}", measurement.latency_ms);
    assert!(measurement.latency_ms.p50 < 50.0, "{:?}", measurement.latency_ms);
    assert!(parts.wait_ms.is_some_and(|wait| wait > 50.0), "{parts:?}");
    let expected = 200.0 * 3.0;
    assert!((measurement.requests as f64 - expected).abs() < 5.0 * expected.sqrt());
    assert_eq!(measurement.errors, 0);
}

#[test]
fn an_open_loop_of_one_seed_sends_the_same_requests() {
    let server = shared();
    let load = workload(vec![statement("a", "SELECT 1", 1.0), statement("b", "SELECT 2", 2.0)]);
    let mut options = options(&server.dsn("postgres"));
    options.mode = LoadMode::Open { rate: 500.0, clients: 3 };
    let counts = |seed| -> Vec<u64> {
        let mut options = options.clone();
        options.seed = seed;
        let measurement = drive(&load, &options).unwrap().measurement;
        measurement.statements.iter().map(|own| own.requests).collect()
    };
    assert_eq!(counts(11), counts(11));
    assert_ne!(counts(11), counts(12));
}

#[test]
fn a_load_that_falls_behind_says_so_and_ends() {
    let server = shared();
    let load = workload(vec![statement("slow", "SELECT pg_catalog.pg_sleep(0.1)", 1.0)]);
    let mut options = options(&server.dsn("postgres"));
    options.mode = LoadMode::Open { rate: 100.0, clients: 1 };
    options.warmup = Duration::ZERO;
    options.statement_timeout = Some(Duration::from_millis(800));
    let begin = Instant::now();
    let measurement = drive(&load, &options).unwrap().measurement;
    assert!(begin.elapsed() < Duration::from_secs(4));
    assert!(
        measurement.notes.iter().any(|note| note.contains("fell behind")),
        "{:?}",
        measurement.notes
    );
    assert!(measurement.latency_ms.max > 300.0);
    // One client that is answered ten times a second, also after the end of what was intended.
    assert!(measurement.throughput < 10.5, "{}", measurement.throughput);
}

#[test]
fn errors_are_counted_by_statement_and_the_load_goes_on() {
    let server = shared();
    let load = workload(vec![
        statement("good", "SELECT 1", 1.0),
        statement("missing", "SELECT * FROM no_such_relation", 1.0),
        with_values(statement("cast", "SELECT $1::text::integer", 1.0), &["secret-value"]),
        statement("copy", "COPY pg_catalog.pg_class FROM STDIN", 1.0),
    ]);
    let measurement = drive(&load, &options(&server.dsn("postgres"))).unwrap().measurement;
    let by = |id: &str| measurement.statements.iter().find(|own| own.id == id).unwrap();
    assert!(by("good").requests > 10);
    assert_eq!((by("good").errors, by("good").first_error.as_deref()), (0, None));
    assert_eq!(by("missing").errors, by("missing").requests);
    assert_eq!(
        by("missing").first_error.as_deref(),
        Some("42P01 relation \"no_such_relation\" does not exist")
    );
    let cast = by("cast").first_error.as_deref().unwrap();
    assert!(cast.starts_with("22P02 ") && !cast.contains("secret"), "{cast}");
    assert!(by("copy").first_error.is_some());
    assert_eq!(
        measurement.errors,
        measurement.statements.iter().map(|own| own.errors).sum::<u64>()
    );
    assert!(measurement.notes.iter().any(|note| note.contains("MOST REQUESTS FAILED")));
}

#[test]
fn a_server_that_dies_is_counted_and_nobody_hangs() {
    let server = Postgres::start(PostgresOptions::default()).unwrap();
    let mut options = options(&server.dsn("postgres"));
    options.duration = Duration::from_millis(1500);
    options.warmup = Duration::ZERO;
    let begin = Instant::now();
    let measurement = std::thread::scope(|scope| {
        let loaded = scope.spawn(|| drive(&select_one(), &options));
        let active = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE application_name = 'pgassay load'";
        wait_for(&server, active, 2);
        server.stop().unwrap();
        loaded.join().unwrap().unwrap().measurement
    });
    assert!(begin.elapsed() < Duration::from_secs(10));
    assert!(measurement.errors >= 2, "{measurement:?}");
    assert!(measurement.requests > measurement.errors);
    // Two clients that pause 100 ms after each refusal can't fail more often.
    assert!(measurement.errors < 60, "{}", measurement.errors);
}

#[test]
fn a_broken_connection_is_opened_again() {
    let server = shared();
    let database = fresh_database(server);
    let mut options = options(&server.dsn(&database));
    options.duration = Duration::from_millis(800);
    options.warmup = Duration::ZERO;
    let measurement = std::thread::scope(|scope| {
        let loaded = scope.spawn(|| drive(&select_one(), &options));
        let kill = format!(
            "SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
             WHERE datname = '{database}' AND application_name = 'pgassay load'"
        );
        wait_for(server, &kill, 2);
        loaded.join().unwrap().unwrap().measurement
    });
    assert!((1..=4).contains(&measurement.errors), "{}", measurement.errors);
    assert!(measurement.blocks.last().unwrap().requests > 10);
    let first = measurement.statements[0].first_error.as_deref().unwrap();
    assert!(first.starts_with("57P01") || first.contains("closed the connection"), "{first}");
}

#[test]
fn a_statement_that_takes_too_long_is_given_up_and_cancelled() {
    let server = shared();
    let database = fresh_database(server);
    let load = workload(vec![statement("sleep", "SELECT pg_catalog.pg_sleep(60)", 1.0)]);
    let mut options = options(&server.dsn(&database));
    options.statement_timeout = Some(Duration::from_millis(100));
    options.warmup = Duration::ZERO;
    let begin = Instant::now();
    let measurement = drive(&load, &options).unwrap().measurement;
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert!(measurement.errors > 0 && measurement.errors == measurement.requests);
    assert_eq!(measurement.statements[0].first_error.as_deref(), Some("no answer within 100 ms"));
    no_longer_active(server, &database, "pg_sleep(60)");
}

#[test]
fn an_interrupt_returns_within_a_second() {
    let server = shared();
    for sql in ["SELECT 1", "SELECT pg_catalog.pg_sleep(60)"] {
        let load = workload(vec![statement("s", sql, 1.0)]);
        let mut options = options(&server.dsn("postgres"));
        options.duration = Duration::from_secs(60);
        let interrupt = Interrupt::default();
        let asked = Mutex::new(None);
        let result = pgassay_load::drive(&load, &options, &interrupt, &|share| {
            if share > 0.003 && !interrupt.requested() {
                *asked.lock().unwrap() = Some(Instant::now());
                interrupt.request();
            }
        });
        assert!(matches!(result, Err(LoadError::Interrupted)));
        let asked = asked.lock().unwrap().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(1), "{sql}: {:?}", asked.elapsed());
    }
}

#[test]
fn writes_are_run_once_for_each_request() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, "CREATE TABLE entry (id text)").unwrap();
    let insert =
        with_values(statement("insert", "INSERT INTO entry VALUES ($1)", 1.0), &["a", "b"]);
    let mut options = options(&server.dsn(&database));
    options.warmup = Duration::ZERO;
    let measurement = drive(&workload(vec![insert]), &options).unwrap().measurement;
    assert_eq!(measurement.errors, 0);
    let rows = "SELECT count(*) FROM entry";
    assert_eq!(count(server, &database, rows), measurement.requests);
}

#[test]
fn the_probe_times_planning_and_executes_nothing() {
    let server = shared();
    let database = fresh_database(server);
    server.execute(&database, "CREATE TABLE entry (id integer PRIMARY KEY)").unwrap();
    let insert =
        with_values(statement("insert", "INSERT INTO entry VALUES ($1::integer)", 1.0), &["1"]);
    let join = statement(
        "join",
        "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace",
        1.0,
    );
    let refused = statement("refused", "SELECT * FROM no_such_relation", 1.0);
    let target = settings(&server.dsn(&database));
    let extended = Protocol::Extended;
    let cheap = probe::parse_plan(&target, &workload(vec![insert.clone()]), extended, 1).unwrap();
    let both =
        probe::parse_plan(&target, &workload(vec![insert, join, refused.clone()]), extended, 1)
            .unwrap();
    assert!(cheap.n > 10 && cheap.n <= 200, "{cheap:?}");
    assert!(both.mean_ms > cheap.mean_ms && both.mean_ms < 50.0, "{cheap:?} {both:?}");
    assert_eq!(count(server, &database, "SELECT count(*) FROM entry"), 0);
    let error = probe::parse_plan(&target, &workload(vec![refused]), extended, 1).unwrap_err();
    assert!(error.to_string().contains("42P01"), "{error}");
}

#[test]
fn what_pgbouncer_runs_too_long_is_cancelled_too() {
    let server = shared();
    let database = fresh_database(server);
    let pooler = PgBouncer::start(PgBouncerOptions {
        auth_type: "trust".into(),
        databases: vec![(
            "app".into(),
            format!(
                "host={} port={} dbname={database} user=postgres",
                server.socket_directory().display(),
                server.port()
            ),
        )],
        users: vec![("app".into(), String::new())],
        settings: vec![("pool_mode".into(), "transaction".into())],
        ..PgBouncerOptions::default()
    })
    .unwrap();
    let load = workload(vec![statement("sleep", "SELECT pg_catalog.pg_sleep(61)", 1.0)]);
    let mut options = options(&pooler.dsn("app", "", "app"));
    options.statement_timeout = Some(Duration::from_millis(100));
    options.warmup = Duration::ZERO;
    let measurement = drive(&load, &options).unwrap().measurement;
    assert!(measurement.errors > 0 && measurement.errors == measurement.requests);
    no_longer_active(server, &database, "pg_sleep(61)");
}

#[test]
fn a_failed_transaction_of_the_workload_s_own_is_rolled_back() {
    let server = shared();
    let load = workload(vec![
        statement("begin", "BEGIN", 1.0),
        statement("fail", "SELECT 1 / 0", 1.0),
        statement("good", "SELECT 1", 8.0),
    ]);
    let measurement = drive(&load, &options(&server.dsn("postgres"))).unwrap().measurement;
    let by = |id: &str| measurement.statements.iter().find(|own| own.id == id).unwrap();
    assert!(by("fail").errors > 5 && by("fail").errors == by("fail").requests);
    assert_eq!(by("good").errors, 0, "{:?}", by("good").first_error);
}

#[test]
fn long_answers_are_read_to_their_end() {
    let server = shared();
    let load = workload(vec![
        statement("long", "SELECT pg_catalog.repeat('x', 3000000)", 1.0),
        statement("many", "SELECT n, n::text FROM pg_catalog.generate_series(1, 5000) n", 1.0),
    ]);
    let measurement = drive(&load, &options(&server.dsn("postgres"))).unwrap().measurement;
    assert_eq!(measurement.errors, 0, "{:?}", measurement.notes);
    assert!(measurement.statements.iter().all(|own| own.requests > 0), "{measurement:?}");
}

/// Waits until no session runs a statement that ends so.
fn no_longer_active(server: &Postgres, database: &str, ending: &str) {
    let over = format!(
        "SELECT (count(*) = 0)::integer FROM pg_catalog.pg_stat_activity \
         WHERE datname = '{database}' AND query LIKE '%{ending}' AND state = 'active'"
    );
    wait_for(server, &over, 1);
}

#[test]
fn a_server_that_accepts_and_never_answers_hangs_nobody() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut options = options(&format!("postgresql://app@127.0.0.1:{port}/app"));
    options.target.connect_timeout = Duration::from_millis(200);
    let error = drive(&select_one(), &options).unwrap_err();
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().ends_with("no answer within 200 ms"), "{error}");

    options.target.connect_timeout = Duration::ZERO;
    let interrupt = Interrupt::default();
    interrupt.request();
    let begin = Instant::now();
    let result = pgassay_load::drive(&select_one(), &options, &interrupt, &|_| {});
    assert!(matches!(result, Err(LoadError::Interrupted)));
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}
