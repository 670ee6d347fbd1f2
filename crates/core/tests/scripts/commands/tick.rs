//! `tick <node> [count]`: its clock runs.

use crate::script::Command;
use crate::world::World;
use quack_core::Event;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let id = command.number(0)?;
    let count = if command.arguments.len() > 1 { command.number(1)? } else { 1 };
    for _ in 0..count {
        world.handle(id, Event::Tick)?;
    }
    Ok(())
}
