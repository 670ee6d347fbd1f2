//! `membership <node> <group> [voter=4] [learner=5] [remove=1,2]`: proposes the change.

use crate::script::Command;
use crate::world::World;
use quack_core::{Event, MemberChange};
use quack_types::{GroupId, RaftId};

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let mut changes = Vec::new();
    let kinds = [MemberChange::Voter, MemberChange::Learner, MemberChange::Remove];
    for (name, change) in ["voter", "learner", "remove"].into_iter().zip(kinds) {
        changes.extend(super::list(command, name)?.into_iter().map(|id| change(RaftId(id))));
    }
    let group = GroupId(command.number(1)?);
    world.handle(command.number(0)?, Event::ProposeMembership { group, changes, tag: 1 })
}
