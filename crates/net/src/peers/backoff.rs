//! Pauses between attempts: each twice as long as the one before, and never two nodes in step.

use std::time::Duration;

use crate::PeerLimits;
use crate::random::random_bytes;

/// See the module.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(limits: &PeerLimits) -> Self {
        Self { next: limits.retry_time_min, min: limits.retry_time_min, max: limits.retry_time_max }
    }

    /// An attempt has succeeded.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }

    /// The next pause: between half of its nominal length and the whole.
    pub(super) fn pause(&mut self) -> Duration {
        let nominal = self.next;
        self.next = (nominal * 2).min(self.max);
        // Without randomness the pauses are only less well spread.
        let random = random_bytes().map_or(0, |bytes| u32::from(bytes[0]));
        nominal / 2 + nominal / 2 * random / 255
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_begin_anew_after_success() {
        let mut backoff = Backoff::new(&PeerLimits::default());
        let mut run = |nominal: &[u64]| {
            for nominal in nominal {
                let pause = backoff.pause();
                let (low, high) = (Duration::from_millis(nominal / 2), Duration::from_millis(*nominal));
                assert!((low..=high).contains(&pause), "{pause:?} for {nominal} ms");
            }
            backoff.reset();
        };
        run(&[50, 100, 200, 400, 800, 1600, 2000, 2000]);
        run(&[50, 100]);
    }

    #[test]
    fn pauses_are_spread() {
        let limits = PeerLimits::default();
        let pauses: std::collections::BTreeSet<_> = (0..32).map(|_| Backoff::new(&limits).pause()).collect();
        assert!(pauses.len() > 4, "{pauses:?}");
    }
}
