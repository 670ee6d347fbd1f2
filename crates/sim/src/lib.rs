//! The virtual world in which the real core and the real log are tried.
//!
//! One, three or five nodes run [`quack_core`] and [`quack_log`] over a virtual disk, a virtual
//! network and virtual time, with a model for a state machine and clients that check
//! what they were promised. Lanes come and go, and cuts bring what is in them into the one order. One seed decides everything, so a failure is repeated by
//! its seed. A run has a safety phase, with every fault of its scenario, and then a
//! liveness phase, without faults, in which the cluster must get well.
//!
//! Not simulated: DuckDB, the real shell's threads and connections, bit rot (the log
//! refuses it, and the node is rebuilt like one that has lost its disk), the pieces in
//! which a snapshot travels.
//!
//! Sources: TigerBeetle's VOPR for the two phases and exit codes; FoundationDB's
//! simulation for the idea.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod client;
mod disk;
mod event_log;
mod failure;
mod invariants;
mod model;
mod network;
mod oracle;
mod random;
mod run;
mod sabotage;
mod scenario;
mod server;
mod world;

pub use failure::{Class, Failure};
pub use run::{Outcome, run, run_scenario};
pub use sabotage::Sabotage;
pub use scenario::Scenario;
pub use world::Summary;
