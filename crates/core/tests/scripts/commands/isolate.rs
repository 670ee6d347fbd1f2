//! `isolate <node>`: nothing reaches it or leaves it any more.

use crate::script::Command;
use crate::world::World;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let id = command.number(0)?;
    for other in world.members.keys().copied().collect::<Vec<_>>() {
        world.cut.extend([(id, other), (other, id)]);
    }
    // What is on its way is lost too.
    world.in_flight.retain(|(from, message)| from.0 != id && message.to.0 != id);
    Ok(())
}
