//! Names and figures in words: metrics, ledger parts, states, intervals.

use crate::document::{Cell, Tone};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::plan::{ExpectedSource, Risk, RiskLevel};
use pgassay_model::run::{ChangeState, RunState};
use pgassay_model::units::{Ms, percent};

/// What stands where nothing was measured.
pub(crate) const UNKNOWN: &str = "–";

/// The primary metric of a run that watched the application and drove nothing.
pub(crate) const PASSIVE: &str = "statement_time_index";

/// The metric that a run was judged by: response time where it was driven, server time where it was watched.
pub(crate) fn primary(comparisons: &[Comparison]) -> Option<&Comparison> {
    ["latency_mean_ms", PASSIVE]
        .iter()
        .find_map(|name| comparisons.iter().find(|entry| entry.metric == *name))
}

/// A metric's name for people.
pub(crate) fn metric(name: &str) -> String {
    match name {
        "latency_mean_ms" => "mean response time".to_owned(),
        "latency_p50_ms" => "median".to_owned(),
        "latency_p95_ms" => "p95".to_owned(),
        "latency_p99_ms" => "p99".to_owned(),
        "throughput" => "throughput".to_owned(),
        "server_cpu_ms_per_request" => "server CPU per request".to_owned(),
        "error_share" => "requests that failed".to_owned(),
        PASSIVE => "server time of a call".to_owned(),
        "rollback_share" => "transactions rolled back".to_owned(),
        other => other.strip_prefix("statement:").unwrap_or(other).to_owned(),
    }
}

/// A metric's value with its unit.
pub(crate) fn value(name: &str, value: Option<f64>) -> String {
    match (name, value) {
        (_, None) => UNKNOWN.to_owned(),
        ("throughput", Some(value)) => rate(value),
        ("error_share" | "rollback_share", Some(value)) => share(value),
        (_, Some(value)) => ms(value),
    }
}

/// Milliseconds; nothing at all is `0 ms`.
pub(crate) fn ms(value: f64) -> String {
    if value == 0.0 { "0 ms".to_owned() } else { Ms(value).to_string() }
}

/// Requests per second.
pub(crate) fn rate(per_second: f64) -> String {
    let digits = if per_second >= 100.0 { 0 } else { 1 };
    format!("{per_second:.digits$} /s")
}

/// A share (0–1) as a percentage without sign.
pub(crate) fn share(share: f64) -> String {
    let value = share * 100.0;
    if value != 0.0 && value < 0.95 { format!("{value:.1} %") } else { format!("{value:.0} %") }
}

/// `−45.2 %`, or a dash.
pub(crate) fn change(comparison: &Comparison) -> String {
    comparison.change.map_or_else(|| UNKNOWN.to_owned(), percent)
}

/// `−47.0 % … −43.1 %`, or a dash.
pub(crate) fn interval(comparison: &Comparison) -> String {
    match (comparison.ci_low, comparison.ci_high) {
        (Some(low), Some(high)) => format!("{} … {}", percent(low), percent(high)),
        _ => UNKNOWN.to_owned(),
    }
}

/// A verdict with its tone.
pub(crate) fn verdict(verdict: Verdict) -> Cell {
    let tone = match verdict {
        Verdict::Improved => Tone::Good,
        Verdict::Regressed => Tone::Bad,
        Verdict::Equivalent | Verdict::Inconclusive => Tone::Muted,
    };
    Cell::new(verdict.to_string(), tone)
}

/// What became of a change.
pub(crate) fn change_state(state: ChangeState) -> Cell {
    match state {
        ChangeState::Applied => Cell::new("applied, not judged", Tone::Plain),
        ChangeState::Kept => Cell::new("kept", Tone::Good),
        ChangeState::RolledBack => Cell::new("rolled back", Tone::Muted),
        ChangeState::Failed => Cell::new("failed, undone", Tone::Bad),
        ChangeState::Skipped => Cell::new("not tried", Tone::Muted),
    }
}

/// Where a run stands.
pub(crate) fn run_state(state: RunState) -> Cell {
    match state {
        RunState::Unfinished => Cell::new("unfinished", Tone::Bad),
        RunState::Finished => Cell::new("finished", Tone::Good),
        RunState::RolledBack => Cell::new("rolled back", Tone::Muted),
        RunState::FailedUndone => Cell::new("failed, all undone", Tone::Bad),
        RunState::FailedPartly => Cell::new("failed, NOT all undone", Tone::Bad),
        RunState::Interrupted => Cell::new("interrupted, all undone", Tone::Muted),
    }
}

/// A risk's level in one word.
pub(crate) fn risk_level(level: RiskLevel) -> Cell {
    match level {
        RiskLevel::Low => Cell::new("low", Tone::Good),
        RiskLevel::Medium => Cell::new("medium", Tone::Strong),
        RiskLevel::High => Cell::new("high", Tone::Bad),
    }
}

/// `low (undone without a trace; …)`.
pub(crate) fn risk(risk: &Risk) -> String {
    let level = risk_level(risk.level).text;
    match risk.reasons.is_empty() {
        true => level,
        false => format!("{level} ({})", risk.reasons.join("; ")),
    }
}

/// Where an expectation comes from.
pub(crate) fn expected_source(source: ExpectedSource) -> &'static str {
    match source {
        ExpectedSource::WhatIf => "estimated by the planner (what-if)",
        ExpectedSource::Rule => "estimated by rule",
        ExpectedSource::Rehearsed => "measured on a copy",
        ExpectedSource::Model => "estimated by a model",
    }
}

/// A part of the ledger for people.
pub(crate) fn ledger_part(part: &str) -> String {
    match part {
        "connect" => "connect",
        "tls" => "TLS handshake",
        "auth" => "log-in",
        "pool_wait" => "wait for a connection",
        "parse_plan" => "parse and plan",
        "execute" => "execute",
        "network" => "network and rest",
        other => other,
    }
    .to_owned()
}

/// A lever for people.
pub(crate) fn lever(lever: &str) -> String {
    match lever {
        "connections" => "connecting (reuse, log-in secrets)",
        "pool" => "waiting for a connection (pool)",
        "planning" => "parsing and planning",
        "execution" => "execution (indexes, parameters, caching)",
        "network" => "network and the rest",
        other => other,
    }
    .to_owned()
}

/// A validation test for people.
pub(crate) fn validation_test(id: &str) -> String {
    match id {
        "response_time" => "response time against the target",
        "pool_efficiency" => "pool efficiency",
        "index_effectiveness" => "index effectiveness",
        "settings_applied" => "settings in force",
        other => other,
    }
    .to_owned()
}

/// SQL on one line, cut to `width` characters.
pub(crate) fn one_line(sql: &str, width: usize) -> String {
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// `1 change`, `2 changes`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}
