//! Raft messages in frames of the network.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use quack_node::PeerMessage;
use quack_proto::log::v1::Digest;
use quack_proto::peer::v1::{Batch, Message};
use quack_types::{Mark, RaftId};

/// Bytes of messages in one frame, unless a single message has more: one message of the core's usual size, so that a
/// heartbeat never waits for much.
const FRAME_BYTES: usize = 1 << 20;

/// Who sends messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    /// Its cluster.
    pub cluster_id: u128,
    /// The node as Raft knows it.
    pub id: RaftId,
    /// Its present start, as it introduces itself.
    pub start: u64,
}

/// Frames for each receiver, with the messages in their order, and with what the sender has decided.
pub(crate) fn frames(
    sender: Sender,
    messages: Vec<PeerMessage>,
    decided: Option<Mark>,
) -> Vec<(RaftId, Bytes)> {
    let digest = decided.map(|mark| Digest { position: mark.root.0, value: mark.digest });
    let cluster_id = Bytes::copy_from_slice(&sender.cluster_id.to_be_bytes());
    let encode = |batch: Batch| {
        let (from, cluster_id) = (sender.id.0, cluster_id.clone());
        let batch = Batch { from, cluster_id, start: sender.start, digest, ..batch };
        Bytes::from(batch.encode_to_vec())
    };
    let mut batches: BTreeMap<RaftId, (usize, Batch)> = BTreeMap::new();
    let mut frames = Vec::new();
    for PeerMessage { to, group, bytes } in messages {
        let (size, batch) = batches.entry(to).or_default();
        if *size > 0 && *size + bytes.len() > FRAME_BYTES {
            frames.push((to, encode(std::mem::take(batch))));
            *size = 0;
        }
        *size += bytes.len();
        batch.messages.push(Message { to: to.0, group: group.0, data: bytes });
    }
    frames.extend(batches.into_iter().map(|(to, (_, batch))| (to, encode(batch))));
    frames
}

#[cfg(test)]
mod tests {
    use quack_types::{GroupId, LogIndex};

    use super::*;

    #[test]
    fn messages_keep_their_order_and_large_ones_travel_alone() {
        let message =
            |to, bytes: Vec<u8>| PeerMessage { to: RaftId(to), group: GroupId::ROOT, bytes: bytes.into() };
        let all = vec![
            message(2, vec![1]),
            message(3, vec![2]),
            message(2, vec![3; FRAME_BYTES]),
            message(2, vec![4]),
        ];
        let sender = Sender { cluster_id: 8, id: RaftId(7), start: 9 };
        let frames = frames(sender, all, Some(Mark { root: LogIndex(5), digest: 6 }));
        let firsts: Vec<(u64, Vec<u8>)> = frames
            .iter()
            .map(|(to, frame)| {
                let batch = Batch::decode(frame.clone()).unwrap();
                assert_eq!((batch.from, batch.digest), (7, Some(Digest { position: 5, value: 6 })));
                assert_eq!((&batch.cluster_id[..], batch.start), (&8_u128.to_be_bytes()[..], 9));
                assert!(batch.messages.iter().all(|message| message.to == to.0 && message.group == 1));
                (to.0, batch.messages.iter().map(|message| message.data[0]).collect())
            })
            .collect();
        assert_eq!(firsts, [(2, vec![1]), (2, vec![3]), (2, vec![4]), (3, vec![2])]);
    }
}
