//! Why a server does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::address::InvalidEndpoint;

/// A server that did not start. Nothing is left behind: no thread, no socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listen address is not one.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// The host name has no address.
    #[error("cannot resolve host '{host}': {source}; use an IP address, or check the name")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        source: io::Error,
    },
    /// Other machines can reach the address, and the operator has not allowed that explicitly.
    #[error(
        "'{host}' is not a loopback address, and this server speaks plain HTTP: tokens and data would \
         cross the network unencrypted; listen on localhost, give cert_file, key_file and client_ca_file for TLS, \
         or set allow_other_hostname := true if a TLS proxy or a private network protects it"
    )]
    NotLocal {
        /// The host as it was given.
        host: String,
    },
    /// A file of the node's identity is not acceptable.
    #[error("{}: {reason}; {remedy}", file.display())]
    Tls {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// There are peers, and no way to know who they are.
    #[error(
        "nodes speak to each other over TLS only: give cert_file, key_file and client_ca_file, on every node, or \
         leave the peers out"
    )]
    PeersWithoutTls,
    /// No client could connect.
    #[error(
        "require_tls switches plain HTTP off, and there is no TLS: no client could connect; give cert_file, key_file and \
         client_ca_file, or leave require_tls out"
    )]
    NoProtocol,
    /// An entry of `allow_origins` is none that a browser sends.
    #[error(
        "allow_origins: '{found}' is no origin: write it as browsers do, https://host or https://host:port, or * for all"
    )]
    Origin {
        /// The entry.
        found: String,
    },
    /// A file with a secret cannot be used.
    #[error(transparent)]
    SecretFile(#[from] crate::SecretFileError),
    /// The token is too short to protect anything.
    #[error("the token has {found} characters, it needs {min} at least; leave it out to get a random one")]
    TokenTooShort {
        /// Characters that it has.
        found: usize,
        /// Characters that it needs.
        min: usize,
    },
    /// A limit makes no sense.
    #[error("limit '{name}' is {value}, it must be {min} at least")]
    Limit {
        /// Name of the limit.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The least that works.
        min: u64,
    },
    /// A limit makes no sense.
    #[error("limit '{name}' is {value}, it must be {max} at most")]
    LimitAbove {
        /// Name of the limit.
        name: &'static str,
        /// Its value.
        value: u64,
        /// The most that works.
        max: u64,
    },
    /// The port is taken, or may not be used.
    #[error("cannot listen on {address}: {source}; choose another port, or port 0 for any free one")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The system has no threads or no randomness left to give.
    #[error("cannot start the server: {0}")]
    System(#[from] io::Error),
}
