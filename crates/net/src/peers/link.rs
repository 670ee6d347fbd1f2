//! The way to one peer: a connection that is made again whenever it breaks, and the message stream on it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Connection, SendRequest};
use h2::{RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use quack_types::NodeId;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::backoff::Backoff;
use super::connect::{Connected, connect};
use super::queue::Queue;
use crate::framing::pieces;
use crate::h2_io::{MESSAGES_PATH, keep_alive, receive_text, send_all};
use crate::session::lock;
use crate::{Endpoint, PeerHandler, PeerLimits, PeerStatus, Tls};

/// What a link is doing.
#[derive(Clone)]
pub(super) enum State {
    /// Tries for the first time.
    Connecting,
    /// Messages travel; calls can be made with this.
    Up(SendRequest<Bytes>),
    /// Why there is no connection.
    Down(String),
}

/// See the module. Its task lives as long as it, and ends with it.
pub(super) struct Link {
    pub node: NodeId,
    /// Where the peer may be, at least one.
    endpoints: Mutex<Vec<Endpoint>>,
    /// Where it was found, or looked for last.
    endpoint: Mutex<Endpoint>,
    pub queue: Queue,
    pub state: watch::Sender<State>,
    /// Asks for an attempt now.
    pub nudge: Notify,
    round_trip: Mutex<Option<Duration>>,
}

/// What a connection is driven with.
struct Session {
    connection: Connection<TlsStream<TcpStream>, Bytes>,
    chain: Vec<CertificateDer<'static>>,
    requests: SendRequest<Bytes>,
    messages: SendStream<Bytes>,
    /// Where the peer says why it ends the message stream.
    farewell: RecvStream,
}

impl Link {
    pub(super) fn new(node: NodeId, endpoints: Vec<Endpoint>, limits: &PeerLimits) -> Self {
        let endpoint = Mutex::new(endpoints[0].clone());
        Self {
            node,
            endpoints: Mutex::new(endpoints),
            endpoint,
            queue: Queue::new(limits.queue_bytes_max, limits.queue_frames_max),
            state: watch::Sender::new(State::Connecting),
            nudge: Notify::new(),
            round_trip: Mutex::default(),
        }
    }

    /// Takes over where the peer may be. False when it has moved from where it is, or is looked for first: then another
    /// link takes the place of this one.
    pub(super) fn goes_on_at(&self, endpoints: &[Endpoint]) -> bool {
        let is_up = matches!(*self.state.borrow(), State::Up(_));
        let goes_on = if is_up {
            endpoints.contains(&self.endpoint())
        } else {
            endpoints.first() == lock(&self.endpoints).first()
        };
        if goes_on {
            *lock(&self.endpoints) = endpoints.to_vec();
        }
        goes_on
    }

    fn endpoint(&self) -> Endpoint {
        lock(&self.endpoint).clone()
    }

    pub(super) fn status(&self) -> PeerStatus {
        let state = self.state.borrow();
        PeerStatus {
            node: self.node.clone(),
            endpoint: self.endpoint(),
            connected: matches!(*state, State::Up(_)),
            last_error: match &*state {
                State::Down(reason) => Some(reason.clone()),
                State::Connecting | State::Up(_) => None,
            },
            queued_bytes: self.queue.bytes(),
            round_trip: *lock(&self.round_trip),
        }
    }

    /// Connects, again and again, until the task is aborted.
    pub(super) async fn run(self: Arc<Self>, tls: Tls, limits: PeerLimits, handler: Arc<dyn PeerHandler>) {
        let mut backoff = Backoff::new(&limits);
        loop {
            match self.session(&tls, &limits).await {
                Ok(session) => {
                    let since = Instant::now();
                    tracing::info!(peer = %self.node, endpoint = %self.endpoint(), "connected");
                    self.state.send_replace(State::Up(session.requests.clone()));
                    handler.reachable(&self.node, true);
                    let reason = self.drive(session, &tls, &limits).await;
                    self.down(reason);
                    handler.reachable(&self.node, false);
                    // A connection that ends as soon as it stands is no success.
                    if since.elapsed() >= limits.retry_time_max {
                        backoff.reset();
                    }
                }
                Err(reason) => self.down(reason),
            }
            tokio::select! {
                () = sleep(backoff.pause()) => {}
                () = self.nudge.notified() => {}
            }
        }
    }

    /// Notes why there is no connection, and lets go of what was to travel over it: what is repeated is repeated
    /// later, and what is not must not arrive out of a forgotten time.
    fn down(&self, reason: String) {
        let known = matches!(&*self.state.borrow(), State::Down(former) if *former == reason);
        let dropped = self.queue.clear();
        *lock(&self.round_trip) = None;
        if !known {
            tracing::warn!(peer = %self.node, reason, dropped, "a peer cannot be reached");
        }
        self.state.send_replace(State::Down(reason));
    }

    /// A connection at the first address at which the peer is.
    async fn session(&self, tls: &Tls, limits: &PeerLimits) -> Result<Session, String> {
        let endpoints = lock(&self.endpoints).clone();
        let mut reasons = Vec::new();
        for endpoint in endpoints {
            lock(&self.endpoint).clone_from(&endpoint);
            match self.session_at(&endpoint, tls, limits).await {
                Ok(session) => return Ok(session),
                Err(reason) => reasons.push(reason),
            }
        }
        Err(reasons.join("; "))
    }

    /// A connection whose message stream the peer has taken.
    async fn session_at(
        &self,
        endpoint: &Endpoint,
        tls: &Tls,
        limits: &PeerLimits,
    ) -> Result<Session, String> {
        let Connected { requests, mut connection, chain } =
            connect(tls, &self.node, endpoint, limits).await?;
        let opening = timeout(limits.connect_time_max, open(endpoint, requests));
        let opened = tokio::select! {
            // It moves what the other says, and ends only when the connection does.
            ended = &mut connection => return Err(ended_with(ended)),
            opened = opening => opened,
        };
        let no_answer = |_| format!("{endpoint}: the node does not answer");
        let (requests, messages, farewell) = opened.map_err(no_answer)??;
        Ok(Session { connection, chain, requests, messages, farewell })
    }

    /// Sends messages until the connection ends. Everything of a connection happens in this one task, so that a
    /// message goes from the queue to the socket without another's help.
    async fn drive(&self, session: Session, tls: &Tls, limits: &PeerLimits) -> String {
        let Session { mut connection, chain, requests, mut messages, mut farewell } = session;
        let alive = keep_alive(connection.ping_pong(), limits, |time| *lock(&self.round_trip) = Some(time));
        let reason = tokio::select! {
            error = self.write(&mut messages) => format!("sending has failed: {error}"),
            text = receive_text(&mut farewell) => format!("ended by the node: {text}"),
            reason = alive => reason,
            reason = tls.until_unproven(&chain, &self.node) => reason,
            ended = &mut connection => ended_with(ended),
        };
        drop(requests);
        reason
    }

    async fn write(&self, messages: &mut SendStream<Bytes>) -> h2::Error {
        let mut batch = Vec::new();
        loop {
            pieces(self.queue.take().await, &mut batch);
            for piece in batch.drain(..) {
                if let Err(error) = send_all(messages, piece, false).await {
                    return error;
                }
            }
        }
    }
}

async fn open(
    endpoint: &Endpoint,
    requests: SendRequest<Bytes>,
) -> Result<(SendRequest<Bytes>, SendStream<Bytes>, RecvStream), String> {
    let broken = |error: h2::Error| format!("{endpoint}: {error}");
    let mut requests = requests.ready().await.map_err(broken)?;
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    let uri = format!("https://peer{MESSAGES_PATH}");
    *request.uri_mut() = uri.parse().map_err(|error| format!("{uri}: {error}"))?;
    let (response, messages) = requests.send_request(request, false).map_err(broken)?;
    let (head, mut body) = response.await.map_err(broken)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("refused: {}", receive_text(&mut body).await));
    }
    Ok((requests, messages, body))
}

fn ended_with(ended: Result<(), h2::Error>) -> String {
    match ended {
        Ok(()) => "the node has closed the connection".to_owned(),
        Err(error) => format!("the connection is broken: {error}"),
    }
}
