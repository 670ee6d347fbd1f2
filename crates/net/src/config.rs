//! What a server is told: where to listen, who may come, and every limit.

use std::sync::Arc;
use std::time::Duration;

use quack_types::limits;

use crate::browser::check_origin;
use crate::{Endpoint, Error, PeerHandler, PeerLimits, Tls};

/// How to start a [`Server`](crate::Server).
#[derive(Clone)]
pub struct ServerConfig {
    /// Where to listen. Port 0 is any free port.
    pub listen: Endpoint,
    /// The token that clients must show.
    pub token: String,
    /// Permits to listen on an address that other machines can reach without TLS. With TLS it has no meaning:
    /// every address may be listened on, and plain HTTP is for loopback alone.
    pub allow_other_hostname: bool,
    /// The DuckDB version that clients are told, such as `v2.0.0`.
    pub duckdb_version: String,
    /// The platform that clients are told, such as `linux_amd64`.
    pub platform: String,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// The node's identity. With it, the port takes TLS beside plain HTTP.
    pub tls: Option<Tls>,
    /// Takes what other nodes send. Needs `tls`.
    pub peers: Option<Arc<dyn PeerHandler>>,
    /// Bounds on what passes between nodes.
    pub peer_limits: PeerLimits,
    /// Whether clients may speak plain HTTP: with TLS those of this machine alone, without it all that come.
    pub plain_loopback: bool,
    /// Web pages that may use the server: origins such as `https://app.example`, or `*` for all.
    pub allow_origins: Vec<String>,
    /// Names of this server beside its loopback names and the one that it listens at.
    pub host_names: Vec<String>,
}

impl ServerConfig {
    /// A server for clients over plain HTTP on a loopback address, with the default limits. It tells clients no
    /// version and no platform.
    pub fn new(listen: Endpoint, token: impl Into<String>) -> Self {
        Self {
            listen,
            token: token.into(),
            allow_other_hostname: false,
            duckdb_version: String::new(),
            platform: String::new(),
            limits: Limits::default(),
            tls: None,
            peers: None,
            peer_limits: PeerLimits::default(),
            plain_loopback: true,
            allow_origins: Vec::new(),
            host_names: Vec::new(),
        }
    }

    /// Checks what can be checked without touching anything.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        self.limits.validate()?;
        self.peer_limits.validate()?;
        if self.peers.is_some() && self.tls.is_none() {
            return Err(Error::PeersWithoutTls);
        }
        if !self.plain_loopback && self.tls.is_none() {
            return Err(Error::NoProtocol);
        }
        self.allow_origins.iter().try_for_each(|origin| check_origin(origin))?;
        let characters = self.token.chars().count();
        if characters < limits::TOKEN_CHARS_MIN {
            return Err(Error::TokenTooShort { found: characters, min: limits::TOKEN_CHARS_MIN });
        }
        Ok(())
    }
}

impl std::fmt::Debug for ServerConfig {
    // The token is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig")
            .field("listen", &self.listen)
            .field("allow_other_hostname", &self.allow_other_hostname)
            .field("limits", &self.limits)
            .field("tls", &self.tls.is_some())
            .field("peers", &self.peers.is_some())
            .field("plain_loopback", &self.plain_loopback)
            .finish_non_exhaustive()
    }
}

/// Bounds on what clients may use. The defaults say how each was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body in bytes.
    pub body_bytes_max: usize,
    /// Most bytes of request bodies that are being received or worked on, all clients together.
    pub bodies_bytes_max: usize,
    /// Most bytes of memory in which rows that clients append are read at a time, all clients together. Further appends
    /// wait; one that needs more is read alone.
    pub appends_bytes_max: usize,
    /// Largest request head (request line and headers) in bytes.
    pub head_bytes_max: usize,
    /// Longest time that a client may take to send a request head, from its first byte; also
    /// how long a new connection may stay silent.
    pub head_time_max: Duration,
    /// Longest time that a client may take to send a request body.
    pub body_time_max: Duration,
    /// Longest time in which nothing moves on a socket while the client is to send or to receive.
    pub stall_time_max: Duration,
    /// Longest time that a connection is kept between two requests.
    pub idle_time_max: Duration,
    /// Most connections (sockets). Further ones wait to be accepted.
    pub connections_max: usize,
    /// Most sessions.
    pub sessions_max: usize,
    /// Sessions among them that are kept for clients of this machine.
    pub sessions_reserved: usize,
    /// Most sessions of clients from one address of another machine.
    pub sessions_per_address_max: usize,
    /// Most requests that run at a time, each on a thread. Further ones wait.
    pub requests_max: usize,
    /// Most requests that wait for others of their own session.
    pub session_requests_max: usize,
    /// Longest time that a session may be silent. Then it is closed.
    pub session_idle_time_max: Duration,
    /// The same while it has a transaction open, which is rolled back, or a result that is not fetched to its end: others'
    /// checkpoints may wait for it.
    pub transaction_idle_time_max: Duration,
    /// When there is no place for a new session, the one that has been silent for longest is closed, if for so long.
    pub room_silence_min: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: limits::REQUEST_BYTES_MAX,
            // Sixteen of the largest bodies. Ordinary ones have a few hundred kilobytes.
            bodies_bytes_max: 16 * limits::REQUEST_BYTES_MAX,
            // Two that need the most that a chunk may; some hundreds of ordinary ones.
            appends_bytes_max: 2 * quack_wire::skim::MEMORY_BYTES_MAX as usize,
            // The stock client sends about 200 bytes, plus the headers that its user adds (bearer
            // tokens, typically).
            head_bytes_max: 64 << 10,
            // Stock clients send a request at once; a handshake takes two journeys.
            head_time_max: Duration::from_secs(5),
            // The largest body at half a megabyte a second.
            body_time_max: Duration::from_secs(120),
            stall_time_max: Duration::from_secs(30),
            // Six times what the stock server of DuckDB 1.5 has; that of 2.0 has five minutes.
            idle_time_max: Duration::from_secs(60),
            // The stock 2.0 server's default.
            connections_max: 1024,
            sessions_max: limits::SESSIONS_MAX,
            sessions_reserved: reserved_of(limits::SESSIONS_MAX),
            sessions_per_address_max: share_of(limits::SESSIONS_MAX),
            // The size of the stock server's thread pool.
            requests_max: 128,
            // The stock client fetches with a few threads at a time.
            session_requests_max: 64,
            session_idle_time_max: Duration::from_secs(limits::SESSION_IDLE_SECONDS_MAX),
            transaction_idle_time_max: Duration::from_secs(limits::TRANSACTION_IDLE_SECONDS_MAX),
            // Clients of protocol 1 send nothing between their statements. One that works is seldom silent for longer.
            room_silence_min: Duration::from_secs(20),
        }
    }
}

/// Of so many sessions, those that are kept for clients of this machine.
fn reserved_of(sessions: usize) -> usize {
    (sessions / 8).min(16)
}

/// Of so many sessions, those that clients from one address may have.
fn share_of(sessions: usize) -> usize {
    (sessions * 3 / 4).max(1)
}

impl Limits {
    /// These limits with another number of sessions, and the shares that follow from it.
    #[must_use]
    pub fn with_sessions(self, sessions_max: usize) -> Self {
        let (sessions_reserved, sessions_per_address_max) =
            (reserved_of(sessions_max), share_of(sessions_max));
        Self { sessions_max, sessions_reserved, sessions_per_address_max, ..self }
    }

    /// Checks that a server can work with these limits.
    pub(crate) fn validate(&self) -> Result<(), Error> {
        let counts = [
            ("body_bytes_max", self.body_bytes_max, 1024),
            ("bodies_bytes_max", self.bodies_bytes_max, self.body_bytes_max),
            ("appends_bytes_max", self.appends_bytes_max, 1 << 20),
            // The HTTP library does not work with less.
            ("head_bytes_max", self.head_bytes_max, 8192),
            ("connections_max", self.connections_max, 1),
            ("sessions_max", self.sessions_max, self.sessions_reserved + 1),
            ("sessions_per_address_max", self.sessions_per_address_max, 1),
            ("requests_max", self.requests_max, 1),
            ("session_requests_max", self.session_requests_max, 1),
        ];
        for (name, value, min) in counts {
            if value < min {
                return Err(Error::Limit { name, value: value as u64, min: min as u64 });
            }
        }
        let times = [
            ("head_time_max", self.head_time_max),
            ("body_time_max", self.body_time_max),
            ("stall_time_max", self.stall_time_max),
            ("idle_time_max", self.idle_time_max),
            ("session_idle_time_max", self.session_idle_time_max),
            ("transaction_idle_time_max", self.transaction_idle_time_max),
        ];
        for (name, value) in times {
            if value.is_zero() {
                return Err(Error::Limit { name, value: 0, min: 1 });
            }
        }
        Ok(())
    }
}
