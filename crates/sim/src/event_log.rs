//! What happened in a run, line by line.
//!
//! Lines are made only in a run that keeps them: a sweep runs without. Two runs of a
//! seed must give the same bytes.

use std::fmt::Arguments;

/// The lines of one run.
#[derive(Debug, Default)]
pub struct EventLog {
    /// `None` when the log does not keep its lines.
    lines: Option<Vec<String>>,
    /// Lines said, also those that were not kept.
    pub count: u64,
}

impl EventLog {
    /// A log that keeps its lines, or not.
    pub fn new(is_kept: bool) -> Self {
        Self { lines: is_kept.then(Vec::new), count: 0 }
    }

    /// One line. `format_args!` is cheap until it is written.
    pub fn say(&mut self, time_us: u64, line: Arguments<'_>) {
        self.count += 1;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>10}.{:03} ms  {line}", time_us / 1000, time_us % 1000));
        }
    }

    /// The lines that were kept.
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }
}
