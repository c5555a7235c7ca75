//! One function per command: from arguments to an answer.

use crate::Answer;
use crate::advising;
use crate::advising::bundling;
use crate::advising::planning;
use crate::applying;
use crate::capturing;
use crate::cli::{self, Cli, Command};
use crate::copies::on_copy;
use crate::demo;
use crate::documents::{can_be_written, read_json, to_json, write_file};
use crate::failure::{Exit, Failure, chain};
use crate::measure::answered::some_answered;
use crate::measure::bench;
use crate::measure::driving;
use crate::measure::side_effects;
use crate::measure::{self, Options};
use crate::optimize::goal::Goal;
use crate::optimize::on_copies;
use crate::optimize::{self, Request};
use crate::passive;
use crate::passive::watch;
use crate::past_runs;
use crate::progress::Progress;
use crate::target::{Target, workload_failure};
use crate::verifying;
use pgassay_model::comparison::Verdict;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::{self, Measurement};
use pgassay_model::plan::{self, Plan};
use pgassay_model::run::{ChangeState, Run};
use pgassay_model::snapshot::Snapshot;
use pgassay_model::workload::Workload;
use pgassay_postgres::Session;
use std::path::{Path, PathBuf};

/// Runs the command of `cli`.
pub async fn run(
    cli: &Cli,
    interrupt: &Interrupt,
    progress: &Progress,
    color: bool,
) -> Result<Answer, Failure> {
    let context = Context { common: &cli.common, interrupt, progress, color };
    match &cli.command {
        Command::Demo(arguments) => context.demo(arguments).await,
        Command::Capture(arguments) => capturing::capture(&context, arguments).await,
        Command::Measure(arguments) => context.measure(arguments).await,
        Command::Advise(arguments) => {
            let answer = advising::advise(&context, arguments).await?;
            crate::failure::unless_interrupted(interrupt)?;
            Ok(answer)
        }
        Command::Bundle(cli::Bundle::Export(arguments)) => {
            bundling::export(&context, arguments).await
        }
        Command::Plan(arguments) => context.plan(arguments).await,
        Command::Apply(arguments) => context.apply(arguments).await,
        Command::Verify(arguments) => verifying::verify(&context, arguments).await,
        Command::Compare(arguments) => verifying::compare(&context, arguments),
        Command::Optimize(arguments) => context.optimize(arguments).await,
        Command::Rollback(arguments) => context.rollback(arguments).await,
        Command::History(arguments) => context.history(arguments),
        Command::Report(arguments) => context.report(arguments),
    }
}

/// What every command gets.
pub struct Context<'a> {
    /// Flags that every command takes.
    pub common: &'a cli::Common,
    /// Set by Ctrl-C.
    pub interrupt: &'a Interrupt,
    progress: &'a Progress,
    /// Whether the text may hold colours.
    pub color: bool,
}

impl Context<'_> {
    /// Whether the answer is one JSON document.
    pub fn json(&self) -> bool {
        self.common.json
    }

    /// Shows what is being done.
    pub fn step(&self, what: &str) {
        self.progress.step(what);
    }

    /// What `dsn` and the common flags point at; says first which runs were cut off.
    pub fn target(&self, dsn: &str) -> Result<Target, Failure> {
        let target = Target::resolve(dsn, self.common, self.interrupt, self.progress)?;
        for warning in past_runs::cut_off(&target.state) {
            self.progress.say(format!("warning: {warning}"));
        }
        Ok(target)
    }

    async fn demo(&self, arguments: &cli::Demo) -> Result<Answer, Failure> {
        let (run, out) = demo::demo(arguments, self.common, self.interrupt, self.progress).await?;
        let healthy = run.state != pgassay_model::run::RunState::FailedPartly;
        Ok(self.run_answer(&run, Some(&out), healthy))
    }

    /// A run's report, and where it was written.
    pub fn run_answer(&self, run: &Run, out: Option<&Path>, yes: bool) -> Answer {
        let mut text = pgassay_report::terminal(run, self.color);
        if let Some(out) = out {
            text.push_str(&format!(
                "\nReport: {0}/report.html, {0}/report.md, {0}/run.json\n",
                out.display()
            ));
        }
        Answer { text, json: pgassay_report::json(run), yes }
    }

    async fn measure(&self, arguments: &cli::Measure) -> Result<Answer, Failure> {
        arguments.output.as_deref().map(can_be_written).transpose()?;
        let mut target = self.target(&arguments.dsn)?;
        if target.console.is_none() && self.common.app_dsn.is_none() {
            target.application = target.server.clone();
        }
        if let Some(direct) = &arguments.drive.direct {
            target.server = crate::target::resolve_dsn(direct)?;
        }
        // Without --direct the same way is tried for the server's own figures: a pooler passes them through.
        let session = target.observe().await?;
        let snapshot = target.snapshot(&session).await?;
        let mut workload = self.workload(Some(&arguments.workload), &session, &snapshot).await?;
        self.find_hidden_writes(&arguments.drive, &session, &mut workload).await?;
        let console = target.console().await?;
        let options = self.drive_options(&arguments.drive, &target, &snapshot, &workload)?;
        let mut measurement = if driving::on_copy(&arguments.drive) {
            on_copy::measure(&target, &session, &snapshot, &workload, &options).await?
        } else {
            self.progress.step("measuring");
            measure::measure(&target, Some(&session), console.as_ref(), &workload, &options).await?
        };
        some_answered(&measurement)?;
        measurement.notes.extend(side_effects::notes(&workload, &snapshot, options.writes));
        if let Some(file) = &arguments.output {
            write_file(file, &to_json(&measurement)?)?;
        }
        let text =
            with_skipped(pgassay_report::measurement_terminal(&measurement, self.color), &workload);
        Ok(Answer { text, json: to_json(&measurement)?, yes: true })
    }

    /// How the application is driven, from flags and what the workload is.
    pub fn drive_options(
        &self,
        drive: &cli::Drive,
        target: &Target,
        snapshot: &Snapshot,
        workload: &Workload,
    ) -> Result<Options, Failure> {
        let connect = driving::connect(drive.connect);
        let most = |wanted| bench::clients(target, snapshot, connect, wanted);
        let mode = driving::mode(drive, workload, most)
            .unwrap_or_else(|| driving::default_mode(workload, connect, most));
        let duration = drive.duration.unwrap_or_else(|| driving::default_duration(&mode, workload));
        Ok(Options {
            mode,
            connect,
            protocol: drive.protocol.map(driving::protocol).unwrap_or_default(),
            writes: driving::writes(drive, self.common.yes, workload)?,
            duration,
            warmup: drive.warmup,
            block: measure::block_length(duration),
            seed: drive.seed,
            postmaster: snapshot.host.as_ref().and_then(|host| host.postmaster_pid),
            awaited_indexes: Vec::new(),
        })
    }

    /// Marks what writes though its text only reads, unless it may write anyway.
    pub async fn find_hidden_writes(
        &self,
        drive: &cli::Drive,
        session: &Session,
        workload: &mut Workload,
    ) -> Result<(), Failure> {
        if driving::may_write(drive, self.common.yes) {
            return Ok(());
        }
        self.progress.step("looking for statements that write by what they call");
        pgassay_workload::find_hidden_writes(workload, session, self.interrupt).await.map_err(
            |error| {
                workload_failure(error, Exit::Input, "give --writes run if the workload may write")
            },
        )
    }

    /// The workload asked for, or what pg_stat_statements has seen.
    pub async fn workload(
        &self,
        path: Option<&PathBuf>,
        session: &Session,
        snapshot: &Snapshot,
    ) -> Result<Workload, Failure> {
        let mut workload = match path {
            None => capture(session, snapshot, 100).await?,
            Some(path) => pgassay_workload::read(path).map_err(|error| {
                Failure::input(chain(&error), "a workload is a file from `pgassay capture`, a directory of .sql files with one statement each, or a pgbench script")
            })?,
        };
        pgassay_workload::fill_parameters(&mut workload, session, snapshot, 42).await.map_err(
            |error| {
                workload_failure(error, Exit::Input, "give values with `-- params: [...]` lines")
            },
        )?;
        if workload.statements.is_empty() && workload.scripts.is_empty() {
            // One reason may be that of hundreds.
            let mut reasons: Vec<&str> =
                workload.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
            reasons.sort_unstable();
            reasons.dedup();
            let others = reasons.len().saturating_sub(3);
            reasons.truncate(3);
            let more =
                if others > 0 { format!("; and {others} more reasons") } else { String::new() };
            return Err(Failure::input(
                format!("the workload holds no usable statement: {}{more}", reasons.join("; ")),
                "see the reasons; values can be given with `-- params: [...]` lines",
            ));
        }
        Ok(workload)
    }

    async fn plan(&self, arguments: &cli::PlanArgs) -> Result<Answer, Failure> {
        can_be_written(&arguments.output)?;
        let target = self.target(&arguments.dsn)?;
        let session = target.observe().await?;
        let snapshot = target.snapshot(&session).await?;
        let workload = self.workload(arguments.workload.as_ref(), &session, &snapshot).await?;
        let measurement: Option<Measurement> = arguments
            .measurement
            .as_deref()
            .map(|file| read_json(file, measurement::SCHEMA))
            .transpose()?;
        let mut plan = planning::plan(
            &target,
            &snapshot,
            &workload,
            measurement.as_ref(),
            None,
            arguments.budget,
        )
        .await?;
        plan.workload = Some(workload.clone());
        plan.measurement = measurement;
        let json = to_json(&plan)?;
        write_file(&arguments.output, &json)?;
        let mut text = with_skipped(pgassay_report::plan_terminal(&plan, self.color), &workload);
        text.push_str(&format!("Plan written to {}\n", arguments.output.display()));
        Ok(Answer { text, json, yes: true })
    }

    async fn apply(&self, arguments: &cli::Apply) -> Result<Answer, Failure> {
        let target = self.target(&arguments.dsn)?;
        let mut plan: Plan = read_json(&arguments.plan, plan::SCHEMA)?;
        if !arguments.change.is_empty() {
            for id in &arguments.change {
                if !plan.changes.iter().any(|change| change.id == *id) {
                    return Err(Failure::input(
                        format!("the plan has no change {id}"),
                        format!(
                            "it has {}",
                            plan.changes
                                .iter()
                                .map(|change| change.id.clone())
                                .collect::<Vec<_>>()
                                .join(", ")
                        ),
                    ));
                }
            }
            plan.changes.retain(|change| arguments.change.contains(&change.id));
        }
        if arguments.passive.passive && !arguments.dry_run {
            let watch = watch::watch(&arguments.passive, arguments.keep_inconclusive)?;
            let run = passive::apply(&target, &plan, &watch).await?;
            let harmless =
                !run.changes.iter().any(|change| change.verdict == Some(Verdict::Regressed));
            return Ok(self.run_answer(&run, None, harmless));
        }
        let run = applying::apply(&target, &plan, arguments.dry_run).await?;
        let mut text = String::new();
        for change in &run.changes {
            text.push_str(&format!("{}: {} ({})\n", change.id, change.title, change.reason));
        }
        if !run.run.is_empty() {
            text.push_str(&format!("Run {}\n", run.run));
        }
        for backup in &run.backups {
            text.push_str(&format!("backup: {backup}\n"));
        }
        for command in &run.rollback {
            text.push_str(&format!("undo: {command}\n"));
        }
        Ok(Answer { text, json: to_json(&run)?, yes: true })
    }

    async fn optimize(&self, arguments: &cli::Optimize) -> Result<Answer, Failure> {
        let target = self.target(&arguments.dsn)?;
        let goal = Goal::parse(&arguments.target, &arguments.gain)?;
        let session = target.observe().await?;
        let snapshot = target.snapshot(&session).await?;
        let mut workload = self.workload(arguments.workload.as_ref(), &session, &snapshot).await?;
        if arguments.workload.is_none() && !arguments.no_check {
            let checked = capturing::check(self, &mut workload, &session, &snapshot).await?;
            checked.iter().for_each(|note| self.progress.say(note));
        }
        self.find_hidden_writes(&arguments.drive, &session, &mut workload).await?;
        drop(session);
        let writes = driving::writes(&arguments.drive, self.common.yes, &workload)?;
        let connect = driving::connect(arguments.drive.connect);
        let most = |wanted| bench::clients(&target, &snapshot, connect, wanted);
        let mode = driving::mode(&arguments.drive, &workload, most);
        let request = Request {
            goal,
            mode,
            connect,
            protocol: arguments.drive.protocol.map(driving::protocol).unwrap_or_default(),
            writes,
            duration: arguments.drive.duration.unwrap_or(driving::DEFAULT_DURATION),
            warmup: arguments.drive.warmup,
            seed: arguments.drive.seed,
            keep_inconclusive: arguments.keep_inconclusive,
            budget: arguments.budget,
            rehearse: arguments.rehearse,
        };
        let run = if driving::on_copy(&arguments.drive) {
            on_copies::optimize(&target, &snapshot, &workload, &request).await?
        } else {
            optimize::optimize(&target, &snapshot, &workload, &request).await?
        };
        let out =
            arguments.out.clone().unwrap_or_else(|| PathBuf::from(format!("pgassay-{}", run.run)));
        demo::write_report(&run, &out)?;
        let met = run.targets.iter().all(|target| target.met);
        Ok(self.run_answer(&run, Some(&out), met))
    }

    async fn rollback(&self, arguments: &cli::Rollback) -> Result<Answer, Failure> {
        let target = self.target(&arguments.dsn)?;
        let (run, change) = match arguments.run.split_once('/') {
            Some((run, change)) => (run, Some(change)),
            None => (arguments.run.as_str(), None),
        };
        let (text, history) = past_runs::rollback(&target, run, change).await?;
        Ok(Answer { text, json: to_json(&history)?, yes: true })
    }

    fn history(&self, arguments: &cli::HistoryArgs) -> Result<Answer, Failure> {
        let dsn = arguments.dsn.as_deref().unwrap_or("postgresql://localhost/postgres");
        let target = self.target(dsn)?;
        let only = arguments.dsn.is_some().then(|| target.server.to_string());
        let history = past_runs::history(&target.state, only.as_deref())?;
        Ok(Answer {
            text: pgassay_report::history_terminal(&history, self.color),
            json: to_json(&history)?,
            yes: true,
        })
    }

    fn report(&self, arguments: &cli::ReportArgs) -> Result<Answer, Failure> {
        let target = self.target("postgresql://localhost/postgres")?;
        let run = past_runs::load_run(&target.state, &arguments.run)?;
        let text = match arguments.format {
            cli::Format::Md => pgassay_report::markdown(&run),
            cli::Format::Html => pgassay_report::html(&run),
            cli::Format::Json => pgassay_report::json(&run),
        };
        let json = pgassay_report::json(&run);
        match &arguments.output {
            None => Ok(Answer { text, json, yes: true }),
            Some(file) => {
                write_file(file, &text)?;
                Ok(Answer {
                    text: format!("Report written to {}", file.display()),
                    json,
                    yes: true,
                })
            }
        }
    }
}

/// What pg_stat_statements has seen, as a workload.
pub async fn capture(
    session: &Session,
    snapshot: &Snapshot,
    limit: usize,
) -> Result<Workload, Failure> {
    if snapshot.statements.is_none() {
        return Err(Failure::new(
            Exit::Missing,
            "pg_stat_statements is not readable here",
            "add it to shared_preload_libraries, restart, run CREATE EXTENSION pg_stat_statements, and GRANT pg_read_all_stats to this role; or pass a workload directory",
        ));
    }
    let options =
        pgassay_workload::CaptureOptions { limit, ..pgassay_workload::CaptureOptions::default() };
    pgassay_workload::capture_statements(session, snapshot, &options).await.map_err(|error| {
        workload_failure(error, Exit::Missing, "pass a workload directory instead")
    })
}

/// The text with a line for everything that was skipped.
pub fn with_skipped(mut text: String, workload: &Workload) -> String {
    for skipped in &workload.skipped {
        text.push_str(&format!("skipped: {} ({})\n", one_line(&skipped.statement), skipped.reason));
    }
    text
}

fn one_line(sql: &str) -> String {
    let words: Vec<&str> = sql.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() > 100 { line.chars().take(99).chain(['…']).collect() } else { line }
}

/// Whether a change is in force.
pub fn in_force(state: ChangeState) -> bool {
    matches!(state, ChangeState::Applied | ChangeState::Kept)
}
