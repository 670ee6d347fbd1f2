//! Snapshots: how a node gives one, and how another one starts from it.
//!
//! A snapshot is of the node: for every group the state machine's state, and where the
//! log begins. Installing has two steps that a crash can part, the log and the state
//! machine; the snapshot is kept until both are done, and all of it is done again after
//! a crash.

use quack_core::reseed;
use quack_log::{Floor, GroupWrite, HardState, Log, LogEntry, LogRead};
use quack_types::{GroupId, LogIndex, RaftId};

use super::{Output, Outputs, Server, is_disk_error};
use crate::disk::{CRASHED, VirtualDisk};
use crate::failure::Failure;
use crate::model::Model;
use crate::sabotage::Sabotage;

/// State of a node's groups.
pub type Snapshot = Vec<GroupSnapshot>;

/// State of one group.
#[derive(Debug, Clone)]
pub struct GroupSnapshot {
    group: GroupId,
    floor: Floor,
    /// From the floor to the state machine's position, as if it still needed them.
    entries: Vec<LogEntry>,
    model: Model,
}

impl Server {
    /// A snapshot of this node now. The log begins up to `entries_max` entries before it.
    /// `None` when the node is down, or goes down over it.
    pub fn snapshot(&mut self, entries_max: u64) -> Option<Snapshot> {
        let sabotage = self.scenario.sabotage;
        let groups: Vec<_> = self.groups().collect();
        let life = self.life.as_ref()?;
        let mut snapshot = Vec::new();
        for group in groups {
            let mut model = life.models.get(&group).cloned().unwrap_or_default();
            let lowest = life.log.floor(group).index.0;
            let begin = LogIndex(model.applied.0.saturating_sub(entries_max).max(lowest));
            let mut floor = life.node.floor_at(group, begin)?;
            let next = model.applied.next();
            let entries = life.log.entries(group, begin.next(), next, u64::MAX).ok()?;
            if sabotage == Some(Sabotage::SnapshotTooNew) {
                // One entry more than the state machine has applied.
                if let Some(above) = life.node.floor_at(group, next).filter(|_| entries.is_empty()) {
                    (floor, model.applied) = (above, next);
                }
            }
            if sabotage == Some(Sabotage::SnapshotWithFirstMembers) {
                floor.membership = life
                    .node
                    .floor_at(group, LogIndex(0))
                    .map_or_else(|| self.first_members().encode(), |first| first.membership);
            }
            if sabotage == Some(Sabotage::SnapshotWithoutIds) {
                model.forget_ids();
            }
            snapshot.push(GroupSnapshot { group, floor, entries, model });
        }
        Some(snapshot)
    }

    /// A snapshot has arrived; the next start installs it. It is dropped when the node's
    /// own log begins behind it already. One whose installation may have begun is not
    /// replaced: the log may begin behind it, and another one may be older.
    pub fn receive(&mut self, snapshot: Snapshot) {
        self.seed.get_or_insert(snapshot);
        self.is_empty = false;
    }

    /// The disk is gone, and everything that was on it.
    pub fn lose_disk(&mut self) {
        self.stop();
        self.disk = VirtualDisk::new(self.random.fork(&format!("disk {}", self.incarnation + 1)));
        self.checkpoint.clear();
        self.seed = None;
        (self.has_log, self.boot) = (false, 0);
        if !self.is_sabotaged(Sabotage::VoteWithLostMemory) {
            self.incarnation += 1;
            self.is_empty = true;
        }
    }

    /// Installs what has been received. False when the node goes down over it, or has to
    /// ask for another snapshot.
    pub(super) fn install(
        &mut self,
        log: &mut Log<VirtualDisk>,
        outputs: &mut Outputs,
    ) -> Result<bool, Failure> {
        let Some(snapshot) = self.seed.clone() else { return Ok(true) };
        for part in &snapshot {
            let own = self.checkpoint.get(&part.group).map(|model| model.applied);
            if own.is_some_and(|own| own >= part.model.applied) {
                continue;
            }
            let mut write = match reseed(log, part.group, &part.floor, part.entries.clone()) {
                Ok(write) => write,
                Err(quack_core::Error::SeedBackwards { .. }) => {
                    outputs.push(Output::Said { line: "drops a snapshot that is too old".to_owned() });
                    break;
                }
                Err(error) => return Err(Failure::safety("a snapshot fits to the log", error.to_string())),
            };
            if self.is_sabotaged(Sabotage::SeedForgetsVote) {
                let commit = part.floor.index;
                write.hard_state = Some(HardState { term: part.floor.term, vote: RaftId(0), commit });
            }
            if self.is_sabotaged(Sabotage::SeedCutsTail) {
                write.entries.clone_from(&part.entries);
            }
            if !self.write_seed(log, write, outputs)? {
                return Ok(false);
            }
            self.checkpoint.insert(part.group, part.model.clone());
        }
        self.seed = None;
        outputs.push(Output::Said { line: "starts from a snapshot".to_owned() });
        Ok(true)
    }

    fn write_seed(
        &mut self,
        log: &mut Log<VirtualDisk>,
        write: GroupWrite,
        outputs: &mut Outputs,
    ) -> Result<bool, Failure> {
        match log.write(std::slice::from_ref(&write), true) {
            Ok(()) => {
                outputs.push(Output::Written { write });
                Ok(true)
            }
            Err(error) if is_disk_error(&error) || error.to_string().contains(CRASHED) => {
                self.stop();
                outputs.push(Output::Crashed { why: format!("while installing a snapshot: {error}") });
                Ok(false)
            }
            Err(error) => Err(Failure::safety("the log takes a snapshot", format!("n{}: {error}", self.id))),
        }
    }
}
