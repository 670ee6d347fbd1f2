//! Threads that contain their panics and can be waited for with a limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::Error;
use crate::shared::Shared;

/// Stack of a thread. A definition, such as the expression of a CHECK, is read, copied and written by recursion, here as in
/// the client's thread that has taken it; the main thread of a process has 8 MiB. Only pages that are used take memory.
pub const STACK_BYTES: usize = 64 << 20;

/// A thread of the node.
#[derive(Debug)]
pub(crate) struct Thread {
    handle: JoinHandle<()>,
    /// Disconnected when the thread has ended.
    done: Receiver<()>,
}

/// Runs `body` on a thread of its own. A panic degrades the node and ends there.
pub(crate) fn spawn(
    name: &'static str,
    shared: Arc<Shared>,
    body: impl FnOnce() + Send + 'static,
) -> Result<Thread, Error> {
    let (alive, done) = channel::<()>();
    let run = move || {
        contain(&shared, name, body);
        drop(alive);
    };
    let builder = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    let handle = builder.spawn(run).map_err(Error::io("start", name))?;
    Ok(Thread { handle, done })
}

/// Runs `body`; a panic in it degrades the node.
pub(crate) fn contain(shared: &Shared, name: &str, body: impl FnOnce()) {
    // Unwind safety: after a panic the node serves nothing any more, so no thread reads
    // what `body` left half done, except through locks around plain values.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(body)) {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text");
        shared.degrade(&format!("internal error in {name}: {text}"));
    }
}

impl Thread {
    /// Waits for the end of the thread until the deadline. False when it goes on.
    pub fn join_until(self, deadline: Instant) -> bool {
        // A thread that stops the node cannot wait for itself.
        if self.handle.thread().id() == std::thread::current().id() {
            return true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        match self.done.recv_timeout(left) {
            Err(RecvTimeoutError::Timeout) => false,
            // Its panics are contained, so there is nothing to learn from the result.
            Ok(()) | Err(RecvTimeoutError::Disconnected) => self.handle.join().is_ok(),
        }
    }
}
