//! `cluster voters=1,2,3 [learners=4] [spares=5] [groups=1,2]`: starts the nodes; spares run and are no members.

use crate::script::Command;
use crate::world::World;
use quack_core::Membership;
use quack_types::{GroupId, RaftId};

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let voters = super::list(command, "voters")?;
    let learners = super::list(command, "learners")?;
    let groups = super::list(command, "groups")?;
    let ids = |ids: &[u64]| ids.iter().copied().map(RaftId).collect::<Vec<_>>();
    let membership = Membership::new(ids(&voters), ids(&learners));
    let groups = if groups.is_empty() { vec![1] } else { groups };
    world.groups = groups.into_iter().map(|group| (GroupId(group), membership.clone())).collect();
    let spares = super::list(command, "spares")?;
    for id in voters.into_iter().chain(learners).chain(spares) {
        world.start(id)?;
        world.pump(id)?;
    }
    Ok(())
}
