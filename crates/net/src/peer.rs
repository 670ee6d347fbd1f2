//! Members of a cluster as they are written: `node_id:role=quack:host:port`.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use quack_types::NodeId;

use crate::Endpoint;

/// Most peers that are read: far more than a Raft group works with.
const PEERS_MAX: usize = 64;

/// What a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerRole {
    /// Counts in a quorum.
    Voter,
    /// Holds everything and does not vote.
    Learner,
}

impl fmt::Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerRole::Voter => "voter",
            PeerRole::Learner => "learner",
        })
    }
}

/// A member of a cluster: who, as what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerSpec {
    /// Its name, which its certificate must prove.
    pub node: NodeId,
    /// What it does.
    pub role: PeerRole,
    /// Where it is reached.
    pub endpoint: Endpoint,
}

/// Why a text is not a [`PeerSpec`], or a list of texts not one of peers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPeer {
    /// One text is wrong by itself.
    #[error("peer '{text}': {reason}; write node_id:role=quack:host:port, where role is voter or learner")]
    Text {
        /// The text.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// A node is there twice.
    #[error("peer '{0}' is named twice; name each node once")]
    DuplicateNode(NodeId),
    /// Two nodes are said to be at one address.
    #[error("peers '{first}' and '{second}' have the same address {endpoint}; each node needs its own")]
    DuplicateAddress {
        /// The node that is named first.
        first: NodeId,
        /// The other one.
        second: NodeId,
        /// Their address.
        endpoint: Endpoint,
    },
    /// The list is too long.
    #[error("{found} peers are named, and {max} are possible at most", max = PEERS_MAX)]
    TooMany {
        /// How many there are.
        found: usize,
    },
}

impl PeerSpec {
    /// Reads a list of peers, each of whose texts may itself be a list with commas. Blanks around a peer do not
    /// count, and neither do empty texts.
    ///
    /// # Errors
    /// A text is not a peer, or a node or an address is there twice. Whether this node itself is among them is not
    /// checked.
    pub fn parse_list(texts: &[String]) -> Result<Vec<Self>, InvalidPeer> {
        let texts = texts.iter().flat_map(|text| text.split(',')).map(str::trim);
        let peers: Vec<Self> =
            texts.filter(|text| !text.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        if peers.len() > PEERS_MAX {
            return Err(InvalidPeer::TooMany { found: peers.len() });
        }
        let mut nodes = BTreeSet::new();
        for (place, peer) in peers.iter().enumerate() {
            if !nodes.insert(&peer.node) {
                return Err(InvalidPeer::DuplicateNode(peer.node.clone()));
            }
            if let Some(first) = peers[..place].iter().find(|other| other.endpoint == peer.endpoint) {
                return Err(InvalidPeer::DuplicateAddress {
                    first: first.node.clone(),
                    second: peer.node.clone(),
                    endpoint: peer.endpoint.clone(),
                });
            }
        }
        Ok(peers)
    }
}

impl fmt::Display for PeerSpec {
    /// The canonical form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}={}", self.node, self.role, self.endpoint)
    }
}

impl FromStr for PeerSpec {
    type Err = InvalidPeer;

    fn from_str(text: &str) -> Result<Self, InvalidPeer> {
        let invalid = |reason: String| InvalidPeer::Text { text: text.to_owned(), reason };
        let (member, address) =
            text.split_once('=').ok_or_else(|| invalid("it has no '=' before the address".to_owned()))?;
        let (node, role) = member
            .split_once(':')
            .ok_or_else(|| invalid("it has no ':' between node id and role".to_owned()))?;
        let node = NodeId::new(node).map_err(|error| invalid(error.to_string()))?;
        let role = match role {
            "voter" => PeerRole::Voter,
            "learner" => PeerRole::Learner,
            other => return Err(invalid(format!("there is no role '{other}'"))),
        };
        let endpoint: Endpoint =
            address.parse().map_err(|error: crate::InvalidEndpoint| invalid(error.to_string()))?;
        // A default would hide that two nodes of one machine need two ports.
        if !has_port(address) {
            return Err(invalid("its address has no port".to_owned()));
        }
        if endpoint.port() == 0 {
            return Err(invalid("port 0 means any free one, and peers must know which".to_owned()));
        }
        Ok(Self { node, role, endpoint })
    }
}

/// Whether an address that is known to be one names its port.
fn has_port(address: &str) -> bool {
    let rest = address
        .rsplit_once(']')
        .map_or_else(|| address.strip_prefix("quack:").unwrap_or(address), |(_, rest)| rest);
    rest.contains(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Result<Vec<PeerSpec>, InvalidPeer> {
        PeerSpec::parse_list(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn peers_come_as_a_list_or_as_one_text() {
        let parts =
            ["n0:voter=quack:localhost:9494", "n.1:learner=quack:[::1]:9494", "N_2:voter=quack:db-2:9494"];
        let peers = list(&parts).unwrap();
        assert_eq!(peers.iter().map(ToString::to_string).collect::<Vec<_>>(), parts);
        assert_eq!(list(&[&parts.join(",")]).unwrap(), peers);
        assert_eq!(list(&["", &format!(" {} , {},", parts[0], parts[1]), parts[2]]).unwrap(), peers);
        assert_eq!((peers[1].role, peers[1].node.as_str()), (PeerRole::Learner, "n.1"));
        assert_eq!(
            list(&["n0:voter=quack://LOCALHOST:1"]).unwrap()[0].to_string(),
            "n0:voter=quack:localhost:1"
        );
        assert_eq!(list(&[]).unwrap(), []);
    }

    #[test]
    fn a_text_that_is_no_peer_is_refused_with_its_reason() {
        for (text, reason) in [
            ("quack:localhost:1", "no '='"),
            ("n0=quack:localhost:1", "no ':' between"),
            ("n0:voter:quack:localhost:1", "no '='"),
            ("n0:Voter=quack:localhost:1", "no role 'Voter'"),
            ("n0:=quack:localhost:1", "no role ''"),
            ("n0:witness=quack:localhost:1", "no role 'witness'"),
            (":voter=quack:localhost:1", "node id ''"),
            ("n 0:voter=quack:localhost:1", "node id 'n 0'"),
            ("n0:voter=localhost:1", "does not start with 'quack:'"),
            ("n0:voter=quack:localhost", "no port"),
            ("n0:voter=quack://localhost", "no port"),
            ("n0:voter=quack:[::1]", "no port"),
            ("n0:voter=quack:localhost:0", "port 0"),
            ("n0:voter=quack:localhost:x", "not a number"),
            ("n0:voter=", "does not start"),
        ] {
            let error = list(&[text]).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(text), "{text}: {error}");
            assert!(error.contains("node_id:role=quack:host:port"), "{error}");
        }
    }

    #[test]
    fn a_node_or_an_address_that_is_there_twice_is_refused() {
        let error = list(&["a:voter=quack:x:1", "b:voter=quack:x:2,a:learner=quack:x:3"]).unwrap_err();
        assert_eq!(error.to_string(), "peer 'a' is named twice; name each node once");
        let error = list(&["a:voter=quack:X:1", "b:voter=quack:y:1", "c:voter=quack://x:1"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "peers 'a' and 'c' have the same address quack:x:1; each node needs its own"
        );
        let many = (0..65).map(|i| format!("n{i}:voter=quack:x:{}", i + 1)).collect::<Vec<_>>().join(",");
        assert!(list(&[&many]).unwrap_err().to_string().contains("65 peers"));
    }
}
