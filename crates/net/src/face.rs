//! The peer face: what a node answers to other nodes.
//!
//! HTTP/2 over TLS with a client certificate, and two kinds of requests, both of them POST:
//!
//! ```text
//! /quack/peer/1/messages       the body is a stream of frames (u32 little-endian length, bytes) and does not end;
//!                              200 at once when it is taken, and the body of the answer is why it was ended
//! /quack/peer/1/call/<method>  a body, and in the header quack-deadline-ms how long its caller waits;
//!                              200 with a body, or a refusal
//! refusals                     403 not proved or not admitted, 404 unknown path, 413 body too long, 422 the host's
//!                              refusal, 503 not begun, 504 begun and not ended in time; the body is the text
//! ```
//!
//! What it does not know: what messages and calls mean. Invariant: nothing of a request reaches the host before the
//! certificate has proved a node and [`PeerHandler::admit`] has taken it.

mod calls;
mod messages;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::{Method, Request, Response, StatusCode};
use quack_types::NodeId;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::accept::stopped;
use crate::h2_io::{self, CALL_PATH, MESSAGES_PATH, keep_alive, send_all};
use crate::peers::Peers;
use crate::session::lock;
use crate::{PeerHandler, PeerLimits};
pub(crate) use messages::STREAMS_MAX;
use messages::Streams;

/// Credit of a stream on a connection that has proved nothing. Nothing of its body is read.
const UNPROVEN_WINDOW_BYTES: u32 = 4 << 10;
/// Streams of such a connection at a time.
const UNPROVEN_STREAMS_MAX: u32 = 4;
/// How long a refused node has to read why.
const LAST_WORDS_TIME: Duration = Duration::from_secs(1);

/// Answers peers. Shared by all connections.
pub(crate) struct PeerFace {
    handler: Arc<dyn PeerHandler>,
    limits: PeerLimits,
    /// One permit for each call that may be carried out.
    calls: Arc<Semaphore>,
    streams: Streams,
    /// The way in the other direction.
    peers: Peers,
    /// Becomes true when the server stops, after clients have gone.
    stopping: watch::Sender<bool>,
    /// The refusal that was logged last: who is refused comes again and again.
    logged: Mutex<String>,
}

/// A refusal of a whole request, in words.
struct Refusal {
    status: StatusCode,
    text: String,
    /// Whether the connection has no use any more.
    hang_up: bool,
}

impl Refusal {
    fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), hang_up: false }
    }

    /// For a node that may not speak to us.
    fn forbidden(text: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, text: text.into(), hang_up: true }
    }
}

impl PeerFace {
    pub(crate) fn new(handler: Arc<dyn PeerHandler>, limits: PeerLimits, peers: Peers) -> Self {
        Self {
            handler,
            calls: Arc::new(Semaphore::new(limits.calls_max)),
            limits,
            streams: Streams::default(),
            peers,
            stopping: watch::Sender::new(false),
            logged: Mutex::default(),
        }
    }

    /// No new request; message streams end, calls may finish.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Speaks HTTP/2 on a connection until one side closes it.
    pub(crate) async fn serve<S>(self: &Arc<Self>, stream: S, proven: Result<NodeId, String>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let builder = builder(proven.is_ok());
        let handshake = timeout(self.limits.connect_time_max, builder.handshake::<_, Bytes>(stream));
        let mut connection = match handshake.await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%error, "a peer's connection has failed"),
            Err(_) => return tracing::debug!("a peer's connection has failed: it says nothing"),
        };
        if let Ok(node) = &proven {
            // A peer that connects can most likely be reached, too: this node finds a restarted node again at once.
            self.peers.nudge(node);
        }
        let proven = Arc::new(proven);
        let mut requests = JoinSet::new();
        let mut stopping = self.stopping.subscribe();
        let mut closing = false;
        let alive = keep_alive(connection.ping_pong(), &self.limits, |_| {});
        let mut alive = std::pin::pin!(alive);
        // Limits how long the connection stays open when the peer has proved nothing, or is refused.
        let mut last_words = std::pin::pin!(sleep(self.limits.connect_time_max));
        let mut hung_up = proven.is_err();
        loop {
            tokio::select! {
                request = connection.accept() => match request {
                    Some(Ok((request, respond))) => {
                        let (face, proven) = (self.clone(), proven.clone());
                        requests.spawn(async move { face.request(&proven, request, respond).await });
                    }
                    Some(Err(error)) => return tracing::debug!(%error, "a peer's connection has ended"),
                    None => return,
                },
                Some(hang_up) = requests.join_next(), if !requests.is_empty() => {
                    if hang_up.unwrap_or(true) && !closing {
                        closing = true;
                        connection.graceful_shutdown();
                        last_words.as_mut().reset(Instant::now() + LAST_WORDS_TIME);
                        hung_up = true;
                    }
                }
                () = stopped(&mut stopping), if !closing => {
                    closing = true;
                    connection.graceful_shutdown();
                }
                reason = &mut alive => return tracing::debug!(reason, "a peer's connection has broken"),
                () = &mut last_words, if hung_up => return,
            }
        }
    }

    /// Answers one request. Returns whether the connection has no use any more.
    async fn request(
        self: Arc<Self>,
        proven: &Result<NodeId, String>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
    ) -> bool {
        let answered = match self.admitted(proven, &request) {
            Ok(node) => self.admitted_request(node, request, &mut respond).await,
            Err(refusal) => {
                // What has come of its body lies in memory, and the refusal may have to wait.
                drop(request);
                Err(refusal)
            }
        };
        let Err(refusal) = answered else { return false };
        self.log(proven.as_ref().ok(), &refusal);
        let hang_up = refusal.hang_up;
        match timeout(self.limits.connect_time_max, refuse(&mut respond, refusal)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a refusal was not sent"),
            Err(_) => tracing::debug!("a refusal was not sent: the node takes nothing"),
        }
        hang_up
    }

    fn log(&self, node: Option<&NodeId>, refusal: &Refusal) {
        let (status, text) = (refusal.status.as_u16(), &refusal.text);
        if refusal.status != StatusCode::FORBIDDEN {
            // An ordinary answer to one request: the peer that asked handles it.
            return tracing::debug!(peer = ?node, status, text, "a peer's request is refused");
        }
        let mut logged = lock(&self.logged);
        if *logged != *text {
            logged.clone_from(text);
            tracing::warn!(peer = ?node, text, "a node is refused");
        }
    }

    /// The node that has sent a request, if it may send any.
    fn admitted<'a>(
        &self,
        proven: &'a Result<NodeId, String>,
        request: &Request<RecvStream>,
    ) -> Result<&'a NodeId, Refusal> {
        if !request.uri().path().starts_with(h2_io::PEER_PATH) {
            let text = "HTTP/2 is for the nodes of a cluster; clients speak HTTP/1.1";
            return Err(Refusal::new(StatusCode::NOT_FOUND, text));
        }
        let node = proven.as_ref().map_err(|text| Refusal::forbidden(text.clone()))?;
        self.handler.admit(node).map_err(Refusal::forbidden)?;
        Ok(node)
    }

    async fn admitted_request(
        &self,
        node: &NodeId,
        request: Request<RecvStream>,
        respond: &mut SendResponse<Bytes>,
    ) -> Result<(), Refusal> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if head.method != Method::POST {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "the peer protocol knows POST alone"));
        }
        if path == MESSAGES_PATH {
            return self.messages(node, body, respond).await;
        }
        if let Some(method) = path.strip_prefix(CALL_PATH) {
            return self.call(node, method, &head.headers, body, respond).await;
        }
        let text =
            format!("there is no '{path}' in version 1 of the peer protocol: are both nodes of one version?");
        Err(Refusal::new(StatusCode::NOT_FOUND, text))
    }
}

/// The settings of a connection. One that has proved nothing is told why, and gets room for no more.
fn builder(is_proven: bool) -> Builder {
    let mut builder = Builder::new();
    builder.max_header_list_size(h2_io::HEAD_BYTES_MAX);
    if is_proven {
        builder
            .initial_window_size(h2_io::STREAM_WINDOW_BYTES)
            .initial_connection_window_size(h2_io::CONNECTION_WINDOW_BYTES)
            .max_frame_size(h2_io::PIECE_BYTES)
            .max_concurrent_streams(h2_io::STREAMS_MAX)
            .max_send_buffer_size(h2_io::SEND_BUFFER_BYTES);
    } else {
        builder
            .initial_window_size(UNPROVEN_WINDOW_BYTES)
            .max_concurrent_streams(UNPROVEN_STREAMS_MAX)
            .max_send_buffer_size(h2_io::TEXT_BYTES_MAX);
    }
    builder
}

/// The head of an answer.
fn head(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response
}

async fn refuse(respond: &mut SendResponse<Bytes>, mut refusal: Refusal) -> Result<(), h2::Error> {
    let mut end = refusal.text.len().min(h2_io::TEXT_BYTES_MAX);
    while !refusal.text.is_char_boundary(end) {
        end -= 1;
    }
    refusal.text.truncate(end);
    let mut stream = respond.send_response(head(refusal.status), false)?;
    send_all(&mut stream, refusal.text.into(), true).await
}
