//! The raft crate insists on a logger: this one keeps warnings as notes and drops the rest.
//!
//! What raft tells below a warning is either in [`crate::Note`] as a typed fact, or
//! too much (one line for every message).

use std::fmt::{Arguments, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use slog::{Drain, KV, Key, Level, Logger, OwnedKVList, Record, Serializer};

/// Warnings of one group since they were last taken.
///
/// A mutex although one thread drives the core: slog wants its drains shareable.
#[derive(Debug, Clone, Default)]
pub(crate) struct Warnings(Arc<Mutex<Vec<String>>>);

/// Raft repeats itself when something is wrong; more lines than this between two
/// calls of `effects` say nothing new.
const WARNINGS_MAX: usize = 16;

impl Warnings {
    /// A logger that writes here.
    pub(crate) fn logger(&self) -> Logger {
        Logger::root(self.clone(), slog::o!())
    }

    /// Takes what has come together.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drain for Warnings {
    type Ok = ();
    type Err = slog::Never;

    fn log(&self, record: &Record<'_>, _values: &OwnedKVList) -> Result<(), slog::Never> {
        if !record.level().is_at_least(Level::Warning) {
            return Ok(());
        }
        let mut text = Text(format!("{}", record.msg()));
        // Writing into a string cannot fail.
        let _ = record.kv().serialize(record, &mut text);
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < WARNINGS_MAX {
            lines.push(text.0);
        }
        Ok(())
    }
}

struct Text(String);

impl Serializer for Text {
    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        write!(self.0, ", {key}: {value}").map_err(slog::Error::Fmt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_kept_with_their_values_and_lesser_lines_are_not() {
        let warnings = Warnings::default();
        let logger = warnings.logger();
        slog::info!(logger, "ordinary"; "term" => 1);
        slog::warn!(logger, "odd"; "term" => 2);
        assert_eq!(warnings.take(), ["odd, term: 2"]);
        assert!(warnings.take().is_empty());
        for _ in 0..100 {
            slog::error!(logger, "again and again");
        }
        assert_eq!(warnings.take().len(), WARNINGS_MAX);
    }
}
