//! Values, units and documents that pass between the stages of the pipeline.
//!
//! Owns every serialisable struct that crosses a crate boundary; does no I/O, knows no async, and
//! decides nothing.

pub mod change;
pub mod comparison;
pub mod connection;
pub mod extended_statistics;
pub mod index;
pub mod index_size;
pub mod interrupt;
pub mod measurement;
pub mod observation;
pub mod parameter;
pub mod plan;
pub mod pooler;
pub mod relation;
pub mod run;
pub mod snapshot;
pub mod units;
pub mod what_if;
pub mod workload;

/// The moment a document was made, RFC 3339 in UTC when serialised.
pub type Timestamp = jiff::Timestamp;
