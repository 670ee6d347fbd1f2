//! What a peer has promised this node, as far as this process has heard.
//!
//! A peer whose log knows less than that when it starts has lost what it had promised: its disk, or its folder was put
//! back from a copy. It must not vote or acknowledge anything with what it has.

use quack_types::{LogIndex, Term};

/// What one peer has promised in one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promise {
    /// The last term in which it has spoken, so that it votes in no earlier one, and not twice in this one.
    pub term: Term,
    /// The last entry that it has said to be committed. Its log holds it: a leader, too, hears of a quorum only behind its
    /// own write.
    pub committed: LogIndex,
    /// Through where it has acknowledged the log of this node, which leads in the term `led`; 0 when it does not lead.
    /// Only the leader of a later term may have made it take anything back.
    pub held: LogIndex,
    /// See `held`.
    pub led: Term,
}
