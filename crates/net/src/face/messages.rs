//! Message streams of peers: frames in, in order, as fast as the host takes them.
//!
//! A stream has a thread for the calls to the host, which may block, and a task that reads. Between them lie frames,
//! bounded in bytes and count; when that is full, the task does not read, the peer gets no more credit, and stops.
//! Invariant: at most one thread for each peer, so that its frames never overtake each other, not even those of an
//! old connection and its successor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::StatusCode;
use quack_types::NodeId;
use tokio::sync::{Notify, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use super::{PeerFace, Refusal, head};
use crate::accept::stopped;
use crate::framing::FrameReader;
use crate::h2_io::send_all;
use crate::server::in_call;
use crate::session::lock;

/// Most message streams, each with a thread.
pub(crate) const STREAMS_MAX: usize = 64;
/// Frames between the task and the thread. Enough that neither waits for the other at each frame.
const FRAMES_MAX: usize = 1024;

/// Which peers have a stream.
#[derive(Default)]
pub(super) struct Streams(Mutex<BTreeMap<NodeId, Stream>>);

/// The newest stream of a peer: the one that counts.
#[derive(Default)]
struct Stream {
    replaced: Arc<Notify>,
    /// Held by the thread, of this stream or of a former one that is not at its end yet.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Streams {
    /// Enters a new stream of a peer, whose older one ends. Returns what tells this one when it is replaced itself,
    /// and what its thread must hold.
    fn enter(&self, node: &NodeId) -> Option<(Arc<Notify>, Arc<tokio::sync::Mutex<()>>)> {
        let mut streams = lock(&self.0);
        // A stream that lives has its turn elsewhere too.
        streams.retain(|_, stream| Arc::strong_count(&stream.turn) > 1);
        if streams.len() >= STREAMS_MAX && !streams.contains_key(node) {
            return None;
        }
        let stream = streams.entry(node.clone()).or_default();
        let replaced = Arc::new(Notify::new());
        std::mem::replace(&mut stream.replaced, replaced.clone()).notify_one();
        Some((replaced, stream.turn.clone()))
    }
}

type Queued = (Bytes, OwnedSemaphorePermit);

impl PeerFace {
    /// Takes the frames of a peer until it ends the stream, opens another, or breaks the rules; then it is told why.
    pub(super) async fn messages(
        &self,
        node: &NodeId,
        body: RecvStream,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(), Refusal> {
        let Some((replaced, turn)) = self.streams.enter(node) else {
            let text = format!("{STREAMS_MAX} nodes send messages already");
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text));
        };
        let mut stopping = self.stopping.subscribe();
        let mut answer = None;
        let reason = tokio::select! {
            biased;
            () = stopped(&mut stopping) => "the node is stopping".to_owned(),
            () = replaced.notified() => "the node has opened another message stream".to_owned(),
            reason = async {
                let turn = turn.lock_owned().await;
                match respond.send_response(head(StatusCode::OK), false) {
                    Ok(stream) => answer = Some(stream),
                    Err(error) => return error.to_string(),
                }
                self.take_frames(node, body, turn).await
            } => reason,
        };
        tracing::debug!(peer = %node, reason, "a message stream has ended");
        let Some(mut answer) = answer else {
            return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason));
        };
        let _ = send_all(&mut answer, reason.into(), true).await;
        Ok(())
    }

    /// Reads frames and passes them to the thread. Returns why that has ended.
    async fn take_frames(&self, node: &NodeId, mut body: RecvStream, turn: OwnedMutexGuard<()>) -> String {
        let (sender, receiver) = mpsc::channel(FRAMES_MAX);
        let thread = self.spawn_thread(node, receiver, turn, self.stopping.subscribe());
        // Room for one frame of the largest size, and for others while it is worked on.
        let room = Arc::new(Semaphore::new(2 * self.limits.frame_bytes_max));
        let mut reader = FrameReader::new(self.limits.frame_bytes_max);
        let mut frames = Vec::new();
        loop {
            let data = tokio::select! {
                data = body.data() => data,
                () = sender.closed() => return panicked(thread).await,
            };
            let data = match data {
                Some(Ok(data)) => data,
                Some(Err(error)) => return error.to_string(),
                None if reader.in_frame() => return "the stream has ended within a frame".to_owned(),
                None => return "the stream has ended".to_owned(),
            };
            // A node may have been removed since it came.
            if let Err(text) = self.handler.admit(node) {
                return text;
            }
            let bytes = data.len();
            let checked = reader.push(data, &mut frames);
            for frame in frames.drain(..) {
                // An empty one costs nothing but its place.
                let cost = u32::try_from(frame.len()).unwrap_or(u32::MAX);
                let Ok(permit) = room.clone().acquire_many_owned(cost).await else { break };
                if sender.send((frame, permit)).await.is_err() {
                    return panicked(thread).await;
                }
            }
            if let Err(error) = checked {
                return error.to_string();
            }
            if let Err(error) = body.flow_control().release_capacity(bytes) {
                return error.to_string();
            }
        }
    }

    fn spawn_thread(
        &self,
        node: &NodeId,
        mut frames: mpsc::Receiver<Queued>,
        turn: OwnedMutexGuard<()>,
        stopping: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let (handler, node) = (self.handler.clone(), node.clone());
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            while let Some((frame, _room)) = frames.blocking_recv() {
                // Frames that are still queued when the server stops are dropped.
                if *stopping.borrow() {
                    return;
                }
                in_call(|| handler.message(&node, frame));
            }
        })
    }
}

async fn panicked(thread: JoinHandle<()>) -> String {
    if let Err(error) = thread.await {
        tracing::error!(%error, "taking a peer's message has panicked");
    }
    "internal error: taking a message has failed".to_owned()
}
