//! What this node has heard of its peers, so that it recognises a folder that is older than what its node has promised.
//!
//! Of each peer it remembers the last start, durably before the peer takes part, and from time to time in which terms
//! it has spoken, and which entries it has called committed. What only this process has heard, the core knows (`quack_core::Promise`). A
//! disk that loses what was synced looks the same as a folder that was put back, and is treated alike.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message as _;
use quack_node::{Promise, Promises, read_witnessed, write_witnessed};
use quack_proto::peer::v1::{Introduction, Witnessed, WitnessedPeer};
use quack_types::{GroupId, LogIndex, NodeId, Term};

const CHECKSUM_BYTES: usize = 4;

/// What is remembered of all peers.
#[derive(Debug)]
pub(crate) struct Witness {
    folder: PathBuf,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    peers: BTreeMap<String, WitnessedPeer>,
    /// Whether the file holds less.
    changed: bool,
}

impl Witness {
    /// With what the folder holds. A file that is damaged holds nothing: peers know as well.
    pub fn open(folder: PathBuf) -> Self {
        let peers = match read_witnessed(&folder) {
            Ok(None) => Some(Vec::new()),
            Ok(Some(bytes)) => decode(&bytes),
            Err(error) => {
                tracing::warn!(%error, "what was heard of the peers is forgotten");
                None
            }
        };
        if peers.is_none() {
            tracing::warn!(folder = %folder.display(), "what was heard of the peers cannot be read");
        }
        let peers = peers.unwrap_or_default().into_iter().map(|peer| (peer.node_id.clone(), peer)).collect();
        Self { folder, memory: Mutex::new(Memory { peers, changed: false }) }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Every change of it is complete before anything can panic.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Peers have said this of themselves. `name` gives a peer, and its present incarnation.
    pub fn hear(&self, promises: &Promises, name: impl Fn(quack_types::RaftId) -> Option<(NodeId, u64)>) {
        let mut memory = self.memory();
        let Memory { peers, changed } = &mut *memory;
        for (id, groups) in promises {
            let Some((node, incarnation)) = name(*id) else { continue };
            let Some(peer) = peers.get_mut(node.as_str()).filter(|peer| peer.incarnation == incarnation)
            else {
                continue;
            };
            for (group, promise) in groups {
                for (known, said) in
                    [(&mut peer.terms, promise.term.0), (&mut peer.committed, promise.committed.0)]
                {
                    let known = known.entry(group.0).or_default();
                    *changed |= *known < said;
                    *known = said.max(*known);
                }
            }
        }
    }

    /// Writes what is new.
    pub fn save(&self) -> Result<(), quack_node::Error> {
        let mut memory = self.memory();
        if memory.changed {
            write_witnessed(&self.folder, &encode(memory.peers.values()))?;
            memory.changed = false;
        }
        Ok(())
    }

    /// Remembers a start of a peer, durably, unless a later one is known.
    pub fn record(
        &self,
        node: &NodeId,
        incarnation: u64,
        said: &Introduction,
    ) -> Result<(), quack_node::Error> {
        let mut memory = self.memory();
        let known = memory.peers.get(node.as_str());
        if known.is_some_and(|known| (known.incarnation, known.boot) >= (incarnation, said.boot)) {
            return Ok(());
        }
        let kept = known.filter(|known| known.incarnation == incarnation).cloned().unwrap_or_default();
        let (boot, start, node_id) = (said.boot, said.start, node.to_string());
        memory.peers.insert(node_id.clone(), WitnessedPeer { node_id, incarnation, boot, start, ..kept });
        memory.changed = true;
        drop(memory);
        self.save()
    }

    /// Why the folder of a peer that has started is older than what the peer has promised, in words that follow its name.
    /// `promises` are what it has said to this process.
    pub fn objection(
        &self,
        node: &NodeId,
        incarnation: u64,
        said: &Introduction,
        promises: &BTreeMap<GroupId, Promise>,
    ) -> Option<String> {
        let memory = self.memory();
        let nothing = WitnessedPeer { incarnation, ..WitnessedPeer::default() };
        let known = memory.peers.get(node.as_str()).unwrap_or(&nothing);
        if incarnation < known.incarnation {
            return Some(format!(
                "it has been rebuilt or removed since: its incarnation is {}",
                known.incarnation
            ));
        }
        let is_same_start = known.boot > 0 && known.start == said.start && said.start != 0;
        if incarnation > known.incarnation || is_same_start {
            return None;
        }
        if said.previous_boot < known.boot {
            return Some(format!(
                "it was started for the {}th time, and its folder knows of {} starts",
                known.boot, said.previous_boot
            ));
        }
        let ends = said.logs.iter();
        ends.filter_map(|end| {
            let group = GroupId(end.group);
            let promise = promises.get(&group).copied().unwrap_or_default();
            let term = promise.term.max(Term(known.terms.get(&end.group).copied().unwrap_or_default()));
            let committed =
                known.committed.get(&end.group).copied().unwrap_or_default().max(promise.committed.0);
            if Term(end.term) < term {
                Some(format!(
                    "it has taken part in term {term} of group {group}, and its log ends in {}",
                    end.term
                ))
            } else if end.last < committed {
                Some(format!(
                    "it has told of entry {committed} of group {group}, and its log ends at {}",
                    end.last
                ))
            } else if LogIndex(end.last) < promise.held && Term(end.term) <= promise.led {
                let held = promise.held;
                Some(format!(
                    "it has acknowledged entry {held} of group {group}, and its log ends at {}",
                    end.last
                ))
            } else {
                None
            }
        })
        .next()
    }
}

fn encode<'a>(peers: impl Iterator<Item = &'a WitnessedPeer>) -> Vec<u8> {
    let bytes = Witnessed { peers: peers.cloned().collect() }.encode_to_vec();
    [&crc32fast::hash(&bytes).to_be_bytes()[..], &bytes].concat()
}

fn decode(bytes: &[u8]) -> Option<Vec<WitnessedPeer>> {
    let (checksum, bytes) = bytes.split_at_checked(CHECKSUM_BYTES)?;
    (checksum == crc32fast::hash(bytes).to_be_bytes())
        .then(|| Witnessed::decode(bytes).ok())?
        .map(|all| all.peers)
}

#[cfg(test)]
mod tests {
    use quack_proto::peer::v1::LogEnd;
    use quack_types::RaftId;

    use super::*;

    fn id() -> NodeId {
        NodeId::new("n1").unwrap()
    }

    fn said(previous_boot: u64, start: u64, term: u64, last: u64) -> Introduction {
        let logs = vec![LogEnd { group: GroupId::ROOT.0, term, last }];
        Introduction { previous_boot, boot: previous_boot + 1, start, begins: true, logs }
    }

    fn objects(witness: &Witness, incarnation: u64, said: &Introduction) -> bool {
        witness.objection(&id(), incarnation, said, &BTreeMap::new()).is_some()
    }

    #[test]
    fn a_start_that_the_folder_forgets_is_known_also_after_this_node_has_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::open(folder.path().to_owned());
        assert!(!objects(&witness, 0, &said(4, 77, 1, 1)));
        witness.record(&id(), 0, &said(4, 77, 1, 1)).unwrap();
        for witness in [witness, Witness::open(folder.path().to_owned())] {
            assert!(!objects(&witness, 0, &said(4, 77, 1, 1)), "the same start says it again");
            assert!(!objects(&witness, 0, &said(5, 78, 1, 1)));
            assert!(
                !objects(&witness, 0, &said(9, 78, 1, 1)),
                "others have heard of starts that this one has not"
            );
            assert!(objects(&witness, 0, &said(4, 78, 1, 1)), "put back from before that start");
            assert!(objects(&witness, 0, &said(2, 78, 1, 1)));
            assert!(!objects(&witness, 1, &said(0, 79, 1, 1)), "rebuilt");
            witness.record(&id(), 0, &said(2, 90, 1, 1)).unwrap();
            assert!(objects(&witness, 0, &said(4, 78, 1, 1)), "a word that comes late changes nothing");
        }
    }

    #[test]
    fn positions_and_terms_do_not_go_back_within_a_life() {
        let folder = tempfile::tempdir().unwrap();
        let witness = Witness::open(folder.path().to_owned());
        witness.record(&id(), 0, &said(4, 77, 1, 1)).unwrap();
        let promise = |term, held, led| {
            let (term, committed) = (Term(term), LogIndex(20));
            Promise { term, committed, held: LogIndex(held), led: Term(led) }
        };
        let of = |promise| BTreeMap::from([(GroupId::ROOT, promise)]);
        let heard = BTreeMap::from([(RaftId(1), of(promise(3, 0, 0)))]);
        witness.hear(&heard, |_| Some((id(), 0)));
        let later = Promise { committed: LogIndex(900), ..promise(9, 0, 0) };
        witness.hear(&BTreeMap::from([(RaftId(2), of(later))]), |_| Some((id(), 1)));
        witness.save().unwrap();
        let witness = Witness::open(folder.path().to_owned());
        assert!(!objects(&witness, 0, &said(5, 78, 3, 20)));
        assert!(objects(&witness, 0, &said(5, 78, 3, 19)));
        assert!(objects(&witness, 0, &said(5, 78, 2, 20)));
        let objects = |said: &Introduction, held, led| {
            witness.objection(&id(), 0, said, &of(promise(3, held, led))).is_some()
        };
        assert!(objects(&said(5, 78, 3, 20), 21, 3));
        assert!(!objects(&said(5, 78, 4, 20), 21, 3), "a later leader may have taken it back");
    }

    #[test]
    fn a_damaged_file_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        Witness::open(folder.path().to_owned()).record(&id(), 0, &said(4, 77, 1, 1)).unwrap();
        let file = folder.path().join("witnessed");
        let mut bytes = std::fs::read(&file).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        for damaged in [&bytes[..], &[1]] {
            std::fs::write(&file, damaged).unwrap();
            assert!(!objects(&Witness::open(folder.path().to_owned()), 0, &said(4, 78, 1, 1)));
        }
    }
}
