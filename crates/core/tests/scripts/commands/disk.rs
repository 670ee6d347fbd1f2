//! `disk <node> hangs|works`: an fsync does not return, until it does.

use crate::script::Command;
use crate::world::World;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let id = command.number(0)?;
    let member = world.member(id)?;
    member.is_disk_stuck = command.text(1)? == "hangs";
    if let (false, Some(persist)) = (member.is_disk_stuck, member.stuck.take()) {
        world.written(id, persist)?;
    }
    world.pump(id)
}
