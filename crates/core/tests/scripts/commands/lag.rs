//! `lag <node>`: its state machine is given entries and does not apply them any more.

use crate::script::Command;
use crate::world::World;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    world.member(command.number(0)?)?.is_lagging = true;
    Ok(())
}
