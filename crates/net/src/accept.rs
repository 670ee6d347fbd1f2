//! Takes sockets, finds out what is spoken on each, and runs a task for it.
//!
//! ```text
//! first byte 0x16 ── TLS ──┬─ ALPN h2 ────────── peers   (HTTP/2, crate::face)
//!                          └─ http/1.1 or none ─┐
//! anything else, from loopback ─────────────────┴─ clients (HTTP/1.1, crate::http)
//! ```
//!
//! Invariant: peers are never spoken with in plain, nor are clients of other machines if there is TLS.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use quack_types::unshared::Unshared;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::dispatch::Dispatcher;
use crate::face::PeerFace;
use crate::http::{Caller, Handler};
use crate::strangers::{Stranger, Strangers};
use crate::stream::{Activity, TimedStream};
use crate::tls::{ALPN_PEER, Tls, chain_of};

/// How long to wait when the system has no sockets to give. Closing ones come back meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The first byte of TLS: a handshake record (RFC 8446, section 5.1). No HTTP begins with it.
const TLS_FIRST_BYTE: u8 = 0x16;
/// Connections of proven nodes that may be open: two for each of 64 peers, since one may take the place of another that
/// is not known to be broken yet. They are apart from those of clients, which cannot take them.
const PEER_PLACES: usize = 128;
/// What is read of a peer's connection that has proved nothing: some requests, to tell it why. A flood of frames that cost
/// more than their bytes (resets, settings, heads without end) is over with them.
const UNPROVEN_BYTES_MAX: u64 = 64 << 10;
/// How long a client waits for a place where it would take that of a peer.
const CLIENT_WAIT: Duration = Duration::from_secs(1);

const PLAIN_FROM_AFAR: &str =
    "this server takes plain HTTP from its own machine only: connect with TLS (https)";
const PLAIN_OFF: &str = "plain HTTP is switched off on this server: connect with TLS (https)";

/// So many of the files that a process may open are not for connections: a checkpoint that cannot open its files ends the
/// store, and clients must not be able to bring that about.
const DESCRIPTORS_RESERVED: u64 = 64;

/// Whether a socket has one of the last descriptors that the process may have: the system gives out the lowest that is free.
fn is_of_reserve(socket: &TcpStream) -> bool {
    let Some(max) = getrlimit(Resource::Nofile).current else { return false };
    let of_connections = max - DESCRIPTORS_RESERVED.min(max / 4);
    u64::try_from(socket.as_raw_fd()).is_ok_and(|descriptor| descriptor >= of_connections)
}

/// What all connections of a server share.
pub(crate) struct Connections {
    pub dispatcher: Arc<Dispatcher>,
    tls: Option<Tls>,
    face: Option<Arc<PeerFace>>,
    plain_loopback: bool,
    /// Connections that have proved nothing yet.
    strangers: Arc<Strangers>,
    /// One permit for each connection of a proven node that may be open.
    peer_places: Semaphore,
    /// One permit for each connection of a client that may be open.
    client_places: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
    bodies_bytes: Arc<AtomicUsize>,
    /// Becomes true when the server stops.
    stopping: watch::Sender<bool>,
}

/// Counts a connection as long as it is open.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(crate) fn new(
        dispatcher: Arc<Dispatcher>,
        tls: Option<Tls>,
        face: Option<Arc<PeerFace>>,
        plain_loopback: bool,
    ) -> Self {
        let clients = dispatcher.limits().connections_max;
        Self {
            dispatcher,
            tls,
            face,
            plain_loopback,
            strangers: Arc::default(),
            peer_places: Semaphore::new(PEER_PLACES),
            client_places: Arc::new(Semaphore::new(clients)),
            open: Arc::default(),
            bodies_bytes: Arc::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many were closed because they proved nothing, and others needed their place.
    pub(crate) fn strangers_closed(&self) -> u64 {
        self.strangers.closed.get()
    }

    /// No new connection; those of clients finish the request that they are at. Those of peers stay.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Lets go of peers too.
    pub(crate) fn stop_peers(&self) {
        if let Some(face) = &self.face {
            face.stop();
        }
    }

    /// Waits until no connection of a client is open. Only after [`stop`](Self::stop).
    pub(crate) async fn closed(&self) {
        let all = self.dispatcher.limits().connections_max.try_into().unwrap_or(u32::MAX);
        // Fails only when the semaphore is closed, and no code closes it.
        drop(self.client_places.acquire_many(all).await);
    }

    /// The loop. Ends when the server stops; the listener closes with it.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut stopping = self.stopping.subscribe();
        let _unshared = Unshared::new(&listener);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => return,
                next = listener.accept() => match next {
                    Ok((socket, from)) if is_of_reserve(&socket) => {
                        tracing::warn!(%from, "a connection is closed: the rest of the files that the process may open \
                                               (ulimit -n) is for the node's own");
                        drop(socket);
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                    Ok((socket, from)) => self.spawn(socket, from),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>, socket: TcpStream, from: SocketAddr) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(self.open.clone());
        let connections = self.clone();
        let stranger = self.strangers.enter(from.ip(), Instant::now());
        tokio::spawn(async move {
            let leave = stranger.leave();
            tokio::select! {
                () = connections.serve(socket, from, stranger) => {}
                () = leave.notified() => {
                    tracing::debug!(%from, "a connection that has proved nothing is closed: others need its place");
                }
            }
            drop(open);
        });
    }

    /// Finds out what is spoken on a socket, and speaks it until one side closes the connection.
    async fn serve(&self, socket: TcpStream, from: SocketAddr, stranger: Stranger) {
        let _unshared = Unshared::new(&socket);
        // Answers are written whole: waiting for more to send only delays them.
        let _ = socket.set_nodelay(true);
        let Some(tls) = &self.tls else {
            let refusal = (!self.plain_loopback).then_some(PLAIN_OFF);
            return self.serve_client(socket, Caller::plain(from, stranger), refusal).await;
        };
        let mut stopping = self.stopping.subscribe();
        let time = self.dispatcher.limits().head_time_max;
        let begun = tokio::select! {
            () = stopped(&mut stopping) => return,
            begun = timeout(time, begin(tls, socket)) => begun,
        };
        match begun {
            Ok(Ok(Begun::Peer(stream))) => {
                let Some(face) = &self.face else {
                    return tracing::debug!(%from, "HTTP/2 was asked for, and this server has no peers");
                };
                self.serve_peer(tls, face, *stream, stranger).await;
            }
            Ok(Ok(Begun::Client(stream))) => {
                self.serve_client(*stream, Caller::over_tls(from, stranger), None).await
            }
            Ok(Ok(Begun::Plain(socket))) => {
                let local = from.ip().to_canonical().is_loopback();
                let refusal = match (self.plain_loopback, local) {
                    (false, _) => Some(PLAIN_OFF),
                    (true, false) => Some(PLAIN_FROM_AFAR),
                    (true, true) => None,
                };
                self.serve_client(socket, Caller::plain(from, stranger), refusal).await;
            }
            Ok(Err(error)) => tracing::debug!(%from, %error, "a connection has failed"),
            Err(_) => tracing::debug!(%from, "a connection has failed: its handshake took too long"),
        }
    }

    /// Speaks HTTP/2 with a node, as long as its certificate proves it.
    async fn serve_peer(&self, tls: &Tls, face: &Arc<PeerFace>, stream: TlsStream, stranger: Stranger) {
        let proven = tls.peer(&stream);
        let Ok(node) = proven.clone() else {
            // The peer hears why, and stays a stranger. The server reads no more than these bytes of its frames.
            let (read, write) = tokio::io::split(stream);
            face.serve(tokio::io::join(read.take(UNPROVEN_BYTES_MAX), write), proven).await;
            return drop(stranger);
        };
        let Ok(_place) = self.peer_places.try_acquire() else {
            return tracing::warn!(peer = %node, "a node was turned away: all connections of nodes are taken");
        };
        drop(stranger);
        let chain = chain_of(stream.get_ref().1.peer_certificates());
        tokio::select! {
            () = face.serve(stream, proven) => {}
            reason = tls.until_unproven(&chain, &node) => {
                tracing::warn!(peer = %node, reason, "a node's connection is ended");
            }
        }
    }

    /// Speaks HTTP/1.1 with a client. With a refusal, that is the answer to everything.
    async fn serve_client<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        caller: Caller,
        refusal: Option<&'static str>,
    ) {
        let mut stopping = self.stopping.subscribe();
        let place = tokio::select! {
            () = stopped(&mut stopping) => return,
            place = timeout(CLIENT_WAIT, self.client_places.acquire()) => place,
        };
        let Ok(Ok(_place)) = place else {
            return tracing::warn!("a client was turned away: all connections are taken");
        };
        let limits = self.dispatcher.limits();
        let activity = Activity::default();
        let stream = TimedStream::new(stream, activity.clone(), limits);
        let handler =
            Handler::new(self.dispatcher.clone(), activity, self.bodies_bytes.clone(), caller, refusal);
        let connection = http1::Builder::new()
            .max_buf_size(limits.head_bytes_max)
            .max_header_size(limits.head_bytes_max)
            // The stream below has its own clocks.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service_fn(|request| handler.answer(request)));
        let mut connection = std::pin::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stopped(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection has ended");
        }
    }
}

type TlsStream = tokio_rustls::server::TlsStream<TcpStream>;

/// What a connection turns out to be.
enum Begun {
    Peer(Box<TlsStream>),
    Client(Box<TlsStream>),
    Plain(TcpStream),
}

/// The first byte, and the handshake if it is TLS.
async fn begin(tls: &Tls, socket: TcpStream) -> io::Result<Begun> {
    let mut first = [0];
    if socket.peek(&mut first).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if first[0] != TLS_FIRST_BYTE {
        return Ok(Begun::Plain(socket));
    }
    let stream = Box::new(tls.accept(socket).await?);
    if stream.get_ref().1.alpn_protocol() == Some(ALPN_PEER) {
        return Ok(Begun::Peer(stream));
    }
    Ok(Begun::Client(stream))
}

/// Waits until the server stops, or is gone.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
