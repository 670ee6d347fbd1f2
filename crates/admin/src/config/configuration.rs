//! The configuration that a node starts with, from any source.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use quack_net::{Endpoint, PeerSpec};
use quack_types::NodeId;

use crate::certificate::CertificateFiles;

/// A text that no log and no error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where health and metrics are served, and how fresh they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminFace {
    /// Host name or address to listen at.
    pub host: String,
    /// Port; 0 takes a free one.
    pub port: u16,
    /// How often the node is asked about itself.
    pub refresh: Duration,
    /// An answer older than this says that the node is stuck.
    pub stale_after: Duration,
}

impl AdminFace {
    /// Port when none is given.
    pub const PORT: u16 = 8081;
    /// Host when none is given: no other machine reaches it.
    pub const HOST: &str = "127.0.0.1";
    /// [`refresh`](Self::refresh) when none is given. The figures are cheap to take, and a scraper comes every 10 to
    /// 60 seconds.
    pub const REFRESH: Duration = Duration::from_secs(1);
    /// [`stale_after`](Self::stale_after) when none is given: ten missed turns, which a busy machine does not have.
    pub const STALE_AFTER: Duration = Duration::from_secs(10);
}

impl Default for AdminFace {
    fn default() -> Self {
        Self {
            host: Self::HOST.to_owned(),
            port: Self::PORT,
            refresh: Self::REFRESH,
            stale_after: Self::STALE_AFTER,
        }
    }
}

/// A node's configuration. Paths are as the operating system takes them: those of a file have been made relative to
/// the folder of that file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The file it came from; empty for a command line.
    pub file: PathBuf,
    /// The node's name; the extension's default when absent.
    pub node_id: Option<NodeId>,
    /// Where the node keeps its log and its tables.
    pub data_dir: PathBuf,
    /// Name of the catalog; the extension's default when absent.
    pub catalog: Option<String>,
    /// Where the node listens.
    pub listen: Endpoint,
    /// Listen beyond this machine without TLS: something else protects the network.
    pub allow_other_hostname: bool,
    /// Clients of this machine speak TLS, too.
    pub require_tls: bool,
    /// Clients may use files and the other databases of the process.
    pub allow_host_access: bool,
    /// Web pages that may use the node: origins, or `*`.
    pub allow_origins: Vec<String>,
    /// The consistency that sessions of clients begin with; the extension's default when absent.
    pub consistency: Option<String>,
    /// Most connections of clients; the extension's default when absent.
    pub max_connections: Option<u64>,
    /// How many seconds a connection may be silent; the extension's default when absent.
    pub idle_connection_timeout_secs: Option<u64>,
    /// The same within a transaction.
    pub idle_transaction_timeout_secs: Option<u64>,
    /// What clients and nodes show; a random one when absent.
    pub token: Option<Secret>,
    /// The nodes of the first configuration; empty for a cluster of one.
    pub peers: Vec<PeerSpec>,
    /// Certificate, key and authority.
    pub tls: Option<CertificateFiles>,
    /// The extension's file; looked for beside the program when absent.
    pub extension: Option<PathBuf>,
    /// Health and metrics; not served when absent.
    pub admin: Option<AdminFace>,
    /// How log lines look.
    pub log_format: quack_logging::Format,
    /// Which log lines there are: a filter such as `info` or `info,quack_net=debug`.
    pub log_level: String,
    /// DuckDB's `threads`; DuckDB's default when absent.
    pub duckdb_threads: Option<u64>,
    /// DuckDB's `memory_limit`; DuckDB's default when absent.
    pub duckdb_memory_limit: Option<String>,
    /// Longest time that stopping may take.
    pub shutdown_timeout: Duration,
}

impl Configuration {
    /// Port of the node when none is given.
    pub const PORT: u16 = 8445;
    /// [`shutdown_timeout`](Self::shutdown_timeout) when none is given: five seconds for requests that run and a
    /// minute for the last checkpoint, and room.
    pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(90);
    /// [`log_level`](Self::log_level) when none is given.
    pub const LOG_LEVEL: &str = "info";

    /// A configuration with nothing but defaults around a folder and an address.
    pub fn new(data_dir: PathBuf, listen: Endpoint) -> Self {
        Self {
            file: PathBuf::new(),
            node_id: None,
            data_dir,
            catalog: None,
            listen,
            allow_other_hostname: false,
            require_tls: false,
            allow_host_access: false,
            allow_origins: Vec::new(),
            consistency: None,
            max_connections: None,
            idle_connection_timeout_secs: None,
            idle_transaction_timeout_secs: None,
            token: None,
            peers: Vec::new(),
            tls: None,
            extension: None,
            admin: None,
            log_format: quack_logging::Format::default(),
            log_level: Self::LOG_LEVEL.to_owned(),
            duckdb_threads: None,
            duckdb_memory_limit: None,
            shutdown_timeout: Self::SHUTDOWN_TIMEOUT,
        }
    }

    /// The name in texts.
    pub fn name(&self) -> &str {
        self.node_id.as_ref().map_or("n0", NodeId::as_str)
    }

    /// This node among the peers.
    pub fn own_peer(&self) -> Option<&PeerSpec> {
        self.peers.iter().find(|peer| Some(&peer.node) == self.node_id.as_ref())
    }

    /// Whether there are nodes besides this one.
    pub fn has_others(&self) -> bool {
        self.peers.iter().any(|peer| Some(&peer.node) != self.node_id.as_ref())
    }
}
