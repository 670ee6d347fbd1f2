//! What a node needs to know before it starts. Defaults exist here and nowhere else.

use std::time::Duration;

use quack_log::LogConfig;

use crate::Error;

/// Configuration of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// What one tick of the consensus lasts.
    ///
    /// An election is due after 10 to 20 ticks without a leader: with 100 ms a
    /// dead leader is replaced within two seconds, and a pause of a second does
    /// not cost a leader its place.
    pub tick: Duration,
    /// Bytes of proposals that may be on their way, from [`crate::NodeHandle::propose`]
    /// to their outcome. More have to wait.
    ///
    /// 64 MiB is sixteen full parts, or two rows of the largest size; more does not
    /// make batches faster, it only fills memory.
    pub proposed_bytes_max: usize,
    /// How long [`crate::NodeHandle::propose`] waits for room before it says busy.
    pub proposed_wait: Duration,
    /// Bytes of entries that the state machine gets at a time.
    ///
    /// One batch is one transaction of the store: large enough to spread its cost
    /// over thousands of rows, small enough to bound its memory.
    pub apply_bytes_max: u64,
    /// Bytes of entries applied since the last checkpoint that make the next one due; each entry counts for 1 KiB more
    /// than it has, because replaying it takes time, too.
    ///
    /// A checkpoint holds up writes to the table that it is writing. With wide strings 16 MiB take
    /// 20 ms on a quiet machine, 64 MiB ten times that; smaller ones rewrite shared blocks more often.
    pub checkpoint_log_bytes: u64,
    /// Bytes of log that are kept behind the last checkpoint, for peers that were away for a while: what is gone
    /// makes them take a snapshot of everything.
    pub keep_log_bytes: u64,
    /// Bytes of log, besides the length of the machine's file, that may come while that file is being copied, see
    /// [`crate::NodeHandle::hold_checkpoints`]. Then the copy is given up, because the log cannot be released before its end.
    pub held_log_bytes_max: u64,
    /// Whether [`crate::NodeHandle::stop`] makes a last checkpoint, so that the next start has nothing to replay.
    pub checkpoint_on_stop: bool,
    /// How long [`crate::NodeHandle::stop`] waits for the threads before it leaves them to themselves.
    pub stop_wait: Duration,
    /// Sizes of the log.
    pub log: LogConfig,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(100),
            proposed_bytes_max: 64 << 20,
            proposed_wait: Duration::from_secs(30),
            apply_bytes_max: 16 << 20,
            checkpoint_log_bytes: 16 << 20,
            keep_log_bytes: 0,
            held_log_bytes_max: 1 << 30,
            checkpoint_on_stop: true,
            stop_wait: Duration::from_secs(60),
            log: LogConfig::default(),
        }
    }
}

impl NodeConfig {
    /// For a node with peers.
    ///
    /// With a tick of 30 ms a dead leader is replaced within 0.3 to 0.6 s and a round of votes. A quarter of a
    /// gigabyte of log is a minute of heavy writing.
    pub fn with_peers() -> Self {
        Self { tick: Duration::from_millis(30), keep_log_bytes: 256 << 20, ..Self::default() }
    }

    /// Refuses values that cannot work, and says which.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |what: &'static str| Err(Error::Config { what });
        if self.tick.is_zero() {
            return refuse("tick must be above 0");
        }
        if self.proposed_bytes_max < quack_types::limits::ENTRY_BYTES_MAX {
            return refuse("proposed_bytes_max must hold at least one entry of the largest size");
        }
        if self.apply_bytes_max == 0 || self.checkpoint_log_bytes == 0 {
            return refuse("apply_bytes_max and checkpoint_log_bytes must be above 0");
        }
        Ok(())
    }
}
