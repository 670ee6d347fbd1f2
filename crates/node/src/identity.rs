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
use crate::sealed::Sealed;

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
        let mut fields = Sealed::new(TITLE, VERSION);
        fields.put("cluster_id", format!("{cluster_id:032x}"));
        fields.put("node_id", node_id);
        fields.put("incarnation", incarnation);
        fields.put("boot", boot);
        fields.encode()
    }

    pub(crate) fn decode(path: &Path, text: &str) -> Result<Self, Error> {
        let fields = Sealed::decode(path, text, TITLE, VERSION)?;
        Ok(Self {
            cluster_id: fields.id("cluster_id")?,
            node_id: fields.node("node_id")?,
            incarnation: fields.number("incarnation")?,
            boot: fields.number("boot")?,
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
