//! Containment: one group's panic stops that group, never the process.
//!
//! The process is the DuckDB of a user, and the raft crate panics on states that must
//! not occur: each step runs behind a barrier, and a group that panics is given up as
//! a whole. Its memory is dropped, its log stays as it is.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a step of one group. `Err` carries the reason in words.
///
/// Unwind safety is asserted because the caller gives up everything that `step` can
/// reach when this returns an error.
pub(crate) fn contain<T>(step: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => result,
        Err(payload) => Err(format!("internal error: {}", panic_text(payload.as_ref()))),
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else {
        "panic without a text"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_reason_and_a_value_passes() {
        assert_eq!(contain(|| Ok(7)), Ok(7));
        let reason = contain::<()>(|| panic!("term {} is gone", 3)).unwrap_err();
        assert_eq!(reason, "internal error: term 3 is gone");
    }
}
