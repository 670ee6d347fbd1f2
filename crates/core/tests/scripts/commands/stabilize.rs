//! `stabilize [show]`: delivers messages until nothing moves any more.

use crate::script::Command;
use crate::world::World;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    world.stabilize(command.arguments.first() == Some(&"show"))
}
