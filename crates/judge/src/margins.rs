//! Margins: the smallest effect worth keeping, and the largest that counts as none.

/// Relative changes (0.03 is 3 %) that separate an effect from no effect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Margins {
    /// δ: an improvement smaller than this is not worth a change.
    pub improvement: f64,
    /// ε of the mean latency and of its median, of throughput and CPU.
    pub equivalence_mean: f64,
    /// ε of p95 and p99.
    pub equivalence_p99: f64,
    /// ε of one statement's mean latency.
    pub equivalence_statement: f64,
}

impl Default for Margins {
    fn default() -> Self {
        Margins {
            improvement: 0.03,
            equivalence_mean: 0.02,
            equivalence_p99: 0.05,
            equivalence_statement: 0.10,
        }
    }
}
