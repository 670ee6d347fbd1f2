//! The network face of a node: an HTTP server that speaks the Quack protocol.
//!
//! What lives here: the listener, HTTP, sessions, the handshake, and every bound
//! on size, count and time. What it does not know: DuckDB, SQL, Raft. The host
//! implements [`Service`], whose calls block; they are made on a bounded number of
//! threads, one at a time in each session.
//!
//! The layers, each in its own file, from the socket upwards:
//!
//! ```text
//! accept     takes sockets, counts them, stops taking them
//! stream     a socket that gives up when nothing moves
//! http       one HTTP/1.1 connection: paths, methods, bodies   (a TLS and HTTP/2 face fits beside it)
//! dispatch   one Quack message: handshake, session, call, answer
//! session    the table of sessions, their locks, the reaper
//! service    what the host implements
//! ```
//!
//! No type of the runtime underneath (tokio, hyper) is part of the interface: the
//! [`Server`] owns its threads and is called from plain ones.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![deny(missing_docs)]

mod accept;
mod address;
mod body;
mod config;
mod dispatch;
mod error;
mod http;
mod random;
mod server;
mod service;
mod session;
mod stream;

pub use address::{DEFAULT_PORT, Endpoint, InvalidEndpoint};
pub use config::{Limits, ServerConfig};
pub use error::Error;
pub use random::{random_token, tokens_equal};
pub use server::Server;
pub use service::{Opening, Prepared, Service, ServiceError};
