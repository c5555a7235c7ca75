//! The facts that rules rest on, with where they come from.

use crate::load::{Counted, Load};
use crate::plan_gate::PlanGate;
use crate::reachable::{Lever, Levers};
use crate::shapes::Shapes;
use crate::words;
use pgassay_model::interrupt::Interrupt;
use pgassay_model::measurement::Measurement;
use pgassay_model::parameter::Parameter;
use pgassay_model::pooler::PoolerSnapshot;
use pgassay_model::snapshot::{Counters, Snapshot};
use pgassay_model::units::{Bytes, Ms};
use pgassay_model::workload::Workload;

/// PostgreSQL's page size; other sizes are a compile-time choice that nobody makes (manual, block_size).
pub(crate) const PAGE: u64 = 8192;

/// A page read in less came from the page cache of the kernel, not from a disk (design "parameters":
/// "many blks_read at ≤ 20 µs each").
pub(crate) const PAGE_CACHE_READ_MS: f64 = 0.02;

/// Everything a rule may look at.
pub(crate) struct Evidence<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) workload: &'a Workload,
    pub(crate) measurement: Option<&'a Measurement>,
    /// What was counted while it was measured.
    pub(crate) delta: Option<&'a Counters>,
    pub(crate) levers: &'a Levers,
    pub(crate) load: &'a Load,
    pub(crate) shapes: &'a Shapes<'a>,
    /// Plans of the workload's statements, with the indexes that are proposed.
    pub(crate) plans: &'a PlanGate<'a>,
    pub(crate) interrupt: &'a Interrupt,
}

/// Pages asked for and pages found in shared_buffers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PageReads {
    /// Found.
    pub(crate) hit: u64,
    /// Asked of the kernel.
    pub(crate) read: u64,
    /// Mean time of a read in ms; None unless `track_io_timing` is on and something was read.
    pub(crate) read_ms: Option<f64>,
}

/// Temporary files of the workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spills {
    /// Ids of the statements that write them.
    pub(crate) statements: Vec<String>,
    /// Bytes a call of the one that writes most.
    pub(crate) per_call: Bytes,
    /// In words, with the source.
    pub(crate) description: String,
}

impl PageReads {
    /// Share (0–1) found in shared_buffers; 1 when nothing was asked for.
    pub(crate) fn hit_share(&self) -> f64 {
        let all = self.hit + self.read;
        if all == 0 { 1.0 } else { self.hit as f64 / all as f64 }
    }
}

impl<'a> Evidence<'a> {
    /// A parameter's number in its own unit.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.snapshot.parameter(name)?.number()
    }

    /// A parameter's size.
    pub(crate) fn bytes(&self, name: &str) -> Option<Bytes> {
        self.snapshot.parameter(name)?.bytes()
    }

    /// Whether a boolean parameter is on.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.snapshot.parameter(name).is_some_and(|parameter| parameter.setting == "on")
    }

    /// Page reads while it was measured, else since the statistics were reset.
    pub(crate) fn page_reads(&self) -> PageReads {
        let counters = self.delta.unwrap_or(&self.snapshot.counters);
        let timed = self.on("track_io_timing") && counters.blocks_read > 0;
        PageReads {
            hit: counters.blocks_hit,
            read: counters.blocks_read,
            read_ms: timed.then(|| counters.block_read_ms / counters.blocks_read as f64),
        }
    }

    /// When the counters were counted, in words.
    pub(crate) fn counted_when(&self) -> String {
        match (self.delta, self.measurement) {
            (Some(_), Some(measurement)) => {
                format!("in {:.0} s measured", measurement.duration_s)
            }
            (Some(_), None) => "while it was measured".to_owned(),
            (None, _) => "since the statistics were reset".to_owned(),
        }
    }

    /// Who writes temporary files, and how much a call: by pg_stat_statements, else what was written while it was
    /// measured, divided among the requests whose plans sort or hash.
    pub(crate) fn spills(&self) -> Option<Spills> {
        self.spills_counted().or_else(|| self.spills_estimated())
    }

    fn spills_counted(&self) -> Option<Spills> {
        let counted = Counted::of(self.snapshot.statements.as_deref()?);
        let mut spills: Vec<(&str, Bytes)> = self
            .workload
            .statements
            .iter()
            .filter_map(|statement| {
                let rows = counted.rows(statement).iter();
                let (calls, pages) = rows.fold((0, 0), |(calls, pages), row| {
                    (calls + row.calls, pages + row.temp_written)
                });
                (calls > 0 && pages > 0)
                    .then(|| (statement.id.as_str(), Bytes((pages * PAGE) / calls)))
            })
            .collect();
        spills.sort_by_key(|spill| std::cmp::Reverse(spill.1));
        let (largest, per_call) = *spills.first()?;
        Some(Spills {
            statements: spills.iter().map(|(id, _)| (*id).to_owned()).collect(),
            per_call,
            description: format!(
                "{largest} writes {per_call} of temporary files a call (pg_stat_statements)"
            ),
        })
    }

    fn spills_estimated(&self) -> Option<Spills> {
        let written = self.delta.filter(|delta| delta.temp_bytes > 0)?.temp_bytes;
        let statements: Vec<String> = self
            .plans
            .plans()
            .filter(|(_, plan)| {
                ["Sort", "Hash", "Materialize"].iter().any(|n| plan.shape.contains(n))
            })
            .map(|(statement, _)| statement.id.clone())
            .collect();
        let requests: u64 =
            statements.iter().filter_map(|id| self.load.get(id)).map(|load| load.requests).sum();
        let per_call = Bytes(written.checked_div(requests)?);
        Some(Spills {
            description: format!(
                "{} of temporary files {}, about {per_call} a call if all of it was of {}, whose plans sort or hash (estimate)",
                Bytes(written),
                self.counted_when(),
                words::list(&statements)
            ),
            statements,
            per_call,
        })
    }

    /// PgBouncer, where its console was given.
    pub(crate) fn pooler(&self) -> Option<&'a PoolerSnapshot> {
        self.snapshot.pooler.as_ref()
    }

    /// Requests under way at a time: the clients of a closed loop, Little's law in an open one.
    pub(crate) fn in_flight(&self) -> Option<f64> {
        let measurement = self.measurement?;
        match (measurement.mode.rate, measurement.mode.clients) {
            (None, Some(clients)) => Some(f64::from(clients)),
            // The rest waits in the load generator and is no client of anything yet.
            (_, most) => Some(
                (measurement.throughput * measurement.latency_ms.mean / 1e3)
                    .min(most.map_or(f64::INFINITY, f64::from)),
            ),
        }
    }

    /// Mean wait for a server that PgBouncer itself counted, ms a transaction; the ledger's pool_wait also holds
    /// waiting for a connection of the client's own pool, which no setting of PgBouncer changes.
    pub(crate) fn server_wait(&self) -> Option<Ms> {
        let window = self.measurement?.pool.filter(|window| window.transactions > 0)?;
        Some(Ms(window.wait_ms / window.transactions as f64))
    }

    /// The same as a share (0–1) of the response time.
    pub(crate) fn server_wait_share(&self) -> Option<f64> {
        let total = self.measurement?.ledger_ms.total;
        let wait = self.server_wait()?;
        (total > 0.0).then(|| (wait.0 / total).min(self.levers.part(Lever::Pool).unwrap_or(1.0)))
    }

    /// Connections that applications may open: max_connections less what is reserved.
    pub(crate) fn usable_connections(&self) -> Option<u64> {
        let reserved = self.number("superuser_reserved_connections").unwrap_or(0.0)
            + self.number("reserved_connections").unwrap_or(0.0);
        let usable = self.number("max_connections")? - reserved;
        (usable >= 1.0).then_some(usable as u64)
    }
}

/// The parameter itself, for rules that were registered under its name.
pub(crate) fn parameter<'a>(evidence: &Evidence<'a>, name: &str) -> Option<&'a Parameter> {
    evidence.snapshot.parameter(name)
}
