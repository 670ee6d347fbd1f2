//! The apply thread: owns the state machine, feeds it with the one order, and answers those who wait.
//!
//! The one order is the root's log, in which each cut stands for the lanes' entries that it newly orders. It takes
//! everything that is committed at a time, bounded in bytes. The busier the node, the larger the batches, and large
//! batches are what makes a column store fast.
//!
//! A cut may name entries that have not reached this node yet. They are committed, so they will come; until then nothing
//! behind them is applied, and what came before is not held back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use quack_core::{Cut, LaneEnd};
use quack_log::{DiskOs, EntryKind, GroupEntry, LogEntry, LogRead, LogReader};
use quack_types::{Claim, Digests, GroupId, LogIndex, RaftId};

use crate::lanes::LaneTable;
use crate::machine::{Applied, StateMachine};
use crate::outcomes::FalseClaim;
use crate::room::{ROOM_POLL, Room};
use crate::shared::{Command, Shared, Writer};
use crate::traffic::Traffic;

/// What an entry counts for besides its bytes, where it is decided when a checkpoint is due: to replay ten thousand
/// small entries takes as long as some large ones.
const ENTRY_OVERHEAD_BYTES: usize = 1024;
/// A missed wake-up costs this much at most.
const IDLE: Duration = Duration::from_secs(1);
/// How often it looks for a lane's entry that was ordered before it came, besides being woken.
const LANE_POLL: Duration = Duration::from_millis(5);
/// What helps a cluster of one, which nothing can be rebuilt from.
const ALONE: &str = "Its log is whole. Start it with the release of the extension, and of DuckDB, that it ran with when \
                     that entry was written; if it still differs, restore a backup into an empty folder (quackctl restore)";
/// After so many ticks it says that it waits, and gives up when another member has forgotten the lane.
const LANE_PATIENCE_TICKS: u32 = 100;

/// What the apply thread works with, besides the machine.
pub(crate) struct ApplyLoop {
    /// This node.
    pub own: RaftId,
    pub log: LogReader<DiskOs>,
    pub shared: Arc<Shared>,
    pub commands: SyncSender<Command>,
    pub apply_bytes_max: u64,
    pub tick: Duration,
    /// The lanes as the machine had them last.
    pub lanes: Arc<LaneTable>,
    /// How far each of them is applied.
    pub lanes_applied: BTreeMap<GroupId, LogIndex>,
    pub room: Room,
    /// Those that the log does not know, with the root's entry that created each.
    pub missing: Vec<(GroupId, LogIndex)>,
}

/// Entries that are to be applied together.
#[derive(Default)]
struct Batch {
    entries: Vec<GroupEntry>,
    /// Bytes of what is passed over, too.
    bytes: usize,
    /// The last entry of the root, when all that it orders is here.
    root: Option<LogIndex>,
    lanes: BTreeMap<GroupId, LogIndex>,
    /// Entries and bytes of each group.
    traffic: BTreeMap<GroupId, (u64, u64)>,
}

impl Batch {
    fn take(&mut self, group: GroupId, entry: LogEntry) {
        self.bytes += entry.size_bytes() + ENTRY_OVERHEAD_BYTES;
        let (entries, bytes) = self.traffic.entry(group).or_default();
        *entries += 1;
        *bytes += entry.size_bytes() as u64;
        if group == GroupId::ROOT {
            self.root = Some(entry.index);
        } else {
            self.lanes.insert(group, entry.index);
        }
        // What carries nothing for the state is applied by being passed over.
        if entry.kind == EntryKind::Normal && !entry.data.is_empty() {
            self.entries.push(GroupEntry { group, entry });
        }
    }

    /// A cut, behind what it orders.
    fn take_cut(&mut self, entry: LogEntry) {
        self.root = Some(entry.index);
        self.bytes += ENTRY_OVERHEAD_BYTES;
        let entry = LogEntry { data: Default::default(), ..entry };
        self.entries.push(GroupEntry { group: GroupId::ROOT, entry });
    }
}

/// The node stops.
struct Stopped;

/// Why a batch was not applied.
enum End {
    Stopped,
    Failed(String),
}

impl From<Stopped> for End {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<String> for End {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl ApplyLoop {
    /// Runs until the node stops or is degraded.
    pub fn run(&mut self, machine: &mut dyn StateMachine) {
        // Before anything is applied: it may be ordered in them.
        let missing = std::mem::take(&mut self.missing);
        if self.create_lanes(missing).is_err() {
            return;
        }
        while let Ok((applied, committed)) = self.next() {
            match self.apply(machine, applied, committed) {
                Ok(()) => {}
                Err(End::Stopped) => return,
                Err(End::Failed(reason)) => {
                    self.shared.fail(&reason);
                    return;
                }
            }
        }
    }

    /// Waits for something to apply; returns what is applied and what is committed.
    fn next(&self) -> Result<(LogIndex, LogIndex), Stopped> {
        let mut progress = self.shared.progress();
        loop {
            if progress.stop_apply || progress.degraded.is_some() {
                return Err(Stopped);
            }
            if progress.committed > progress.applied {
                return Ok((progress.applied, progress.committed));
            }
            progress = self.shared.wait(&self.shared.apply_wakes, progress, IDLE);
        }
    }

    /// Applies what is committed behind `applied`, or the first of it.
    fn apply(
        &mut self,
        machine: &mut dyn StateMachine,
        applied: LogIndex,
        committed: LogIndex,
    ) -> Result<(), End> {
        let low = applied.next();
        let entries = self.read_entries(GroupId::ROOT, low, committed)?;
        if entries.is_empty() {
            return Err(End::Failed(format!("the log returned nothing for committed entry {low}")));
        }
        let mut batch = Batch::default();
        for entry in entries {
            let cut = Cut::of(&entry).map_err(|error| error.to_string())?;
            let Some(cut) = cut else {
                batch.take(GroupId::ROOT, entry);
                continue;
            };
            for (lane, end) in cut.lanes {
                self.take_lane(machine, &mut batch, lane, end)?;
            }
            batch.take_cut(entry);
        }
        self.flush(machine, &mut batch)
    }

    /// Takes the entries that a cut orders in a lane; applies what is there already when there is more than fits, and
    /// before it has to wait.
    fn take_lane(
        &mut self,
        machine: &mut dyn StateMachine,
        batch: &mut Batch,
        lane: GroupId,
        end: LaneEnd,
    ) -> Result<(), End> {
        if !self.has(lane) {
            // It may be created, or be dropped, by what is in the batch.
            self.flush(machine, batch)?;
        }
        loop {
            let Some(applied) = self.applied_of(lane, batch).filter(|applied| *applied < end.index) else {
                return Ok(());
            };
            if self.log.term(lane, end.index) != Some(end.term) {
                if batch.entries.is_empty() && batch.root.is_none() {
                    self.wait_for(lane, end)?;
                } else {
                    self.flush(machine, batch)?;
                }
                continue;
            }
            for entry in self.read_entries(lane, applied.next(), end.index)? {
                batch.take(lane, entry);
            }
            if batch.bytes as u64 >= self.apply_bytes_max {
                self.flush(machine, batch)?;
            }
        }
    }

    fn has_group(&self, group: GroupId) -> bool {
        group == GroupId::ROOT || self.has(group)
    }

    fn has(&self, lane: GroupId) -> bool {
        self.lanes.lanes.contains_key(&lane)
    }

    /// The last entry of a lane that is applied, or about to be. `None` for a lane that does not exist: what is in it is
    /// void.
    fn applied_of(&self, lane: GroupId, batch: &Batch) -> Option<LogIndex> {
        if !self.has(lane) {
            return None;
        }
        let known = batch.lanes.get(&lane).or_else(|| self.lanes_applied.get(&lane));
        Some(known.copied().unwrap_or_default())
    }

    /// Waits until this node has an entry that was ordered. A node that has joined with a snapshot from before the end of
    /// a lane may need what all others have forgotten: they had dropped it before they knew of this node. Then it has to
    /// take another snapshot.
    fn wait_for(&self, lane: GroupId, end: LaneEnd) -> Result<(), Stopped> {
        self.shared.pending.note_behind(true);
        let waited = self.wait_until_here(lane, end);
        self.shared.pending.note_behind(false);
        waited
    }

    fn wait_until_here(&self, lane: GroupId, end: LaneEnd) -> Result<(), Stopped> {
        let began = Instant::now();
        let mut is_said = false;
        let mut progress = self.shared.progress();
        while self.log.term(lane, end.index) != Some(end.term) {
            if progress.stop_apply || progress.degraded.is_some() {
                return Err(Stopped);
            }
            if began.elapsed() > self.tick * LANE_PATIENCE_TICKS {
                if !is_said {
                    tracing::warn!(%lane, index = %end.index, "an entry that was ordered is not here yet");
                }
                is_said = true;
                if progress.groups.get(&lane).is_some_and(|status| status.is_forgotten) {
                    drop(progress);
                    self.shared.degrade_for_good(
                        "it needs entries of a group that the cluster has dropped and forgotten",
                    );
                    return Err(Stopped);
                }
            }
            // The raft thread writes the log and wakes the apply thread; the lock does not guard the log.
            progress = self.shared.wait(&self.shared.apply_wakes, progress, LANE_POLL);
        }
        Ok(())
    }

    fn read_entries(&self, group: GroupId, low: LogIndex, last: LogIndex) -> Result<Vec<LogEntry>, String> {
        let entries = self.log.entries(group, low, last.next(), self.apply_bytes_max);
        entries.map_err(|error| format!("committed entries cannot be read: {error}"))
    }

    /// Applies a batch, and does what follows from it.
    fn flush(&mut self, machine: &mut dyn StateMachine, batch: &mut Batch) -> Result<(), End> {
        let Batch { entries, bytes, root, lanes, traffic } = std::mem::take(batch);
        let mut outcomes = Vec::new();
        if !entries.is_empty() {
            self.wait_for_room(bytes as u64)?;
            let read = |group: GroupId, index: LogIndex| self.read(group, index);
            let began = Instant::now();
            let applied = machine.apply(&entries, &read);
            outcomes = applied.map_err(|error| format!("apply failed: {error}"))?;
            self.shared.find_room(Writer::Memory);
            self.shared.metrics.applied(entries.len(), began.elapsed());
            self.compare(machine.digests())?;
            if outcomes.len() > entries.len() {
                let (given, wanted) = (outcomes.len(), entries.len());
                return Err(End::Failed(format!(
                    "the state machine returned {given} outcomes for {wanted} entries"
                )));
            }
        }
        self.lanes_applied.extend(&lanes);
        let before = Arc::clone(&self.lanes);
        let now = machine.lanes();
        if !Arc::ptr_eq(&now, &before) {
            // Before the place is known, behind which the log may go.
            self.create_lanes(now.created_since(&before))?;
            self.show_lanes(now);
        }
        self.finish(root, lanes, traffic, bytes as u64);
        self.answer(outcomes);
        // After the answers: a proposal that was answered just now is not proposed again in the root.
        self.retire_lanes(self.lanes.dropped_since(&before), root.unwrap_or_default())?;
        Ok(())
    }

    /// DuckDB writes rows of large entries at once.
    fn wait_for_room(&self, bytes: u64) -> Result<(), Stopped> {
        while let Err(reason) = self.room.for_batch(bytes) {
            self.shared.fill(Writer::Store, &reason);
            let progress = self.shared.progress();
            if progress.stop_apply || progress.degraded.is_some() {
                return Err(Stopped);
            }
            drop(self.shared.wait(&self.shared.apply_wakes, progress, ROOM_POLL));
        }
        self.shared.find_room(Writer::Store);
        Ok(())
    }

    /// Compares what the entries have led to with what their origins say. No client is answered before.
    fn compare(&self, digests: Digests) -> Result<(), Stopped> {
        for FalseClaim { claim: Claim { origin, mark }, own } in self.shared.outcomes.applied(digests) {
            let root = self.shared.progress().root().map(|root| root.membership.clone()).unwrap_or_default();
            let is_alone = root.is_only_voter(self.own) && root.learners.is_empty();
            if is_alone {
                self.shared.degrade(&format!(
                    "what its log has led to differs from what clients were told: at entry {} of the log the digest of \
                     outcomes was {:016x}, now it is {own:016x}. {ALONE}",
                    mark.root, mark.digest
                ));
                return Err(Stopped);
            }
            if origin == self.own {
                self.shared.degrade_for_good(&format!(
                    "what its log has led to after a restart differs from what it told its clients before: at entry {} of \
                     the log its digest of outcomes was {:016x}, now it is {own:016x}",
                    mark.root, mark.digest
                ));
                return Err(Stopped);
            }
            if self.shared.outcomes.suspect(mark.root) {
                tracing::error!(%origin, said = %mark, own = format!("{own:016x}"), "an entry's origin has decided otherwise");
            }
        }
        Ok(())
    }

    /// Begins lanes that the state machine has; returns when they are in the log.
    fn create_lanes(&self, lanes: Vec<(GroupId, LogIndex)>) -> Result<(), Stopped> {
        if lanes.is_empty() {
            return Ok(());
        }
        let (done, wait) = sync_channel(1);
        self.commands.send(Command::CreateLanes { lanes, done }).map_err(|_| Stopped)?;
        wait.recv().map_err(|_| Stopped)
    }

    fn show_lanes(&mut self, now: Arc<LaneTable>) {
        let lanes = &now.lanes;
        let mut progress = self.shared.progress();
        progress.lanes_applied.retain(|group, _| lanes.contains_key(group));
        progress.traffic.retain(|group, _| *group == GroupId::ROOT || lanes.contains_key(group));
        progress.lanes = Arc::clone(&now);
        drop(progress);
        self.lanes_applied.retain(|group, _| lanes.contains_key(group));
        self.lanes = now;
    }

    /// Ends lanes that were dropped by the root's entry `at`, or one before it. What waits in them is proposed again,
    /// under the same ids.
    fn retire_lanes(&self, lanes: Vec<GroupId>, at: LogIndex) -> Result<(), Stopped> {
        for group in lanes {
            self.commands.send(Command::RetireLane { group, at }).map_err(|_| Stopped)?;
            for (id, data) in self.shared.pending.move_all_to_root(group) {
                let again = Command::Propose { group: GroupId::ROOT, id, data };
                self.commands.send(again).map_err(|_| Stopped)?;
            }
        }
        Ok(())
    }

    fn read(&self, group: GroupId, index: LogIndex) -> Result<LogEntry, String> {
        let mut entries =
            self.log.entries(group, index, index.next(), u64::MAX).map_err(|error| error.to_string())?;
        entries.pop().ok_or_else(|| format!("entry {index} of group {group} is not in the log"))
    }

    /// Moves the applied position before any client gets its answer: a client that has its answer reads its own write.
    fn finish(
        &self,
        root: Option<LogIndex>,
        lanes: BTreeMap<GroupId, LogIndex>,
        traffic: BTreeMap<GroupId, (u64, u64)>,
        bytes: u64,
    ) {
        let now = Instant::now();
        let mut progress = self.shared.progress();
        for (group, (entries, bytes)) in traffic.into_iter().filter(|(group, _)| self.has_group(*group)) {
            let counted = progress.traffic.entry(group).or_insert_with(|| Traffic::new(now));
            counted.count(entries, bytes, now);
        }
        progress.applied = root.unwrap_or(progress.applied);
        for (group, index) in lanes.into_iter().filter(|(group, _)| self.has(*group)) {
            progress.lanes_applied.insert(group, index);
        }
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
