//! How the application is watched: windows, buckets, and what the flags may ask for.

use crate::cli;
use crate::failure::Failure;
use std::time::Duration;

/// Shortest bucket that the command line takes: what reading costs, and the second by which the server's counters
/// of transactions come late, stay small in it.
pub const SHORTEST_BUCKET: Duration = Duration::from_secs(10);
/// Bucket of windows that are not long.
pub const USUAL_BUCKET: Duration = Duration::from_secs(60);
/// Shortest window advised in production, and the longest (verification protocol: 30 minutes to 72 hours).
pub const ADVISED_WINDOW: Duration = Duration::from_secs(30 * 60);
/// See [`ADVISED_WINDOW`].
pub const LONGEST_WINDOW: Duration = Duration::from_secs(72 * 3600);
/// Fewest buckets of a window that the command line takes: those of the first look.
pub const FEWEST_BUCKETS: usize = 8;
/// Most buckets of a window: what is compared and stored stays small.
pub const MOST_BUCKETS: usize = 720;
/// Fewest pairs of buckets for switching on and off (verification protocol).
pub const FEWEST_PAIRS: usize = 12;
/// What is left out after a change or a switch, at most.
const LONGEST_SETTLING: Duration = Duration::from_secs(5);
/// How the application is watched.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Length of each side of a comparison.
    pub window: Duration,
    /// Length of a bucket.
    pub bucket: Duration,
    /// Seed of the order in which changes are switched on and off.
    pub seed: u64,
    /// Keep what could not be told from noise, too.
    pub keep_inconclusive: bool,
}

/// What the flags ask for, checked.
pub fn watch(arguments: &cli::Passive, keep_inconclusive: bool) -> Result<Watch, Failure> {
    let window = arguments.window;
    let smallest = window / MOST_BUCKETS as u32;
    let bucket = arguments.bucket.unwrap_or_else(|| USUAL_BUCKET.max(smallest));
    if bucket < SHORTEST_BUCKET {
        return Err(Failure::input(
            format!("--bucket {bucket:?} is too short: reading would weigh in it"),
            "10s is the shortest",
        ));
    }
    if window > LONGEST_WINDOW {
        return Err(Failure::input(
            format!("--window {window:?} is too long: the load itself changes in it"),
            "72h is the longest",
        ));
    }
    let watch = Watch { window, bucket, seed: 42, keep_inconclusive };
    match watch.buckets() {
        too_few if too_few < FEWEST_BUCKETS => Err(Failure::input(
            format!("--window {window:?} holds {too_few} buckets of {bucket:?}"),
            format!(
                "{FEWEST_BUCKETS} are the fewest that tell anything: a longer --window or a shorter --bucket"
            ),
        )),
        too_many if too_many > MOST_BUCKETS => Err(Failure::input(
            format!("--window {window:?} holds {too_many} buckets of {bucket:?}"),
            format!("{MOST_BUCKETS} are the most: a longer --bucket"),
        )),
        _ => Ok(watch),
    }
}

impl Watch {
    /// Buckets of a window.
    pub fn buckets(&self) -> usize {
        (self.window.as_secs_f64() / self.bucket.as_secs_f64().max(1e-3)).round() as usize
    }

    /// Time left out after a change or a switch: what was begun before is to end, backends to take in a reload.
    pub fn settling(&self) -> Duration {
        (self.bucket / 4).min(LONGEST_SETTLING)
    }
}
