//! `restart <node> [applied]`: starts it from its log; the state machine is back at `applied` in every group.

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
    world.start(id)?;
    world.pump(id)
}
