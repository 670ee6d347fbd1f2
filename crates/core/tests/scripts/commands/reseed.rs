//! `reseed <node> <donor> [floor]`: starts the node, which is down, from a snapshot of the donor's state machine.
//! Its log begins at `floor`, and gets the donor's entries from there; without it, at the snapshot.

use crate::script::Command;
use crate::world::World;
use quack_core::reseed;
use quack_log::LogRead;
use quack_types::LogIndex;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let (id, donor) = (command.number(0)?, command.number(1)?);
    let applied = world.member(donor)?.applied.clone();
    for (group, applied) in &applied {
        let index = command.number(2).map_or(*applied, LogIndex);
        let floor = world.node(donor)?.floor_at(*group, index).ok_or("the donor does not have that")?;
        let next = applied.next();
        let log = world.member(donor)?.log.clone();
        let entries = log.entries(*group, index.next(), next, u64::MAX).map_err(|error| error.to_string())?;
        let log = world.members.entry(id).or_default().log.clone();
        match reseed(&log, *group, &floor, entries) {
            Ok(write) => log.write(&[write]),
            Err(error) => {
                world.say(format!("n{id} is not reseeded: {error}"));
                return Ok(());
            }
        }
    }
    world.member(id)?.applied = applied;
    world.groups.clear();
    world.start(id)?;
    world.pump(id)
}
