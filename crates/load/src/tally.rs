//! Samples summed up: distributions by block and by statement.

use crate::LoadError;
use crate::reporter::Sample;
use hdrhistogram::Histogram;
use pgassay_model::measurement::{Block, BlockStatement, Latency, StatementMeasurement};
use pgassay_model::workload::Workload;
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

    fn record(&mut self, latency: Duration) {
        let microseconds = nanoseconds(latency).saturating_add(500) / 1000;
        // `record` lets the histogram grow to any value; `saturating_record` alone never would.
        if self.histogram.record(microseconds).is_err() {
            self.histogram.saturating_record(microseconds);
        }
        self.sum += latency;
        self.largest = self.largest.max(latency);
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

/// In 64 bits, which hold 584 years: this runs for every request, and 128-bit division is slow.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
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
    all: Distribution,
    blocks: Vec<BlockTally>,
    statements: Vec<StatementTally>,
    block: Duration,
}

impl Tally {
    /// For a window of `blocks` blocks of length `block`.
    pub(crate) fn new(
        blocks: usize,
        block: Duration,
        statements: usize,
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
            all: Distribution::new()?,
            blocks: (0..blocks).map(new_block).collect::<Result<_, LoadError>>()?,
            statements: (0..statements).map(new_statement).collect::<Result<_, LoadError>>()?,
            block,
        })
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        let index = (nanoseconds(sample.start) / nanoseconds(self.block).max(1)) as usize;
        let last = self.blocks.len().saturating_sub(1);
        let (Some(block), Some(statement)) =
            (self.blocks.get_mut(index.min(last)), self.statements.get_mut(sample.statement))
        else {
            return;
        };
        block.requests += 1;
        statement.requests += 1;
        if sample.failed {
            block.errors += 1;
            statement.errors += 1;
            return;
        }
        self.all.record(sample.latency);
        block.distribution.record(sample.latency);
        statement.distribution.record(sample.latency);
        if let Some((count, sum)) = block.statements.get_mut(sample.statement) {
            *count += 1;
            *sum += sample.latency;
        }
    }

    /// Keeps the first error of each statement.
    pub(crate) fn explain(&mut self, statement: usize, text: String) {
        if let Some(statement) = self.statements.get_mut(statement) {
            statement.first_error.get_or_insert(text);
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.statements.iter().map(|statement| statement.requests).sum()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.statements.iter().map(|statement| statement.errors).sum()
    }

    pub(crate) fn latency(&self) -> Latency {
        self.all.latency()
    }

    pub(crate) fn first_error(&self) -> Option<&str> {
        self.statements.iter().find_map(|statement| statement.first_error.as_deref())
    }

    /// Measurements of statements, in the workload's order.
    pub(crate) fn statements(&self, workload: &Workload) -> Vec<StatementMeasurement> {
        workload
            .statements
            .iter()
            .zip(&self.statements)
            .map(|(statement, tally)| StatementMeasurement {
                id: statement.id.clone(),
                sql: statement.sql.clone(),
                requests: tally.requests,
                errors: tally.errors,
                latency_ms: tally.distribution.latency(),
                first_error: tally.first_error.clone(),
            })
            .collect()
    }

    /// Blocks; `cpu` is the server's CPU in milliseconds at their borders, one more than blocks.
    pub(crate) fn blocks(&self, workload: &Workload, cpu: &[Option<f64>]) -> Vec<Block> {
        self.blocks
            .iter()
            .enumerate()
            .map(|(index, tally)| {
                let border = |index: usize| cpu.get(index).copied().flatten();
                let used = border(index).zip(border(index + 1));
                Block {
                    start_s: self.block.as_secs_f64() * index as f64,
                    duration_s: self.block.as_secs_f64(),
                    requests: tally.requests,
                    errors: tally.errors,
                    latency_ms: tally.distribution.latency(),
                    server_cpu_ms_per_request: used
                        .and_then(|(begin, end)| cpu_per_request(begin, end, tally.requests)),
                    statements: block_statements(workload, &tally.statements),
                }
            })
            .collect()
    }
}

/// CPU per request between two readings; None without a request.
pub(crate) fn cpu_per_request(begin: f64, end: f64, requests: u64) -> Option<f64> {
    (requests > 0).then(|| (end - begin).max(0.0) / requests as f64)
}

fn block_statements(
    workload: &Workload,
    tallies: &[(u64, Duration)],
) -> BTreeMap<String, BlockStatement> {
    workload
        .statements
        .iter()
        .zip(tallies)
        .filter(|(_, (count, _))| *count > 0)
        .map(|(statement, (count, sum))| {
            let own = BlockStatement { requests: *count, mean_ms: mean_ms(*sum, *count) };
            (statement.id.clone(), own)
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
                distribution.record(Duration::from_secs_f64(ms / 1e3));
            }
            let latency = distribution.latency();
            for value in [latency.mean, latency.p50, latency.p99, latency.max] {
                assert!((value / ms - 1.0).abs() < 2e-3, "{value} for {ms}");
            }
        }
    }

    #[test]
    fn a_failed_request_is_counted_and_colours_no_latency() {
        let mut tally = Tally::new(2, Duration::from_secs(1), 1).unwrap();
        let sample = |start_ms, latency_ms, failed| Sample {
            start: Duration::from_millis(start_ms),
            latency: Duration::from_millis(latency_ms),
            statement: 0,
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
