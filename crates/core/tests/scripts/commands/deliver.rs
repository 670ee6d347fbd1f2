//! `deliver [count]`: delivers the oldest messages and shows them.

use crate::script::Command;
use crate::world::World;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let count = if command.arguments.is_empty() { 1 } else { command.number(0)? };
    for _ in 0..count {
        if !world.deliver_one(true)? {
            world.say("nothing is on its way");
            break;
        }
    }
    Ok(())
}
