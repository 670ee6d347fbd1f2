//! The table of sessions: who is in, who waits, who has been silent for too long.
//!
//! Invariants: a session is in the table from the success of its `connect` call until its
//! `disconnect` call begins; a service call runs only while its thread holds the
//! session's lock, so that calls of one session never overlap; an interrupt is delivered only
//! while a call runs, so that it cannot hit the next one.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use quack_wire::{ResultId, SessionId};
use tokio::sync::{Mutex as FairMutex, OwnedMutexGuard};

use crate::Limits;

/// Characters of a statement that are kept to be shown.
const STATEMENT_CHARS_MAX: usize = 1000;

/// So many sessions that the server has closed are remembered, to tell their clients why.
const ENDED_MAX: usize = 1024;

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

/// What a client has asked for last.
#[derive(Debug, Clone)]
struct Statement {
    text: String,
    began: SystemTime,
}

/// A session, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its number among the sessions of this server. The id, which the client shows with each request, is a secret.
    pub number: u64,
    /// Where its client has connected from.
    pub from: IpAddr,
    /// When it was opened.
    pub opened: SystemTime,
    /// Whether a request of it runs.
    pub is_active: bool,
    /// Whether it has a transaction open, or a result that is not fetched to its end.
    pub in_transaction: bool,
    /// The last statement, or its beginning, and when it came.
    pub statement: Option<(String, SystemTime)>,
    /// For how long its client has not been heard of.
    pub silent_for: Duration,
}

/// One session.
#[derive(Debug)]
pub(crate) struct Session {
    pub id: SessionId,
    number: u64,
    /// Where its client has connected from.
    from: IpAddr,
    opened: SystemTime,
    statement: Mutex<Option<Statement>>,
    state: Arc<FairMutex<SessionState>>,
    waiting: AtomicUsize,
    /// Numbers the calls, so that an interrupt that comes too late hits none.
    calls: AtomicU64,
    /// The call that runs now. Interrupts are given while this is held.
    running: Mutex<Option<u64>>,
    used: Mutex<Instant>,
    /// Whether its last call has left a transaction open, or a result that is not fetched to its end.
    in_transaction: AtomicBool,
}

/// The right to make calls in a session. Waiting requests get it in the order in which they asked.
pub(crate) type Turn = OwnedMutexGuard<SessionState>;

impl Session {
    pub(crate) fn new(id: SessionId, number: u64, from: IpAddr) -> Self {
        Self {
            id,
            number,
            from,
            opened: SystemTime::now(),
            statement: Mutex::default(),
            state: Arc::new(FairMutex::new(SessionState { open: true, result: None })),
            waiting: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            running: Mutex::new(None),
            used: Mutex::new(Instant::now()),
            in_transaction: AtomicBool::new(false),
        }
    }

    /// Notes what the client asks for.
    pub(crate) fn note_statement(&self, text: &str) {
        let text = text.chars().take(STATEMENT_CHARS_MAX).collect();
        *lock(&self.statement) = Some(Statement { text, began: SystemTime::now() });
    }

    fn info(&self) -> SessionInfo {
        SessionInfo {
            number: self.number,
            from: self.from,
            opened: self.opened,
            is_active: lock(&self.running).is_some(),
            in_transaction: self.in_transaction.load(Ordering::Relaxed),
            statement: lock(&self.statement).clone().map(|statement| (statement.text, statement.began)),
            silent_for: self.silent_for(),
        }
    }

    /// Notes what a call has left behind. The caller holds the turn.
    pub(crate) fn note_transaction(&self, is_open: bool) {
        self.in_transaction.store(is_open, Ordering::Relaxed);
    }

    /// Longest time that the session may be silent now.
    fn silence_max(&self, limits: &Limits) -> Duration {
        if self.in_transaction.load(Ordering::Relaxed) {
            limits.session_idle_time_max.min(limits.transaction_idle_time_max)
        } else {
            limits.session_idle_time_max
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

    /// The session's lock, if no request holds it or waits for it.
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

    /// The turn of a session that has been silent for so long.
    fn idle_turn(&self, time: Duration) -> Option<Turn> {
        if self.silent_for() < time {
            return None;
        }
        // A client that holds the lock or waits for it has a request, and is not silent.
        let turn = self.try_turn()?;
        // A request may have come and gone between the two looks.
        (self.silent_for() >= time && turn.open).then_some(turn)
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

/// What the server closes a session for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Silence,
    /// Silence, and another client needed its place.
    Room,
    /// An administrator has said so.
    Order,
}

/// Why a session that its client has not closed is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    silence: Duration,
    in_transaction: bool,
    cause: Cause,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let within = if self.in_transaction { " within a transaction, which is rolled back" } else { "" };
        let seconds = self.silence.as_secs();
        match self.cause {
            Cause::Silence => {
                write!(f, "the server has closed this connection after {seconds} s of silence{within}")
            }
            Cause::Room => write!(
                f,
                "the server has closed this connection after {seconds} s of silence{within}, to make room for another client"
            ),
            Cause::Order => write!(f, "an administrator has closed this connection{within}"),
        }?;
        f.write_str("; connect again")
    }
}

/// Why there is no place for a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// All places are taken, but for those that are kept for this machine.
    Server,
    /// The client's address has as many as one address may have.
    Address,
    /// The server is stopping.
    Stopping,
}

/// All sessions of a server.
#[derive(Debug)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
    /// How many there have been.
    opened: AtomicU64,
    limits: Limits,
}

#[derive(Debug, Default)]
struct Table {
    sessions: HashMap<SessionId, Arc<Session>>,
    /// Where the clients are whose `connect` call is under way: they have a place already.
    opening: Vec<IpAddr>,
    /// The sessions that the server has closed last.
    ended: VecDeque<(SessionId, Ended)>,
    /// Set when the server stops: no session opens any more.
    closed: bool,
}

/// A place in the table for a session that is being opened.
pub(crate) struct Place {
    sessions: Arc<Sessions>,
    from: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = lock(&self.sessions.table);
        if let Some(place) = table.opening.iter().position(|from| *from == self.from) {
            table.opening.swap_remove(place);
        }
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
    pub(crate) fn new(limits: Limits) -> Self {
        Self { table: Mutex::default(), opened: AtomicU64::new(0), limits }
    }

    /// The number of a session that is about to be opened.
    pub(crate) fn next_number(&self) -> u64 {
        self.opened.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// All sessions, in the order in which they were opened.
    pub(crate) fn infos(&self) -> Vec<SessionInfo> {
        let mut infos: Vec<_> = self.all().iter().map(|session| session.info()).collect();
        infos.sort_by_key(|info| info.number);
        infos
    }

    pub(crate) fn numbered(&self, number: u64) -> Option<Arc<Session>> {
        self.all().into_iter().find(|session| session.number == number)
    }

    /// Takes a place for a new session of a client from an address. Clients of this machine may take those that are kept
    /// for them, and as many as there are.
    pub(crate) fn reserve(self: &Arc<Self>, from: IpAddr) -> Result<Place, Full> {
        let mut table = lock(&self.table);
        if table.closed {
            return Err(Full::Stopping);
        }
        let is_local = from.is_loopback();
        let kept = if is_local { 0 } else { self.limits.sessions_reserved };
        if table.sessions.len() + table.opening.len() + kept >= self.limits.sessions_max {
            return Err(Full::Server);
        }
        if !is_local {
            let open = table.sessions.values().filter(|session| session.from == from).count();
            let opening = table.opening.iter().filter(|other| **other == from).count();
            if open + opening >= self.limits.sessions_per_address_max {
                return Err(Full::Address);
            }
        }
        table.opening.push(from);
        Ok(Place { sessions: self.clone(), from })
    }

    /// Whether a client from another machine would get a place now.
    pub(crate) fn have_room(&self) -> bool {
        let table = lock(&self.table);
        let taken = table.sessions.len() + table.opening.len() + self.limits.sessions_reserved;
        let is_free = taken < self.limits.sessions_max;
        drop(table);
        is_free || self.all().iter().any(|session| session.silent_for() >= self.limits.room_silence_min)
    }

    /// Notes why the server closes a session.
    pub(crate) fn note_end(&self, session: &Session, cause: Cause) -> Ended {
        let (silence, in_transaction) =
            (session.silent_for(), session.in_transaction.load(Ordering::Relaxed));
        let ended = Ended { silence, in_transaction, cause };
        let mut table = lock(&self.table);
        table.ended.push_back((session.id.clone(), ended));
        if table.ended.len() > ENDED_MAX {
            table.ended.pop_front();
        }
        ended
    }

    /// Why a session is gone, if the server has closed it.
    pub(crate) fn end_of(&self, id: &SessionId) -> Option<Ended> {
        lock(&self.table).ended.iter().rev().find(|(ended, _)| ended == id).map(|(_, ended)| *ended)
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

    /// The sessions that have been silent for longer than they may. The turns come with them: no request
    /// can use these sessions meanwhile.
    pub(crate) fn silent(&self) -> Vec<(Arc<Session>, Turn)> {
        let take = |session: Arc<Session>| {
            let time = session.silence_max(&self.limits);
            session.idle_turn(time).map(|turn| (session, turn))
        };
        self.all().into_iter().filter_map(take).collect()
    }

    /// Of the sessions that may make room for a new one, the one that has been silent for longest, with its turn. For a
    /// client whose address has too many already it is one of the same address.
    pub(crate) fn longest_silent(&self, of: Option<IpAddr>) -> Option<(Arc<Session>, Turn)> {
        let time = self.limits.room_silence_min;
        let mut silent: Vec<_> =
            self.all().into_iter().map(|session| (session.silent_for(), session)).collect();
        silent.retain(|(silence, session)| *silence >= time && of.is_none_or(|from| session.from == from));
        silent.sort_by_key(|(silence, _)| std::cmp::Reverse(*silence));
        silent.into_iter().find_map(|(_, session)| session.idle_turn(time).map(|turn| (session, turn)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(sessions: &Arc<Sessions>, from: IpAddr, number: u8) -> Result<(), Full> {
        let session = Session::new(SessionId::from_random([number; 16]), number.into(), from);
        assert!(sessions.reserve(from)?.fill(Arc::new(session)));
        Ok(())
    }

    #[test]
    fn an_address_has_its_share_and_this_machine_has_places_of_its_own() {
        let limits = Limits {
            sessions_max: 8,
            sessions_reserved: 2,
            sessions_per_address_max: 4,
            ..Limits::default()
        };
        let sessions = Arc::new(Sessions::new(limits));
        let [here, one, other] = [[127, 0, 0, 1], [10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        for number in 0..4 {
            assert_eq!(open(&sessions, one, number), Ok(()));
        }
        assert_eq!(open(&sessions, one, 4), Err(Full::Address));
        assert_eq!((open(&sessions, other, 5), open(&sessions, other, 6)), (Ok(()), Ok(())));
        assert_eq!((open(&sessions, other, 7), sessions.have_room()), (Err(Full::Server), false));
        assert_eq!((open(&sessions, here, 8), open(&sessions, here, 9)), (Ok(()), Ok(())));
        assert_eq!(open(&sessions, here, 10), Err(Full::Server));
        sessions.remove(&SessionId::from_random([0; 16]));
        assert_eq!(open(&sessions, other, 11), Err(Full::Server), "what is kept is not full again");
        sessions.remove(&SessionId::from_random([1; 16]));
        sessions.remove(&SessionId::from_random([2; 16]));
        assert!(sessions.have_room());
        let place = sessions.reserve(other);
        assert_eq!((place.is_ok(), sessions.have_room()), (true, false));
        drop(place);
        assert!(sessions.have_room(), "a client that fails to connect gives its place back");
        sessions.close();
        assert_eq!(open(&sessions, here, 12), Err(Full::Stopping));
    }

    fn session() -> Session {
        Session::new(SessionId::from_random([7; 16]), 1, IpAddr::from([127, 0, 0, 1]))
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
