//! The checkpoint thread: decides when, calls the checkpointer, and lets the log go.
//!
//! A checkpoint is due by bytes of log since the last one, when somebody asks, and
//! when the node stops. Applying goes on meanwhile.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use quack_types::LogIndex;

use crate::machine::Checkpointer;
use crate::shared::{Command, Shared};

/// A missed wake-up costs this much at most.
const IDLE: Duration = Duration::from_secs(1);

/// What the checkpoint thread works with.
pub(crate) struct CheckpointLoop {
    pub checkpointer: Arc<dyn Checkpointer>,
    pub shared: Arc<Shared>,
    pub commands: SyncSender<Command>,
    /// Bytes of applied entries that make a checkpoint due.
    pub log_bytes: u64,
    /// Whether the end of the node makes one due.
    pub on_stop: bool,
}

impl CheckpointLoop {
    /// Runs until the node stops or is degraded.
    pub fn run(&self) {
        while let Some(is_last) = self.next() {
            let asked = self.shared.progress().checkpoints_asked;
            if let Err(reason) = self.checkpoint() {
                self.shared.degrade(&reason);
                return;
            }
            self.shared.progress().checkpoints_ended = asked;
            self.shared.moved.notify_all();
            if is_last {
                return;
            }
        }
    }

    /// Waits until a checkpoint is due; says whether it is the last one.
    fn next(&self) -> Option<bool> {
        let mut progress = self.shared.progress();
        loop {
            if progress.degraded.is_some() {
                return None;
            }
            if progress.stop_checkpoint {
                let moved = progress.applied > progress.checkpointed.durable;
                return (self.on_stop && moved).then_some(true);
            }
            let asked = progress.checkpoints_asked > progress.checkpoints_ended;
            if asked || progress.log_bytes >= progress.checkpoint_due {
                return Some(false);
            }
            progress = self.shared.wait(&self.shared.checkpoint_wakes, progress, IDLE);
        }
    }

    fn checkpoint(&self) -> Result<(), String> {
        let held_back = self.shared.progress().log_bytes;
        let result = self.checkpointer.checkpoint(held_back);
        let made = result.map_err(|error| format!("checkpoint failed: {error}"))?;
        let mut progress = self.shared.progress();
        let before = progress.checkpointed;
        if made.durable < before.durable || made.durable > progress.applied {
            let (durable, before, applied) = (made.durable, before.durable, progress.applied);
            return Err(format!(
                "the checkpoint claims position {durable}, but the last one was {before} and {applied} is applied"
            ));
        }
        if made.durable > before.durable {
            progress.log_bytes -= held_back;
            progress.checkpoint_due = self.log_bytes;
        } else {
            // Something was in its way: try again soon, but not in a circle.
            progress.checkpoint_due = progress.log_bytes + (self.log_bytes / 4).max(1);
        }
        progress.checkpointed = made;
        drop(progress);
        let through = made.releasable();
        if through > LogIndex(0) && through > before.releasable() {
            tracing::debug!(durable = %made.durable, %through, "checkpoint");
            // The raft thread ends before this one only when the node is degraded.
            let _ = self.commands.send(Command::Compact { through });
        }
        Ok(())
    }
}
