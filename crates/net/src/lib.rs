//! The network faces of a node on its one port: the Quack protocol for clients, and messages and calls between nodes.
//!
//! What lives here: the listener, TLS and identity, HTTP, sessions, the handshake, the ways to other nodes, and every
//! bound on size, count and time. What it does not know: DuckDB, SQL, Raft. The host implements [`Service`] for
//! clients and [`PeerHandler`] for nodes, whose calls block; they are made on a bounded number of threads, one at a
//! time in each session, and one at a time for the messages of each node.
//!
//! The layers, each in its own file, from the socket upwards:
//!
//! ```text
//! accept     takes sockets, counts them, finds out what is spoken on each, stops taking them
//! tls        proves this node, and finds out which node the other side has proved to be
//! strangers  connections that have proved nothing: few, and who has to go
//! stream     a socket that gives up when nothing moves
//! http       one HTTP/1.1 connection: paths, methods, bodies
//! browser    which web pages may use the server
//! dispatch   one Quack message: handshake, session, call, answer
//! session    the table of sessions, their locks, the reaper
//! guesses    who must wait because of wrong tokens
//! service    what the host implements; late: before it does
//!
//! face       what peers are answered: HTTP/2, messages, calls
//! peers      the ways to peers: a link to each, with its queue; calls
//! handler    what the host implements for peers
//! framing, h2_io, peer, peer_limits: what both sides share
//! ```
//!
//! No type of the runtime underneath (tokio, hyper) is part of the interface: the
//! [`Server`] owns its threads and is called from plain ones.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![deny(missing_docs)]

mod accept;
mod address;
mod body;
mod browser;
mod config;
mod counts;
mod dispatch;
mod error;
mod face;
mod framing;
mod guesses;
mod h2_io;
mod handler;
mod http;
mod late;
mod peer;
mod peer_limits;
mod peers;
mod random;
mod secret_file;
mod server;
mod service;
mod session;
mod strangers;
mod stream;
mod tls;

pub use address::{DEFAULT_PORT, Endpoint, InvalidEndpoint};
pub use browser::{Browsers, check_origin};
pub use config::{Limits, ServerConfig};
pub use counts::SessionCounts;
pub use error::Error;
pub use handler::{CallError, PeerHandler, PeerStatus};
pub use peer::{InvalidPeer, PeerRole, PeerSpec};
pub use peer_limits::PeerLimits;
pub use peers::Peers;
pub use random::{random_token, tokens_equal};
pub use secret_file::{SecretFileError, read_secret, read_token};
pub use server::Server;
pub use service::{Opening, Prepared, Service, ServiceError};
pub use session::SessionInfo;
pub use tls::{Tls, TlsFiles};
