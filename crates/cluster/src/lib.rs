//! What makes nodes a cluster: who belongs to it, how it is born, how a node joins or comes back.
//!
//! ```text
//!  roster     who is a member, under which Raft identity, at which address
//!  frame      Raft messages in frames of the network, and back
//!  transport  the node's way to its peers
//!  birth      an empty node: founds a cluster with the others, or joins theirs
//!  snapshot   a copy of the store, in pieces, from a member to a node that joins
//!  sending    the one that is being sent
//!  transfers  what is measured of snapshots
//!  shared     options that all nodes share, compared whenever nodes meet
//!  members    changes of membership, carried out by the leader
//!  contract   what may be written into the log: no more than the oldest member can apply
//!  steward    what the leader looks after by itself: learners that have caught up become voters
//!  agreement  compares what the nodes decide, all the time; a node that differs from the quorum stops
//!  verify     compares what the nodes hold, when asked to
//!  cluster    the whole: takes what peers send
//! ```
//!
//! What it does not know: DuckDB, SQL, sockets. The host implements [`Host`].
//!
//! Invariants:
//! - an empty node founds a cluster only together with every one of its first peers, all of them empty;
//! - a node that has lost its disk never uses its earlier Raft identity again: it comes back under a new incarnation,
//!   which the leader has recorded in the log before the node hears of it;
//! - a message counts only when its Raft sender is the node that the connection has proved.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![deny(missing_docs)]

mod agreement;
mod birth;
mod calls;
mod cluster;
mod contract;
mod error;
mod frame;
mod introduction;
mod members;
mod presence;
mod roster;
mod said;
mod sending;
mod shared;
mod snapshot;
mod steward;
mod transfers;
mod transport;
mod verify;
mod witness;

pub use cluster::{Cluster, Host, NodeView, Settings};
pub use contract::{Contract, Feature, Fence};
pub use error::Error;
pub use members::Change;
pub use roster::{Member, Release, Roster};
pub use shared::Shared;
pub use verify::Verdict;
