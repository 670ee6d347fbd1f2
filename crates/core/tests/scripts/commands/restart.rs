//! `restart <node> [applied] [unborn=<lane>]`: starts it from its log; the state machine is back at `applied` in every group,
//! and has a lane that the log does not have.

use crate::script::Command;
use crate::world::World;
use quack_types::{GroupId, LogIndex};

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let id = command.number(0)?;
    if let Ok(applied) = command.number(1) {
        let applied_all = &mut world.member(id)?.applied;
        let groups: Vec<GroupId> = applied_all.keys().copied().collect();
        applied_all.extend(groups.into_iter().map(|group| (group, LogIndex(applied))));
    }
    let unborn: Vec<GroupId> = super::list(command, "unborn")?.into_iter().map(GroupId).collect();
    world.start_before(id, &unborn)?;
    world.pump(id)
}
