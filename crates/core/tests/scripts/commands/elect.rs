//! `elect <node> <group>`: only this node's clock runs, and messages flow, until it leads.

use crate::script::Command;
use crate::world::World;
use quack_core::{Event, Role};
use quack_types::GroupId;

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let id = command.number(0)?;
    let group = GroupId(command.number(1)?);
    for _ in 0..100 {
        world.handle(id, Event::Tick)?;
        world.stabilize(false)?;
        if world.node(id)?.status(group).is_some_and(|status| status.role == Role::Leader) {
            return Ok(());
        }
    }
    Err("it was not elected within 100 ticks".to_owned())
}
