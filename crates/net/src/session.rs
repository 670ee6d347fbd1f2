//! The table of sessions: who is in, who waits, who has been silent for too long.
//!
//! Invariants: a session is in the table from the success of its `connect` call until its
//! `disconnect` call begins; a service call runs only while its thread holds the
//! session's lock, so that calls of one session never overlap; an interrupt is delivered only
//! while a call runs, so that it cannot hit the next one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quack_wire::{ResultId, SessionId};
use tokio::sync::{Mutex as FairMutex, OwnedMutexGuard};

/// Locks a mutex whose data are whole at every moment, so that a panic elsewhere is no reason to stop.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one result of a session that is still of use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LiveResult {
    pub id: ResultId,
    /// Batches that have been fetched.
    pub batches: u64,
    /// Whether the service has no more rows.
    pub ended: bool,
}

/// What the holder of a session's lock may change.
#[derive(Debug)]
pub(crate) struct SessionState {
    /// False once the session's `disconnect` call has begun.
    pub open: bool,
    pub result: Option<LiveResult>,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub id: SessionId,
    state: Arc<FairMutex<SessionState>>,
    waiting: AtomicUsize,
    /// Numbers the calls, so that an interrupt that comes too late hits none.
    calls: AtomicU64,
    /// The call that runs now. Interrupts are given while this is held.
    running: Mutex<Option<u64>>,
    used: Mutex<Instant>,
}

/// The right to make calls in a session. Whoever waits gets it in the order of asking.
pub(crate) type Turn = OwnedMutexGuard<SessionState>;

impl Session {
    pub(crate) fn new(id: SessionId) -> Self {
        Self {
            id,
            state: Arc::new(FairMutex::new(SessionState { open: true, result: None })),
            waiting: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            running: Mutex::new(None),
            used: Mutex::new(Instant::now()),
        }
    }

    /// Waits until no other request of this session runs. `None`: too many wait already.
    pub(crate) async fn turn(&self, waiting_max: usize) -> Option<Turn> {
        let waiting = Waiting::enter(&self.waiting, waiting_max)?;
        let turn = self.state.clone().lock_owned().await;
        drop(waiting);
        self.touch();
        Some(turn)
    }

    /// The session's lock if nobody has it or waits for it.
    pub(crate) fn try_turn(&self) -> Option<Turn> {
        self.state.clone().try_lock_owned().ok()
    }

    /// Notes that the client has been heard of.
    pub(crate) fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    /// Announces a call, which another thread is going to run.
    pub(crate) fn next_call(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Runs an announced call and marks it as running meanwhile. The caller holds the turn. `None`:
    /// the call has been abandoned before it began.
    pub(crate) fn run<T>(&self, number: u64, abandoned: &AtomicBool, call: impl FnOnce() -> T) -> Option<T> {
        struct Running<'a>(&'a Session);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                *lock(&self.0.running) = None;
                self.0.touch();
            }
        }
        let mut running = lock(&self.running);
        if abandoned.load(Ordering::Relaxed) {
            return None;
        }
        *running = Some(number);
        drop(running);
        let _running = Running(self);
        Some(call())
    }

    /// Abandons a call: one that has not begun never will, one that runs is interrupted. It cannot
    /// end before `interrupt` returns.
    pub(crate) fn abandon(&self, number: u64, abandoned: &AtomicBool, interrupt: impl FnOnce(&str)) {
        let running = lock(&self.running);
        abandoned.store(true, Ordering::Relaxed);
        if *running == Some(number) {
            interrupt(self.id.as_str());
        }
    }

    /// Calls `interrupt` if a call runs.
    pub(crate) fn interrupt(&self, interrupt: impl FnOnce(&str)) {
        let running = lock(&self.running);
        if running.is_some() {
            interrupt(self.id.as_str());
        }
    }

    fn silent_for(&self) -> Duration {
        lock(&self.used).elapsed()
    }
}

/// Counts a request that waits for its turn, also when it gives up.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, max: usize) -> Option<Self> {
        let enter = |waiting| (waiting < max).then_some(waiting + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).ok().map(|_| Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All sessions of a server.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
    sessions_max: usize,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<SessionId, Arc<Session>>,
    /// Sessions whose `connect` call is under way: they have a place already.
    opening: usize,
    /// Set when the server stops: no session opens any more.
    closed: bool,
}

/// A place in the table for a session that is being opened.
pub(crate) struct Place {
    sessions: Arc<Sessions>,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.sessions.table).opening -= 1;
    }
}

impl Place {
    /// Puts the session into the table. False: the server is stopping, the session must be closed.
    pub(crate) fn fill(self, session: Arc<Session>) -> bool {
        let mut table = lock(&self.sessions.table);
        if table.closed {
            return false;
        }
        table.sessions.insert(session.id.clone(), session);
        true
    }
}

impl Sessions {
    pub(crate) fn new(sessions_max: usize) -> Self {
        Self { table: Mutex::default(), sessions_max }
    }

    /// Takes a place for a new session; `None` when there is none left.
    pub(crate) fn reserve(self: &Arc<Self>) -> Option<Place> {
        let mut table = lock(&self.table);
        if table.closed || table.sessions.len() + table.opening >= self.sessions_max {
            return None;
        }
        table.opening += 1;
        Some(Place { sessions: self.clone() })
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<Arc<Session>> {
        lock(&self.table).sessions.get(id).cloned()
    }

    pub(crate) fn remove(&self, id: &SessionId) {
        lock(&self.table).sessions.remove(id);
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.table).sessions.len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        lock(&self.table).sessions.values().cloned().collect()
    }

    /// Lets no further session in, and takes out all that are there.
    pub(crate) fn close(&self) -> Vec<Arc<Session>> {
        let mut table = lock(&self.table);
        table.closed = true;
        table.sessions.drain().map(|(_, session)| session).collect()
    }

    /// The sessions that are idle and have been silent for so long. The turns come with them: nobody
    /// else can use these sessions meanwhile.
    pub(crate) fn silent(&self, time: Duration) -> Vec<(Arc<Session>, Turn)> {
        let mut silent = Vec::new();
        for session in self.all() {
            if session.silent_for() < time {
                continue;
            }
            // Whoever holds the lock or waits for it has a request, and is not silent.
            let Some(turn) = session.try_turn() else { continue };
            // A request may have come and gone between the two looks.
            if session.silent_for() >= time && turn.open {
                silent.push((session, turn));
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(SessionId::from_random([7; 16]))
    }

    #[test]
    fn an_abandoned_call_is_interrupted_while_it_runs_and_at_no_other_time() {
        let session = session();
        let (first, second) = (session.next_call(), session.next_call());
        let abandoned = AtomicBool::new(false);
        let interrupts = AtomicUsize::new(0);
        let abandon = |number| {
            session.abandon(number, &AtomicBool::new(false), |_| {
                interrupts.fetch_add(1, Ordering::Relaxed);
            });
            interrupts.load(Ordering::Relaxed)
        };
        assert_eq!(abandon(first), 0);
        let seen = session.run(first, &abandoned, || (abandon(second), abandon(first)));
        assert_eq!(seen, Some((0, 1)));
        assert_eq!(abandon(first), 1);
        assert_eq!(session.run(second, &abandoned, || abandon(first)), Some(1));
    }

    #[test]
    fn a_call_that_was_abandoned_before_it_began_never_runs() {
        let session = session();
        let number = session.next_call();
        let abandoned = AtomicBool::new(false);
        session.abandon(number, &abandoned, |_| panic!("nothing to interrupt"));
        assert_eq!(session.run(number, &abandoned, || panic!("it runs")), None::<()>);
    }
}
