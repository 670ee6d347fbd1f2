//! Counts of what clients have asked of the server, for its metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What clients have asked of a server since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCounts {
    /// Sessions that were opened.
    pub opened: u64,
    /// Clients that were sent away because of a wrong token.
    pub wrong_tokens: u64,
    /// Clients whose token was not even compared, because their address had shown too many wrong ones.
    pub slowed: u64,
    /// Clients that were sent away because all sessions were in use.
    pub without_place: u64,
    /// Sessions that the server has closed because they were silent for too long.
    pub silent: u64,
    /// Sessions that the server has closed to make room for others.
    pub made_room: u64,
}

/// The counts while they are being made.
#[derive(Debug, Default)]
pub(crate) struct SessionCounters {
    pub opened: Counter,
    pub wrong_tokens: Counter,
    pub slowed: Counter,
    pub without_place: Counter,
    pub silent: Counter,
    pub made_room: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn count(&self) {
        // Nothing else is published by it.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl SessionCounters {
    pub fn read(&self) -> SessionCounts {
        SessionCounts {
            opened: self.opened.get(),
            wrong_tokens: self.wrong_tokens.get(),
            slowed: self.slowed.get(),
            without_place: self.without_place.get(),
            silent: self.silent.get(),
            made_room: self.made_room.get(),
        }
    }
}
