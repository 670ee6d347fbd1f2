//! The commands of the scripts, one file each: `run(world, command)`.

mod break_log;
mod cluster;
mod compact;
mod crash;
mod cut;
mod deliver;
mod disk;
mod elect;
mod heal;
mod isolate;
mod lag;
mod lane;
mod log;
mod membership;
mod propose;
mod read;
mod reseed;
mod restart;
mod run;
mod stabilize;
mod status;
mod tick;
mod transfer;
mod withdraw;

use crate::script::Command;
use crate::world::World;

/// Runs one command; returns what it has printed.
pub fn run(world: &mut World, command: &Command) -> Result<String, String> {
    let handler = match command.name {
        "break-log" => break_log::run,
        "cluster" => cluster::run,
        "compact" => compact::run,
        "crash" => crash::run,
        "cut" => cut::run,
        "deliver" => deliver::run,
        "disk" => disk::run,
        "elect" => elect::run,
        "heal" => heal::run,
        "isolate" => isolate::run,
        "lag" => lag::run,
        "lane" => lane::run,
        "log" => log::run,
        "membership" => membership::run,
        "propose" => propose::run,
        "read" => read::run,
        "reseed" => reseed::run,
        "restart" => restart::run,
        "run" => run::run,
        "stabilize" => stabilize::run,
        "status" => status::run,
        "tick" => tick::run,
        "transfer" => transfer::run,
        "withdraw" => withdraw::run,
        other => return Err(format!("unknown command '{other}'")),
    };
    handler(world, command)?;
    Ok(std::mem::take(&mut world.output))
}

/// The ids after `name=`, if that argument is there.
fn list(command: &Command, name: &str) -> Result<Vec<u64>, String> {
    let prefix = format!("{name}=");
    let Some(text) = command.arguments.iter().find_map(|argument| argument.strip_prefix(prefix.as_str()))
    else {
        return Ok(Vec::new());
    };
    text.split(',').map(|id| id.parse().map_err(|_| format!("'{id}' is not a number"))).collect()
}
