//! The demonstration: a throw-away PostgreSQL and PgBouncer, real rows, real clients, and `optimize` on them.

pub mod scenario;

use crate::cli;
use crate::demo::scenario::Scenario;
use crate::failure::{Exit, Failure, chain};
use crate::optimize::goal::Goal;
use crate::optimize::{self, Request};
use crate::target::{Target, resolve_dsn};
use pgassay_load::{Protocol, Writes};
use pgassay_model::interrupt::Interrupt;
use pgassay_model::run::Run;
use pgassay_testkit::{PgBouncer, PgBouncerOptions, Postgres, PostgresOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::progress::Progress;

/// Role, password and database of the demonstration's application.
const ROLE: &str = "app";
const PASSWORD: &str = "app-demo";
const DATABASE: &str = "app";
/// 150 million rows in the largest relation, some 20 GB: more is a slip of the finger, and a full disk.
const MOST_SCALE: f64 = 100.0;

/// What becomes of the commands that undo a demonstration.
const GONE: &str = "the servers of this demonstration were removed with it, so the commands that undo it have nothing left to undo; with --keep they stay and the commands can be tried";

/// Runs a scenario and returns the run; the report lies in the returned folder.
pub async fn demo(
    arguments: &cli::Demo,
    common: &cli::Common,
    interrupt: &Interrupt,
    progress: &Progress,
) -> Result<(Run, PathBuf), Failure> {
    let scenario = scenario::by_name(&arguments.scenario).ok_or_else(|| {
        let names: Vec<&str> = scenario::all().iter().map(|scenario| scenario.name).collect();
        Failure::input(
            format!("there is no scenario \"{}\"", arguments.scenario),
            format!("choose one of {}", names.join(", ")),
        )
    })?;
    if !(arguments.scale > 0.0 && arguments.scale <= MOST_SCALE) {
        return Err(Failure::input(
            format!("--scale must be above 0, and {MOST_SCALE} at most"),
            "1 is the scenario's own size",
        ));
    }
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from(format!("pgassay-demo-{}", scenario.name)));
    std::fs::create_dir_all(&out).map_err(|error| {
        Failure::input(format!("cannot create {}: {error}", out.display()), "choose another --out")
    })?;

    progress.step(format!("scenario {}: {}", scenario.name, scenario.summary));
    progress.step("starting a throw-away PostgreSQL");
    let bin = common.postgres_bin.clone();
    let settings = scenario.server_settings();
    let directory = arguments
        .keep
        .then(|| std::env::temp_dir().join(format!("pgassay-demo-{}", std::process::id())));
    let server = blocking(move || {
        let stop_with_process = directory.is_none();
        Postgres::start(PostgresOptions {
            bin_dir: bin,
            settings,
            durable: true,
            directory,
            stop_with_process,
        })
    })
    .await?;
    progress.step("loading the data");
    let schema = scenario.schema(arguments.scale);
    let (server, ()) = blocking(move || {
        server.execute("postgres", &format!("CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'"))?;
        server.execute("postgres", &format!("CREATE DATABASE {DATABASE} OWNER {ROLE}"))?;
        server.execute(DATABASE, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")?;
        server.execute(DATABASE, &format!("SET ROLE {ROLE};\n{schema}"))?;
        let _ = server.execute(DATABASE, "CREATE EXTENSION IF NOT EXISTS hypopg");
        server.execute(DATABASE, "VACUUM ANALYZE")?;
        server.execute(DATABASE, "CHECKPOINT")?;
        Ok::<_, pgassay_testkit::TestkitError>((server, ()))
    })
    .await?;
    if interrupt.requested() {
        return Err(Failure::new(
            Exit::Interrupted,
            "interrupted",
            "the throw-away servers were removed",
        ));
    }

    progress.step("starting PgBouncer");
    let (server, pooler) = start_pooler(server, scenario, common).await?;
    let workload_directory = out.join("workload");
    write_workload(scenario, &workload_directory)?;

    let state = common.state().unwrap_or_else(|| out.join("state"));
    let target = Target {
        server: resolve_dsn(&server.dsn(DATABASE))?,
        application: resolve_dsn(&pooler.dsn(ROLE, PASSWORD, DATABASE))?,
        console: Some(resolve_dsn(&pooler.console_dsn())?),
        ini: Some(pooler.ini_path().to_path_buf()),
        pgbouncer_binary: common.pgbouncer_bin.clone(),
        postgres_bin: common.postgres_bin.clone(),
        state,
        interrupt: interrupt.clone(),
        progress: progress.clone(),
    };
    let session = target.observe().await?;
    let snapshot = target.snapshot(&session).await?;
    let mut workload = pgassay_workload::read(&workload_directory).map_err(|error| {
        Failure::input(chain(&error), "report this: the demo's own workload should be readable")
    })?;
    pgassay_workload::fill_parameters(&mut workload, &session, &snapshot, 42).await.map_err(
        |error| {
            Failure::input(chain(&error), "report this: the demo's own workload should be fillable")
        },
    )?;
    drop(session);
    let request = Request {
        goal: Goal::parse("p95<100ms", "45%")?,
        mode: None,
        connect: scenario.connect,
        protocol: Protocol::default(),
        writes: Writes::Run,
        duration: arguments.duration,
        warmup: Duration::from_secs(2),
        seed: 42,
        keep_inconclusive: false,
        budget: None,
        rehearse: arguments.rehearse,
    };
    let mut run = optimize::optimize(&target, &snapshot, &workload, &request).await?;
    if !arguments.keep {
        run.notes.push(GONE.to_owned());
    }
    write_report(&run, &out)?;
    if arguments.keep {
        let server_pid = server.postmaster_pid().unwrap_or_default();
        let pooler_pid = pooler.pid().unwrap_or_default();
        progress.say(format!(
            "the servers are left running: {} through {}\nstop them with: kill -INT {server_pid}; kill {pooler_pid}",
            target.server, target.application
        ));
        std::mem::forget(pooler);
        std::mem::forget(server);
    }
    Ok((run, out))
}

async fn start_pooler(
    server: Postgres,
    scenario: &'static Scenario,
    common: &cli::Common,
) -> Result<(Postgres, PgBouncer), Failure> {
    let binary = common.pgbouncer_bin.clone();
    blocking(move || {
        let secret = if scenario.plain_userlist {
            PASSWORD.to_owned()
        } else {
            server
                .query(
                    "postgres",
                    &format!(
                        "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = '{ROLE}'"
                    ),
                )?
                .into_iter()
                .flatten()
                .flatten()
                .next()
                .unwrap_or_default()
        };
        let pooler = PgBouncer::start(PgBouncerOptions {
            binary,
            settings: scenario.pgbouncer_settings(),
            databases: vec![(
                DATABASE.to_owned(),
                format!("host=127.0.0.1 port={} dbname={DATABASE}", server.port()),
            )],
            users: vec![(ROLE.to_owned(), secret)],
            auth_type: "scram-sha-256".to_owned(),
            ..PgBouncerOptions::default()
        })?;
        Ok::<_, pgassay_testkit::TestkitError>((server, pooler))
    })
    .await
}

fn write_workload(scenario: &Scenario, directory: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::input(
            format!("cannot write {}: {error}", directory.display()),
            "choose another --out",
        )
    };
    std::fs::create_dir_all(directory).map_err(failed)?;
    for (name, text) in scenario.workload {
        std::fs::write(directory.join(name), text).map_err(failed)?;
    }
    Ok(())
}

/// Writes `report.html`, `report.md` and `run.json`.
pub fn write_report(run: &Run, out: &Path) -> Result<(), Failure> {
    let write = |name: &str, text: String| {
        std::fs::write(out.join(name), text).map_err(|error| {
            Failure::input(
                format!("cannot write {}: {error}", out.join(name).display()),
                "choose another --out; `pgassay report` makes the report again",
            )
        })
    };
    std::fs::create_dir_all(out).map_err(|error| {
        Failure::input(
            format!("cannot create {}: {error}", out.display()),
            "choose another --out; `pgassay report` makes the report again",
        )
    })?;
    write("report.html", pgassay_report::html(run))?;
    write("report.md", pgassay_report::markdown(run))?;
    write("run.json", pgassay_report::json(run))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, pgassay_testkit::TestkitError> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| {
            Failure::new(
                Exit::Missing,
                format!("the throw-away servers stopped: {error}"),
                "report this",
            )
        })?
        .map_err(|error| {
            Failure::new(
                Exit::Missing,
                chain(&error),
                "the README's set-up command installs PostgreSQL and PgBouncer",
            )
        })
}
