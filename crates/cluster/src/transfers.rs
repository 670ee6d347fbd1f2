//! What is measured of snapshots, on both sides.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quack_node::metrics::{Histogram, Sample, Scale};

/// Snapshots in one direction.
#[derive(Debug)]
pub(crate) struct Transfers {
    direction: &'static str,
    times: Histogram,
    bytes: AtomicU64,
}

impl Transfers {
    pub fn new(direction: &'static str) -> Self {
        Self { direction, times: Histogram::new(&Scale::LONG_SECONDS), bytes: AtomicU64::new(0) }
    }

    /// A piece has travelled.
    pub fn piece(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// All pieces have.
    pub fn ended(&self, time: Duration) {
        self.times.record_time(time);
    }

    pub fn read(&self, into: &mut Vec<Sample>) {
        let labels = [("direction", self.direction)];
        self.times.read("quack_snapshot_seconds", "Time of one snapshot, to its end.", &labels, into);
        let (name, help) = ("quack_snapshot_bytes_total", "Bytes of snapshots that have travelled.");
        into.push(Sample::counter(name, help, &labels, self.bytes.load(Ordering::Relaxed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_before_a_snapshot_has_ended() {
        let transfers = Transfers::new("sent");
        let values = || {
            let mut samples = Vec::new();
            transfers.read(&mut samples);
            let series = ["quack_snapshot_bytes_total", "quack_snapshot_seconds_count"];
            series.map(|name| samples.iter().find(|sample| sample.name == name).unwrap().value)
        };
        transfers.piece(1000);
        transfers.piece(24);
        assert_eq!(values(), [1024.0, 0.0]);
        transfers.ended(Duration::from_secs(1));
        assert_eq!(values(), [1024.0, 1.0]);
    }
}
