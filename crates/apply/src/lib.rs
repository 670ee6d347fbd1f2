//! What log entries mean: how a transaction becomes entries, and how entries become changes of a store.
//!
//! This crate decides outcomes, and must decide them alike on every node: it knows no clock, no randomness, no
//! thread and no DuckDB. The store is a trait; DuckDB stands behind it in the extension, a model in the tests.
//!
//! ```text
//!   Writer ── entries ──> the log ── entries ──> Applier ── operations ──> Store
//! ```
//!
//! Formats: `proto/quack/log/v1/entry.proto`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answered;
pub mod applier;
mod broken;
mod digest;
pub mod entry;
pub mod lanes;
pub mod origins;
mod refusal;
mod revisions;
pub mod sequence;
mod state;
mod steps;
pub mod stock;
pub mod store;
pub mod writer;

pub use answered::{Answered, LAG};
pub use applier::{Applier, Committed, Decision};
pub use broken::Broken;
pub use digest::Digest;
pub use lanes::{Lane, Lanes, Placement};
pub use revisions::Revisions;
pub use state::{State, StateError, TABLE_MADE_HERE};
pub use steps::ReadLog;
pub use store::{Store, StoreError};
pub use writer::{Proposer, Writer};
