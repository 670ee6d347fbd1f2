//! `transfer <node> <group> <to>`: the leader is to hand over.

use crate::script::Command;
use crate::world::World;
use quack_core::Event;
use quack_types::{GroupId, RaftId};

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let (group, to) = (GroupId(command.number(1)?), RaftId(command.number(2)?));
    world.handle(command.number(0)?, Event::TransferLeader { group, to })
}
