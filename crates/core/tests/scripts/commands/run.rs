//! `run <ticks>`: all clocks run, and what is sent arrives.

use crate::script::Command;
use crate::world::World;
use quack_core::Event;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    for _ in 0..command.number(0)? {
        let running = world.members.iter().filter(|(_, member)| member.node.is_some());
        for id in running.map(|(id, _)| *id).collect::<Vec<_>>() {
            world.handle(id, Event::Tick)?;
        }
        world.stabilize(false)?;
    }
    Ok(())
}
