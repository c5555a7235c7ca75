//! `capture`: a workload from pg_stat_statements, from logs, or from both.

use crate::Answer;
use crate::cli::{self, CaptureSource};
use crate::commands::{self, Context, with_skipped};
use crate::documents::{can_be_written, to_json};
use crate::failure::{Exit, Failure, chain};
use crate::target::{Target, workload_failure};
use pgassay_model::snapshot::{Snapshot, StatementStatistics};
use pgassay_model::workload::Workload;
use pgassay_postgres::Session;
use pgassay_workload::{CheckOptions, LogCapture, LogError, LogOptions};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Seed of samples, as of every other random choice but masks.
const SEED: u64 = 42;

/// As the note that a masked log has.
const MASKED: &str = "values are masked: equal ones stay equal, but they are not in the database, so timings are those of the statements' shapes, not of the data";

/// Writes a workload.
pub async fn capture(context: &Context<'_>, arguments: &cli::Capture) -> Result<Answer, Failure> {
    can_be_written(&arguments.output)?;
    // One for the whole file, whatever its values come from.
    let mask_key = arguments.mask_seed.unwrap_or_else(rand::random);
    let (mut workload, mut notes) = match (&arguments.dsn, arguments.from) {
        (Some(dsn), CaptureSource::Statements) => {
            let target = context.target(dsn)?;
            let session = target.observe().await?;
            let snapshot = match arguments.window {
                None => target.snapshot(&session).await?,
                Some(window) => within(context, &target, &session, window).await?,
            };
            let mut workload = commands::capture(&session, &snapshot, arguments.limit).await?;
            if workload.statements.is_empty() && !snapshot.server.monitor {
                let user = &snapshot.server.user;
                return Err(Failure::new(
                    Exit::Missing,
                    format!(
                        "role {user} ran no statement that can be used, and may not see those of others"
                    ),
                    format!("GRANT pg_monitor TO {}", pgassay_sql::quote_identifier(user)),
                ));
            }
            let mut notes = Vec::new();
            if !arguments.no_check {
                notes.extend(check(context, &mut workload, &session, &snapshot).await?);
            }
            (workload, notes)
        }
        (Some(dsn), _) => {
            let target = context.target(dsn)?;
            let session = target.observe().await?;
            let snapshot = target.snapshot(&session).await?;
            let (mut workload, mut notes) =
                on_server(context, arguments, mask_key, &target, &session, &snapshot).await?;
            if !arguments.no_check {
                notes.extend(check(context, &mut workload, &session, &snapshot).await?);
            }
            (workload, notes)
        }
        (None, CaptureSource::Log) => {
            let options = LogOptions { mask_key, ..options(context, arguments, None)? };
            let capture = read(context, options, arguments).await?;
            (capture.workload, capture.notes)
        }
        (None, CaptureSource::Statements | CaptureSource::Both) => {
            return Err(Failure::input(
                "no server is given",
                "pass its DSN; only `--from log` works without one",
            ));
        }
    };
    if workload.statements.is_empty() && arguments.from != CaptureSource::Statements {
        let reasons: Vec<&str> =
            workload.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        return Err(Failure::input(
            format!("no statement can be used: {}", reasons.join("; ")),
            "capture while the application runs, from the database it uses",
        ));
    }
    if arguments.mask {
        pgassay_workload::mask_workload(&mut workload, mask_key);
        if arguments.from == CaptureSource::Statements {
            notes.push(MASKED.to_owned());
        }
    }
    pgassay_workload::write(&arguments.output, &workload)
        .map_err(|error| Failure::input(chain(&error), "choose another --output"))?;
    let requests: usize = workload.sessions.iter().map(|session| session.requests.len()).sum();
    let mut text = format!(
        "{} statements from {} written to {}; {} skipped\n",
        workload.statements.len(),
        workload.source,
        arguments.output.display(),
        workload.skipped.len()
    );
    if requests > 0 {
        text.push_str(&format!(
            "recorded: {requests} requests of {} sessions\n",
            workload.sessions.len()
        ));
    }
    for note in &notes {
        text.push_str(&format!("note: {note}\n"));
    }
    for statement in &workload.statements {
        if let Some(why) = &statement.not_representative {
            text.push_str(&format!("not representative: {}: {why}\n", statement.id));
        }
    }
    // Recorded sessions are long: they are put into words only where that is asked for.
    let json = if context.json() { to_json(&workload)? } else { String::new() };
    Ok(Answer { text: with_skipped(text, &workload), json, yes: true })
}

/// A log's workload, checked and filled on the server, with `both` joined with pg_stat_statements.
async fn on_server(
    context: &Context<'_>,
    arguments: &cli::Capture,
    mask_key: u64,
    target: &Target,
    session: &Session,
    snapshot: &Snapshot,
) -> Result<(Workload, Vec<String>), Failure> {
    let seen = match arguments.from {
        CaptureSource::Both => Some(commands::capture(session, snapshot, arguments.limit).await?),
        _ => None,
    };
    let mut options = options(context, arguments, Some(snapshot))?;
    options.mask_key = mask_key;
    options.database = Some(target.server.database.clone());
    let mut capture = read(context, options, arguments).await?;
    if let (Some(seen), Some(statistics)) = (seen, &snapshot.statements) {
        capture = pgassay_workload::join_statistics(capture, statistics, seen, arguments.limit);
    }
    let LogCapture { mut workload, mut notes, .. } = capture;
    let least = snapshot.parameter("log_min_duration_statement").and_then(|least| least.number());
    if let Some(least) = least.filter(|least| *least > 0.0) {
        notes.push(format!(
            "log_min_duration_statement is {least} ms now: statements that took less are not in such a log"
        ));
    }
    pgassay_workload::fill_parameters(&mut workload, session, snapshot, SEED).await.map_err(
        |error| {
            let hint = "capture without a DSN, and look at the workload";
            workload_failure(error, Exit::Missing, hint)
        },
    )?;
    Ok((workload, notes))
}

/// Marks statements whose drawn values ask for something else than the application's do; returns what was checked.
pub async fn check(
    context: &Context<'_>,
    workload: &mut Workload,
    session: &Session,
    snapshot: &Snapshot,
) -> Result<Option<String>, Failure> {
    let Some(statistics) = snapshot.statements.as_deref() else { return Ok(None) };
    context.step("checking values");
    let options = CheckOptions { interrupt: context.interrupt.clone(), ..CheckOptions::default() };
    let checked =
        pgassay_workload::check_values(workload, session, statistics, &options).await.map_err(
            |error| workload_failure(error, Exit::Unreachable, "try again, or with --no-check"),
        )?;
    if context.interrupt.requested() {
        return Err(Failure::new(
            Exit::Interrupted,
            "interrupted; nothing was written",
            "start again",
        ));
    }
    if checked.statements == 0 && checked.unchecked.is_empty() {
        return Ok(None);
    }
    let off = workload
        .statements
        .iter()
        .filter(|statement| statement.not_representative.is_some())
        .count();
    let mut note = format!(
        "values of {} statements checked with {} executions: {off} are not representative",
        checked.statements, checked.executions
    );
    let reasons: Vec<String> =
        checked.unchecked.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    if !reasons.is_empty() {
        note.push_str(&format!("; not checked: {}", reasons.join(", ")));
    }
    Ok(Some(note))
}

/// How the logs are read; what the server says holds where no flag says otherwise.
fn options(
    context: &Context<'_>,
    arguments: &cli::Capture,
    snapshot: Option<&Snapshot>,
) -> Result<LogOptions, Failure> {
    if arguments.log.is_empty() {
        let hint =
            "pass the server's log with --log FILE, once for each, or --log - for standard input";
        return Err(Failure::input("no log is given", hint));
    }
    let current = |name: &str| {
        snapshot.and_then(|snapshot| snapshot.parameter(name)).map(|parameter| &parameter.setting)
    };
    let prefix = arguments.log_line_prefix.as_ref().or(current("log_line_prefix"));
    let defaults = LogOptions::default();
    Ok(LogOptions {
        log_line_prefix: prefix.unwrap_or(&defaults.log_line_prefix).clone(),
        database: None,
        parameters_whole: current("log_parameter_max_length").is_some_and(|most| most == "-1"),
        window: arguments.window,
        mask: arguments.mask,
        limit: arguments.limit,
        seed: SEED,
        interrupt: context.interrupt.clone(),
        ..defaults
    })
}

async fn read(
    context: &Context<'_>,
    options: LogOptions,
    arguments: &cli::Capture,
) -> Result<LogCapture, Failure> {
    context.step("reading logs");
    let logs = arguments.log.clone();
    let read = tokio::task::spawn_blocking(move || pgassay_workload::capture_logs(&logs, &options));
    match read.await {
        Ok(Ok(capture)) => Ok(capture),
        Ok(Err(LogError::Interrupted)) => {
            Err(Failure::new(Exit::Interrupted, LogError::Interrupted.to_string(), "start again"))
        }
        Ok(Err(error)) => Err(Failure::input(
            chain(&error),
            "`pgassay capture --help` says which logs are read, and how",
        )),
        Err(error) => Err(Failure::input(format!("reading logs ended: {error}"), "report this")),
    }
}

/// What pg_stat_statements counts within a time that begins now.
async fn within(
    context: &Context<'_>,
    target: &Target,
    session: &Session,
    window: Duration,
) -> Result<Snapshot, Failure> {
    let before = target.snapshot(session).await?;
    context.step("waiting for the window");
    let end = Instant::now() + window;
    while Instant::now() < end {
        if context.interrupt.requested() {
            return Err(Failure::new(
                Exit::Interrupted,
                "interrupted; nothing was written",
                "start again",
            ));
        }
        let left = end.saturating_duration_since(Instant::now());
        tokio::time::sleep(left.min(Duration::from_millis(100))).await;
    }
    let mut after = target.snapshot(session).await?;
    if let (Some(before), Some(after)) = (&before.statements, &mut after.statements) {
        subtract(before, after);
    }
    Ok(after)
}

/// Takes what was there before from all counters; after a reset in between all is new.
fn subtract(before: &[StatementStatistics], after: &mut Vec<StatementStatistics>) {
    let known: HashMap<i64, &StatementStatistics> =
        before.iter().map(|entry| (entry.queryid, entry)).collect();
    for entry in after.iter_mut() {
        let old = known.get(&entry.queryid).filter(|old| old.calls <= entry.calls);
        let Some(old) = old else { continue };
        entry.calls -= old.calls;
        entry.total_exec_ms = (entry.total_exec_ms - old.total_exec_ms).max(0.0);
        entry.total_plan_ms = (entry.total_plan_ms - old.total_plan_ms).max(0.0);
        for (new, old) in [
            (&mut entry.rows, old.rows),
            (&mut entry.shared_hit, old.shared_hit),
            (&mut entry.shared_read, old.shared_read),
            (&mut entry.temp_written, old.temp_written),
            (&mut entry.wal_bytes, old.wal_bytes),
        ] {
            *new = new.saturating_sub(old);
        }
    }
    after.retain(|entry| entry.calls > 0);
}
