//! Golden scripts: each file below `testscripts` is one test, named by its path.
//!
//! A script is a list of blocks: commands, a line `---`, the output that they must
//! produce, an empty line. `UPDATE=1 cargo test -p quack-core --test scripts` rewrites
//! the outputs; read the difference before you keep it.

#![allow(clippy::unwrap_used)]

#[path = "scripts/commands/mod.rs"]
mod commands;
#[path = "scripts/memory_log.rs"]
mod memory_log;
#[path = "scripts/script.rs"]
mod script;
#[path = "scripts/show.rs"]
mod show;
#[path = "scripts/world.rs"]
mod world;

use std::path::{Path, PathBuf};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    // Some scripts make a group panic, and the runner tells of every other panic: no stack traces between the results.
    std::panic::set_hook(Box::new(|_| {}));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testscripts");
    let mut files = Vec::new();
    find(&folder, &mut files);
    assert!(!files.is_empty(), "there are scripts in {}", folder.display());
    let trials = files.into_iter().map(|file| {
        let name = file.strip_prefix(&folder).unwrap().display().to_string();
        Trial::test(name, move || run(&file))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            find(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn run(file: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(file)?;
    let mut world = world::World::default();
    let actual = script::run(&text, |command| commands::run(&mut world, command))?;
    if actual == text {
        return Ok(());
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, actual)?;
        return Ok(());
    }
    Err(script::difference(&text, &actual).into())
}
