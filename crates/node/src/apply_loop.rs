//! The apply thread: owns the state machine, feeds it, and answers those who wait.
//!
//! It takes everything that is committed at a time, bounded in bytes. The busier the
//! node, the larger the batches, and large batches are what makes a column store fast.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quack_log::{DiskOs, EntryKind, LogEntry, LogRead, LogReader};
use quack_types::{GroupId, LogIndex};

use crate::machine::{Applied, StateMachine};
use crate::shared::Shared;

/// What an entry counts for besides its bytes, where it is decided when a checkpoint is due: to replay ten thousand
/// small entries takes as long as some large ones.
const ENTRY_OVERHEAD_BYTES: usize = 1024;
/// A missed wake-up costs this much at most.
const IDLE: Duration = Duration::from_secs(1);

/// What the apply thread works with, besides the machine.
pub(crate) struct ApplyLoop {
    pub log: LogReader<DiskOs>,
    pub shared: Arc<Shared>,
    pub apply_bytes_max: u64,
}

impl ApplyLoop {
    /// Runs until the node stops or is degraded.
    pub fn run(&self, machine: &mut dyn StateMachine) {
        while let Some((applied, committed)) = self.next() {
            if let Err(reason) = self.apply(machine, applied, committed) {
                self.shared.fail(&reason);
                return;
            }
        }
    }

    /// Waits for something to apply; returns what is applied and what is committed.
    fn next(&self) -> Option<(LogIndex, LogIndex)> {
        let mut progress = self.shared.progress();
        loop {
            if progress.stop_apply || progress.degraded.is_some() {
                return None;
            }
            if progress.committed > progress.applied {
                return Some((progress.applied, progress.committed));
            }
            progress = self.shared.wait(&self.shared.apply_wakes, progress, IDLE);
        }
    }

    fn apply(
        &self,
        machine: &mut dyn StateMachine,
        applied: LogIndex,
        committed: LogIndex,
    ) -> Result<(), String> {
        let (low, high) = (applied.next(), committed.next());
        let mut entries = self
            .log
            .entries(GroupId::ROOT, low, high, self.apply_bytes_max)
            .map_err(|error| format!("committed entries cannot be read: {error}"))?;
        let Some(last) = entries.last().map(|entry| entry.index) else {
            return Err(format!("the log returned nothing for committed entry {low}"));
        };
        let bytes: usize = entries.iter().map(|entry| entry.size_bytes() + ENTRY_OVERHEAD_BYTES).sum();
        // What carries nothing for the state is applied by being passed over.
        entries.retain(|entry| entry.kind == EntryKind::Normal && !entry.data.is_empty());
        if !entries.is_empty() {
            let read = |index: LogIndex| self.read(index);
            let began = Instant::now();
            let outcomes =
                machine.apply(&entries, &read).map_err(|error| format!("apply failed: {error}"))?;
            self.shared.metrics.applied(entries.len(), began.elapsed());
            if outcomes.len() != entries.len() {
                let (given, wanted) = (outcomes.len(), entries.len());
                return Err(format!("the state machine returned {given} outcomes for {wanted} entries"));
            }
            self.finish(last, bytes as u64);
            self.answer(outcomes);
        } else {
            self.finish(last, bytes as u64);
        }
        Ok(())
    }

    fn read(&self, index: LogIndex) -> Result<LogEntry, String> {
        let mut entries = self
            .log
            .entries(GroupId::ROOT, index, index.next(), u64::MAX)
            .map_err(|error| error.to_string())?;
        entries.pop().ok_or_else(|| format!("entry {index} is not in the log"))
    }

    /// Moves the position before anybody is answered: a client that has its answer reads its own write.
    fn finish(&self, last: LogIndex, bytes: u64) {
        let mut progress = self.shared.progress();
        progress.applied = last;
        progress.log_bytes += bytes;
        let due = progress.log_bytes >= progress.checkpoint_due;
        drop(progress);
        self.shared.moved.notify_all();
        if due {
            self.shared.checkpoint_wakes.notify_one();
        }
    }

    fn answer(&self, outcomes: Vec<Applied>) {
        let answers = outcomes.into_iter().filter_map(|Applied { id, outcome }| Some((id?, Ok(outcome))));
        self.shared.pending.complete(answers);
    }
}
