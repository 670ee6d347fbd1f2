//! Keeping checkpoints away while the machine's files are copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use quack_log::Floor;
use quack_types::{GroupId, Place};

use super::{NodeHandle, POLL};
use crate::WaitError;
use crate::shared::{Command, Hold};

/// Keeps checkpoints away until it is dropped.
#[derive(Debug)]
pub struct CheckpointHold {
    /// Where a copy of the machine's files begins in each group, the root first.
    pub floors: Vec<(GroupId, Floor)>,
    /// What the machine's files hold at least.
    pub place: Place,
    release: ReleaseCheckpoints,
}

impl CheckpointHold {
    /// Whether it has lasted too long: what is copied from now on may be of a later checkpoint.
    pub fn is_over(&self) -> bool {
        self.release.is_over.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct ReleaseCheckpoints {
    node: Arc<NodeHandle>,
    number: u64,
    is_over: Arc<AtomicBool>,
}

impl Drop for ReleaseCheckpoints {
    fn drop(&mut self) {
        if let Some(hold) = self.node.shared.progress().checkpoint_holds.remove(&self.number) {
            tracing::info!(owner = hold.owner, "checkpoints are kept away no longer");
        }
        self.node.shared.checkpoint_wakes.notify_one();
    }
}

impl NodeHandle {
    /// Keeps checkpoints away, so that the machine's files stay as the last one has left them, and says where a copy
    /// of them begins: entries up to the floor are in it; later ones may be. `owner` says who copies, for people.
    ///
    /// The log grows meanwhile. When it has grown by as much as the files have, and [`NodeConfig::held_log_bytes_max`] more,
    /// checkpoints go on, see [`CheckpointHold::is_over`].
    ///
    /// [`NodeConfig::held_log_bytes_max`]: crate::NodeConfig::held_log_bytes_max
    ///
    /// # Errors
    /// The log does not know the members at that position any more: make a checkpoint first.
    pub fn hold_checkpoints(
        self: &Arc<Self>,
        owner: &str,
        timeout: Duration,
    ) -> Result<CheckpointHold, WaitError> {
        let deadline = Instant::now() + timeout;
        let mut progress = self.shared.progress();
        while progress.checkpointing {
            if Instant::now() >= deadline {
                return Err(WaitError::TimedOut { what: "the end of a checkpoint" });
            }
            progress = self.shared.wait(&self.shared.moved, progress, POLL);
        }
        if progress.checkpointed.needs_dropped_lane() {
            return Err(WaitError::TimedOut {
                what: "the end of a statement with parts in a group that was dropped",
            });
        }
        progress.holds_begun += 1;
        let (number, is_over) = (progress.holds_begun, Arc::default());
        let hold = Hold {
            owner: owner.to_owned(),
            log_bytes_max: self.room.stored() + self.config.held_log_bytes_max,
            is_over: Arc::clone(&is_over),
        };
        tracing::info!(owner, "checkpoints are kept away, and the log with them");
        progress.checkpoint_holds.insert(number, hold);
        let (last, place) = (progress.checkpointed.releasable(), progress.checkpointed.durable.clone());
        drop(progress);
        let release = ReleaseCheckpoints { node: Arc::clone(self), number, is_over };
        let (sender, answer) = sync_channel(1);
        self.commands.send(Command::FloorsAt { last, answer: sender }).map_err(|_| self.ended())?;
        let left = deadline.saturating_duration_since(Instant::now());
        match answer.recv_timeout(left) {
            Ok(Some(floors)) => Ok(CheckpointHold { floors, place, release }),
            Ok(None) | Err(RecvTimeoutError::Timeout) => {
                Err(WaitError::TimedOut { what: "the members at the last checkpoint" })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }
}
