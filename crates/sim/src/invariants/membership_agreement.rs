//! All nodes agree on who the members are from each membership entry on.
//!
//! Source: Raft thesis, section 4.3: a configuration is an entry of the log like any other.

use std::collections::BTreeMap;

use quack_core::Membership;
use quack_types::{GroupId, LogIndex};

use super::{Invariant, Seen};
use crate::failure::Failure;

#[derive(Default)]
pub struct MembershipAgreement {
    memberships: BTreeMap<(GroupId, LogIndex), Membership>,
}

impl Invariant for MembershipAgreement {
    fn observe(&mut self, seen: &Seen) -> Result<(), Failure> {
        let Seen::Membership { node, group, index, membership } = seen else { return Ok(()) };
        let first = self.memberships.entry((*group, *index)).or_insert_with(|| (*membership).clone());
        if first != *membership {
            let what =
                format!("group {group}: n{node} has {membership:?} from {index} on, another node {first:?}");
            return Err(Failure::safety("membership agreement", what));
        }
        Ok(())
    }
}
