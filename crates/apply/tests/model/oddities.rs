//! What proposals on their way through a cluster can do to a log, and how often a log shows it.

use std::collections::{BTreeMap, BTreeSet};

use quack_apply::Answered;
use quack_apply::entry::Decoded;
use quack_proto::log::v1::entry::Body;
use quack_types::NodeId;

/// What has been in the log of one origin and boot.
#[derive(Default)]
struct Seen {
    sequences: BTreeSet<u64>,
    answered: Answered,
    /// Transactions whose own entry has been there, or their end.
    ended: BTreeSet<u64>,
    /// Numbers of the parts of each transaction.
    parts: BTreeMap<u64, BTreeSet<u32>>,
}

/// Looks at a log, entry by entry.
#[derive(Default)]
pub struct Oddities {
    /// By origin and boot.
    seen: BTreeMap<(u64, u64), Seen>,
    /// Origins of which a newer incarnation has been announced.
    ended: BTreeSet<u64>,
    pub counts: BTreeMap<&'static str, usize>,
}

impl Oddities {
    /// Counts what is odd about the next entry.
    pub fn note(&mut self, decoded: Decoded) {
        let (origin, boot) = (decoded.id.origin.0, decoded.id.boot);
        let mut boots = self.seen.range((origin, 0)..=(origin, u64::MAX));
        let is_old_boot = boots.next_back().is_some_and(|((_, newest), _)| *newest > boot);
        let mut odd = Vec::new();
        odd.extend(is_old_boot.then_some("an old boot after a new one"));
        odd.extend(self.ended.contains(&origin).then_some("an old life after a new one"));
        if let Body::Member(member) = &decoded.body {
            let node = NodeId::new(member.node_id.as_str()).unwrap();
            self.ended.extend((0..member.incarnation).map(|incarnation| node.raft_id(incarnation).0));
        }
        let others_open =
            self.seen.iter().any(|((other, _), seen)| *other != origin && !seen.parts.is_empty());
        let seen = self.seen.entry((origin, boot)).or_default();
        odd.extend((!decoded.answered.except.is_empty()).then_some("names what it waits for"));
        odd.extend(seen.note_repetition(&decoded));
        odd.extend(seen.note_body(decoded.id.sequence, decoded.body, others_open));
        for what in odd {
            *self.counts.entry(what).or_default() += 1;
        }
    }
}

impl Seen {
    fn note_repetition(&mut self, decoded: &Decoded) -> Vec<&'static str> {
        let sequence = decoded.id.sequence;
        let is_answered = self.answered.covers(sequence);
        if decoded.answered.through > self.answered.through {
            self.answered = decoded.answered.clone();
        }
        if self.sequences.insert(sequence) {
            return is_answered.then_some("for the first time after it was given up").into_iter().collect();
        }
        let what = match decoded.body {
            Body::Boot(_) => "a boot again",
            Body::Member(_) => "a member again",
            Body::Verify(_) => "a verification again",
            Body::Settings(_) => "settings again",
            Body::Part(_) => "a part again",
            Body::Abort(_) => "an abort again",
            Body::Transaction(_) => "a transaction again",
        };
        [Some(what), is_answered.then_some("again after it was answered")].into_iter().flatten().collect()
    }

    fn note_body(&mut self, sequence: u64, body: Body, others_open: bool) -> Option<&'static str> {
        match body {
            Body::Part(part) => {
                let is_late = self.ended.contains(&part.transaction);
                self.parts.entry(part.transaction).or_default().insert(part.number);
                let beside = others_open.then_some("parts of several origins side by side");
                if is_late { Some("a part after its transaction") } else { beside }
            }
            Body::Transaction(transaction) => {
                let parts = self.parts.remove(&sequence).unwrap_or_default();
                let is_early = self.ended.insert(sequence) && parts.len() < transaction.parts as usize;
                is_early.then_some("a transaction before its parts")
            }
            Body::Abort(abort) => {
                self.parts.remove(&abort.transaction);
                self.ended.insert(abort.transaction);
                None
            }
            Body::Boot(_) | Body::Member(_) | Body::Verify(_) | Body::Settings(_) => None,
        }
    }
}
