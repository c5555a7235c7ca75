//! Bars: change by statement with its interval, and the pool's waiting against its work.

use super::px;
use crate::words;
use maud::{Markup, html};
use pgassay_model::comparison::{Comparison, Verdict};
use pgassay_model::measurement::PoolWindow;
use pgassay_model::units::percent;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 80.0;
const ROW: f64 = 24.0;
/// Largest increase drawn to scale: +100 %.
const MOST: f64 = 1.0;

/// What the two colours mean.
pub(super) fn legend(left: f64, both: bool) -> Markup {
    html! {
        @if both {
            g.before { rect x=(px(left)) y="6" width="12" height="12" {} text x=(px(left + 17.0)) y="16" { "before" } }
            g.after { rect x=(px(left + 80.0)) y="6" width="12" height="12" {} text x=(px(left + 97.0)) y="16" { "after" } }
        }
    }
}

/// Change by statement: a bar for the estimate, a whisker for the interval.
pub(super) fn statements(comparisons: &[Comparison]) -> Markup {
    let high = comparisons
        .iter()
        .flat_map(|entry| [entry.change, entry.ci_high])
        .flatten()
        .fold(0.2f64, f64::max)
        .min(MOST);
    let x =
        |value: f64| LEFT + (value.clamp(-1.0, high) + 1.0) / (high + 1.0) * (WIDTH - LEFT - RIGHT);
    let height = 30.0 + ROW * comparisons.len() as f64 + 8.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            title { "Change of each statement's mean response time, with its interval" }
            @for mark in [-1.0, -0.5, 0.0, 0.5, 1.0] {
                @if mark <= high {
                    line.grid x1=(px(x(mark))) x2=(px(x(mark))) y1="22" y2=(px(height - 6.0)) {}
                    text x=(px(x(mark))) y="15" text-anchor="middle" { (mark_name(mark)) }
                }
            }
            @for (index, entry) in comparisons.iter().enumerate() {
                @let y = 30.0 + ROW * index as f64;
                text x=(px(LEFT - 10.0)) y=(px(y + 13.0)) text-anchor="end" {
                    (words::one_line(&words::metric(&entry.metric), 26))
                }
                @if let Some(change) = entry.change {
                    g class=(class(entry.verdict)) {
                        rect x=(px(x(change.min(0.0)))) y=(px(y + 3.0)) width=(px((x(change) - x(0.0)).abs().max(1.0))) height="12" {}
                        text x=(px(WIDTH - RIGHT + 8.0)) y=(px(y + 13.0)) { (percent(change)) }
                    }
                    @if let (Some(low), Some(upper)) = (entry.ci_low, entry.ci_high) {
                        line.whisker x1=(px(x(low))) x2=(px(x(upper))) y1=(px(y + 9.0)) y2=(px(y + 9.0)) {}
                    }
                }
            }
        }
    }
}

fn mark_name(mark: f64) -> String {
    if mark == 0.0 {
        "0 %".to_owned()
    } else {
        format!("{:+.0} %", mark * 100.0).replace('-', "−")
    }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Improved => "improved",
        Verdict::Regressed => "regressed",
        Verdict::Equivalent | Verdict::Inconclusive => "undecided",
    }
}

/// Share of the transactions' time in which they waited for a server connection.
pub(super) fn pool(before: &PoolWindow, after: Option<&PoolWindow>) -> Markup {
    let windows: Vec<(&str, &PoolWindow)> =
        std::iter::once(("before", before)).chain(after.map(|after| ("after", after))).collect();
    let height = 24.0 + 30.0 * windows.len() as f64;
    let full = WIDTH - LEFT - RIGHT;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            title { "Time of PgBouncer's transactions: at work on a server, and waiting for one" }
            g.improved { rect x=(px(LEFT)) y="4" width="12" height="12" {} text x=(px(LEFT + 17.0)) y="14" { "at work" } }
            g.regressed { rect x=(px(LEFT + 90.0)) y="4" width="12" height="12" {} text x=(px(LEFT + 107.0)) y="14" { "waiting for a server connection" } }
            @for (index, (name, window)) in windows.iter().enumerate() {
                @let y = 24.0 + 30.0 * index as f64;
                @let work = window.efficiency() * full;
                text x=(px(LEFT - 10.0)) y=(px(y + 15.0)) text-anchor="end" { (name) }
                g.improved { rect x=(px(LEFT)) y=(px(y)) width=(px(work)) height="20" {} }
                g.regressed { rect x=(px(LEFT + work)) y=(px(y)) width=(px(full - work)) height="20" {} }
                text x=(px(WIDTH - RIGHT + 8.0)) y=(px(y + 15.0)) { (words::share(window.efficiency())) }
            }
        }
    }
}
