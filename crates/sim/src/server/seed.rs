//! Snapshots: how a node gives one, and how another one starts from it.
//!
//! A snapshot is of the node: the state machine's state, and for every group of its place
//! where the log begins. Installing has two steps that a crash can part, the logs and the
//! state machine; the snapshot is kept until both are done, and all of it is done again
//! after a crash.

use quack_core::reseed;
use quack_log::{Floor, GroupWrite, HardState, Log, LogEntry, LogRead};
use quack_types::{GroupId, LogIndex, RaftId};

use super::{Life, Output, Outputs, Server, is_disk_error};
use crate::disk::{CRASHED, VirtualDisk};
use crate::failure::Failure;
use crate::model::Model;
use crate::sabotage::Sabotage;

/// State of a node.
#[derive(Debug, Clone)]
pub struct Snapshot {
    model: Model,
    groups: Vec<GroupLog>,
}

/// Where a group's log begins.
#[derive(Debug, Clone)]
struct GroupLog {
    group: GroupId,
    floor: Floor,
    /// From the floor to the state machine's position, as if it still needed them.
    entries: Vec<LogEntry>,
}

impl Server {
    /// A snapshot of this node now. The logs begin up to `entries_max` entries before it.
    /// `None` when the node is down, or goes down over it, or its core does not know yet that what is ordered is
    /// committed.
    pub fn snapshot(&mut self, entries_max: u64) -> Option<Snapshot> {
        let life = self.life.as_ref()?;
        let mut model = life.model.clone();
        let mut groups = Vec::new();
        for (group, applied) in life.model.place().groups() {
            let lowest = life.log.floor(group).index.0;
            let begin = LogIndex(applied.0.saturating_sub(entries_max).max(lowest));
            let floor = life.node.floor_at(group, begin)?;
            let entries = life.log.entries(group, begin.next(), applied.next(), u64::MAX).ok()?;
            let mut part = GroupLog { group, floor, entries };
            self.spoil(life, &mut model, &mut part);
            groups.push(part);
        }
        if self.is_sabotaged(Sabotage::SnapshotWithoutIds) {
            model.forget_ids();
        }
        Some(Snapshot { model, groups })
    }

    /// What is wrong with the snapshots of a sabotaged run.
    fn spoil(&self, life: &Life, model: &mut Model, part: &mut GroupLog) {
        let group = part.group;
        let is_root = group == GroupId::ROOT;
        let is_too_new = self.is_sabotaged(Sabotage::SnapshotTooNew) && is_root
            || self.is_sabotaged(Sabotage::SnapshotLanesTooNew) && !is_root;
        let next = model.applied(group).unwrap_or_default().next();
        if is_too_new && part.entries.is_empty() {
            // One entry more than the state machine has applied.
            if let Some(above) = life.node.floor_at(group, next) {
                part.floor = above;
                match model.lanes.get_mut(&group) {
                    Some(lane) => lane.applied = next,
                    None => model.root = next,
                }
            }
        }
        if self.is_sabotaged(Sabotage::SnapshotWithFirstMembers) {
            let first = life.node.floor_at(group, LogIndex(0));
            part.floor.membership =
                first.map_or_else(|| self.first_members().encode(), |first| first.membership);
        }
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
        self.checkpoint = Model::default();
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
        let Some(Snapshot { model, groups }) = self.seed.clone() else { return Ok(true) };
        if self.checkpoint.order >= model.order && self.checkpoint.order > 0 {
            self.seed = None;
            return Ok(true);
        }
        let mut writes = Vec::new();
        for part in groups {
            let mut write = match reseed(log, part.group, &part.floor, part.entries.clone()) {
                Ok(write) => write,
                Err(quack_core::Error::SeedBackwards { .. }) => {
                    outputs.push(Output::Said { line: "drops a snapshot that is too old".to_owned() });
                    self.seed = None;
                    return Ok(true);
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
            writes.push(write);
        }
        if !self.write_seed(log, writes, outputs)? {
            return Ok(false);
        }
        self.checkpoint = model;
        self.seed = None;
        outputs.push(Output::Said { line: "starts from a snapshot".to_owned() });
        Ok(true)
    }

    fn write_seed(
        &mut self,
        log: &mut Log<VirtualDisk>,
        writes: Vec<GroupWrite>,
        outputs: &mut Outputs,
    ) -> Result<bool, Failure> {
        match log.write(&writes, true) {
            Ok(()) => {
                outputs.extend(writes.into_iter().map(|write| Output::Written { write }));
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
