//! `withdraw <node> <group> <number>`: the node gives up this proposal of its own.

use crate::script::Command;
use crate::world::World;
use quack_core::Event;
use quack_types::{GroupId, ProposalId, RaftId};

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let (id, group) = (command.number(0)?, GroupId(command.number(1)?));
    let tag = ProposalId { origin: RaftId(id), boot: 1, sequence: command.number(2)? };
    world.handle(id, Event::Withdraw { group, tag })
}
