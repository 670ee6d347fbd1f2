//! Configurations and certificates for a cluster of processes on one machine, to try it.
//!
//! Names, ports and texts depend on the number of nodes and the first port alone. Keys, certificates and the token are
//! new each time: they are secrets.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use quack_types::NodeId;

use crate::Error;
use crate::certificate::{Authority, NODE_DAYS};
use crate::files::{self, NewFile, PRIVATE, PUBLIC};

/// First port when none is given.
pub const BASE_PORT: u16 = super::Configuration::PORT;
/// Most nodes: more processes than this on one machine try nothing.
pub const NODES_MAX: u16 = 50;
/// From a node's port to the port of its health and metrics. Further than the number of nodes, so that no two meet.
const ADMIN_OFFSET: u16 = 100;
/// Bytes of a token before they are written as hexadecimal digits.
const TOKEN_BYTES: usize = 32;

/// What was generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalCluster {
    /// The configuration of each node.
    pub configurations: Vec<PathBuf>,
    /// The folder with certificates, keys and the token.
    pub secrets: PathBuf,
}

/// Writes `n0.yaml` … and `certs/` into `folder`. Data folders are never touched.
pub fn generate_local(folder: &Path, nodes: u16, base_port: u16, force: bool) -> Result<LocalCluster, Error> {
    if nodes == 0 || nodes > NODES_MAX {
        return Err(Error::Invalid(format!("--nodes {nodes}: give 1 to {NODES_MAX}")));
    }
    let port_max = u16::MAX - ADMIN_OFFSET - nodes;
    if base_port == 0 || base_port > port_max {
        return Err(Error::Invalid(format!("--base-port {base_port}: give 1 to {port_max}")));
    }
    let mut new_files = Vec::new();
    let authority = Authority::new(crate::certificate::AUTHORITY_DAYS)?;
    let mut secrets = authority.files();
    for index in 0..nodes {
        let node = NodeId::new(name(index)).map_err(|error| Error::Invalid(error.to_string()))?;
        secrets.extend(authority.issue(&node, NODE_DAYS)?);
    }
    secrets.push(NewFile { name: "token".to_owned(), text: random_token()? + "\n", mode: PRIVATE });
    new_files
        .extend(secrets.into_iter().map(|file| NewFile { name: format!("certs/{}", file.name), ..file }));
    for index in 0..nodes {
        let text = configuration_text(nodes, base_port, index);
        new_files.push(NewFile { name: format!("{}.yaml", name(index)), text, mode: PUBLIC });
    }
    files::write_all(folder, &new_files, force)?;
    let configurations = (0..nodes).map(|index| folder.join(format!("{}.yaml", name(index)))).collect();
    Ok(LocalCluster { configurations, secrets: folder.join("certs") })
}

fn name(index: u16) -> String {
    format!("n{index}")
}

fn configuration_text(nodes: u16, base_port: u16, index: u16) -> String {
    let name = name(index);
    let mut peers = String::new();
    for other in 0..nodes {
        let port = base_port + other;
        writeln!(peers, "    - \"n{other}:voter=quack:127.0.0.1:{port}\"")
            .expect("writing to a text cannot fail");
    }
    let (port, admin_port) = (base_port + index, base_port + ADMIN_OFFSET + index);
    format!(
        "\
# Node {name} of a cluster of {nodes} on this machine, for trying and testing.
# Paths are relative to the folder of this file. Start it with: quackd serve --config {name}.yaml
data_dir: data/{name}
catalog: cp

cluster_mode:
  enabled: true
  node_id: {name}
  advertised_host: 127.0.0.1
  cp_metadata_enabled: true
  cp_metadata_port: {port}
  cp_metadata_peers:
{peers}  cp_metadata_token_path: certs/token
  tls:
    enabled: true
    cert_path: certs/{name}.crt
    key_path: certs/{name}.key
    ca_cert_path: certs/ca.crt
    require_client_cert: true

metrics:
  host: 127.0.0.1
  port: {admin_port}

logging:
  format: text
  level: info
"
    )
}

fn random_token() -> Result<String, Error> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(Error::Random)?;
    Ok(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}
