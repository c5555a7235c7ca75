//! A local server without data that plans as the target does, so that real indexes of every access method can be
//! tried without an extension on, a write to, or a plan computed by, the target.
//!
//! [`read()`] makes a [`Blueprint`] of a target, [`Shadow::build`] a throw-away server of it, [`Shadow::engine`]
//! answers what-if questions on that.

pub mod blueprint;
mod build;
mod candidates;
mod engine;
mod error;
mod figures;
mod files;
mod height;
mod load;
mod pages;
mod read;
mod server;
mod size;

pub use blueprint::Blueprint;
pub use build::{BuildOptions, Shadow, StatementLack};
pub use error::ShadowError;
pub use read::{ReadOptions, read};
