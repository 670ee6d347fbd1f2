//! `lane <node> create <group> <at>`, `lane <node> retire|remove <group>`: what the state machine says about a lane.

use crate::script::Command;
use crate::world::World;
use quack_core::Event;
use quack_types::{GroupId, LogIndex};

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let group = GroupId(command.number(2)?);
    let event = match command.text(1)? {
        "create" => Event::CreateLane { group, at: LogIndex(command.number(3)?) },
        "retire" => Event::RetireLane { group },
        "remove" => Event::RemoveLane { group },
        other => return Err(format!("'{other}' is no command for a lane")),
    };
    world.handle(command.number(0)?, event)
}
