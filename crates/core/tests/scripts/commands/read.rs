//! `read <node> <group> <tag>`: asks for a read index.

use crate::script::Command;
use crate::world::World;
use quack_core::Event;
use quack_types::GroupId;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let (group, tag) = (GroupId(command.number(1)?), command.number(2)?);
    world.handle(command.number(0)?, Event::ReadIndex { group, tag })
}
