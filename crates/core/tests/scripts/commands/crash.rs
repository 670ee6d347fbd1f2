//! `crash <node>`: memory is lost, log and state machine stay; a hanging write is lost.

use crate::script::Command;
use crate::world::World;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let member = world.member(command.number(0)?)?;
    member.node = None;
    member.stuck = None;
    Ok(())
}
