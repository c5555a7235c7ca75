//! pgassay's command line: reads arguments, runs one command, prints its answer, ends with its exit status.
//!
//! Owns composition only: every stage of the pipeline lives in a crate of its own.

mod advising;
mod applying;
mod capturing;
mod changing;
mod cli;
mod commands;
mod config;
mod copies;
mod demo;
mod documents;
mod failure;
mod judging;
mod measure;
mod optimize;
mod passive;
mod past_runs;
mod progress;
mod target;
mod validation;
mod verifying;

use clap::Parser;
use failure::{Exit, Failure};
use pgassay_model::interrupt::Interrupt;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// What a command answers: text for people, one JSON document for scripts, and whether the answer is yes.
pub struct Answer {
    /// For people.
    pub text: String,
    /// For scripts.
    pub json: String,
    /// False ends with exit status 1.
    pub yes: bool,
}

fn main() -> ExitCode {
    let wants_json = std::env::args().any(|argument| argument == "--json");
    let arguments = match config::with_settings(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(failure) => return fail(&failure, wants_json),
    };
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let wanted = !error.use_stderr();
            if wants_json && !wanted {
                let message = first_paragraph(&error.to_string());
                print_line(
                    &Failure::input(message, "pgassay --help lists commands and flags").to_json(),
                );
            } else {
                let _ = error.print();
            }
            return ExitCode::from(if wanted { 0 } else { Exit::Input as u8 });
        }
    };
    let level = match (cli.common.quiet, cli.common.verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "info",
        _ => "debug",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_writer(std::io::stderr)
        // Its own words about a closed standard error would be a panic.
        .log_internal_errors(false)
        .without_time()
        .init();
    let color = match cli.common.color {
        cli::Color::Always => true,
        cli::Color::Never => false,
        cli::Color::Auto => {
            std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    let progress = progress::Progress::new(cli.common.quiet);
    let interrupt = Interrupt::default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            progress::tell(&format!("error: cannot start: {error}"));
            return ExitCode::from(Exit::Missing as u8);
        }
    };
    runtime.spawn(watch_for_interrupt(interrupt.clone()));
    let result = runtime.block_on(commands::run(&cli, &interrupt, &progress, color));
    progress.finish();
    let code = match result {
        Ok(answer) => {
            print_line(if cli.common.json { &answer.json } else { &answer.text });
            ExitCode::from(if answer.yes { 0 } else { Exit::No as u8 })
        }
        Err(failure) => fail(&failure, cli.common.json),
    };
    runtime.shutdown_background();
    code
}

/// Tells a failure, as text or as the error document, and ends with its exit status.
fn fail(failure: &Failure, json: bool) -> ExitCode {
    if json {
        print_line(&failure.to_json());
    } else {
        progress::tell(&format!("error: {}", failure.message));
        if !failure.hint.is_empty() {
            progress::tell(&format!("hint: {}", failure.hint));
        }
    }
    ExitCode::from(failure.exit as u8)
}

/// What clap says before its tips and its usage, in one line.
fn first_paragraph(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_start_matches("error: ").to_owned()
}

fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end());
}

/// The first Ctrl-C (or SIGTERM) asks the work to stop at the next safe point and undo.
async fn watch_for_interrupt(interrupt: Interrupt) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    loop {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        if !interrupt.requested() {
            progress::tell(
                "interrupted: stopping at the next safe point and undoing what is not finished",
            );
        }
        interrupt.request();
    }
}
