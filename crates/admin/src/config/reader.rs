//! From a file to a [`Configuration`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use quack_net::{Endpoint, PeerSpec, SecretFileError};
use quack_types::NodeId;

use super::values::Values;
use super::{AdminFace, Configuration, Secret};
use crate::certificate::CertificateFiles;
use crate::files;
use crate::yaml;
use crate::{Finding, Rule};

/// Host to listen at when neither the peers nor a key name one.
const LOOPBACK: &str = "127.0.0.1";
/// Most peers, as `quack_serve` takes them.
const PEERS_MAX: usize = 64;

/// Reads a file. The configuration is absent when the file cannot be read at all.
pub fn read(path: &Path) -> (Option<Configuration>, Vec<Finding>) {
    let mut findings = Vec::new();
    let text = match files::read_text(path) {
        Ok(text) => text,
        Err(error) => {
            findings.push(crate::certificate::unreadable(path, &error));
            return (None, findings);
        }
    };
    let root = match yaml::parse(&text) {
        Ok(root) => root,
        Err(error) => {
            findings.push(Finding::new(Rule::NotYaml, path, error.message).at(error.line));
            return (None, findings);
        }
    };
    let base = path.parent().unwrap_or(Path::new("")).to_path_buf();
    let mut reader = Reader { base, values: Values::new(path, root, &mut findings) };
    let mut configuration = reader.configuration();
    configuration.file = path.to_path_buf();
    (Some(configuration), findings)
}

struct Reader<'a> {
    base: PathBuf,
    values: Values<'a>,
}

impl Reader<'_> {
    fn configuration(&mut self) -> Configuration {
        let peers = self.peers();
        let port = self.values.port("cluster_mode.cp_metadata_port").unwrap_or(Configuration::PORT);
        let advertised = self.values.text("cluster_mode.advertised_host");
        let node_id = self.node_id(&peers, advertised.as_deref(), port);
        let listen = self.listen(&peers, node_id.as_ref(), advertised, port);
        let data_dir = self.path("data_dir");
        if data_dir.is_none() && !self.values.has("data_dir") {
            let message =
                "data_dir is missing: name the folder in which the node keeps its log and its tables";
            self.values.missing(Rule::MissingKey, message);
        }
        let mut configuration = Configuration::new(data_dir.unwrap_or_default(), listen);
        configuration.node_id = node_id;
        configuration.token = self.token();
        configuration.tls = self.tls();
        configuration.admin = self.admin();
        self.switches(&peers);
        configuration.peers = peers;
        configuration.catalog = self.values.text("catalog");
        configuration.allow_other_hostname = self.values.flag("allow_other_hostname").unwrap_or(false);
        configuration.require_tls = self.values.flag("require_tls").unwrap_or(false);
        configuration.allow_host_access = self.values.flag("allow_host_access").unwrap_or(false);
        configuration.allow_origins = self.allow_origins();
        configuration.consistency = self.consistency();
        configuration.max_connections = self.values.number("max_connections", 1..=65_536);
        configuration.idle_connection_timeout_secs =
            self.values.number("idle_connection_timeout_secs", 1..=31_536_000);
        configuration.idle_transaction_timeout_secs =
            self.values.number("idle_transaction_timeout_secs", 1..=31_536_000);
        configuration.extension = self.path("extension_path");
        self.logging(&mut configuration);
        configuration.duckdb_threads = self.values.number("duckdb.threads", 1..=4096);
        configuration.duckdb_memory_limit = self.values.text("duckdb.memory_limit");
        if let Some(seconds) = self.values.number("shutdown_timeout_secs", 1..=3600) {
            configuration.shutdown_timeout = Duration::from_secs(seconds);
        }
        configuration
    }

    fn allow_origins(&mut self) -> Vec<String> {
        const KEY: &str = "allow_origins";
        let listed = self.values.list(KEY);
        for (origin, line) in &listed {
            if let Err(error) = quack_net::check_origin(origin) {
                self.values.add(Rule::BadValue, *line, error.to_string());
            }
        }
        listed.into_iter().map(|(origin, _)| origin).collect()
    }

    fn consistency(&mut self) -> Option<String> {
        const KEY: &str = "consistency";
        let level = self.values.text(KEY)?;
        if ["local", "session", "linearizable"].contains(&level.as_str()) {
            return Some(level);
        }
        let line = self.values.line(KEY);
        let message = format!("{KEY} is '{level}': write local, session or linearizable");
        self.values.add(Rule::BadValue, line, message);
        None
    }

    /// A path, relative to the folder of the file.
    fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.values.text(key).map(|text| self.base.join(text))
    }

    fn peers(&mut self) -> Vec<PeerSpec> {
        const KEY: &str = "cluster_mode.cp_metadata_peers";
        let mut texts = self.values.list(KEY);
        if texts.len() > PEERS_MAX {
            let line = self.values.line(KEY);
            self.values.add(
                Rule::BadValue,
                line,
                format!("{KEY} has more than {PEERS_MAX} peers: remove some"),
            );
            texts.truncate(PEERS_MAX);
        }
        let mut peers = Vec::new();
        for (text, line) in texts {
            match text.parse::<PeerSpec>() {
                Ok(peer) => peers.push(peer),
                Err(error) => self.values.add(rule_of(&text), line, error.to_string()),
            }
        }
        peers
    }

    /// The node's name: as written, or from the file that holds it, or that of the peer at the advertised host.
    fn node_id(&mut self, peers: &[PeerSpec], advertised: Option<&str>, port: u16) -> Option<NodeId> {
        const KEY: &str = "cluster_mode.node_id";
        const PATH_KEY: &str = "cluster_mode.node_id_path";
        if self.values.has(KEY) && self.values.has(PATH_KEY) {
            let line = self.values.line(PATH_KEY);
            let message = format!("{KEY} and {PATH_KEY} are both given: leave one out");
            self.values.add(Rule::ConflictingKeys, line, message);
        }
        let text = if self.values.has(KEY) { self.values.text(KEY) } else { self.node_id_of_file(PATH_KEY) };
        if let Some(text) = text {
            let line = self.values.line(if self.values.has(KEY) { KEY } else { PATH_KEY });
            return NodeId::new(text.as_str())
                .map_err(|error| self.values.add(Rule::InvalidNodeId, line, error.to_string()))
                .ok();
        }
        if peers.is_empty() || self.values.has(KEY) || self.values.has(PATH_KEY) {
            return None;
        }
        let advertised = advertised.map(str::to_ascii_lowercase);
        let here = |peer: &&PeerSpec| Some(peer.endpoint.host()) == advertised.as_deref();
        let mut candidates: Vec<&PeerSpec> = peers.iter().filter(here).collect();
        if candidates.len() > 1 {
            candidates.retain(|peer| peer.endpoint.port() == port);
        }
        if let [peer] = candidates.as_slice() {
            return Some(peer.node.clone());
        }
        let message = format!(
            "which of the peers this node is cannot be told: set {KEY}, or set cluster_mode.advertised_host to the \
             host of its peer"
        );
        self.values.missing(Rule::UnknownNodeId, message);
        None
    }

    fn node_id_of_file(&mut self, key: &'static str) -> Option<String> {
        let path = self.path(key)?;
        match files::read_text(&path) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) => {
                let line = self.values.line(key);
                let message =
                    format!("{key}: {error}; write the node's id into it, as its certificate has it");
                self.values.add(Rule::UnknownNodeId, line, message);
                None
            }
        }
    }

    fn listen(
        &mut self,
        peers: &[PeerSpec],
        node_id: Option<&NodeId>,
        advertised: Option<String>,
        port: u16,
    ) -> Endpoint {
        let own = peers.iter().find(|peer| Some(&peer.node) == node_id);
        let own = own.map(|peer| peer.endpoint.host().to_owned());
        let (key, host) = match self.values.text("listen_host") {
            Some(host) => ("listen_host", host),
            None => ("cluster_mode.advertised_host", own.or(advertised).unwrap_or(LOOPBACK.to_owned())),
        };
        Endpoint::new(&host, port).unwrap_or_else(|error| {
            let line = self.values.line(key);
            self.values.add(Rule::BadValue, line, format!("{key}: {error}"));
            Endpoint::new(LOOPBACK, port).expect("an IPv4 address is a host")
        })
    }

    fn token(&mut self) -> Option<Secret> {
        const KEY: &str = "cluster_mode.cp_metadata_token";
        const PATH_KEY: &str = "cluster_mode.cp_metadata_token_path";
        if self.values.has(KEY) && self.values.has(PATH_KEY) {
            let line = self.values.line(PATH_KEY);
            let message = format!("{KEY} and {PATH_KEY} are both given: leave one out");
            self.values.add(Rule::ConflictingKeys, line, message);
        }
        if self.values.has(KEY) {
            return self.values.text(KEY).map(Secret::new);
        }
        let Some(path) = self.path(PATH_KEY) else {
            let message = format!("no token: set {KEY}, or {PATH_KEY} to a file that holds it");
            self.values.missing(Rule::TokenMissing, message);
            return None;
        };
        match quack_net::read_token(&path) {
            Ok(token) => Some(Secret::new(token)),
            Err(error) => {
                let line = self.values.line(PATH_KEY);
                let rule = match error {
                    SecretFileError::Owner { .. } | SecretFileError::Open { .. } => {
                        Rule::TokenReadableByOthers
                    }
                    _ => Rule::TokenMissing,
                };
                self.values.add(rule, line, format!("{PATH_KEY}: {error}"));
                None
            }
        }
    }

    fn tls(&mut self) -> Option<CertificateFiles> {
        const FILES: [&str; 3] =
            ["cluster_mode.tls.cert_path", "cluster_mode.tls.key_path", "cluster_mode.tls.ca_cert_path"];
        let given = FILES.iter().any(|key| self.values.has(key));
        let enabled = self.values.flag("cluster_mode.tls.enabled").unwrap_or(given);
        if self.values.flag("cluster_mode.tls.require_client_cert") == Some(false) {
            let line = self.values.line("cluster_mode.tls.require_client_cert");
            let message = "cluster_mode.tls.require_client_cert: nodes always show each other certificates: write true, \
                           or leave it out";
            self.values.add(Rule::BadValue, line, message);
        }
        if !enabled {
            return None;
        }
        let [certificate, key, authority] = FILES.map(|key| {
            let path = self.path(key);
            if !self.values.has(key) {
                self.values.missing(
                    Rule::MissingKey,
                    format!("{key} is missing: TLS needs all of {}", FILES.join(", ")),
                );
            }
            path
        });
        Some(CertificateFiles { certificate: certificate?, key: key?, authority: authority? })
    }

    fn admin(&mut self) -> Option<AdminFace> {
        let enabled = self.values.flag("metrics.enabled").unwrap_or(true);
        let mut face = AdminFace::default();
        if let Some(host) = self.values.text("metrics.host") {
            if let Err(error) = Endpoint::new(&host, 0) {
                let line = self.values.line("metrics.host");
                self.values.add(Rule::BadValue, line, format!("metrics.host: {error}"));
            }
            face.host = host;
        }
        if let Some(port) = self.values.port("metrics.port") {
            face.port = port;
        }
        if let Some(milliseconds) = self.values.number("metrics.flush_interval_ms", 50..=60_000) {
            face.refresh = Duration::from_millis(milliseconds);
        }
        face.stale_after = match self.values.number("metrics.stale_after_ms", 100..=600_000) {
            Some(milliseconds) => Duration::from_millis(milliseconds),
            None => AdminFace::STALE_AFTER.max(face.refresh * 3),
        };
        if face.stale_after < face.refresh * 2 {
            let line = self.values.line("metrics.stale_after_ms");
            let message = "metrics.stale_after_ms is below twice metrics.flush_interval_ms, so that a healthy node would \
                           be called stuck: raise it";
            self.values.add(Rule::BadValue, line, message);
        }
        enabled.then_some(face)
    }

    fn logging(&mut self, configuration: &mut Configuration) {
        if let Some(level) = self.values.text("logging.level") {
            if let Err(error) = quack_logging::check(&level) {
                let line = self.values.line("logging.level");
                self.values.add(Rule::BadValue, line, format!("logging.level: {error}"));
            }
            configuration.log_level = level;
        }
        match self.values.text("logging.format").as_deref() {
            None | Some("text") => {}
            Some("json") => configuration.log_format = quack_logging::Format::Json,
            Some(other) => {
                let line = self.values.line("logging.format");
                let message = format!("logging.format is '{other}': write text or json");
                self.values.add(Rule::BadValue, line, message);
            }
        }
    }

    /// The two switches have one useful position each, and are there so that a file says what it means.
    fn switches(&mut self, peers: &[PeerSpec]) {
        if self.values.flag("cluster_mode.enabled") == Some(false) && !peers.is_empty() {
            let line = self.values.line("cluster_mode.enabled");
            let message = "cluster_mode.enabled is false, and cluster_mode.cp_metadata_peers names a cluster: change one";
            self.values.add(Rule::ConflictingKeys, line, message);
        }
        if self.values.flag("cluster_mode.cp_metadata_enabled") == Some(false) {
            let line = self.values.line("cluster_mode.cp_metadata_enabled");
            let message = "cluster_mode.cp_metadata_enabled is false, and a node serves nothing else: write true, or \
                           leave it out";
            self.values.add(Rule::BadValue, line, message);
        }
    }
}

/// Whether a text is `level` or `target=level`. The filter of the logs would take a misspelled level for a target, and
/// log nothing.
/// Which rule a text breaks that is no peer.
fn rule_of(peer: &str) -> Rule {
    match peer.split_once('=').and_then(|(member, _)| member.split_once(':')) {
        Some((name, _)) if NodeId::new(name).is_err() => Rule::InvalidNodeId,
        Some((_, role)) if !matches!(role, "voter" | "learner") => Rule::WrongRole,
        _ => Rule::InvalidPeer,
    }
}
