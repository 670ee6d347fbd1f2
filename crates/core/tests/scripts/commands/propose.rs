//! `propose <node> <group> <data> …`: proposes the words, all in one round; `bytes=N` is N bytes.
//! A node counts its proposals from 1; `again=N` proposes the N-th one again, with that number as its data;
//! `origin=N` makes the ids of this command ids of node N.

use crate::script::Command;
use crate::world::World;
use bytes::Bytes;
use quack_core::Event;
use quack_types::{GroupId, ProposalId, RaftId};

pub fn run(world: &mut World, command: &Command) -> Result<(), String> {
    let (id, group) = (command.number(0)?, GroupId(command.number(1)?));
    let origin = super::list(command, "origin")?.first().copied().unwrap_or(id);
    for data in command.arguments.iter().skip(2).filter(|data| !data.starts_with("origin=")) {
        let proposed = world.proposed.entry(id).or_default();
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("'{text}' is not a number"));
        let (sequence, data) = if let Some(again) = data.strip_prefix("again=") {
            (number(again)?, Bytes::from(again.to_owned()))
        } else {
            *proposed += 1;
            let data = match data.strip_prefix("bytes=") {
                Some(size) => Bytes::from(vec![b'x'; number(size)? as usize]),
                None => Bytes::from(data.to_string()),
            };
            (*proposed, data)
        };
        let tag = ProposalId { origin: RaftId(origin), boot: 1, sequence };
        world.node(id)?.handle(Event::Propose { group, data, tag }).map_err(|error| error.to_string())?;
    }
    world.pump(id)
}
