//! `break-log <node> <group>`: from now on the entries of the group cannot be read there.

use crate::script::Command;
use crate::world::World;
use quack_types::GroupId;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    world.member(command.number(0)?)?.log.break_group(GroupId(command.number(1)?));
    Ok(())
}
