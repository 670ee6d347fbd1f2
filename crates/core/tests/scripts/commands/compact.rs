//! `compact <node> <group> <through>`: the state machine is durable up to there.

use crate::script::Command;
use crate::world::World;
use quack_core::Event;
use quack_types::{GroupId, LogIndex};

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let (group, through) = (GroupId(command.number(1)?), LogIndex(command.number(2)?));
    world.handle(command.number(0)?, Event::Compact { group, through })
}
