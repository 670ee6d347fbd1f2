//! What is said again only once in a while.

use std::time::{Duration, Instant};

/// How often the same is said.
const SAY_INTERVAL: Duration = Duration::from_secs(60);

/// When something was said last.
#[derive(Debug, Default)]
pub(crate) struct Said(Option<Instant>);

impl Said {
    /// Whether it is to be said now, and then counts as said.
    pub fn is_due(&mut self) -> bool {
        let is_due = self.0.is_none_or(|at| at.elapsed() >= SAY_INTERVAL);
        if is_due {
            self.0 = Some(Instant::now());
        }
        is_due
    }
}
