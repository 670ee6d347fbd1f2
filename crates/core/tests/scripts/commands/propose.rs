//! `propose <node> <group> <data> …`: proposes the words, all in one round; `bytes=N` is N bytes.

use crate::script::Command;
use crate::world::World;
use bytes::Bytes;
use quack_core::Event;
use quack_types::{GroupId, ProposalId, RaftId};

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let (id, group) = (command.number(0)?, GroupId(command.number(1)?));
    for (count, data) in command.arguments.iter().skip(2).enumerate() {
        let data = match data.strip_prefix("bytes=") {
            Some(size) => Bytes::from(vec![b'x'; size.parse().map_err(|_| "not a size".to_owned())?]),
            None => Bytes::from(data.to_string()),
        };
        let tag = ProposalId { origin: RaftId(id), boot: 1, sequence: count as u64 + 1 };
        world.node(id)?.handle(Event::Propose { group, data, tag }).map_err(|error| error.to_string())?;
    }
    world.pump(id)
}
