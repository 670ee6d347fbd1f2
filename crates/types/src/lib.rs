//! Identifiers and limits that every crate of the project shares.
//!
//! No I/O, no logic beyond validation, no dependency on any other crate of the
//! workspace.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod digest;
pub mod folder;
pub mod id;
pub mod limits;
mod place;
pub mod thread;
pub mod unshared;

pub use digest::{Claim, Digests, EntryOutcome, Mark, OutcomeRecord};
pub use id::{GroupId, InvalidNodeId, LogIndex, NodeId, ProposalId, RaftId, Term};
pub use place::Place;
