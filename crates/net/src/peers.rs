//! The ways to other nodes: one connection to each, messages and calls on it.
//!
//! What it does not know: what messages and calls mean, and who is a member. Used from plain threads; the work is
//! done on the server's runtime. Invariant: nothing queues without bound, and no caller waits without a deadline.

mod backoff;
mod call;
mod connect;
mod link;
mod queue;

use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, RwLock};
use std::time::Duration;
use std::{fmt, sync::PoisonError};

use bytes::Bytes;
use quack_types::NodeId;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::{CallError, Endpoint, PeerHandler, PeerLimits, PeerStatus, Tls};
use call::Call;
use connect::{Connected, connect};
use link::{Link, State};

/// Longest deadline of a call. A caller that needs more time calls again.
const DEADLINE_MAX: Duration = Duration::from_secs(3600);
/// Time that a call's answer may need from the network's thread to the caller's.
const HAND_OVER_TIME: Duration = Duration::from_secs(1);

/// The ways to other nodes. Clones share them; they end with the server that they belong to.
#[derive(Clone)]
pub struct Peers(Arc<Shared>);

struct Shared {
    tls: Tls,
    limits: PeerLimits,
    runtime: Handle,
    links: RwLock<Links>,
}

#[derive(Default)]
struct Links {
    /// Empty once the server stops, so that a host which has both of us can be let go of.
    handler: Option<Arc<dyn PeerHandler>>,
    links: BTreeMap<NodeId, Running>,
}

/// A link and its task.
struct Running {
    link: Arc<Link>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers").field("node", self.0.tls.node()).finish_non_exhaustive()
    }
}

impl Peers {
    pub(crate) fn new(tls: Tls, limits: PeerLimits, handler: Arc<dyn PeerHandler>, runtime: Handle) -> Self {
        let links = RwLock::new(Links { handler: Some(handler), links: BTreeMap::new() });
        Self(Arc::new(Shared { tls, limits, runtime, links }))
    }

    /// Says which peers there are: new ones are connected to, those that are not named any more are let go of, with
    /// what waits for them, and a peer that has moved is looked for at the new address. A peer that is named several times
    /// is looked for at all of its addresses, the first one first. This node itself may be among them and is passed over.
    pub fn set_addresses(&self, peers: &[(NodeId, Endpoint)]) {
        let shared = &self.0;
        let mut links = shared.links.write().unwrap_or_else(PoisonError::into_inner);
        let Some(handler) = links.handler.clone() else { return };
        let mut wanted: BTreeMap<&NodeId, Vec<Endpoint>> = BTreeMap::new();
        for (node, endpoint) in peers.iter().filter(|(node, _)| node != shared.tls.node()) {
            wanted.entry(node).or_default().push(endpoint.clone());
        }
        links.links.retain(|node, running| wanted.get(node).is_some_and(|at| running.link.goes_on_at(at)));
        for (node, endpoints) in wanted {
            if links.links.contains_key(node) {
                continue;
            }
            let link = Arc::new(Link::new(node.clone(), endpoints, &shared.limits));
            let run = link.clone().run(shared.tls.clone(), shared.limits.clone(), handler.clone());
            let task = shared.runtime.spawn(run);
            links.links.insert(node.clone(), Running { link, task });
        }
    }

    /// Queues a frame. Never blocks. False when the frame is dropped: the peer is unknown, the frame is longer than
    /// [`PeerLimits::frame_bytes_max`], or so much waits already that there is no room. A frame that was queued may
    /// be lost too, when the connection breaks or cannot be made.
    pub fn send(&self, to: &NodeId, frame: Bytes) -> bool {
        if frame.len() > self.0.limits.frame_bytes_max {
            tracing::error!(peer = %to, bytes = frame.len(), "a frame is longer than permitted and was dropped");
            return false;
        }
        let links = self.0.links.read().unwrap_or_else(PoisonError::into_inner);
        links.links.get(to).is_some_and(|running| running.link.queue.push(frame))
    }

    /// Makes a call, and waits for its answer until the deadline, at most an hour. For plain threads: never from
    /// within a callback that must not block.
    ///
    /// While the first attempt to connect is under way, the call waits for it; a peer that is known to be
    /// unreachable is so at once.
    ///
    /// # Errors
    /// See [`CallError`], which tells whether the call may have been carried out.
    pub fn call(
        &self,
        to: &NodeId,
        method: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let call = self.checked(to, method, body, deadline)?;
        let link = {
            let links = self.0.links.read().unwrap_or_else(PoisonError::into_inner);
            links.links.get(to).map(|running| running.link.clone())
        };
        let Some(link) = link else {
            return Err(call.unreachable("no address of it is known here"));
        };
        self.wait(to, deadline, async move {
            let mut states = link.state.subscribe();
            let known = states.wait_for(|state| !matches!(state, State::Connecting));
            let state = match timeout_at(call.deadline, known).await {
                Ok(Ok(state)) => state.clone(),
                Ok(Err(_)) => State::Down("it is no peer any more".to_owned()),
                Err(_) => State::Down("the first attempt to connect is still under way".to_owned()),
            };
            drop(states);
            // From here on a link that is given up can go.
            drop(link);
            match state {
                State::Up(requests) => call.run(requests).await,
                State::Down(reason) => Err(call.unreachable(reason)),
                State::Connecting => Err(call.unreachable("it is being connected to")),
            }
        })
    }

    /// Like [`call`](Self::call), over a connection of its own, to an address of which only is known which node
    /// must be there: for joining a cluster.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call_at(
        &self,
        to: &NodeId,
        endpoint: &Endpoint,
        method: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let call = self.checked(to, method, body, deadline)?;
        let (peers, endpoint) = (self.clone(), endpoint.clone());
        self.wait(to, deadline, async move {
            let shared = &peers.0;
            let connecting = connect(&shared.tls, &call.node, &endpoint, &shared.limits);
            let Connected { requests, connection, .. } = match timeout_at(call.deadline, connecting).await {
                Ok(Ok(connected)) => connected,
                Ok(Err(reason)) => return Err(call.unreachable(reason)),
                Err(_) => {
                    return Err(call.unreachable(format!("{endpoint}: no connection before the deadline")));
                }
            };
            let mut call = std::pin::pin!(call.run(requests));
            tokio::select! {
                biased;
                answer = &mut call => answer,
                // The call learns itself what the end of the connection means for it.
                _ = connection => call.await,
            }
        })
    }

    /// How the ways to all peers are, in the order of their names.
    pub fn status(&self) -> Vec<PeerStatus> {
        let links = self.0.links.read().unwrap_or_else(PoisonError::into_inner);
        links.links.values().map(|running| running.link.status()).collect()
    }

    /// A sign that a peer is there: it is tried now, if there is no connection to it.
    pub(crate) fn nudge(&self, node: &NodeId) {
        let links = self.0.links.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = links.links.get(node)
            && matches!(*running.link.state.borrow(), State::Down(_))
        {
            running.link.nudge.notify_one();
        }
    }

    /// Lets go of all peers for ever.
    pub(crate) fn stop(&self) {
        let links = std::mem::take(&mut *self.0.links.write().unwrap_or_else(PoisonError::into_inner));
        drop(links);
    }

    fn checked(&self, to: &NodeId, method: &str, body: Bytes, deadline: Duration) -> Result<Call, CallError> {
        let refused = |text| CallError::Refused { node: to.clone(), text };
        if !Call::is_method(method) {
            return Err(refused(format!("'{method}' is no name of a method")));
        }
        let max = self.0.limits.call_bytes_max;
        if body.len() > max {
            let text = format!(
                "the body of call '{method}' has {} bytes, more than {max}: send it in parts",
                body.len()
            );
            return Err(refused(text));
        }
        let start = Instant::now();
        let deadline = start + deadline.min(DEADLINE_MAX);
        let method = method.to_owned();
        Ok(Call { node: to.clone(), method, body, start, deadline, answer_bytes_max: max })
    }

    /// Runs a call on the runtime; the calling thread sleeps.
    fn wait(
        &self,
        to: &NodeId,
        deadline: Duration,
        call: impl Future<Output = Result<Bytes, CallError>> + Send + 'static,
    ) -> Result<Bytes, CallError> {
        let (sender, receiver) = sync_channel(1);
        self.0.runtime.spawn(async move {
            // The send fails only when the caller's thread has stopped waiting.
            let _ = sender.send(call.await);
        });
        let answer = receiver.recv_timeout(deadline.min(DEADLINE_MAX) + HAND_OVER_TIME);
        answer.unwrap_or_else(|_| {
            Err(CallError::Broken { node: to.clone(), reason: "this node is stopping".to_owned() })
        })
    }
}
