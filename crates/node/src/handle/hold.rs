//! Keeping checkpoints away while the machine's files are copied.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use quack_log::Floor;
use quack_types::{GroupId, Place};

use super::{NodeHandle, POLL};
use crate::WaitError;
use crate::shared::Command;

/// Keeps checkpoints away until it is dropped.
#[derive(Debug)]
pub struct CheckpointHold {
    /// Where a copy of the machine's files begins in each group, the root first.
    pub floors: Vec<(GroupId, Floor)>,
    /// What the machine's files hold at least.
    pub place: Place,
    _release: ReleaseCheckpoints,
}

#[derive(Debug)]
struct ReleaseCheckpoints(Arc<NodeHandle>);

impl Drop for ReleaseCheckpoints {
    fn drop(&mut self) {
        self.0.shared.progress().checkpoint_holds -= 1;
        self.0.shared.checkpoint_wakes.notify_one();
    }
}

impl NodeHandle {
    /// Keeps checkpoints away, so that the machine's files stay as the last one has left them, and says where a copy
    /// of them begins: entries up to the floor are in it; later ones may be.
    ///
    /// # Errors
    /// The log does not know the members at that position any more: make a checkpoint first.
    pub fn hold_checkpoints(self: &Arc<Self>, timeout: Duration) -> Result<CheckpointHold, WaitError> {
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
        progress.checkpoint_holds += 1;
        let (last, place) = (progress.checkpointed.releasable(), progress.checkpointed.durable.clone());
        drop(progress);
        let release = ReleaseCheckpoints(Arc::clone(self));
        let (sender, answer) = sync_channel(1);
        self.commands.send(Command::FloorsAt { last, answer: sender }).map_err(|_| self.ended())?;
        let left = deadline.saturating_duration_since(Instant::now());
        match answer.recv_timeout(left) {
            Ok(Some(floors)) => Ok(CheckpointHold { floors, place, _release: release }),
            Ok(None) | Err(RecvTimeoutError::Timeout) => {
                Err(WaitError::TimedOut { what: "the members at the last checkpoint" })
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }
}
