//! Samples summed up: distributions by block, by statement and by script.

use crate::LoadError;
use crate::reporter::{Sample, Subject, nanoseconds};
use hdrhistogram::Histogram;
use pgassay_model::measurement::{Block, BlockStatement, Latency, StatementMeasurement};
use std::collections::BTreeMap;
use std::time::Duration;

/// Significant digits of quantiles; the unit is the microsecond.
const DIGITS: u8 = 3;

/// A distribution of latencies: mean and largest exact, quantiles to three digits.
#[derive(Debug)]
struct Distribution {
    histogram: Histogram<u64>,
    sum: Duration,
    largest: Duration,
}

impl Distribution {
    fn new() -> Result<Self, LoadError> {
        let histogram = Histogram::new(DIGITS)
            .map_err(|_| LoadError::Options("a histogram could not be created"))?;
        Ok(Distribution { histogram, sum: Duration::ZERO, largest: Duration::ZERO })
    }

    fn record(&mut self, nanoseconds: u64) {
        let microseconds = nanoseconds.saturating_add(500) / 1000;
        // `record` lets the histogram grow to any value; `saturating_record` alone never would.
        if self.histogram.record(microseconds).is_err() {
            self.histogram.saturating_record(microseconds);
        }
        self.sum += Duration::from_nanos(nanoseconds);
        self.largest = self.largest.max(Duration::from_nanos(nanoseconds));
    }

    /// Takes in another one. Both have the same digits, and this one grows, so nothing is refused.
    fn add(&mut self, other: &Distribution) {
        let _ = self.histogram.add(&other.histogram);
        self.sum += other.sum;
        self.largest = self.largest.max(other.largest);
    }

    fn latency(&self) -> Latency {
        let count = self.histogram.len();
        if count == 0 {
            return Latency::default();
        }
        let max = self.largest.as_secs_f64() * 1e3;
        // A quantile's bucket may reach beyond the largest value.
        let quantile = |share| (self.histogram.value_at_quantile(share) as f64 / 1e3).min(max);
        Latency {
            mean: mean_ms(self.sum, count),
            p50: quantile(0.50),
            p90: quantile(0.90),
            p95: quantile(0.95),
            p99: quantile(0.99),
            max,
        }
    }
}

/// Mean in milliseconds; 0 of nothing.
pub(crate) fn mean_ms(sum: Duration, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum.as_secs_f64() * 1e3 / count as f64 }
}

#[derive(Debug)]
struct BlockTally {
    distribution: Distribution,
    requests: u64,
    errors: u64,
    statements: Vec<(u64, Duration)>,
}

#[derive(Debug)]
struct StatementTally {
    distribution: Distribution,
    requests: u64,
    errors: u64,
    first_error: Option<String>,
}

/// Everything sampled in the measured window.
#[derive(Debug)]
pub(crate) struct Tally {
    blocks: Vec<BlockTally>,
    statements: Vec<StatementTally>,
    /// Runs of scripts; empty where requests are statements.
    scripts: Vec<StatementTally>,
    /// How late requests were sent; None in a closed loop, where none is late.
    late: Option<Distribution>,
    /// How late though nothing held them back; None there too.
    lag: Option<Distribution>,
    /// Nanoseconds.
    block: u64,
    /// When the last answer without error came, nanoseconds since the window began.
    last_answer: u64,
}

/// A statement or a script: its identity and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) id: String,
    pub(crate) sql: String,
}

impl Tally {
    /// For a window of `blocks` blocks of length `block`.
    pub(crate) fn new(
        blocks: usize,
        block: Duration,
        statements: usize,
        scripts: usize,
        open: bool,
    ) -> Result<Self, LoadError> {
        let new_block = |_| {
            Ok(BlockTally {
                distribution: Distribution::new()?,
                requests: 0,
                errors: 0,
                statements: vec![(0, Duration::ZERO); statements],
            })
        };
        let new_statement = |_| {
            Ok(StatementTally {
                distribution: Distribution::new()?,
                requests: 0,
                errors: 0,
                first_error: None,
            })
        };
        Ok(Tally {
            late: open.then(Distribution::new).transpose()?,
            lag: open.then(Distribution::new).transpose()?,
            scripts: (0..scripts).map(new_statement).collect::<Result<_, LoadError>>()?,
            blocks: (0..blocks).map(new_block).collect::<Result<_, LoadError>>()?,
            statements: (0..statements).map(new_statement).collect::<Result<_, LoadError>>()?,
            block: nanoseconds(block),
            last_answer: 0,
        })
    }

    /// When the last answer without error came, since the window began.
    pub(crate) fn last_answer(&self) -> Duration {
        Duration::from_nanos(self.last_answer)
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        let index = (sample.start / self.block.max(1)) as usize;
        let last = self.blocks.len().saturating_sub(1);
        let Some(block) = self.blocks.get_mut(index.min(last)) else { return };
        let (own, within) = match sample.subject {
            Subject::Request(number) | Subject::Part(number) => (
                self.statements.get_mut(number as usize),
                block.statements.get_mut(number as usize),
            ),
            Subject::Script(number) => (self.scripts.get_mut(number as usize), None),
        };
        let Some(own) = own else { return };
        own.requests += 1;
        own.errors += u64::from(sample.failed);
        let whole = !matches!(sample.subject, Subject::Part(_));
        if whole {
            block.requests += 1;
            block.errors += u64::from(sample.failed);
            if let (Some(late), Some(lag)) = (&mut self.late, &mut self.lag) {
                late.record(sample.late);
                lag.record(sample.lag);
            }
        }
        if sample.failed {
            return;
        }
        own.distribution.record(sample.latency);
        self.last_answer = self.last_answer.max(sample.start.saturating_add(sample.latency));
        if whole {
            block.distribution.record(sample.latency);
        }
        if let Some((count, sum)) = within {
            *count += 1;
            *sum += Duration::from_nanos(sample.latency);
        }
    }

    /// Keeps the first error of each statement; scripts are numbered on from the statements.
    pub(crate) fn explain(&mut self, number: usize, text: String) {
        let own = match number.checked_sub(self.statements.len()) {
            None => self.statements.get_mut(number),
            Some(script) => self.scripts.get_mut(script),
        };
        if let Some(own) = own {
            own.first_error.get_or_insert(text);
        }
    }

    /// Statements, or scripts where these are the requests.
    fn whole(&self) -> &[StatementTally] {
        if self.scripts.is_empty() { &self.statements } else { &self.scripts }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.whole().iter().map(|own| own.requests).sum()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.whole().iter().map(|own| own.errors).sum()
    }

    pub(crate) fn latency(&self) -> Latency {
        // A new one differs from those that there are in nothing that could be refused.
        let Ok(mut all) = Distribution::new() else { return Latency::default() };
        self.whole().iter().for_each(|own| all.add(&own.distribution));
        all.latency()
    }

    /// How late requests were sent; None in a closed loop.
    pub(crate) fn late(&self) -> Option<Latency> {
        self.late.as_ref().map(Distribution::latency)
    }

    /// How late though nothing held them back; None in a closed loop.
    pub(crate) fn lag(&self) -> Option<Latency> {
        self.lag.as_ref().map(Distribution::latency)
    }

    pub(crate) fn first_error(&self) -> Option<&str> {
        self.statements.iter().chain(&self.scripts).find_map(|own| own.first_error.as_deref())
    }

    /// Measurements of statements, in the order of their names.
    pub(crate) fn statements(&self, names: &[Named]) -> Vec<StatementMeasurement> {
        measured(names, &self.statements)
    }

    /// Measurements of scripts.
    pub(crate) fn scripts(&self, names: &[Named]) -> Vec<StatementMeasurement> {
        measured(names, &self.scripts)
    }

    /// Blocks; `cpu` is the server's CPU in milliseconds at their borders, one more than blocks.
    pub(crate) fn blocks(&self, names: &[Named], cpu: &[Option<f64>]) -> Vec<Block> {
        let block_s = self.block as f64 / 1e9;
        self.blocks
            .iter()
            .enumerate()
            .map(|(index, tally)| {
                let border = |index: usize| cpu.get(index).copied().flatten();
                let used = border(index).zip(border(index + 1));
                Block {
                    start_s: block_s * index as f64,
                    duration_s: block_s,
                    requests: tally.requests,
                    errors: tally.errors,
                    latency_ms: tally.distribution.latency(),
                    server_cpu_ms_per_request: used
                        .and_then(|(begin, end)| cpu_per_request(begin, end, tally.requests)),
                    statements: block_statements(names, &tally.statements),
                }
            })
            .collect()
    }
}

fn measured(names: &[Named], tallies: &[StatementTally]) -> Vec<StatementMeasurement> {
    names
        .iter()
        .zip(tallies)
        .map(|(own, tally)| StatementMeasurement {
            id: own.id.clone(),
            sql: own.sql.clone(),
            requests: tally.requests,
            errors: tally.errors,
            latency_ms: tally.distribution.latency(),
            first_error: tally.first_error.clone(),
            not_representative: None,
        })
        .collect()
}

/// CPU per request between two readings; None without a request.
pub(crate) fn cpu_per_request(begin: f64, end: f64, requests: u64) -> Option<f64> {
    (requests > 0).then(|| (end - begin).max(0.0) / requests as f64)
}

fn block_statements(
    names: &[Named],
    tallies: &[(u64, Duration)],
) -> BTreeMap<String, BlockStatement> {
    names
        .iter()
        .zip(tallies)
        .filter(|(_, (count, _))| *count > 0)
        .map(|(own, (count, sum))| {
            let mean = BlockStatement { requests: *count, mean_ms: mean_ms(*sum, *count) };
            (own.id.clone(), mean)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn quantiles_keep_three_digits_from_microseconds_to_hours() {
        for ms in [0.05, 3.25, 977.0, 59_000.0, 7_200_000.0] {
            let mut distribution = Distribution::new().unwrap();
            for _ in 0..100 {
                distribution.record((ms * 1e6) as u64);
            }
            let latency = distribution.latency();
            for value in [latency.mean, latency.p50, latency.p99, latency.max] {
                assert!((value / ms - 1.0).abs() < 2e-3, "{value} for {ms}");
            }
        }
    }

    #[test]
    fn a_failed_request_is_counted_and_colours_no_latency() {
        let mut tally = Tally::new(2, Duration::from_secs(1), 1, 0, false).unwrap();
        let sample = |start_ms: u64, latency_ms: u64, failed| Sample {
            start: start_ms * 1_000_000,
            latency: latency_ms * 1_000_000,
            late: 0,
            lag: 0,
            subject: Subject::Request(0),
            failed,
        };
        tally.add(sample(0, 4, false));
        tally.add(sample(1500, 900, true));
        tally.add(sample(1999, 6, false));
        assert_eq!((tally.requests(), tally.errors()), (3, 1));
        assert_eq!(tally.latency().mean, 5.0);
        assert_eq!(tally.blocks.iter().map(|block| block.requests).collect::<Vec<_>>(), [1, 2]);
    }
}
