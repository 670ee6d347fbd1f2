//! What an operator does with a data folder in which no process works.
//!
//! - [`inspect`]: what the folder is, and what is wrong with it;
//! - [`Survivor`]: a new cluster out of the last folder of another one;
//! - [`restore`]: a new cluster out of a backup;
//! - [`detached_copy`]: a copy of a folder that can be read to its end without its cluster.
//!
//! The store is a DuckDB file, and this crate does not know DuckDB: what the store holds beside the tables comes in as
//! [`Stored`]. Folders, locks and identities are those of `quack_node`, logs those of `quack_log`, members what the applier
//! (`quack_apply`) makes of the log's entries; nothing of them is done here a second time.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod inspect;
mod members;
mod recover;
mod restore;
mod stored;

pub use error::Error;
pub use inspect::{GroupView, Inspection, LogView, MemberView, inspect};
pub use recover::{LeftOut, Recovered, RecoveredGroup, Survivor, detached_copy};
pub use restore::{Restored, restore};
pub use stored::{Checkpoint, Stored};
