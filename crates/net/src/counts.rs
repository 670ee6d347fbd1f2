//! Counts of what clients have asked of the server, for its metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What clients have asked of a server since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCounts {
    /// Sessions that were opened.
    pub opened: u64,
    /// Clients that were sent away because of a wrong token.
    pub wrong_tokens: u64,
    /// Clients that were sent away because all sessions were in use.
    pub without_place: u64,
}

/// The counts while they are being made.
#[derive(Debug, Default)]
pub(crate) struct SessionCounters {
    pub opened: Counter,
    pub wrong_tokens: Counter,
    pub without_place: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub fn count(&self) {
        // Nothing else is published by it.
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl SessionCounters {
    pub fn read(&self) -> SessionCounts {
        let read = |counter: &Counter| counter.0.load(Ordering::Relaxed);
        SessionCounts {
            opened: read(&self.opened),
            wrong_tokens: read(&self.wrong_tokens),
            without_place: read(&self.without_place),
        }
    }
}
