//! Configuration of a node's consensus, with its bounds.
//!
//! Durations are in ticks; what a tick lasts is the shell's decision.

use quack_types::{GroupId, RaftId};

use crate::Error;

/// What a [`crate::Node`] needs to know before its first step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This node as its groups know it. Never 0.
    pub node: RaftId,
    /// How often this node has started, counted from 1. It keeps read requests of
    /// an earlier life apart from those of this one.
    pub boot: u64,
    /// Everything random is derived from it: the election timeouts of every group.
    pub seed: u64,
    /// Ticks without a leader after which a follower may stand for election. The
    /// real timeout is drawn from `election_ticks .. 2 * election_ticks`.
    pub election_ticks: usize,
    /// Ticks between two heartbeats of a leader. Below `election_ticks`.
    pub heartbeat_ticks: usize,
    /// Largest sum of entry bytes in one append message.
    pub message_bytes_max: u64,
    /// Append messages to one peer that may be on their way unanswered.
    pub messages_in_flight_max: usize,
    /// Bytes of proposals that a leader accepts before they are committed; beyond
    /// it proposals wait where they come from.
    pub uncommitted_bytes_max: u64,
    /// Bytes of this node's own proposals that one group keeps until they are committed,
    /// with 256 for each beside its data. Beyond it they are refused as busy.
    pub proposals_bytes_max: usize,
    /// Of these, bytes that may be on their way to another node that leads.
    pub forwarded_bytes_max: usize,
    /// Largest sum of entry bytes that one group hands to the state machine at a time.
    pub apply_bytes_max: u64,
    /// Events that may be queued between two calls of [`crate::Node::effects`].
    pub queue_events_max: usize,
    /// The last number that was ever given to a lane, as the state machine knows it. A peer that asks for a lane with
    /// such a number that is not here is told that it is gone.
    pub last_lane: GroupId,
    /// Lanes that the state machine has and the log does not: they are about to be created. A peer that asks for one of
    /// them meanwhile is not told that it is gone.
    pub unborn: Vec<GroupId>,
    /// Whether a lone voter waits for [`crate::Node::begin`] before it leads.
    pub begins_later: bool,
}

impl Config {
    /// The defaults for a node.
    ///
    /// Ten heartbeats to an election timeout is what the raft crate advises. One
    /// message carries about 1 MiB, so that a heartbeat is never stuck long behind
    /// it; 64 MiB uncommitted is sixteen parts of a large statement.
    pub fn new(node: RaftId) -> Self {
        Self {
            node,
            boot: 1,
            seed: node.0,
            election_ticks: 10,
            heartbeat_ticks: 1,
            message_bytes_max: 1 << 20,
            messages_in_flight_max: 256,
            uncommitted_bytes_max: 64 << 20,
            // The shell bounds what it proposes; this is a little more.
            proposals_bytes_max: 96 << 20,
            // Four parts of a large statement keep a fast network busy.
            forwarded_bytes_max: 16 << 20,
            apply_bytes_max: 16 << 20,
            queue_events_max: 1 << 16,
            last_lane: GroupId::ROOT,
            unborn: Vec::new(),
            begins_later: false,
        }
    }

    /// Refuses values that cannot work, and says which.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |what: &'static str| Err(Error::Config { what });
        if self.node == RaftId(0) {
            return refuse("node must not be 0: 0 means no node");
        }
        if self.boot == 0 {
            return refuse("boot must be at least 1: count the starts of the node");
        }
        if self.heartbeat_ticks == 0 || self.election_ticks <= self.heartbeat_ticks {
            return refuse("election_ticks must be above heartbeat_ticks, and heartbeat_ticks above 0");
        }
        if self.messages_in_flight_max == 0 || self.queue_events_max == 0 {
            return refuse("messages_in_flight_max and queue_events_max must be above 0");
        }
        if self.uncommitted_bytes_max < self.message_bytes_max {
            return refuse("uncommitted_bytes_max must not be below message_bytes_max");
        }
        if self.proposals_bytes_max == 0 || self.forwarded_bytes_max == 0 {
            return refuse("proposals_bytes_max and forwarded_bytes_max must be above 0");
        }
        Ok(())
    }

    /// The raft crate's form of it, for one group.
    pub(crate) fn raft(&self, applied: u64) -> raft::Config {
        raft::Config {
            id: self.node.0,
            election_tick: self.election_ticks,
            heartbeat_tick: self.heartbeat_ticks,
            applied,
            max_size_per_msg: self.message_bytes_max,
            max_inflight_msgs: self.messages_in_flight_max,
            check_quorum: true,
            pre_vote: true,
            read_only_option: raft::ReadOnlyOption::Safe,
            // Raft-rs 0.7 joins entries to an append message that is waiting to be sent without
            // looking whether they follow its position when that message is empty
            // (`is_continuous_ents`), and so makes messages that are not a piece of a log.
            // Proposals are joined in `group/steps.rs` instead.
            batch_append: false,
            max_uncommitted_size: self.uncommitted_bytes_max,
            max_committed_size_per_ready: self.apply_bytes_max,
            ..raft::Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_each_bad_value_is_named() {
        let good = Config::new(RaftId(1));
        assert_eq!(good.validate(), Ok(()));
        let bad = [
            Config { node: RaftId(0), ..good.clone() },
            Config { boot: 0, ..good.clone() },
            Config { heartbeat_ticks: 0, ..good.clone() },
            Config { election_ticks: 1, ..good.clone() },
            Config { messages_in_flight_max: 0, ..good.clone() },
            Config { queue_events_max: 0, ..good.clone() },
            Config { uncommitted_bytes_max: 1, ..good.clone() },
            Config { proposals_bytes_max: 0, ..good.clone() },
            Config { forwarded_bytes_max: 0, ..good.clone() },
        ];
        for config in bad {
            assert!(matches!(config.validate(), Err(Error::Config { .. })), "{config:?}");
        }
    }
}
