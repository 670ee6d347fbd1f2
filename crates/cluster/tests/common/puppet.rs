//! A peer with a good certificate that says what a test wants it to.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use quack_net::{Endpoint, PeerHandler, Peers, Server, ServerConfig};
use quack_proto::peer::v1::Call;
use quack_types::NodeId;

use super::{LONG, eventually};

type Answer = dyn Fn(&str, Bytes) -> Result<Bytes, String> + Send + Sync;

pub struct Puppet {
    server: Server,
    handler: Arc<Handler>,
    /// The cluster in which it makes calls, as messages carry it.
    pub cluster_id: Bytes,
}

struct Handler {
    answer: Box<Answer>,
    calls: Mutex<Vec<String>>,
}

impl PeerHandler for Handler {
    fn admit(&self, _: &NodeId) -> Result<(), String> {
        Ok(())
    }

    fn message(&self, _: &NodeId, _: Bytes) {}

    fn call(&self, _: &NodeId, method: &str, body: Bytes) -> Result<Bytes, String> {
        self.calls.lock().unwrap().push(method.to_owned());
        let is_between_strangers = ["hello", "found"].contains(&method);
        let body = if is_between_strangers { body } else { Call::decode(body).unwrap().body };
        (self.answer)(method, body)
    }
}

impl Puppet {
    pub fn start(
        mut config: ServerConfig,
        peers: &[(NodeId, Endpoint)],
        cluster_id: Bytes,
        answer: impl Fn(&str, Bytes) -> Result<Bytes, String> + Send + Sync + 'static,
    ) -> Self {
        let handler = Arc::new(Handler { answer: Box::new(answer), calls: Mutex::default() });
        config.peers = Some(handler.clone());
        let server = Server::listen(&config).unwrap();
        server.peers().unwrap().set_addresses(peers);
        Self { server, handler, cluster_id }
    }

    pub fn peers(&self) -> &Peers {
        self.server.peers().unwrap()
    }

    /// How often a method was called.
    pub fn count(&self, method: &str) -> usize {
        self.handler.calls.lock().unwrap().iter().filter(|call| *call == method).count()
    }

    /// Calls a member of its cluster as soon as it can be reached.
    pub fn call(&self, to: &NodeId, method: &str, body: impl prost::Message) -> Result<Bytes, String> {
        let call = Call { cluster_id: self.cluster_id.clone(), body: body.encode_to_vec().into() };
        self.call_stranger(to, method, call)
    }

    /// Calls a node that may belong to any cluster.
    pub fn call_stranger(
        &self,
        to: &NodeId,
        method: &str,
        body: impl prost::Message,
    ) -> Result<Bytes, String> {
        self.wait_connected(to);
        let answer = self.peers().call(to, method, body.encode_to_vec().into(), LONG);
        answer.map_err(|error| error.to_string())
    }

    pub fn wait_connected(&self, to: &NodeId) {
        eventually("the node can be reached", || {
            self.peers().status().iter().any(|peer| peer.node == *to && peer.connected)
        });
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.server.stop(Duration::ZERO);
    }
}
