//! The shell around the consensus core: threads, timer, real disk, apply queue.
//!
//! ```text
//!  propose ──► raft thread ──► log (one write, one fsync for all that has arrived)
//!                  │  committed index
//!                  ▼
//!              apply thread ──► StateMachine::apply ──► outcomes to the waiting callers
//!                  │  log bytes since the last checkpoint
//!                  ▼
//!           checkpoint thread ──► Checkpointer::checkpoint ──► log compacted, segments released
//! ```
//!
//! A [`DataFolder`] is opened first: it decides whose data it is and keeps other
//! servers out. The state machine is built in it, then [`NodeHandle::start`] runs.
//!
//! This crate knows what an entry weighs and where it stands, not what it says.
//! It does not know DuckDB, SQL or sockets; peers are reached through [`Transport`].
//!
//! Invariants:
//! - a proposal is answered with its outcome, that is after it was applied here, or
//!   with an error that says whether it can still happen;
//! - entries are applied in order, each once per life of the process, and only when
//!   they are durable and committed;
//! - a node whose log leads to something else than it has told its clients answers no client any more;
//! - the log is cut only below what a checkpoint has made durable;
//! - no panic of a thread leaves it, and no thread outlives [`NodeHandle::stop`]
//!   unless it hangs in the state machine.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod apply_loop;
mod backup;
mod checkpoint_count;
mod checkpoint_loop;
mod config;
mod error;
mod folder;
mod handle;
mod identity;
mod lanes;
mod machine;
pub mod metrics;
mod outcomes;
mod pending;
mod private;
mod raft_loop;
mod random;
mod refounding;
mod room;
mod sealed;
mod shared;
mod status;
mod superseded;
mod threads;
mod traffic;
mod transport;
mod view;
mod wal;

pub use backup::{Backup, BackupOrigin};
pub use checkpoint_count::CheckpointCount;
pub use config::NodeConfig;
pub use error::{Error, MemberError, ProposeError, WaitError};
pub use folder::{
    Claim, DataFolder, EmptyFolder, Seed, read_broken, read_witnessed, write_broken, write_witnessed,
};
pub use handle::{CheckpointHold, NodeHandle};
pub use identity::Identity;
pub use lanes::{LaneInfo, LaneTable};
pub use machine::{Applied, Checkpointed, Checkpointer, LocalError, ReadLog, StateMachine};
pub use outcomes::{DigestAt, Suspicions};
pub use pending::Waiter;
pub use private::{create_private, make_private};
pub use quack_core::{GroupStatus, MemberChange, Membership, PeerMessage, Promise, Refusal, SnapshotNeeded};
pub use quack_log::{EntryKind, Floor, GroupEntry, LogEntry};
pub use refounding::Refounding;
pub use shared::Promises;
pub use status::{GroupInfo, NodeState, NodeStatus};
pub use threads::STACK_BYTES;
pub use transport::{NoTransport, Transport};
pub use view::{FolderView, require_unused};
