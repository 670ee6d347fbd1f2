//! Nodes in one process: an authority, certificates, servers whose peers note what they get, and raw clients.

#![allow(dead_code, clippy::unwrap_used)]

mod certificates;
mod raw;

pub use certificates::*;
pub use raw::*;

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quack_net::{Endpoint, PeerHandler, PeerLimits, Peers, Server, ServerConfig, Tls};
use quack_types::NodeId;
use tempfile::TempDir;

use crate::common::{Fake, config, limits};

pub fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// Notes what a node gets. Understands these calls: `echo`, `who`, `fail` (with the text of the body), `wait` (so
/// many milliseconds), `panic`, `large` (an answer of so many bytes).
pub struct Recorder {
    pub frames: Mutex<Vec<(NodeId, Bytes)>>,
    pub changes: Mutex<Vec<(NodeId, bool)>>,
    /// Nodes that may not speak to us.
    pub banned: Mutex<BTreeSet<NodeId>>,
    pub calls: Mutex<Vec<String>>,
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Recorder {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            frames: Mutex::default(),
            changes: Mutex::default(),
            banned: Mutex::default(),
            calls: Mutex::default(),
            closed: Mutex::new(false),
            opened: Condvar::new(),
        })
    }

    /// From now on, taking a message takes until the gate is opened.
    pub fn close_gate(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.opened.notify_all();
    }

    pub fn count(&self) -> usize {
        self.frames.lock().unwrap().len()
    }

    pub fn frames_of(&self, node: &str) -> Vec<Bytes> {
        let frames = self.frames.lock().unwrap();
        frames.iter().filter(|(from, _)| from.as_str() == node).map(|(_, frame)| frame.clone()).collect()
    }
}

impl PeerHandler for Recorder {
    fn admit(&self, peer: &NodeId) -> Result<(), String> {
        if self.banned.lock().unwrap().contains(peer) {
            return Err(format!("node '{peer}' is not a member of this cluster; add it with quack_add_node"));
        }
        Ok(())
    }

    fn message(&self, peer: &NodeId, frame: Bytes) {
        let closed = self.closed.lock().unwrap();
        drop(self.opened.wait_while(closed, |closed| *closed).unwrap());
        if &frame[..] == b"panic" {
            panic!("as the peer has asked");
        }
        self.frames.lock().unwrap().push((peer.clone(), frame));
    }

    fn call(&self, peer: &NodeId, method: &str, body: Bytes) -> Result<Bytes, String> {
        self.calls.lock().unwrap().push(method.to_owned());
        let number = || std::str::from_utf8(&body).unwrap().parse::<u64>().unwrap();
        match method {
            "echo" => Ok(body),
            "who" => Ok(peer.to_string().into()),
            "fail" => Err(String::from_utf8(body.to_vec()).unwrap()),
            "wait" => {
                thread::sleep(Duration::from_millis(number()));
                Ok(Bytes::new())
            }
            "large" => Ok(vec![7; number() as usize].into()),
            _ => panic!("as the peer has asked"),
        }
    }

    fn reachable(&self, peer: &NodeId, reachable: bool) {
        self.changes.lock().unwrap().push((peer.clone(), reachable));
    }
}

/// Limits that let a test end soon.
pub fn peer_limits() -> PeerLimits {
    PeerLimits {
        retry_time_min: Duration::from_millis(20),
        retry_time_max: Duration::from_millis(200),
        ..PeerLimits::default()
    }
}

/// A node that runs.
pub struct Node {
    pub server: Server,
    pub recorder: Arc<Recorder>,
    pub service: Arc<Fake>,
    pub folder: TempDir,
    pub tls: Tls,
}

impl Node {
    pub fn start(ca: &Ca, name: &str) -> Self {
        Self::start_with(ca, name, |_| {})
    }

    pub fn start_with(ca: &Ca, name: &str, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tls = Tls::load(ca.files(folder.path(), &Wish::node(name)), &id(name)).unwrap();
        let (recorder, service) = (Recorder::new(), Arc::new(Fake::default()));
        let mut config = ServerConfig {
            tls: Some(tls.clone()),
            peers: Some(recorder.clone()),
            peer_limits: peer_limits(),
            ..config(limits())
        };
        change(&mut config);
        let server = Server::start(&config, service.clone()).unwrap();
        Self { server, recorder, service, folder, tls }
    }

    pub fn peers(&self) -> &Peers {
        self.server.peers().unwrap()
    }

    pub fn id(&self) -> NodeId {
        self.tls.node().clone()
    }

    pub fn address(&self) -> (NodeId, Endpoint) {
        (self.id(), self.server.endpoint().clone())
    }

    pub fn send(&self, to: &Node, frame: impl Into<Bytes>) -> bool {
        self.peers().send(&to.id(), frame.into())
    }

    pub fn connected(&self) -> bool {
        self.peers().status().iter().all(|peer| peer.connected)
    }

    /// What the last attempt to reach a node met.
    pub fn last_error(&self, node: &str) -> String {
        let status = self.peers().status();
        status
            .into_iter()
            .find(|peer| peer.node.as_str() == node)
            .and_then(|peer| peer.last_error)
            .unwrap_or_default()
    }
}

/// Nodes of these names that know each other, and are connected.
pub fn cluster(names: &[&str]) -> (Ca, Vec<Node>) {
    let ca = Ca::new();
    let nodes: Vec<_> = names.iter().map(|name| Node::start(&ca, name)).collect();
    introduce(&nodes);
    (ca, nodes)
}

pub fn introduce(nodes: &[Node]) {
    let addresses: Vec<_> = nodes.iter().map(Node::address).collect();
    for node in nodes {
        node.peers().set_addresses(&addresses);
    }
    crate::common::eventually("all are connected", || nodes.iter().all(Node::connected));
}

pub fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
