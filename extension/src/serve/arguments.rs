//! What `quack_serve` is called with, and what of it makes sense.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quack_apply::StoreError;
use quack_net::{Endpoint, Limits, PeerRole, PeerSpec, Tls, TlsFiles, read_token};
use quack_types::NodeId;

use super::invalid;
use crate::ffi::{Bytes, ServeArguments};
use crate::service::ClientRules;

/// Name of the catalog when none is given.
const CATALOG: &str = "cp";
/// Name of the node when none is given.
const NODE_ID: &str = "n0";

/// What `quack_serve` was called with, checked.
pub struct Arguments {
    uri: String,
    token: String,
    token_file: String,
    node_id: String,
    /// From the root; empty when none is given.
    pub(super) data_dir: String,
    given_data_dir: String,
    pub(super) catalog: String,
    peers: Vec<String>,
    pub(super) extensions: Vec<String>,
    cert_file: String,
    key_file: String,
    client_ca_file: String,
    pub(super) allow_other_hostname: bool,
    pub(super) allow_origins: Vec<String>,
    pub(super) require_tls: bool,
    pub(super) clients: ClientRules,
    /// 0 for the defaults, as the two after it.
    max_connections: u32,
    idle_connection_timeout_secs: u32,
    idle_transaction_timeout_secs: u32,
}

/// # Safety
/// There are `count` of them, valid for the call.
unsafe fn texts(first: *const Bytes<'_>, count: usize) -> Vec<String> {
    if count == 0 {
        return Vec::new();
    }
    // SAFETY: as promised by the caller.
    unsafe { std::slice::from_raw_parts(first, count) }.iter().map(|text| text.text()).collect()
}

/// A path from the root: the process may change its folder while it serves.
fn whole(path: String) -> String {
    let absolute = std::path::absolute(&path).ok().and_then(|path| path.to_str().map(str::to_owned));
    absolute.unwrap_or(path)
}

impl Arguments {
    /// # Safety
    /// The arguments are valid for the call.
    pub unsafe fn from_ffi(arguments: &ServeArguments<'_>) -> Self {
        // SAFETY: as promised by the caller.
        let (peers, extensions, allow_origins) = unsafe {
            (
                texts(arguments.peers, arguments.peers_count),
                texts(arguments.extensions, arguments.extensions_count),
                texts(arguments.allow_origins, arguments.allow_origins_count),
            )
        };
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        Self {
            uri: arguments.uri.text(),
            token: arguments.token.text(),
            token_file: whole(arguments.token_file.text()),
            node_id: or(arguments.node_id.text(), NODE_ID),
            data_dir: whole(arguments.data_dir.text()),
            given_data_dir: arguments.data_dir.text(),
            catalog: or(arguments.catalog.text(), CATALOG),
            peers,
            extensions,
            cert_file: whole(arguments.cert_file.text()),
            key_file: whole(arguments.key_file.text()),
            client_ca_file: whole(arguments.client_ca_file.text()),
            allow_other_hostname: arguments.allow_other_hostname,
            allow_origins,
            require_tls: arguments.require_tls,
            clients: ClientRules {
                consistency: arguments.consistency.text(),
                allow_host_access: arguments.allow_host_access,
            },
            max_connections: arguments.max_connections,
            idle_connection_timeout_secs: arguments.idle_connection_timeout_secs,
            idle_transaction_timeout_secs: arguments.idle_transaction_timeout_secs,
        }
    }

    /// The folder, as the folder of a running server is known.
    pub fn data_folder(&self) -> PathBuf {
        PathBuf::from(&self.data_dir)
    }

    pub(super) fn check(&self) -> Result<Checked, StoreError> {
        let endpoint: Endpoint = self.uri.parse().map_err(invalid)?;
        let own = NodeId::new(&self.node_id).map_err(invalid)?;
        if self.data_dir.is_empty() {
            return Err(invalid(
                "give data_dir := '<folder>': the folder in which this node keeps its log and its tables",
            ));
        }
        // DuckDB, which opens the store, takes these for something else than a folder's name.
        let given = self.given_data_dir.as_str();
        if given.starts_with('~')
            || given.contains("://")
            || given.starts_with("file:")
            || given.contains('?')
        {
            return Err(invalid(format!(
                "data_dir := '{given}' is not the path of a folder: write the whole path, without ~, ? and file:"
            )));
        }
        let peers = PeerSpec::parse_list(&self.peers).map_err(invalid)?;
        if !peers.is_empty() && !peers.iter().any(|peer| peer.node == own) {
            let named: Vec<_> = peers.iter().map(|peer| peer.node.as_str()).collect();
            return Err(invalid(format!(
                "peers names {} but not this node, '{own}': name all nodes, this one too, or give the node_id under which it is named",
                named.join(", ")
            )));
        }
        if !peers.is_empty() && !peers.iter().any(|peer| peer.role == PeerRole::Voter) {
            return Err(invalid("peers names no voter: give at least one peer the role voter"));
        }
        let token = self.token()?;
        if peers.len() > 1 && token.is_none() {
            return Err(invalid(
                "give token := '...' or token_file := '...', the same on all nodes: without it, each node draws its own",
            ));
        }
        let tls = self.tls(&own)?;
        if peers.len() > 1 && tls.is_none() {
            return Err(invalid(
                "nodes speak to each other over TLS only: give cert_file, key_file and client_ca_file (quackctl cert init and issue make some)",
            ));
        }
        Ok(Checked { endpoint, own, token, peers, tls })
    }

    /// What clients may use.
    pub(super) fn limits(&self) -> Limits {
        let mut limits = Limits::default();
        let seconds = |given: u32, default| {
            if given == 0 { default } else { Duration::from_secs(given.into()) }
        };
        limits.session_idle_time_max =
            seconds(self.idle_connection_timeout_secs, limits.session_idle_time_max);
        limits.transaction_idle_time_max =
            seconds(self.idle_transaction_timeout_secs, limits.transaction_idle_time_max);
        if self.max_connections == 0 { limits } else { limits.with_sessions(self.max_connections as usize) }
    }

    /// The token, if one was given.
    fn token(&self) -> Result<Option<String>, StoreError> {
        match (self.token.is_empty(), self.token_file.is_empty()) {
            (false, false) => Err(invalid("token and token_file are both given: leave one out")),
            (false, true) => Ok(Some(self.token.clone())),
            (true, false) => {
                let token = read_token(Path::new(&self.token_file));
                token.map(Some).map_err(|error| invalid(format!("token_file: {error}")))
            }
            (true, true) => Ok(None),
        }
    }

    fn tls(&self, own: &NodeId) -> Result<Option<Tls>, StoreError> {
        let files = [
            ("cert_file", &self.cert_file),
            ("key_file", &self.key_file),
            ("client_ca_file", &self.client_ca_file),
        ];
        let missing: Vec<_> =
            files.iter().filter(|(_, file)| file.is_empty()).map(|(name, _)| *name).collect();
        if missing.len() == files.len() {
            return Ok(None);
        }
        if !missing.is_empty() {
            return Err(invalid(format!(
                "{} is missing: cert_file, key_file and client_ca_file belong together",
                missing.join(" and ")
            )));
        }
        let files = TlsFiles {
            cert_file: (&self.cert_file).into(),
            key_file: (&self.key_file).into(),
            client_ca_file: (&self.client_ca_file).into(),
        };
        Tls::load(files, own).map(Some).map_err(invalid)
    }
}

/// Arguments that make sense.
pub(super) struct Checked {
    pub endpoint: Endpoint,
    pub own: NodeId,
    /// `None` when none was given.
    pub token: Option<String>,
    /// Empty for a node that is alone.
    pub peers: Vec<PeerSpec>,
    pub tls: Option<Tls>,
}
