//! How a node begins.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use quack_core::{Membership, Node};
use quack_log::{DiskOs, Log, LogRead, LogReader};
use quack_types::{GroupId, LogIndex};

use super::{NodeHandle, Running};
use crate::apply_loop::ApplyLoop;
use crate::checkpoint_loop::{CheckpointLoop, KeptLog};
use crate::folder::DataFolder;
use crate::machine::{Checkpointed, StateMachine};
use crate::raft_loop::RaftLoop;
use crate::room::Room;
use crate::shared::Shared;
use crate::transport::Transport;
use crate::{Error, NodeConfig, random, threads};

/// Commands on their way to the raft thread. It takes up to this many in one turn.
const COMMANDS_MAX: usize = 4096;

impl NodeHandle {
    /// Starts the node of a folder. `first` are the members with which its cluster was founded; a log that knows its
    /// members keeps those.
    ///
    /// The machine's state must be the one that belongs to the folder's log. Entries
    /// behind it are applied in the background; see [`NodeHandle::wait_until_ready`].
    ///
    /// # Errors
    /// A log or a position that does not check, see [`Error`]; nothing was changed then.
    pub fn start(
        config: NodeConfig,
        folder: DataFolder,
        machine: Box<dyn StateMachine>,
        transport: Box<dyn Transport>,
        first: Membership,
    ) -> Result<Arc<Self>, Error> {
        config.validate()?;
        let identity = folder.identity().clone();
        // The store of a snapshot may be ahead of the log that came with it.
        let is_ahead = folder.has_foreign_store()?;
        let (place, lanes) = (machine.place(), machine.lanes());
        let needed: Vec<_> = if is_ahead { Vec::new() } else { place.groups().collect() };
        let (log, recovery) =
            Log::open_with(folder.log_disk(), config.log.clone(), &folder.log_identity(), &needed)?;
        tracing::info!(?recovery, boot = identity.boot, node = %identity.node_id, "log opened");
        let reader = log.reader();
        let applied = place.root;
        let known = |(group, index): (GroupId, LogIndex)| {
            (group, if is_ahead { last_of(&reader, group).min(index) } else { index })
        };
        let known: Vec<(GroupId, LogIndex)> = place.groups().map(known).collect();
        let is_over = |group: &GroupId| {
            *group != GroupId::ROOT && *group <= lanes.last_group && !lanes.lanes.contains_key(group)
        };
        let retired: Vec<GroupId> = reader.groups().into_iter().filter(is_over).collect();
        // A crash may have come between a checkpoint with new lanes and their beginning in the log.
        let groups = reader.groups();
        let missing: Vec<(GroupId, LogIndex)> = lanes
            .lanes
            .iter()
            .filter(|(group, _)| !groups.contains(group))
            .map(|(group, lane)| (*group, lane.created))
            .collect();
        let is_introduced = transport.is_introduced();
        let config_of_core = quack_core::Config {
            boot: identity.boot,
            // Nodes that start together must not stand for election together.
            seed: random::draw()? as u64,
            last_lane: lanes.last_group,
            unborn: missing.iter().map(|(group, _)| *group).collect(),
            begins_later: is_introduced,
            ..quack_core::Config::new(identity.raft_id())
        };
        let core = Node::new(config_of_core, &[(GroupId::ROOT, first)], &known, &retired, log.reader())?;
        if !is_introduced {
            folder.count_boot()?;
        }

        let shared = Arc::new(Shared::new(folder.path().to_owned()));
        let mut progress = shared.progress();
        (progress.committed, progress.applied) = (applied, applied);
        (progress.lanes_applied, progress.lanes) = (place.lanes.clone(), Arc::clone(&lanes));
        // It was read from the machine's own files.
        progress.checkpointed = Checkpointed { durable: place.clone(), ..Checkpointed::default() };
        progress.checkpoint_due = config.checkpoint_log_bytes;
        progress.groups = core.statuses().into_iter().map(|status| (status.group, status)).collect();
        drop(progress);

        let room = Room::new(folder.path(), folder.store_path());
        room.take_reserve();
        let (commands, receiver) = sync_channel(COMMANDS_MAX);
        let (tick, apply_bytes_max) = (config.tick, config.apply_bytes_max);
        let checkpoints = CheckpointLoop {
            checkpointer: machine.checkpointer(),
            shared: Arc::clone(&shared),
            commands: commands.clone(),
            log_bytes: config.checkpoint_log_bytes,
            on_stop: config.checkpoint_on_stop,
            kept: KeptLog::new(config.keep_log_bytes, place.groups().collect(), log.bytes_on_disk()),
            room: room.clone(),
        };
        let applies = ApplyLoop {
            own: identity.raft_id(),
            log: reader,
            shared: Arc::clone(&shared),
            commands: commands.clone(),
            apply_bytes_max,
            tick,
            lanes,
            lanes_applied: place.lanes,
            room: room.clone(),
            missing,
        };
        let raft = RaftLoop {
            core,
            log,
            transport,
            commands: receiver,
            shared: Arc::clone(&shared),
            tick,
            applied: known.first().map_or(LogIndex(0), |(_, root)| *root),
            leader_seen: None,
            // They were dropped by then.
            retired: retired.into_iter().map(|group| (group, applied)).collect(),
            held: BTreeMap::new(),
            created: Vec::new(),
            is_silent: is_introduced,
            own_name: identity.node_id.to_string(),
            boot: identity.boot,
            room: room.clone(),
            deferred: VecDeque::new(),
            stops: false,
        };
        let running = spawn_all(&shared, raft, applies, machine, checkpoints, folder)?;
        Ok(Arc::new(Self {
            config,
            identity,
            shared,
            room,
            commands,
            read_tags: AtomicU64::new(0),
            member_tags: AtomicU64::new(0),
            process: std::process::id(),
            running: Mutex::new(Some(running)),
        }))
    }
}

/// The last position of a group's log.
fn last_of(log: &LogReader<DiskOs>, group: GroupId) -> LogIndex {
    log.last_index(group).max(log.floor(group).index)
}

fn spawn_all(
    shared: &Arc<Shared>,
    mut raft: RaftLoop,
    mut applies: ApplyLoop,
    mut machine: Box<dyn StateMachine>,
    mut checkpoints: CheckpointLoop,
    folder: DataFolder,
) -> Result<Running, Error> {
    let apply_shared = Arc::clone(shared);
    let apply = threads::spawn("quack-apply", Arc::clone(shared), move || {
        threads::contain(&apply_shared, "quack-apply", || applies.run(machine.as_mut()));
        // Outside of the barrier above: a panic in its destructor must not meet another one.
        drop(machine);
    })?;
    let checkpoint = threads::spawn("quack-checkpoint", Arc::clone(shared), move || checkpoints.run());
    let raft = checkpoint.and_then(|checkpoint| {
        let raft = threads::spawn("quack-raft", Arc::clone(shared), move || raft.run())?;
        Ok((checkpoint, raft))
    });
    match raft {
        Ok((checkpoint, raft)) => Ok(Running { raft, apply, checkpoint, folder }),
        Err(error) => {
            // The threads that did start must not outlive the attempt.
            shared.degrade("the node did not start");
            Err(error)
        }
    }
}
