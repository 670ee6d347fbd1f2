//! Threads whose stack the host does not decide.

use std::thread::Builder;

/// Stack of a thread that does no recursion over what users write, in bytes: what Rust gives where nothing is set.
const STACK_BYTES: usize = 2 << 20;

/// A thread by its name. `RUST_MIN_STACK` in the environment of a process is meant for other programs.
pub fn builder(name: &str) -> Builder {
    Builder::new().name(name.to_owned()).stack_size(STACK_BYTES)
}
