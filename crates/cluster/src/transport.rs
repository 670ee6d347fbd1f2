//! The node's way to its peers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quack_net::Peers;
use quack_node::{PeerMessage, Transport};
use quack_proto::peer::v1::SnapshotNeeded;
use quack_types::{Mark, RaftId};

use crate::calls;
use crate::frame::{self, Sender};
use crate::roster::Roster;

/// How often this node tells a peer that it needs a snapshot.
const TELL_INTERVAL: Duration = Duration::from_secs(5);
/// How long the peer may take to answer.
const TELL_TIME: Duration = Duration::from_secs(2);

/// Sends Raft messages over the network, to members by name.
pub(crate) struct PeerTransport {
    pub sender: Sender,
    pub roster: Arc<Roster>,
    pub network: Peers,
    /// Who was told, and when.
    pub told: Arc<Mutex<BTreeMap<RaftId, Instant>>>,
}

impl Transport for PeerTransport {
    fn send(&mut self, messages: Vec<PeerMessage>, decided: Option<Mark>) {
        for (to, frame) in frame::frames(self.sender, messages, decided) {
            // A peer that is no member under this identity any more gets nothing; Raft repeats lost messages.
            if let Some(node) = self.roster.node_of(to) {
                self.network.send(&node, frame);
            }
        }
    }

    fn name(&self, node: RaftId) -> Option<String> {
        self.roster.node_of(node).map(|node| node.to_string())
    }

    fn is_introduced(&self) -> bool {
        true
    }

    fn snapshot_needed(&mut self, need: quack_node::SnapshotNeeded) {
        let peer = need.peer;
        let Some(node) = self.roster.node_of(peer) else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| at.elapsed() < TELL_INTERVAL);
        if told.contains_key(&peer) {
            return;
        }
        told.insert(peer, Instant::now());
        tracing::warn!(peer = %node, "the log no longer holds what this node needs: it has to take a snapshot");
        let network = self.network.clone();
        let cluster_id = self.sender.cluster_id.to_be_bytes();
        // The raft thread must not wait for the answer.
        let tell = move || {
            let needed = SnapshotNeeded { raft_id: peer.0, group: need.group.0, floor: need.floor.0 };
            let told = calls::call(&network, &cluster_id, &node, "snapshot-needed", &needed, TELL_TIME);
            if let Err(error) = told {
                tracing::debug!(%error, "it does not hear it yet");
            }
        };
        if let Err(error) = quack_types::thread::builder("quack-tell").spawn(tell) {
            tracing::debug!(%error, "the thread that tells the peer cannot start");
        }
    }
}
