//! The checkpoint thread: decides when, calls the checkpointer, and lets the log go.
//!
//! A checkpoint is due after a number of bytes of log since the last one, when a caller
//! asks for one, and when the node stops. Applying goes on meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use quack_types::{GroupId, LogIndex};

use crate::machine::Checkpointer;
use crate::room::Room;
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
    pub kept: KeptLog,
    pub room: Room,
}

/// Of each group, the last entry that is not needed.
type Through = BTreeMap<GroupId, LogIndex>;

/// The log that the last checkpoints cover, which this node does not need any more.
#[derive(Debug)]
pub(crate) struct KeptLog {
    bytes_min: u64,
    bytes: u64,
    /// Ascending positions, each with the bytes before it, from the one before.
    pieces: VecDeque<(Through, u64)>,
}

impl KeptLog {
    /// `bytes_min` are to be kept at least; `bytes` lie before `through` already.
    pub fn new(bytes_min: u64, through: Through, bytes: u64) -> Self {
        Self { bytes_min, bytes, pieces: VecDeque::from([(through, bytes)]) }
    }

    /// Adds what a checkpoint has covered; returns through where the log may go.
    fn add(&mut self, through: Through, bytes: u64) -> Option<Through> {
        self.pieces.push_back((through, bytes));
        self.bytes += bytes;
        let mut released = None;
        // Twice as much never stays, however it was written: restarts leave pieces of any size.
        while let Some((_, bytes)) = self.pieces.front()
            && (self.bytes - bytes >= self.bytes_min || self.bytes > 2 * self.bytes_min)
            && let Some((through, bytes)) = self.pieces.pop_front()
        {
            self.bytes -= bytes;
            released = Some(through);
        }
        released
    }
}

impl CheckpointLoop {
    /// Runs until the node stops or is degraded.
    pub fn run(&mut self) {
        while let Some(is_last) = self.next() {
            self.room.take_reserve();
            let asked = self.shared.progress().checkpoints_asked;
            let mut postponed = self.obstacle();
            if postponed.is_none()
                && let Err(reason) = self.checkpoint()
            {
                // The machine looks for room, too, and says so itself when it does not survive what it has met.
                postponed = self.obstacle().filter(|_| !self.shared.is_degraded());
                if postponed.is_none() {
                    self.shared.fail(&reason);
                    return;
                }
            }
            let mut progress = self.shared.progress();
            progress.checkpoints_ended = asked;
            progress.checkpointing = false;
            if let Some(reason) = &postponed {
                // The log has all that it would have stored. Try again soon, but not in a circle.
                progress.checkpoint_due = progress.log_bytes + (self.log_bytes / 16).max(1);
                tracing::warn!(reason, "the checkpoint is postponed, and the log grows until there is room");
            }
            progress.postponed = postponed;
            drop(progress);
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
                let moved = progress.applied > progress.checkpointed.durable.root;
                return (self.on_stop && moved).then_some(true);
            }
            let asked = progress.checkpoints_asked > progress.checkpoints_ended;
            let due = asked || progress.log_bytes >= progress.checkpoint_due;
            if due && progress.may_checkpoint() {
                progress.checkpointing = true;
                return Some(false);
            }
            progress = self.shared.wait(&self.shared.checkpoint_wakes, progress, IDLE);
        }
    }

    /// Why no checkpoint can be made now.
    fn obstacle(&self) -> Option<String> {
        self.room.for_checkpoint(self.shared.progress().log_bytes).err()
    }

    fn checkpoint(&mut self) -> Result<(), String> {
        let held_back = self.shared.progress().log_bytes;
        let began = Instant::now();
        let result = self.checkpointer.checkpoint(held_back);
        let time = began.elapsed();
        let made = result.map_err(|error| format!("checkpoint failed: {error}"))?;
        let mut progress = self.shared.progress();
        // The machine knows what it has applied a moment before the apply thread says so.
        while progress.applied < made.durable.root && progress.degraded.is_none() && !progress.stop_checkpoint
        {
            progress = self.shared.wait(&self.shared.moved, progress, IDLE);
        }
        let (durable, before) = (made.durable.root, progress.checkpointed.durable.root);
        let is_further = made.durable != progress.checkpointed.durable;
        if durable < before {
            return Err(format!("the checkpoint claims position {durable}, but the last one was {before}"));
        }
        if is_further {
            progress.log_bytes -= held_back;
            progress.checkpoint_due = self.log_bytes;
        } else {
            // Something was in its way: try again soon, but not in a circle.
            progress.checkpoint_due = progress.log_bytes + (self.log_bytes / 4).max(1);
        }
        let releasable = made.releasable();
        let needed = made.needed.keys().copied().collect();
        let unfinished = made.unfinished.clone();
        progress.checkpointed = made;
        drop(progress);
        self.shared.metrics.checkpointed(is_further, time);
        if is_further {
            let mut through = self.kept.add(releasable.clone(), held_back).unwrap_or_default();
            // What the node was started with says nothing of statements that were unfinished then.
            for (group, last) in &mut through {
                *last = releasable.get(group).map_or(*last, |releasable| *releasable.min(last));
            }
            tracing::debug!(%durable, ?through, "checkpoint");
            // Also when no log goes: lanes that were dropped may go.
            // The raft thread ends before this one only when the node is degraded.
            let _ = self.commands.send(Command::Compact { durable, through, needed, unfinished });
        }
        Ok(())
    }
}
