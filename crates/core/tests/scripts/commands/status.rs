//! `status [node]`: every group of the node, or of all nodes.

use crate::script::Command;
use crate::show;
use crate::world::World;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let nodes = match command.arguments.first() {
        Some(_) => vec![command.number(0)?],
        None => world.members.keys().copied().collect(),
    };
    for id in nodes {
        let Ok(node) = world.node(id) else {
            world.say(format!("n{id} down"));
            continue;
        };
        for status in node.statuses() {
            world.say(format!("n{id} {}", show::status(&status)));
        }
    }
    Ok(())
}
