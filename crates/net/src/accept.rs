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
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::dispatch::Dispatcher;
use crate::face::PeerFace;
use crate::http::Handler;
use crate::stream::{Activity, TimedStream};
use crate::tls::{ALPN_PEER, Tls};

/// How long to wait when the system has no sockets to give. Closing ones come back meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The first byte of TLS: a handshake record (RFC 8446, section 5.1). No HTTP begins with it.
const TLS_FIRST_BYTE: u8 = 0x16;
/// Places beyond those of clients, so that peers get in when clients have taken all of theirs.
const PEER_PLACES: usize = 64;
/// How long a client waits for a place where it would take that of a peer.
const CLIENT_WAIT: Duration = Duration::from_secs(1);

const PLAIN_FROM_AFAR: &str =
    "this server takes plain HTTP from its own machine only: connect with TLS (https)";
const PLAIN_OFF: &str = "plain HTTP is switched off on this server: connect with TLS (https)";

/// What all connections of a server share.
pub(crate) struct Connections {
    pub dispatcher: Arc<Dispatcher>,
    tls: Option<Tls>,
    face: Option<Arc<PeerFace>>,
    plain_loopback: bool,
    /// One permit for each connection that may be open.
    places: Arc<Semaphore>,
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
        let places = clients + if face.is_some() { PEER_PLACES } else { 0 };
        Self {
            dispatcher,
            tls,
            face,
            plain_loopback,
            places: Arc::new(Semaphore::new(places)),
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
        // Fails when the semaphore is closed, which nobody does.
        drop(self.client_places.acquire_many(all).await);
    }

    /// The loop. Ends when the server stops; the listener closes with it.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut stopping = self.stopping.subscribe();
        loop {
            let next = async {
                // A place first: whoever has none waits in the system's queue.
                let place = self.places.clone().acquire_owned().await.map_err(io::Error::other)?;
                let (socket, from) = listener.accept().await?;
                io::Result::Ok((place, socket, from))
            };
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => return,
                next = next => match next {
                    Ok((place, socket, from)) => self.spawn(place, socket, from),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>, place: OwnedSemaphorePermit, socket: TcpStream, from: SocketAddr) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(self.open.clone());
        let connections = self.clone();
        tokio::spawn(async move {
            connections.serve(socket, from).await;
            drop((open, place));
        });
    }

    /// Finds out what is spoken on a socket, and speaks it until one side closes the connection.
    async fn serve(&self, socket: TcpStream, from: SocketAddr) {
        // Answers are written whole: waiting for more to send only delays them.
        let _ = socket.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return self.serve_client(socket, (!self.plain_loopback).then_some(PLAIN_OFF)).await;
        };
        let mut stopping = self.stopping.subscribe();
        let time = self.dispatcher.limits().head_time_max;
        let begun = tokio::select! {
            () = stopped(&mut stopping) => return,
            begun = timeout(time, begin(tls, socket)) => begun,
        };
        match begun {
            Ok(Ok(Begun::Peer(stream))) => {
                let proven = tls.peer(&stream);
                match &self.face {
                    Some(face) => face.serve(*stream, proven).await,
                    None => tracing::debug!(%from, "HTTP/2 was asked for, and this server has no peers"),
                }
            }
            Ok(Ok(Begun::Client(stream))) => self.serve_client(*stream, None).await,
            Ok(Ok(Begun::Plain(socket))) => {
                let local = from.ip().to_canonical().is_loopback();
                let refusal = match (self.plain_loopback, local) {
                    (false, _) => Some(PLAIN_OFF),
                    (true, false) => Some(PLAIN_FROM_AFAR),
                    (true, true) => None,
                };
                self.serve_client(socket, refusal).await;
            }
            Ok(Err(error)) => tracing::debug!(%from, %error, "a connection has failed"),
            Err(_) => tracing::debug!(%from, "a connection has failed: its handshake took too long"),
        }
    }

    /// Speaks HTTP/1.1 with a client. With a refusal, that is the answer to everything.
    async fn serve_client<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
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
        let handler = Handler::new(self.dispatcher.clone(), activity, self.bodies_bytes.clone(), refusal);
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
