//! `cut <from> <to>`: messages this way, and only this way, are lost from now on.

use crate::script::Command;
use crate::world::World;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    world.cut.insert((command.number(0)?, command.number(1)?));
    Ok(())
}
