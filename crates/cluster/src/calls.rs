//! Calls between the members of one cluster.
//!
//! A node proves its name by its certificate. Two clusters may have nodes of the same names and certificates of the same
//! authority: an old cluster whose folders were put aside and one founded in its place, or a copy for tests. So each call
//! says in which cluster it is made, and members of another one refuse it.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use quack_net::{CallError, Peers};
use quack_proto::peer::v1::Call;
use quack_types::NodeId;

use crate::cluster::{Cluster, Running};

/// What the other cluster's member says, behind its name.
const OTHER_CLUSTER: &str = "it belongs to another cluster that has nodes of the same names: stop the nodes of one of them, \
                             or give each its own addresses and certificates";

/// Makes a call within a cluster, which `cluster_id` names.
///
/// # Errors
/// See [`CallError`].
pub(crate) fn call(
    network: &Peers,
    cluster_id: &[u8],
    to: &NodeId,
    method: &str,
    body: &impl Message,
    time: Duration,
) -> Result<Bytes, CallError> {
    let call = Call { cluster_id: Bytes::copy_from_slice(cluster_id), body: body.encode_to_vec().into() };
    network.call(to, method, call.encode_to_vec().into(), time)
}

impl Running {
    /// The id of its cluster, as messages carry it.
    pub(crate) fn cluster_id(&self) -> [u8; 16] {
        self.node.identity().cluster_id.to_be_bytes()
    }
}

impl Cluster {
    /// Calls a member of this node's cluster.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn call_member(
        &self,
        running: &Running,
        to: &NodeId,
        method: &str,
        body: &impl Message,
        time: Duration,
    ) -> Result<Bytes, String> {
        let network = self.network.get().ok_or("the network has not started")?;
        call(network, &running.cluster_id(), to, method, body, time).map_err(|error| error.to_string())
    }

    /// Reads a call of a peer that must be made in this node's cluster, or before this node knows one.
    ///
    /// # Errors
    /// It cannot be read, or is made in another cluster.
    pub(crate) fn read_call(&self, method: &str, body: Bytes) -> Result<Bytes, String> {
        let call = Call::decode(body).map_err(|error| unreadable(method, &error))?;
        match self.running() {
            Some(running) if running.cluster_id()[..] != call.cluster_id[..] => Err(OTHER_CLUSTER.to_owned()),
            _ => Ok(call.body),
        }
    }

    /// Whether what a peer says of itself speaks against being of this node's cluster; nothing while one of the two
    /// belongs to none.
    ///
    /// # Errors
    /// It belongs to another one, in words that follow the peer's name.
    pub(crate) fn require_own_cluster(&self, cluster_id: &[u8]) -> Result<(), String> {
        match self.own_cluster() {
            Some(own) if !cluster_id.is_empty() && own.to_be_bytes()[..] != *cluster_id => {
                Err(OTHER_CLUSTER.to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// A call that means nothing.
pub(crate) fn unreadable(method: &str, error: &prost::DecodeError) -> String {
    format!("the call '{method}' cannot be read: {error}")
}
