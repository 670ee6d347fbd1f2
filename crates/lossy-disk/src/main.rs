//! `lossy-disk FOLDER`: mounts a file system in memory there, for tests of what a loss of power leaves.
//!
//! It reads commands, one a line, and answers each with `ok` or `error: …`; it ends, and unmounts, with its input:
//!
//!     lose NAME PERCENT SEED    the disk NAME, a folder at the top, loses its power; PERCENT of what was not synced survives
//!     sync NAME                 everything on the disk is durable
//!
//! No process may work with a disk that loses its power.

mod model;
#[cfg(target_os = "linux")]
mod mount;

fn main() -> std::process::ExitCode {
    #[cfg(target_os = "linux")]
    if let Err(error) = mount::run() {
        eprintln!("lossy-disk: {error}");
        return std::process::ExitCode::FAILURE;
    }
    std::process::ExitCode::SUCCESS
}
