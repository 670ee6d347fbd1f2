//! The state machine of the node: the applier over DuckDB, and its checkpoints.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use prost::Message;
use quack_apply::entry::verification;
use quack_apply::{Applier, Broken, Committed, Lane, StoreError, store::ErrorKind};
use quack_cluster::Cluster;
use quack_node::{
    Applied, Checkpointed, Checkpointer, GroupEntry, LaneInfo, LaneTable, LocalError, ReadLog, StateMachine,
    read_broken, write_broken,
};
use quack_proto::log::v1::Member;
use quack_types::{Digests, GroupId, Place};

use crate::proposer::SharedNode;
use crate::store::{AttachedStore, DuckDbStore};
use crate::verifications::Verifications;

/// How DuckDB says that a block does not check; it does not say of which file.
const DAMAGED: &str = "Corrupt database file";

/// Applies entries to DuckDB.
pub struct Machine {
    applier: Applier<DuckDbStore>,
    /// The node's data folder.
    folder: PathBuf,
    lanes: Arc<LaneTable>,
    /// Hears what the log says about members.
    cluster: Option<Arc<Cluster>>,
    members: Vec<Member>,
    store: Arc<AttachedStore>,
    verifications: Arc<Verifications>,
    checkpoints: Arc<Checkpoints>,
}

/// Writes checkpoints of the store beside the applier.
struct Checkpoints {
    store: Arc<AttachedStore>,
    /// What the applier has committed; a checkpoint that starts now holds at least this.
    committed: Mutex<Committed>,
    last: Mutex<Checkpointed>,
}

impl Machine {
    /// Opens the applier of an attached store, which must be `owner`'s, or new; a `foreign` one, which came with a
    /// snapshot, becomes `owner`'s.
    pub fn open(
        store: Arc<AttachedStore>,
        folder: &Path,
        owner: &str,
        foreign: bool,
        cluster: Option<Arc<Cluster>>,
        verifications: Arc<Verifications>,
        node: &Arc<SharedNode>,
    ) -> Result<Self, StoreError> {
        let (tables, position, state) = DuckDbStore::open(&store, owner, foreign, Arc::downgrade(node))?;
        let counted = quack_node::CheckpointCount::open(folder, store.checkpoints());
        node.count_checkpoints(counted.map_err(|error| StoreError::new(ErrorKind::IO, error.to_string()))?);
        if foreign {
            // Nothing in the log says whose the store is: only a checkpoint makes it durable.
            store.checkpoint()?;
        }
        let mut applier = Applier::open(tables, position, &state)?;
        remember_broken(&mut applier, folder)?;
        let committed = applier.committed().clone();
        let last = checkpointed(&committed);
        let checkpoints =
            Checkpoints { store: store.clone(), committed: Mutex::new(committed), last: Mutex::new(last) };
        let checkpoints = Arc::new(checkpoints);
        let members = Vec::new();
        let lanes = Arc::default();
        let folder = folder.to_owned();
        let mut machine =
            Self { applier, folder, lanes, cluster, members, store, verifications, checkpoints };
        machine.tell_members();
        machine.note_lanes();
        Ok(machine)
    }

    /// Notes a commit that has broken off, so that the next start finds out which entry it was, or refuses it.
    fn note_broken(&self, error: &StoreError) -> LocalError {
        if error.message.contains(DAMAGED) {
            let folder = self.folder.display();
            return LocalError::new(format!("{} (the file 'store.duckdb' in '{folder}')", error.message));
        }
        if error.kind != ErrorKind::FATAL {
            return local(error);
        }
        let text = self.applier.broken().encode();
        tracing::error!(error = error.message, entries = text, "a commit has broken off");
        match write_broken(&self.folder, &text) {
            Ok(()) => LocalError::new(format!(
                "a commit has broken off: {}. The next start of this node applies what it was to hold entry by entry, and \
                 the start after one that has broken off by itself refuses that entry, as on every other node",
                error.message
            )),
            Err(failed) => LocalError::new(format!("a commit has broken off: {}. {failed}", error.message)),
        }
    }

    /// Updates the list of lanes that readers get, when it has changed.
    fn note_lanes(&mut self) {
        let state = self.applier.state();
        let is_same = |now: &Lane, known: &LaneInfo| (&now.name, now.tables) == (&known.name, known.tables);
        let known = &self.lanes;
        let nothing_new = state.groups_enabled == known.groups_enabled
            && state.lanes.last_group() == known.last_group
            && state.lanes.iter().count() == known.lanes.len()
            && state
                .lanes
                .iter()
                .all(|(group, lane)| known.lanes.get(&group).is_some_and(|known| is_same(lane, known)));
        if nothing_new {
            return;
        }
        let info = |(group, lane): (GroupId, &Lane)| {
            (group, LaneInfo { name: lane.name.clone(), tables: lane.tables, created: lane.created })
        };
        self.lanes = Arc::new(LaneTable {
            groups_enabled: state.groups_enabled,
            last_group: state.lanes.last_group(),
            lanes: state.lanes.iter().map(info).collect(),
        });
    }

    /// Tells the cluster about members, when there is anything new.
    fn tell_members(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        if !self.applier.members().eq(self.members.iter()) {
            self.members = self.applier.members().cloned().collect();
            cluster.members_said(self.members.iter());
        }
    }
}

/// Reads which commits have broken off in earlier starts, and forgets those that are over.
fn remember_broken(applier: &mut Applier<DuckDbStore>, folder: &Path) -> Result<(), StoreError> {
    let io = |error: quack_node::Error| StoreError::new(ErrorKind::IO, error.to_string());
    let text = read_broken(folder).map_err(io)?;
    let Some(broken) = Broken::decode(&text) else {
        let message = format!("the file 'broken' in '{}' is damaged: remove it", folder.display());
        return Err(StoreError::new(ErrorKind::IO, message));
    };
    applier.remember(broken);
    let left = applier.broken().encode();
    if left == text { Ok(()) } else { write_broken(folder, &left).map_err(io) }
}

fn checkpointed(committed: &Committed) -> Checkpointed {
    let Committed { place, needed_from, unfinished } = committed.clone();
    Checkpointed { durable: place, needed: needed_from, unfinished, blocked: None }
}

fn local(error: &StoreError) -> LocalError {
    LocalError::new(error.message.clone())
}

impl StateMachine for Machine {
    fn place(&self) -> Place {
        self.applier.state().place()
    }

    fn lanes(&self) -> Arc<LaneTable> {
        Arc::clone(&self.lanes)
    }

    fn apply(&mut self, entries: &[GroupEntry], log: &ReadLog<'_>) -> Result<Vec<Applied>, LocalError> {
        let mut decisions = Vec::with_capacity(entries.len());
        // A verification sees what was applied before it, and nothing later.
        for run in entries.split_inclusive(|next| verification(&next.entry.data).is_some()) {
            let applied = self.applier.apply(run, log);
            decisions.extend(applied.map_err(|error| self.note_broken(&error))?);
            if let Some(number) = run.last().and_then(|last| verification(&last.entry.data)) {
                match self.store.snapshot_for_hash() {
                    Ok(snapshot) => self.verifications.begin(number, snapshot),
                    // The entry says nothing about what the node holds.
                    Err(error) => self.verifications.fail(number, error.message),
                }
            }
        }
        let committed = self.applier.committed().clone();
        *self.checkpoints.committed.lock().unwrap_or_else(PoisonError::into_inner) = committed;
        self.tell_members();
        self.note_lanes();
        let applied = decisions.into_iter().map(|decision| Applied {
            outcome: decision.outcome.map_or_else(Bytes::new, |outcome| outcome.encode_to_vec().into()),
            id: Some(decision.id),
        });
        Ok(applied.collect())
    }

    fn digests(&mut self) -> Digests {
        self.applier.take_digests()
    }

    fn checkpointer(&self) -> Arc<dyn Checkpointer> {
        self.checkpoints.clone()
    }
}

impl Checkpointer for Checkpoints {
    fn checkpoint(&self, _held_back_bytes: u64) -> Result<Checkpointed, LocalError> {
        let committed = self.committed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match self.store.checkpoint() {
            Ok(()) => *last = checkpointed(&committed),
            // Something that is being written keeps it away for now.
            Err(error) if error.kind == ErrorKind::TRANSACTION => {
                tracing::debug!(reason = %error.message, "the checkpoint has to wait");
                return Ok(Checkpointed { blocked: Some(error.message), ..last.clone() });
            }
            Err(error) => return Err(local(&error)),
        }
        Ok(last.clone())
    }
}
