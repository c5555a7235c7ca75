//! The ledger as a waterfall: every part begins where the one before it ends.

use super::px;
use crate::words;
use maud::{Markup, html};
use pgassay_model::measurement::Ledger;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 140.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 30.0;
const BAR: f64 = 12.0;

pub(super) fn draw(before: &Ledger, after: Option<&Ledger>) -> Markup {
    let scale = before.total.max(after.map_or(0.0, |after| after.total)).max(f64::MIN_POSITIVE);
    let row = if after.is_some() { 2.0 * BAR + 8.0 } else { BAR + 10.0 };
    let height = TOP + row * 7.0 + 10.0;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) role="img" {
            title { "Where the mean response time goes, part after part" }
            @for (index, (name, _)) in before.parts().iter().enumerate() {
                text x=(px(LEFT - 10.0)) y=(px(TOP + row * index as f64 + row / 2.0)) text-anchor="end" {
                    (words::ledger_part(name))
                }
            }
            (bars(before, "before", 0.0, row, scale))
            @if let Some(after) = after { (bars(after, "after", BAR + 1.0, row, scale)) }
            (super::bars::legend(LEFT, after.is_some()))
        }
    }
}

fn bars(ledger: &Ledger, class: &str, offset: f64, row: f64, scale: f64) -> Markup {
    let width = |value: f64| value.max(0.0) / scale * (WIDTH - LEFT - RIGHT);
    let mut start = 0.0;
    let parts: Vec<(usize, f64, Option<f64>)> = ledger
        .parts()
        .iter()
        .enumerate()
        .map(|(index, (_, value))| {
            let from = start;
            start += value.unwrap_or(0.0);
            (index, from, *value)
        })
        .collect();
    html! {
        g class=(class) {
            @for (index, from, value) in parts {
                @let y = TOP + row * index as f64 + offset;
                @if let Some(value) = value {
                    rect x=(px(LEFT + width(from))) y=(px(y)) width=(px(width(value).max(1.0))) height=(px(BAR)) {}
                    text x=(px(LEFT + width(from) + width(value) + 5.0)) y=(px(y + 10.0)) { (words::ms(value)) }
                } @else {
                    text.unknown x=(px(LEFT + width(from) + 5.0)) y=(px(y + 10.0)) { "not told apart" }
                }
            }
        }
    }
}
