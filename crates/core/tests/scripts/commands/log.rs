//! `log <node> <group>`: shows what is durable.

use crate::script::Command;
use crate::world::World;
use quack_core::Membership;
use quack_types::GroupId;

use crate::show;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let (id, group) = (command.number(0)?, GroupId(command.number(1)?));
    let (floor, state, entries) = world.member(id)?.log.all(group);
    let members = Membership::decode(&floor.membership).map_err(|error| error.to_string())?;
    let entries: Vec<String> = entries.iter().map(show::entry).collect();
    world.say(format!("floor {}/{} {}", floor.index, floor.term, show::membership(&members)));
    world.say(format!("term={} vote={} commit={}", state.term, state.vote, state.commit));
    world.say(if entries.is_empty() { "no entries".to_owned() } else { entries.join(" ") });
    Ok(())
}
