//! The consensus core: all Raft groups of one node, without I/O.
//!
//! Events go in, effects come out. Nothing here knows a clock, a thread, a
//! socket, a disk or DuckDB; time is [`Event::Tick`], randomness comes from a
//! seed, the log is read through [`quack_log::LogRead`]. The same code therefore
//! runs in production under a thin shell and in the simulator.
//!
//! # Driving a node
//!
//! One thread owns the [`Node`] and repeats:
//!
//! 1. [`Node::handle`] for every event that has arrived: it only queues.
//! 2. [`Node::effects`]: takes the queued events in order and says what to do.
//! 3. Send [`Effects::send_now`]; hand out [`Effects::answers`]; log [`Effects::notes`].
//! 4. Write [`Persist::writes`] with one write to the log, with an fsync when
//!    [`Persist::must_sync`] says so. If that fails, stop: drop the node.
//! 5. [`Node::persisted`] with that same [`Persist`]: it returns [`Durable`], the
//!    messages and entries that had to wait. Send and apply them.
//! 6. While [`Node::has_work`], continue with 2. Report [`Event::Applied`] when the
//!    state machine has applied, [`Event::Compact`] when its state is durable.
//!
//! What must not leave before the write is durable does not exist before step 5:
//! [`Node::persisted`] takes the [`Persist`] by value and is the only source of a
//! [`Durable`]. A shell cannot send too early by forgetting an order.
//!
//! # Proposals
//!
//! Any member proposes, and the core sees to the rest: it keeps the proposal, offers it to
//! the leader, and offers it again when that may have been in vain. A proposal is therefore
//! in the log at least once as long as the node lives and a majority works, and the state
//! machine drops the repetitions by their id ([`proposal_id`]).
//!
//! # Snapshots
//!
//! Raft's own snapshots are not used: a snapshot is of the node's state machine and travels by other
//! means. [`Node::floor_at`] says what it must carry about a group, and [`reseed`] puts a
//! stopped node's log behind it. A leader whose log does not reach back far enough says so
//! in [`Durable::snapshots_needed`].
//!
//! # Invariants
//!
//! - A step touches its own group only. A panic or an unreadable log inside a step
//!   poisons that group ([`Note::GroupPoisoned`]); the others go on.
//! - Entries reach [`Durable::apply`] in index order, each once per life of the node,
//!   and only when they are committed and durable here.
//! - Two nodes with equal configuration, log and events produce equal effects.
//! - Membership takes effect when its entry is committed, before the state machine
//!   has applied it; the floor that a compaction writes carries the membership of
//!   exactly its index.
//!
//! Sources: Ongaro and Ousterhout, "In Search of an Understandable Consensus
//! Algorithm" (2014); Ongaro's thesis, sections 3.10 (leader transfer), 4 (membership),
//! 6.4 (read index), 9.6 (pre-vote), 10.2.1 (write to disk in parallel).

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![warn(missing_docs)]

mod answer;
mod config;
mod convert;
mod cut;
mod effects;
mod election;
mod envelope;
mod error;
mod event;
mod group;
mod history;
mod lanes;
mod logger;
mod membership;
mod memberships;
mod message;
mod node;
mod note;
mod outbox;
mod poison;
mod promise;
mod proposals;
mod reads;
mod seed;
mod status;
mod storage;

pub use answer::{Answer, Refusal};
pub use config::Config;
pub use cut::{Cut, InvalidCut, LaneEnd};
pub use effects::{Committed, Durable, Effects, PeerMessage, Persist, SnapshotNeeded};
pub use error::Error;
pub use event::Event;
pub use group::proposal_id;
pub use membership::{InvalidMembership, MemberChange, Membership};
pub use memberships::memberships;
pub use message::InvalidMessage;
pub use node::Node;
pub use note::Note;
pub use promise::Promise;
pub use seed::reseed;
pub use status::{GroupState, GroupStatus, Role};
