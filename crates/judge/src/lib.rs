//! Statistics of comparison: intervals, tests, verdicts; pure.
//!
//! Owns every decision of the form "did this become better?". The unit of a comparison is the block
//! (a slice of time), never the request, since requests of one moment are not independent. Takes
//! values and returns values: no I/O, no clock, no random source.

mod abort;
mod alike;
mod change;
mod drift;
mod errors;
mod gate;
mod holm;
mod margins;
mod measurements;
mod normal;
mod overall;
mod pairs;
mod passive;
mod rank_sum;
mod signed_rank;
mod statement_mix;
mod steady;
mod weights;

pub use abort::AbortRules;
pub use alike::differences;
pub use change::{Design, Sense, compare};
pub use gate::{AaGate, aa_gate};
pub use margins::Margins;
pub use measurements::compare_measurements;
pub use overall::{blocks_needed, overall};
pub use pairs::compare_pairs;
pub use passive::{
    Baseline, Judgement, PASSIVE_PRIMARY, baseline, compare_observations, compare_switched,
};
pub use steady::{mser5, steady};
pub use weights::{request_weights, weighted_mean};

/// Numbers of blocks (pairs, where paired) at which a comparison may be looked at and ended.
pub const LOOKS: [u32; 3] = [8, 16, 32];

/// Two-sided significance level of each of the [`LOOKS`], so that all three together stay at 5 %
/// (Pocock, "Group sequential methods in the design and analysis of clinical trials", 1977, K = 3).
pub const POCOCK_ALPHA: f64 = 0.0221;
