//! Latency distributions before and after: percentiles on a logarithmic scale, a dot for every block.

use super::px;
use crate::document::Distribution;
use maud::{Markup, html};
use pgassay_model::measurement::Latency;
use pgassay_model::units::Ms;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 30.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 34.0;
const NAMES: [&str; 5] = ["p50", "p90", "p95", "p99", "max"];
/// Least latency drawn, milliseconds: a microsecond.
const FLOOR: f64 = 0.001;

fn figures(latency: &Latency) -> [f64; 5] {
    [latency.p50, latency.p90, latency.p95, latency.p99, latency.max]
}

/// The logarithmic scale: decades from the least to the largest figure drawn.
struct Scale {
    low: i32,
    high: i32,
}

impl Scale {
    fn over<'a>(distributions: impl Iterator<Item = &'a Distribution>) -> Self {
        let values: Vec<f64> = distributions
            .flat_map(|one| one.blocks.iter().chain(std::iter::once(&one.all)))
            .flat_map(figures)
            .filter(|value| value.is_finite() && *value > 0.0)
            .map(|value| value.max(FLOOR).log10())
            .collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !low.is_finite() {
            return Scale { low: 0, high: 1 };
        }
        let low = low.floor() as i32;
        Scale { low, high: (high.ceil() as i32).max(low + 1) }
    }

    fn y(&self, value: f64) -> f64 {
        let value = if value.is_finite() { value.max(FLOOR) } else { FLOOR };
        let share = (value.log10() - f64::from(self.low)) / f64::from(self.high - self.low);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }
}

fn x(index: usize) -> f64 {
    LEFT + 40.0 + index as f64 * (WIDTH - LEFT - RIGHT - 80.0) / (NAMES.len() - 1) as f64
}

pub(super) fn draw(before: &Distribution, after: Option<&Distribution>) -> Markup {
    let scale = Scale::over(std::iter::once(before).chain(after));
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" {
            title { "Response time by percentile, logarithmic scale; lines are all requests, dots are single blocks" }
            @for decade in scale.low..=scale.high {
                @let y = scale.y(10f64.powi(decade));
                line.grid x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(px(y)) y2=(px(y)) {}
                text x=(px(LEFT - 8.0)) y=(px(y + 4.0)) text-anchor="end" { (Ms(10f64.powi(decade)).to_string()) }
            }
            @for (index, name) in NAMES.iter().enumerate() {
                text x=(px(x(index))) y=(px(HEIGHT - 10.0)) text-anchor="middle" { (name) }
            }
            (series(before, "before", -7.0, -10.0, &scale))
            @if let Some(after) = after { (series(after, "after", 7.0, 18.0, &scale)) }
            (super::bars::legend(LEFT, after.is_some()))
        }
    }
}

fn series(
    distribution: &Distribution,
    class: &str,
    shift: f64,
    label: f64,
    scale: &Scale,
) -> Markup {
    let all = figures(&distribution.all);
    let points: Vec<String> = all
        .iter()
        .enumerate()
        .map(|(index, value)| format!("{},{}", px(x(index) + shift), px(scale.y(*value))))
        .collect();
    html! {
        g class=(class) {
            @for block in &distribution.blocks {
                @for (index, value) in figures(block).into_iter().enumerate() {
                    circle.dot cx=(px(x(index) + shift)) cy=(px(scale.y(value))) r="2" {}
                }
            }
            polyline points=(points.join(" ")) {}
            @for (index, value) in all.iter().enumerate() {
                circle cx=(px(x(index) + shift)) cy=(px(scale.y(*value))) r="4" {}
                text x=(px(x(index) + shift)) y=(px(scale.y(*value) + label)) text-anchor="middle" { (Ms(*value).to_string()) }
            }
        }
    }
}
