//! The server: starts and stops everything, and owns the threads.

use std::cell::Cell;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{mem, process};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::accept::Connections;
use crate::dispatch::{CLOSINGS_MAX, Dispatcher};
use crate::face::{PeerFace, STREAMS_MAX};
use crate::late::LateService;
use crate::peers::Peers;
use crate::session::{SessionInfo, lock};
use crate::{Endpoint, Error, ServerConfig, Service, SessionCounts, Tls};

/// Threads that move bytes. Statements run on others.
const WORKERS: usize = 2;
/// Stack of every thread. DuckDB's parser and planner recur deeply, and are made for the main
/// thread's 8 MiB. Only pages that are used take memory.
const STACK_BYTES: usize = 8 << 20;
/// How long an interrupted statement gets to notice.
const INTERRUPT_TIME: Duration = Duration::from_secs(2);
/// What stopping costs beyond its deadline at most, after the statements: closing sessions and threads.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// How often the files of the node's identity are looked at.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);
/// Threads for what the system does slowly: names, files.
const SYSTEM_THREADS: usize = 4;
/// Grace of a server that is dropped without having been stopped.
const DROP_TIME: Duration = Duration::from_secs(1);

thread_local! {
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// Marks a service call, so that it can be told when it stops the very server that it runs in.
pub(crate) fn in_call<T>(call: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            IN_CALL.set(false);
        }
    }
    IN_CALL.set(true);
    let _leave = Leave;
    call()
}

/// A running server. Dropping it stops it.
pub struct Server {
    endpoint: Endpoint,
    speaks_tls: bool,
    address: SocketAddr,
    connections: Arc<Connections>,
    service: Arc<LateService>,
    peers: Option<Peers>,
    runtime: Arc<Mutex<Option<Runtime>>>,
    /// The process that has the threads. A fork copies this value, and not the threads.
    process: u32,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Tells whether [`start`](Self::start) would take this configuration now, for a host that has
    /// things to prepare which a refusal should not leave behind.
    ///
    /// # Errors
    /// Those of `start`.
    pub fn check(config: &ServerConfig) -> Result<(), Error> {
        checked_listener(config).map(drop)
    }

    /// Starts to listen. When this returns, clients can connect.
    ///
    /// # Errors
    /// The address, the token or a limit is not acceptable, or the system refuses. Nothing is left
    /// behind.
    pub fn start(config: &ServerConfig, service: Arc<dyn Service>) -> Result<Self, Error> {
        let server = Self::listen(config)?;
        server.open(service);
        Ok(server)
    }

    /// Starts to listen before there is a service: peers are answered, and clients are told that the node is not
    /// ready yet until [`open`](Self::open) is called. For a node that must speak with its peers to become ready.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn listen(config: &ServerConfig) -> Result<Self, Error> {
        let listener = checked_listener(config)?;
        let address = listener.local_addr()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(threads_max(config))
            .thread_name("quack-net")
            .thread_stack_size(STACK_BYTES)
            .enable_io()
            .enable_time()
            .build()?;
        let service = Arc::new(LateService::new());
        let dispatcher = Arc::new(Dispatcher::new(config, service.clone()));
        let (peers, face) = match (&config.peers, &config.tls) {
            (Some(handler), Some(tls)) => {
                let limits = config.peer_limits.clone();
                let handle = runtime.handle().clone();
                let peers = Peers::new(tls.clone(), limits.clone(), handler.clone(), handle);
                let face = PeerFace::new(handler.clone(), limits, peers.clone());
                (Some(peers), Some(Arc::new(face)))
            }
            _ => (None, None),
        };
        let (tls, plain) = (config.tls.clone(), config.plain_loopback);
        let connections = Arc::new(Connections::new(dispatcher.clone(), tls, face, plain));
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(connections.clone().accept(listener));
        runtime.spawn(reap(dispatcher));
        if let Some(tls) = &config.tls {
            runtime.spawn(reload(tls.clone()));
        }
        let endpoint = config.listen.with_port(address.port());
        let speaks_tls = config.tls.is_some();
        let runtime = Arc::new(Mutex::new(Some(runtime)));
        Ok(Self {
            endpoint,
            speaks_tls,
            address,
            connections,
            service,
            peers,
            runtime,
            process: process::id(),
        })
    }

    /// Gives a server that was made by [`listen`](Self::listen) its service. From now on clients are served.
    pub fn open(&self, service: Arc<dyn Service>) {
        self.service.open(service);
    }

    /// What clients are told until [`open`](Self::open): what this node waits for, such as `no leader is known`.
    pub fn wait_for(&self, what: &str) {
        self.service.wait_for(what);
    }

    /// The ways to other nodes, if the server was configured with a [`PeerHandler`](crate::PeerHandler). They end
    /// when the server stops, after the last request of a client.
    pub fn peers(&self) -> Option<&Peers> {
        self.peers.as_ref()
    }

    /// The address that the server listens on; its port is the real one.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// The address as it was asked for, with the real port.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address for clients of HTTP: `https://host:port` when the server speaks TLS. Clients on this machine may
    /// speak plain HTTP to the same port, unless [`ServerConfig::plain_loopback`] is off.
    pub fn url(&self) -> String {
        self.endpoint.url(self.speaks_tls)
    }

    /// How many clients have a session: what the protocol calls connections.
    pub fn active_connections(&self) -> usize {
        self.connections.dispatcher.sessions().count()
    }

    /// All sessions of clients.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.connections.dispatcher.sessions().infos()
    }

    /// Closes a session by its number: what it runs is interrupted, its transaction rolled back, and its client told with its
    /// next request. Returns before that has happened; false when there is no such session.
    pub fn close_session(&self, number: u64) -> bool {
        let dispatcher = self.connections.dispatcher.clone();
        let (Some(session), Some(runtime)) = (dispatcher.sessions().numbered(number), &*lock(&self.runtime))
        else {
            return false;
        };
        runtime.spawn(async move { dispatcher.close_by_order(session).await });
        true
    }

    /// Most sessions of clients.
    pub fn sessions_max(&self) -> usize {
        self.connections.dispatcher.limits().sessions_max
    }

    /// Whether a client from another machine would get a session now.
    pub fn accepts_connections(&self) -> bool {
        self.connections.dispatcher.sessions().have_room()
    }

    /// What clients have asked of the server since it was started.
    pub fn session_counts(&self) -> SessionCounts {
        self.connections.dispatcher.session_counts()
    }

    /// How many connections were closed because they had shown neither a certificate nor the token, and others needed
    /// their place.
    pub fn strangers_closed(&self) -> u64 {
        self.connections.strangers_closed()
    }

    /// How many sockets are open.
    pub fn open_sockets(&self) -> usize {
        self.connections.count()
    }

    /// Stops the server: no new connection, no new request; requests that run may go on until
    /// `deadline` from now, then they are interrupted; sessions are closed; threads are joined.
    ///
    /// Returns within about four seconds after the deadline, also if a service call does not
    /// return: its thread is then left behind. Stopping twice does nothing. A service call may stop the server that
    /// it runs in: the rest then happens on another thread, after the call has been answered.
    pub fn stop(&self, deadline: Duration) {
        let Some(runtime) = lock(&self.runtime).take() else { return };
        if self.process != process::id() {
            // A forked child has no thread that could stop, and waiting for one would never end.
            return mem::forget(runtime);
        }
        let (connections, peers) = (self.connections.clone(), self.peers.clone());
        connections.stop();
        if !IN_CALL.get() {
            return stop(runtime, &connections, peers.as_ref(), deadline);
        }
        let detached = quack_types::thread::builder("quack-net-stop");
        let runtime = Arc::new(Mutex::new(Some(runtime)));
        let shared = runtime.clone();
        let spawned = detached.spawn(move || {
            if let Some(runtime) = lock(&shared).take() {
                stop(runtime, &connections, peers.as_ref(), deadline);
            }
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread to stop the server on");
            if let Some(runtime) = lock(&runtime).take() {
                runtime.shutdown_background();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(DROP_TIME);
    }
}

fn stop(runtime: Runtime, connections: &Arc<Connections>, peers: Option<&Peers>, deadline: Duration) {
    let end = Instant::now() + deadline + INTERRUPT_TIME + CLOSE_TIME;
    runtime.block_on(async {
        let drained = tokio::time::timeout(deadline, connections.closed()).await.is_ok();
        if !drained {
            connections.dispatcher.interrupt_all();
            let _ = tokio::time::timeout(INTERRUPT_TIME, connections.closed()).await;
        }
        if tokio::time::timeout(CLOSE_TIME, close_sessions(connections)).await.is_err() {
            tracing::warn!("a statement does not end; its thread is left behind");
        }
        // Only now: what clients have begun may have needed the other nodes.
        connections.stop_peers();
    });
    if let Some(peers) = peers {
        peers.stop();
    }
    runtime.shutdown_timeout(end.saturating_duration_since(Instant::now()).max(Duration::from_millis(100)));
}

/// Closes all sessions. One whose statement does not end holds up no other.
async fn close_sessions(connections: &Arc<Connections>) {
    let mut closings = JoinSet::new();
    for session in connections.dispatcher.sessions().close() {
        let dispatcher = connections.dispatcher.clone();
        closings.spawn(async move {
            if let Some(turn) = session.turn(usize::MAX).await
                && turn.open
            {
                dispatcher.close_session(session, turn).await;
            }
        });
    }
    while closings.join_next().await.is_some() {}
}

/// Looks for silent sessions from time to time.
async fn reap(dispatcher: Arc<Dispatcher>) {
    let limits = dispatcher.limits();
    let time = limits.session_idle_time_max.min(limits.transaction_idle_time_max);
    // A session goes at most a quarter of the time, or half a minute, too late.
    let pause = (time / 4).clamp(Duration::from_millis(10), Duration::from_secs(30));
    loop {
        tokio::time::sleep(pause).await;
        dispatcher.reap().await;
    }
}

/// Takes new certificates when their files change.
async fn reload(tls: Tls) {
    loop {
        tokio::time::sleep(RELOAD_INTERVAL).await;
        let tls = tls.clone();
        // Files may be slow.
        let _ = tokio::task::spawn_blocking(move || tls.reload_or_warn()).await;
    }
}

/// Threads for calls that block, one for each that may run at a time.
fn threads_max(config: &ServerConfig) -> usize {
    let clients = config.limits.requests_max + CLOSINGS_MAX + SYSTEM_THREADS;
    if config.peers.is_none() {
        return clients;
    }
    clients + config.peer_limits.calls_max + STREAMS_MAX
}

fn checked_listener(config: &ServerConfig) -> Result<std::net::TcpListener, Error> {
    config.validate()?;
    listen(&config.listen, config.allow_other_hostname || config.tls.is_some())
}

fn listen(endpoint: &Endpoint, allow_other: bool) -> Result<TcpListener, Error> {
    let addresses = endpoint.resolve()?;
    let mut refused = None;
    for address in addresses {
        if !allow_other && !address.ip().to_canonical().is_loopback() {
            return Err(Error::NotLocal { host: endpoint.host().to_owned() });
        }
        match TcpListener::bind(address) {
            Ok(listener) => {
                listener.set_nonblocking(true)?;
                return Ok(listener);
            }
            Err(source) => refused = refused.or(Some(Error::Listen { address, source })),
        }
    }
    Err(refused.unwrap_or_else(|| Error::Resolve {
        host: endpoint.host().to_owned(),
        source: std::io::Error::other("the name has no address"),
    }))
}
