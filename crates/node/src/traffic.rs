//! How much goes through each group.

use std::time::{Duration, Instant};

/// A rate is of this long a time at least.
const WINDOW: Duration = Duration::from_secs(5);

/// What this node has applied of one group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Traffic {
    entries: u64,
    bytes: u64,
    /// When the window began, and with how many entries.
    since: (Instant, u64),
    /// Of the window before.
    per_second: f64,
}

impl Traffic {
    pub fn new(now: Instant) -> Self {
        Self { entries: 0, bytes: 0, since: (now, 0), per_second: 0.0 }
    }

    pub fn count(&mut self, entries: u64, bytes: u64, now: Instant) {
        self.per_second = self.entries_per_second(now);
        if now.duration_since(self.since.0) >= WINDOW {
            self.since = (now, self.entries);
        }
        self.entries += entries;
        self.bytes += bytes;
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Over the window that has ended last, or over the present one when it has lasted long enough.
    pub fn entries_per_second(&self, now: Instant) -> f64 {
        let elapsed = now.duration_since(self.since.0);
        if elapsed < WINDOW {
            return self.per_second;
        }
        (self.entries - self.since.1) as f64 / elapsed.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_window_and_falls_when_nothing_comes() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut traffic = Traffic::new(start);
        for second in 0..10 {
            traffic.count(100, 1000, at(second));
        }
        let rate = traffic.entries_per_second(at(9));
        assert!((90.0..=110.0).contains(&rate), "{rate}");
        assert!(traffic.entries_per_second(at(60)) < 20.0);
        assert_eq!(traffic.bytes(), 10_000);
    }
}
