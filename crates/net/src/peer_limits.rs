//! Bounds on what passes between nodes.

use std::time::Duration;

use crate::Error;

/// Bounds on what passes between nodes, the same on all of them. The defaults say how each was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerLimits {
    /// Largest frame of a message stream in bytes.
    pub frame_bytes_max: usize,
    /// Largest body of a call, and of its answer, in bytes.
    pub call_bytes_max: usize,
    /// Most bytes of frames that wait for one peer.
    pub queue_bytes_max: usize,
    /// Most frames that wait for one peer.
    pub queue_frames_max: usize,
    /// Most calls that are carried out at a time, each on a thread. Further ones wait until their deadline.
    pub calls_max: usize,
    /// Longest time for each step of a new connection: address and socket; TLS; admission.
    pub connect_time_max: Duration,
    /// How often a connection is asked for a sign of life.
    pub ping_interval: Duration,
    /// Longest time that a connection may take for the sign. Then it counts as broken.
    pub ping_time_max: Duration,
    /// Shortest pause before a connection is tried again.
    pub retry_time_min: Duration,
    /// Longest pause before a connection is tried again.
    pub retry_time_max: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            // The largest batch of entries (32 MiB), and room for what is around it.
            frame_bytes_max: 34 << 20,
            // Pieces of a snapshot have a few megabytes.
            call_bytes_max: 8 << 20,
            // Two of the largest frames, or what a fast network takes in a tenth of a second.
            queue_bytes_max: 64 << 20,
            // Heartbeats and acknowledgements of some seconds.
            queue_frames_max: 4096,
            calls_max: 64,
            connect_time_max: Duration::from_secs(3),
            ping_interval: Duration::from_secs(2),
            ping_time_max: Duration::from_secs(5),
            // A process that restarts on the same machine is back in less than half a second; a tenth of that is
            // not felt.
            retry_time_min: Duration::from_millis(50),
            retry_time_max: Duration::from_secs(2),
        }
    }
}

impl PeerLimits {
    /// Checks that nodes can work with these limits.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let counts = [
            ("frame_bytes_max", self.frame_bytes_max, 1024),
            ("call_bytes_max", self.call_bytes_max, 1024),
            ("queue_bytes_max", self.queue_bytes_max, self.frame_bytes_max),
            ("queue_frames_max", self.queue_frames_max, 1),
            ("calls_max", self.calls_max, 1),
        ];
        let millis = |time: Duration| usize::try_from(time.as_millis()).unwrap_or(usize::MAX);
        let times = [
            ("connect_time_max", millis(self.connect_time_max), 1),
            ("ping_interval", millis(self.ping_interval), 1),
            ("ping_time_max", millis(self.ping_time_max), 1),
            ("retry_time_min", millis(self.retry_time_min), 1),
            ("retry_time_max", millis(self.retry_time_max), millis(self.retry_time_min)),
        ];
        for (name, value, min) in counts.into_iter().chain(times) {
            if value < min {
                return Err(Error::Limit { name, value: value as u64, min: min as u64 });
            }
        }
        // The length of a frame travels in four bytes.
        if self.frame_bytes_max > 1 << 30 {
            let (value, max) = (self.frame_bytes_max as u64, 1 << 30);
            return Err(Error::LimitAbove { name: "frame_bytes_max", value, max });
        }
        Ok(())
    }
}
