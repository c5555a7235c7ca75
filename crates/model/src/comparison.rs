//! Verdicts: what a comparison of two sets of blocks says.

use serde::{Deserialize, Serialize};

/// What a measurement says of a change; cost metrics, so negative change is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The interval excludes zero on the good side and the estimate passes the margin.
    Improved,
    /// The whole interval lies within the equivalence margin.
    Equivalent,
    /// The interval excludes zero on the bad side.
    Regressed,
    /// None of these, at the largest number of blocks.
    Inconclusive,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Verdict::Improved => "improved",
            Verdict::Equivalent => "equivalent",
            Verdict::Regressed => "regressed",
            Verdict::Inconclusive => "inconclusive",
        })
    }
}

/// One metric before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// `latency_mean_ms`, `latency_p50_ms`, `latency_p95_ms`, `latency_p99_ms`, `throughput`, `server_cpu_ms_per_request`,
    /// or `statement:ID` for a statement's mean latency. Of runs that only watched the application:
    /// `statement_time_index`, `rollback_share`, and `statement:ID` for a statement's mean server time.
    pub metric: String,
    /// Typical value before (median of blocks); None where it could not be measured.
    pub before: Option<f64>,
    /// Typical value after.
    pub after: Option<f64>,
    /// after ÷ before − 1: −0.45 is 45 % less. Hodges–Lehmann estimate on logarithms.
    pub change: Option<f64>,
    /// Lower end of the interval of `change`.
    pub ci_low: Option<f64>,
    /// Upper end.
    pub ci_high: Option<f64>,
    /// Confidence of the interval, e.g. 0.95.
    pub confidence: f64,
    /// Design and test, e.g. "before/after blocks, Hodges–Lehmann with rank-sum interval".
    pub method: String,
    /// Blocks on each side (pairs, where paired).
    pub n: u32,
    /// The smallest relative change that this n and this noise would have shown; None where n is too small.
    #[serde(default)]
    pub detectable: Option<f64>,
    /// Verdict, in the metric's own sense of better.
    pub verdict: Verdict,
}
