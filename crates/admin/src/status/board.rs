//! Where the node's figures are kept between the one who takes them and those who ask.
//!
//! Asking never waits for the node: a stuck database leaves old figures behind, and their age says so.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::Table;

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It opens the database and reads its log.
    Starting,
    /// It serves.
    Serving,
    /// It finishes what runs and ends.
    Stopping,
}

impl Phase {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Stopping => "stopping",
        }
    }
}

/// Figures of one moment.
#[derive(Debug, Clone, Default)]
struct Figures {
    raft: Table,
    servers: Table,
    measured: Table,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    phase_since: Instant,
    figures: Option<(Instant, Figures)>,
    failure: Option<String>,
    failures: u64,
}

/// The board.
#[derive(Debug)]
pub struct Board {
    started: SystemTime,
    stale_after: Duration,
    state: Mutex<State>,
}

/// What the board shows at one moment.
#[derive(Debug, Clone)]
pub struct View {
    /// What the process is doing.
    pub phase: Phase,
    /// `quack_raft_status()`, as it was last answered.
    pub raft: Table,
    /// `quack_server_list()`, as it was last answered.
    pub servers: Table,
    /// `quack_metrics()`, as it was last answered.
    pub measured: Table,
    /// Time since then; `None` when there was no answer yet.
    pub age: Option<Duration>,
    /// Whether that is too long ago, while the node should answer.
    pub stale: bool,
    /// Why the last attempt to ask failed.
    pub failure: Option<String>,
    /// Attempts that failed since the start.
    pub failures: u64,
    /// When the process started.
    pub started: SystemTime,
}

impl Board {
    /// An empty board of a process that starts now.
    pub fn new(stale_after: Duration) -> Self {
        let state = State {
            phase: Phase::Starting,
            phase_since: Instant::now(),
            figures: None,
            failure: None,
            failures: 0,
        };
        Self { started: SystemTime::now(), stale_after, state: Mutex::new(state) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is one assignment after another, so that a panic in between leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the phase of the process. Once it is stopping, a late call from another thread has no effect.
    pub fn set_phase(&self, phase: Phase) {
        let mut state = self.lock();
        if state.phase == Phase::Stopping {
            return;
        }
        state.phase = phase;
        state.phase_since = Instant::now();
    }

    /// Puts up new figures.
    pub fn put(&self, raft: Table, servers: Table, measured: Table) {
        let mut state = self.lock();
        state.figures = Some((Instant::now(), Figures { raft, servers, measured }));
        state.failure = None;
    }

    /// Notes that the node did not answer. The old figures stay, and age.
    pub fn fail(&self, reason: String) {
        let mut state = self.lock();
        state.failure = Some(reason);
        state.failures += 1;
    }

    /// What the board shows at a moment.
    pub fn view(&self, now: Instant) -> View {
        let state = self.lock();
        let age = state.figures.as_ref().map(|(taken, _)| now.saturating_duration_since(*taken));
        // A node that has just begun to serve had no chance to answer yet.
        let waited = age.unwrap_or_else(|| now.saturating_duration_since(state.phase_since));
        let figures = state.figures.as_ref().map(|(_, figures)| figures.clone()).unwrap_or_default();
        View {
            phase: state.phase,
            raft: figures.raft,
            servers: figures.servers,
            measured: figures.measured,
            age,
            stale: state.phase == Phase::Serving && waited > self.stale_after,
            failure: state.failure.clone(),
            failures: state.failures,
            started: self.started,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_age_and_are_stale_while_the_node_should_answer() {
        let board = Board::new(Duration::from_secs(10));
        let soon = Instant::now() + Duration::from_secs(5);
        let late = soon + Duration::from_secs(60);
        assert!(!board.view(late).stale, "a node that starts may take its time");
        board.set_phase(Phase::Serving);
        assert!(!board.view(soon).stale && board.view(late).stale, "never answered");
        board.put(Table::default(), Table::default(), Table::default());
        assert!(!board.view(soon).stale && board.view(late).stale, "answered once");
        board.fail("stuck".to_owned());
        let view = board.view(late);
        assert_eq!((view.failure.as_deref(), view.failures), (Some("stuck"), 1));
        board.put(Table::default(), Table::default(), Table::default());
        assert_eq!(board.view(soon).failure, None);
        board.set_phase(Phase::Stopping);
        assert!(!board.view(late).stale, "a node that stops answers no more");
        board.set_phase(Phase::Serving);
        assert_eq!(board.view(late).phase, Phase::Stopping);
    }
}
