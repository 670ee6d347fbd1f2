//! A node that needs entries of a lane which all others have dropped and forgotten: it says so, and is rebuilt.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use quack_core::{Config, Event, Membership, Node, PeerMessage};
use quack_log::{DiskOs, Log, LogConfig, LogIdentity, LogReader};
use quack_node::{DataFolder, Error, NodeHandle, SnapshotNeeded, Transport};
use quack_types::{GroupId, LogIndex, Mark, NodeId, ProposalId, RaftId};
use support::{Control, LONG, Model, config, encode, node_id};

const LANE: GroupId = GroupId(2);

/// To the only other member.
struct Wire(Sender<PeerMessage>);

impl Transport for Wire {
    fn send(&mut self, messages: Vec<PeerMessage>, _: Option<Mark>) {
        for message in messages {
            let _ = self.0.send(message);
        }
    }

    fn snapshot_needed(&mut self, _need: SnapshotNeeded) {}
}

/// The other member, without a state machine: the only voter.
struct Other {
    id: RaftId,
    core: Node<LogReader<DiskOs>>,
    log: Log<DiskOs>,
    heard: Receiver<PeerMessage>,
    _folder: tempfile::TempDir,
}

impl Other {
    fn new(members: &Membership, heard: Receiver<PeerMessage>) -> Self {
        let name = NodeId::new("n1").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let id = name.raft_id(0);
        let identity = LogIdentity { cluster_id: 1, node: name, incarnation: 0 };
        let log = Log::create(DiskOs::new(folder.path()), LogConfig::default(), &identity).unwrap();
        let core =
            Node::new(Config::new(id), &[(GroupId::ROOT, members.clone())], &[], &[], log.reader()).unwrap();
        Self { id, core, log, heard, _folder: folder }
    }

    fn handle(&mut self, event: Event) {
        self.core.handle(event).unwrap();
    }

    fn propose(&mut self, group: GroupId, sequence: u64, text: &str) {
        let tag = ProposalId { origin: self.id, boot: 1, sequence };
        self.handle(Event::Propose { group, data: encode(tag, text), tag });
    }

    fn applied(&mut self) {
        for group in [GroupId::ROOT, LANE] {
            let committed = self.core.status(group).map(|status| status.commit_index);
            if let Some(index) = committed {
                self.handle(Event::Applied { group, index });
            }
        }
    }

    /// A round of messages. Those of the lane are lost while `lane_is_lost`.
    fn round(&mut self, to: &NodeHandle, lane_is_lost: bool) {
        let heard: Vec<PeerMessage> = self.heard.try_iter().collect();
        for PeerMessage { group, bytes, .. } in
            heard.into_iter().filter(|it| !lane_is_lost || it.group != LANE)
        {
            self.handle(Event::Message { from: to.raft_id(), group, bytes });
        }
        self.handle(Event::Tick);
        while self.core.has_work() {
            let effects = self.core.effects().unwrap();
            self.log.write(&effects.persist.writes, effects.persist.must_sync).unwrap();
            let durable = self.core.persisted(effects.persist).unwrap();
            for PeerMessage { group, bytes, .. } in effects.send_now.into_iter().chain(durable.send) {
                if !lane_is_lost || group != LANE {
                    to.deliver(self.id, group, bytes);
                }
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }

    fn rounds_until(&mut self, to: &NodeHandle, lane_is_lost: bool, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + LONG;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "it did not come to that");
            self.round(to, lane_is_lost);
            self.applied();
        }
    }
}

fn texts(control: &Control) -> Vec<String> {
    control.state.lock().unwrap().texts.clone()
}

#[test]
fn a_node_that_needs_a_forgotten_lane_is_rebuilt() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, heard) = channel();
    let members = Membership::new([NodeId::new("n1").unwrap().raft_id(0)], [node_id().raft_id(0)]);
    let mut other = Other::new(&members, heard);
    let data = DataFolder::open(folder.path(), &node_id()).unwrap();
    let (model, control) = Model::open(folder.path());
    let node =
        NodeHandle::start(config(), data, Box::new(model), Box::new(Wire(sender)), members.clone()).unwrap();

    // A lane, of which the node hears nothing but that there is one.
    other.rounds_until(&node, true, |other| other.core.status(GroupId::ROOT).unwrap().linearizable_read_safe);
    other.propose(GroupId::ROOT, 1, "lanes a");
    other.rounds_until(&node, true, |_| !texts(&control).is_empty());
    let at = control.state.lock().unwrap().lanes.lanes[&LANE].created;
    other.handle(Event::CreateLane { group: LANE, at });
    other.propose(LANE, 2, "in a");
    let is_ordered =
        |other: &Other| other.core.status(LANE).is_some_and(|lane| lane.ordered_index >= LogIndex(2));
    other.rounds_until(&node, true, is_ordered);
    other.propose(GroupId::ROOT, 3, "behind it");
    let ordered_here = || node.group_infos(|_| None)[1].ordered_index;
    other.rounds_until(&node, true, |_| ordered_here() >= LogIndex(2));
    assert!(node.degraded().is_none() && texts(&control) == ["lanes a"], "it waits for the lane");

    other.handle(Event::RetireLane { group: LANE });
    other.handle(Event::RemoveLane { group: LANE });
    other.rounds_until(&node, false, |_| node.degraded().is_some());
    let reason = node.degraded().unwrap();
    assert!(reason.contains("dropped and forgotten") && reason.contains("it is rebuilt"), "{reason}");
    assert_eq!(texts(&control), ["lanes a"]);
    node.stop();
    let again = DataFolder::open(folder.path(), &node_id());
    assert!(matches!(again, Err(Error::Former { .. })), "what it had is set aside: {again:?}");
}
