//! WAL and checkpoints: max_wal_size, checkpoint_completion_target, wal_compression.

use super::Entry;
use crate::drafts::{Decision, Draft, without_figure};
use crate::evidence::Evidence;
use crate::risk::{self, ParameterReach};
use crate::words;
use pgassay_model::parameter::Parameter;
use pgassay_model::plan::ExpectedSource;
use pgassay_model::units::Bytes;

/// The group's rules. WAL is written by commits and by the checkpointer, beside execution: the ledger does
/// not bound it.
pub(super) const RULES: &[Entry] = &[
    Entry { parameter: "max_wal_size", lever: None, rule: max_wal_size },
    Entry { parameter: "checkpoint_completion_target", lever: None, rule: completion_target },
    Entry { parameter: "wal_compression", lever: None, rule: wal_compression },
];

/// Room above what the WAL rate asks for (design "parameters": 1.2 · rate · timeout · (1 + target)).
const HEADROOM: f64 = 1.2;
/// Requested ÷ all checkpoints from which max_wal_size is too small (design "parameters").
const TOO_MANY_REQUESTED: f64 = 0.10;
/// Fewer checkpoints than these say nothing about a share: CREATE DATABASE and base backups request some too.
const FEWEST_CHECKPOINTS: u64 = 5;
/// Largest part of the free disk that pg_wal may grow into.
const DISK_DIVISOR: u64 = 4;
/// The default from 14 on (manual, checkpoint_completion_target), and the value below which writes are
/// bunched (check completion-target).
const COMPLETION_TARGET: f64 = 0.9;
const LOW_COMPLETION_TARGET: f64 = 0.7;
/// Share of WAL in full-page images from which compressing them is worth trying (check full-page-images).
const MANY_IMAGES: f64 = 0.5;
/// WAL per second below which its volume costs nothing noticeable: one 16 MB segment in 16 s.
const NOTICEABLE_WAL: f64 = (1 << 20) as f64;

/// What checkpoints and WAL look like.
struct Wal {
    /// Bytes per second while it was measured; None before 14 or without a measurement.
    rate: Option<f64>,
    /// Requested and all checkpoints since the statistics were reset, where there were enough to say anything.
    requested: Option<(u64, u64)>,
    /// Requested while it was measured.
    requested_now: u64,
}

impl Wal {
    fn of(evidence: &Evidence<'_>) -> Wal {
        let duration = evidence.measurement.map_or(0.0, |measurement| measurement.duration_s);
        let rate = evidence
            .delta
            .and_then(|delta| delta.wal_bytes)
            .filter(|_| duration > 0.0)
            .map(|bytes| bytes as f64 / duration);
        let counters = &evidence.snapshot.counters;
        let requested = counters
            .checkpoints_requested
            .zip(counters.checkpoints_timed)
            .map(|(requested, timed)| (requested, requested + timed))
            .filter(|(_, all)| *all >= FEWEST_CHECKPOINTS);
        let requested_now =
            evidence.delta.and_then(|delta| delta.checkpoints_requested).unwrap_or(0);
        Wal { rate, requested, requested_now }
    }

    /// Whether checkpoints came because WAL had filled max_wal_size. A rate alone is no evidence: a load of
    /// seconds need not go on for a whole checkpoint_timeout.
    fn many_requested(&self) -> bool {
        let share = |(requested, all): (u64, u64)| requested as f64 / all as f64;
        self.requested_now > 0 || self.requested.map(share).unwrap_or(0.0) > TOO_MANY_REQUESTED
    }

    fn words(&self) -> String {
        let rate = match self.rate {
            Some(rate) => format!("WAL at {} a second measured", Bytes(rate as u64)),
            None => "the rate of WAL is unknown (it takes a measurement, and pg_stat_wal of 14 or later)".to_owned(),
        };
        match self.requested {
            Some((requested, all)) => {
                format!(
                    "{requested} of {} requested since the statistics were reset, {} while it was measured, {rate}",
                    words::count(all, "checkpoint"),
                    self.requested_now
                )
            }
            None => format!(
                "fewer than {FEWEST_CHECKPOINTS} checkpoints since the statistics were reset, {} requested while it was measured, {rate}",
                self.requested_now
            ),
        }
    }
}

/// The size that the WAL rate asks for, and whether it is more than there is.
fn needed(evidence: &Evidence<'_>, rate: f64) -> Option<Bytes> {
    let timeout = evidence.number("checkpoint_timeout")?;
    let target = evidence.number("checkpoint_completion_target").unwrap_or(COMPLETION_TARGET);
    Some(Bytes((HEADROOM * rate * timeout * (1.0 + target)) as u64))
}

fn max_wal_size(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let current = &parameter.current;
    let wal = Wal::of(evidence);
    let figures = wal.words();
    let Some(now) = parameter.bytes() else {
        return Decision::Keep(format!("its value {current} could not be read as a size"));
    };
    let needed = wal.rate.and_then(|rate| needed(evidence, rate));
    let target = match (needed, wal.many_requested()) {
        (Some(needed), _) if needed <= now => {
            return Decision::Keep(format!(
                "{current} holds the {needed} that 1.2 × rate × checkpoint_timeout × (1 + completion target) asks for; {figures}"
            ));
        }
        (Some(needed), true) => needed,
        (None, true) => Bytes(now.0.saturating_mul(2)),
        (_, false) => {
            return Decision::Keep(format!("no evidence that {current} is too small: {figures}"));
        }
    };
    let target = round_up(target);
    let grown = Bytes(target.0.saturating_sub(now.0));
    let free = evidence.snapshot.host.as_ref().and_then(|host| host.disk_free);
    match free {
        None => {
            return Decision::Keep(format!(
                "{target} would fit the load ({figures}), but the free disk is not visible from here: set it by hand"
            ));
        }
        Some(free) if grown.0 > free.0 / DISK_DIVISOR => {
            return Decision::Keep(format!(
                "{target} would fit the load ({figures}), but {grown} more is too much of the {free} free on disk"
            ));
        }
        Some(_) => {}
    }
    Decision::Propose(Box::new(Draft::parameter(
        parameter,
        target.to_parameter(),
        "parameters: WAL",
        risk::parameter(false, &ParameterReach::Disk(grown)),
        without_figure(
            "fewer checkpoints, so fewer full pages in WAL (in this project's own trial a whole set of rules saved 84 % of WAL per transaction and won 6 % of throughput)",
            ExpectedSource::Rule,
        ),
        vec![figures],
        "pg_stat_checkpointer.num_requested (before 17 pg_stat_bgwriter.checkpoints_req), pg_stat_wal.wal_fpi",
    )))
}

/// Whole gigabytes, or a multiple of 64 MB below one.
fn round_up(size: Bytes) -> Bytes {
    let step: u64 = if size.0 > 1 << 30 { 1 << 30 } else { 64 << 20 };
    Bytes(size.0.div_ceil(step) * step)
}

fn completion_target(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let current = &parameter.current;
    let wal = Wal::of(evidence);
    let figures = wal.words();
    if parameter.number().is_none_or(|now| now >= LOW_COMPLETION_TARGET) {
        return Decision::Keep(format!("{current} spreads the writes of a checkpoint already"));
    }
    if wal.rate.is_none_or(|rate| rate < NOTICEABLE_WAL) {
        return Decision::Keep(format!(
            "{current} bunches the writes of a checkpoint, but there is no evidence that they are many: {figures}; {COMPLETION_TARGET} is the default from 14 on"
        ));
    }
    Decision::Propose(Box::new(Draft::parameter(
        parameter,
        COMPLETION_TARGET.to_string(),
        "parameters: WAL",
        risk::parameter(false, &ParameterReach::Bounded),
        without_figure(
            "checkpoints write more evenly; the mean may not move, p99 may",
            ExpectedSource::Rule,
        ),
        vec![figures],
        "p99 during checkpoints",
    )))
}

fn wal_compression(evidence: &Evidence<'_>, parameter: &Parameter) -> Decision {
    let current = &parameter.current;
    if parameter.setting != "off" {
        return Decision::Keep(format!("it is {current}"));
    }
    let wal = Wal::of(evidence);
    let images = evidence.delta.and_then(|delta| {
        let (images, bytes) = (delta.wal_full_page_images?, delta.wal_bytes?);
        (bytes > 0).then(|| (super::memory::pages(images).0 as f64 / bytes as f64).min(1.0))
    });
    let (Some(rate), Some(images)) = (wal.rate, images) else {
        return Decision::Keep(format!(
            "the share of full-page images in WAL is unknown; it stays {current}"
        ));
    };
    let figures = format!(
        "full-page images are at most {} of WAL, {} a second",
        words::share(images),
        Bytes(rate as u64)
    );
    let window = evidence.measurement.map_or(0.0, |measurement| measurement.duration_s);
    if evidence.number("checkpoint_timeout").is_none_or(|timeout| window < timeout) {
        return Decision::Keep(format!(
            "{figures}, in a window shorter than checkpoint_timeout: they come after a checkpoint, so that their share in the long run is unknown; it stays {current}"
        ));
    }
    if images < MANY_IMAGES || rate < NOTICEABLE_WAL {
        return Decision::Keep(format!("{figures}: not worth every writer's CPU"));
    }
    if needed(evidence, rate).zip(evidence.bytes("max_wal_size")).is_some_and(|(n, now)| n > now) {
        return Decision::Keep(format!(
            "{figures}, but a larger max_wal_size saves them without CPU: first that"
        ));
    }
    let codecs = parameter.enumvals.as_deref().unwrap_or_default();
    let to = ["lz4", "zstd"].into_iter().find(|codec| codecs.iter().any(|known| known == codec));
    Decision::Propose(Box::new(Draft::parameter(
        parameter,
        to.unwrap_or("on").to_owned(),
        "parameters: WAL compression",
        risk::parameter(false, &ParameterReach::WriterCpu),
        without_figure("less WAL to write; CPU against I/O", ExpectedSource::Rule),
        vec![figures],
        "pg_stat_wal.wal_bytes per transaction",
    )))
}
