//! Who a data folder belongs to: a small text file, replaced as a whole.
//!
//! ```text
//! quack identity 1
//! cluster_id=00112233445566778899aabbccddeeff
//! node_id=n0
//! incarnation=0
//! boot=3
//! crc32=1a2b3c4d        of all lines above
//! ```

use std::path::Path;

use quack_types::{NodeId, RaftId};

use crate::Error;

const VERSION: u32 = 1;
const TITLE: &str = "quack identity ";

/// Identity of a node, as its data folder holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster: a random number that was drawn when it was born.
    pub cluster_id: u128,
    /// The node's name.
    pub node_id: NodeId,
    /// How often the node was rebuilt after it had lost its disk.
    pub incarnation: u64,
    /// How often the node was started, this start included.
    pub boot: u64,
}

impl Identity {
    /// The node as Raft knows it.
    pub fn raft_id(&self) -> RaftId {
        self.node_id.raft_id(self.incarnation)
    }

    /// As a store says whose it is.
    pub fn owner(&self) -> String {
        format!("{:032x} {} {}", self.cluster_id, self.node_id, self.incarnation)
    }

    pub(crate) fn encode(&self) -> String {
        let Self { cluster_id, node_id, incarnation, boot } = self;
        let text = format!(
            "{TITLE}{VERSION}\ncluster_id={cluster_id:032x}\nnode_id={node_id}\nincarnation={incarnation}\nboot={boot}\n"
        );
        let crc = crc32fast::hash(text.as_bytes());
        format!("{text}crc32={crc:08x}\n")
    }

    pub(crate) fn decode(path: &Path, text: &str) -> Result<Self, Error> {
        let damaged = |reason: &str| Error::Identity { path: path.to_owned(), reason: reason.to_owned() };
        let title = text.lines().next().and_then(|line| line.strip_prefix(TITLE));
        let found: u32 = title
            .and_then(|version| version.parse().ok())
            .ok_or_else(|| damaged("its first line is wrong"))?;
        if found > VERSION {
            return Err(Error::FromTheFuture { path: path.to_owned(), found, supported: VERSION });
        }
        let (covered, crc) = text.rsplit_once("crc32=").ok_or_else(|| damaged("it has no checksum"))?;
        if u32::from_str_radix(crc.trim_end(), 16) != Ok(crc32fast::hash(covered.as_bytes())) {
            return Err(damaged("its checksum does not match"));
        }
        let value = |key: &'static str| {
            let line = covered.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.ok_or_else(|| damaged(&format!("'{key}' is missing")))
        };
        let number =
            |key: &'static str| value(key)?.parse().map_err(|_| damaged(&format!("'{key}' is not a number")));
        Ok(Self {
            cluster_id: u128::from_str_radix(value("cluster_id")?, 16)
                .map_err(|_| damaged("'cluster_id' is not a number"))?,
            node_id: NodeId::new(value("node_id")?).map_err(|error| damaged(&error.to_string()))?,
            incarnation: number("incarnation")?,
            boot: number("boot")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { cluster_id: 0xabc << 90, node_id: NodeId::new("n0").unwrap(), incarnation: 2, boot: 77 }
    }

    #[test]
    fn identity_comes_back_as_it_was_written() {
        let path = Path::new("identity");
        assert_eq!(Identity::decode(path, &identity().encode()).unwrap(), identity());
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = identity().encode();
        for at in 0..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let bad = String::from_utf8(bytes).unwrap();
            assert!(Identity::decode(Path::new("identity"), &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_identity_of_the_future_is_named_as_such() {
        let text = identity().encode().replace("identity 1", "identity 2");
        let error = Identity::decode(Path::new("identity"), &text).unwrap_err();
        assert!(matches!(error, Error::FromTheFuture { found: 2, .. }), "{error}");
    }
}
