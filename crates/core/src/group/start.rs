//! Bringing a group back from its log.
//!
//! Raft starts at the floor and hears every committed entry since again, so that
//! membership is rebuilt by the same code that changes it in life. The state
//! machine is spared those that it has: they are not handed out.
//!
//! The commit position in the log may be older than what the state machine has
//! applied, because it is written without fsync. Applied means committed, so the
//! larger of the two is where Raft begins.

use std::collections::{BTreeMap, BTreeSet};

use quack_log::{Floor, HardState, LogRead};
use quack_types::limits::ENTRY_BYTES_MAX;
use quack_types::{GroupId, LogIndex, Term};
use raft::RawNode;

use super::Group;
use super::rest::Rest;
use crate::election::ElectionTimeout;
use crate::history::MembershipHistory;
use crate::logger::Warnings;
use crate::outbox::Outbox;
use crate::proposals::Proposals;
use crate::reads::PendingReads;
use crate::storage::LogStorage;
use crate::{Config, Error, Membership, Role};

impl<L: LogRead> Group<L> {
    /// `first` is used only when the log knows no membership for the group.
    pub(crate) fn start(
        config: &Config,
        id: GroupId,
        first: &Membership,
        applied: LogIndex,
        log: L,
    ) -> Result<Self, Error> {
        let inconsistent = |what: String| Error::LogInconsistent { group: id, what };
        let floor = log.floor(id);
        let hard_state = check_positions(id, applied, &floor, log.last_index(id), log.hard_state(id))?;
        let stored =
            Membership::decode(&floor.membership).map_err(|error| inconsistent(error.to_string()))?;
        let is_new = stored.is_empty() && !first.is_empty() && floor.index == LogIndex(0);
        let membership = if is_new { first.clone() } else { stored };
        let first_floor = Floor { membership: membership.encode(), ..floor.clone() };

        let warnings = Warnings::default();
        let storage = LogStorage::new(log, id, hard_state, membership.clone());
        let raft = RawNode::new(&config.raft(floor.index.0), storage, &warnings.logger())
            .map_err(|error| inconsistent(error.to_string()))?;
        let read_ticks_max = 2 * config.election_ticks as u64;
        let mut group = Self {
            id,
            node: config.node,
            raft,
            warnings,
            timeout: ElectionTimeout::new(config.seed, id, config.election_ticks),
            reads: PendingReads::new(id, config.node, config.boot, read_ticks_max),
            members: MembershipHistory::new(floor.index, membership.clone()),
            applied,
            replayed: applied,
            proposals: Proposals::new(config),
            forwarded: Vec::new(),
            appended: BTreeSet::new(),
            uncommitted_bytes_max: config.uncommitted_bytes_max,
            forward_message_bytes_max: ENTRY_BYTES_MAX.min(config.message_bytes_max as usize),
            read_tags: Vec::new(),
            early_reads: Vec::new(),
            probed: BTreeSet::new(),
            spoken: BTreeMap::new(),
            lacks_floor: BTreeSet::new(),
            floor_pending: is_new.then_some(first_floor),
            ready: None,
            seen: (Role::Follower, Term(hard_state.term.0), None),
            rest: Rest::default(),
            election_ticks: config.election_ticks as u64,
            outbox: Outbox::default(),
        };
        group.after_step();
        Ok(group)
    }

    /// Stands for election at once when no other member can lead, without waiting for a
    /// timeout. Called when the entries that were committed before the start have taken effect.
    pub(crate) fn campaign_if_alone(&mut self) -> Result<(), String> {
        if self.leader().is_some() || !self.membership().is_only_voter(self.node) {
            return Ok(());
        }
        self.step(|raft| raft.campaign()).map_err(|error| format!("an election cannot begin: {error}"))
    }
}

/// Refuses what cannot be, and returns the hard state to begin with.
fn check_positions(
    group: GroupId,
    applied: LogIndex,
    floor: &Floor,
    last: LogIndex,
    stored: HardState,
) -> Result<HardState, Error> {
    let last = last.max(floor.index);
    if stored.term < floor.term {
        let what = format!("it begins in term {}, but the node knows of term {}", floor.term, stored.term);
        return Err(Error::LogInconsistent { group, what });
    }
    if applied > last {
        return Err(Error::LogBehindState { group, applied, last });
    }
    if applied < floor.index {
        return Err(Error::StateBehindFloor { group, applied, floor: floor.index });
    }
    if stored.commit > last {
        let what = format!("entry {} is committed, but the log ends at {last}", stored.commit);
        return Err(Error::LogInconsistent { group, what });
    }
    Ok(HardState { commit: stored.commit.max(applied).max(floor.index), ..stored })
}
