//! One Quack message in, one out: the handshake, the session, the call, the answer.
//!
//! Knows nothing of HTTP. The texts of its refusals are those of the stock server:
//! clients look for them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bytes::Bytes;
use quack_wire::protocol_1::{self, Append, Batch, Connected, Connecting, Request, Response};
use quack_wire::{Header, ResultId, SessionId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::browser::Browsers;
use crate::counts::{SessionCounters, SessionCounts};
use crate::guesses::{Guesses, Verdict, WAIT_MAX};
use crate::http::Caller;
use crate::random::random_bytes;
use crate::server::in_call;
use crate::service::{Opening, Service, ServiceError};
use crate::session::{Cause, Full, LiveResult, Place, Session, Sessions, Turn};
use crate::{Limits, ServerConfig};

/// The answer to a client that speaks later versions only.
const UNSUPPORTED_VERSION: &str = "Unsupported Quack version - server only supports version 1 of quack";
const UNSUPPORTED_MESSAGE: &str = "Unsupported message type for server";
const AUTHENTICATION_FAILED: &str = "Authentication failed";
/// For a client that cannot know whether its token is right.
const TOO_MANY_GUESSES: &str =
    "too many wrong tokens have come from this address: check the token, and try again in a minute";
const INVALID_SESSION: &str = "Invalid connection id";
const RESULT_CLOSED: &str = "Result has been closed";

/// What DuckDB writes above a stack trace.
const STACK_TRACE: &str = "Stack Trace:";

/// Sessions that may be closed at a time. Closing has threads of its own: it must not wait for the
/// statements that it ends, nor for those of others.
pub(crate) const CLOSINGS_MAX: usize = 4;

/// Memory is given out in pieces of so many bytes.
const MEMORY_UNIT: usize = 64 << 10;

/// Answers messages. Shared by all connections.
pub(crate) struct Dispatcher {
    service: Arc<dyn Service>,
    sessions: Arc<Sessions>,
    /// One permit for each service call that may run.
    calls: Arc<Semaphore>,
    /// The same for the calls that close a session.
    closings: Arc<Semaphore>,
    /// Memory for the rows that clients append, in units of [`MEMORY_UNIT`].
    memory: Arc<Semaphore>,
    browsers: Browsers,
    token: String,
    guesses: Guesses,
    duckdb_version: String,
    platform: String,
    limits: Limits,
    counters: SessionCounters,
}

impl Dispatcher {
    pub(crate) fn new(config: &ServerConfig, service: Arc<dyn Service>) -> Self {
        let names = [&config.host_names[..], &[config.listen.host().to_owned()]].concat();
        Self {
            service,
            sessions: Arc::new(Sessions::new(config.limits.clone())),
            calls: Arc::new(Semaphore::new(config.limits.requests_max)),
            closings: Arc::new(Semaphore::new(CLOSINGS_MAX)),
            memory: Arc::new(Semaphore::new(config.limits.appends_bytes_max / MEMORY_UNIT)),
            browsers: Browsers::new(&config.allow_origins, &names),
            token: config.token.clone(),
            guesses: Guesses::default(),
            duckdb_version: config.duckdb_version.clone(),
            platform: config.platform.clone(),
            limits: config.limits.clone(),
            counters: SessionCounters::default(),
        }
    }

    pub(crate) fn session_counts(&self) -> SessionCounts {
        self.counters.read()
    }

    pub(crate) fn browsers(&self) -> &Browsers {
        &self.browsers
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether a message that starts so may be a long one: it is for a session that exists.
    pub(crate) fn may_be_long(&self, start: &Bytes) -> bool {
        let Ok((header, _)) = Header::decode(start) else { return false };
        header.session().is_ok_and(|id| self.sessions.get(&id).is_some())
    }

    /// Answers one message of a client.
    ///
    /// # Errors
    /// The bytes are not a message. Everything else that can go wrong is an answer.
    pub(crate) async fn answer(
        &self,
        caller: &Caller,
        message: Bytes,
    ) -> Result<Vec<Bytes>, quack_wire::Error> {
        let (header, body) = Header::decode(&message)?;
        drop(message);
        let request = match Request::decode(header.message_type, body) {
            Err(quack_wire::Error::UnexpectedMessage { .. }) => return Ok(refusal(UNSUPPORTED_MESSAGE)),
            Err(quack_wire::Error::TooLong { what: protocol_1::SQL, found, max }) => {
                let text = format!(
                    "the SQL text has {found} bytes, and at most {max} are taken: send it in several statements, or rows by \
                     INSERT over ATTACH"
                );
                return Ok(refusal(&text));
            }
            request => request?,
        };
        if let Request::Connect(connecting) = request {
            return Ok(self.connect(caller, connecting).await);
        }
        let Ok(id) = header.session() else { return Ok(refusal(INVALID_SESSION)) };
        let Some(session) = self.sessions.get(&id) else { return Ok(refusal(&self.no_session(&id))) };
        caller.is_known();
        Ok(match self.request(session, request).await {
            Ok(response) => response.encode(""),
            Err(error) => refusal(&error.message),
        })
    }

    /// The handshake: version, token, place, and the service's own word.
    async fn connect(&self, caller: &Caller, connecting: Connecting) -> Vec<Bytes> {
        // A stock server looks at the lower end of the client's range alone, and before the token.
        if connecting.version_min > protocol_1::VERSION {
            return refusal(UNSUPPORTED_VERSION);
        }
        if let Err(text) = self.check_token(caller.from(), &connecting.token).await {
            return refusal(text);
        }
        caller.is_known();
        let place = match self.place_for(caller.from()).await {
            Ok(place) => place,
            Err(text) => return refusal(&text),
        };
        let id = match random_bytes() {
            Ok(bytes) => SessionId::from_random(bytes),
            Err(error) => return refusal(&format!("cannot draw a connection id: {error}")),
        };
        let opening = Opening {
            duckdb_version: connecting.duckdb_version,
            platform: connecting.platform,
            protocol: protocol_1::VERSION,
        };
        let session = Arc::new(Session::new(id.clone(), self.sessions.next_number(), caller.from()));
        let Some(turn) = session.turn(1).await else { return refusal(INVALID_SESSION) };
        let call = {
            let session = session.clone();
            move |service: &dyn Service, _: &mut Turn| {
                service.connect(session.id.as_str(), &opening)?;
                if place.fill(session.clone()) {
                    return Ok(());
                }
                let closed = service.disconnect(session.id.as_str());
                closed.and(Err(ServiceError::new("Connection", "the server is stopping")))
            }
        };
        match self.call(&self.calls, session, turn, call).await {
            Ok(()) => {
                self.counters.opened.count();
                self.connected().encode(id.as_str())
            }
            Err(error) => refusal(&error.message),
        }
    }

    /// A place for a new session; where all are taken, that of the session that has been silent for longest.
    async fn place_for(&self, from: IpAddr) -> Result<Place, String> {
        loop {
            let full = match self.sessions.reserve(from) {
                Ok(place) => return Ok(place),
                Err(Full::Stopping) => return Err("the server is stopping".to_owned()),
                Err(full) => full,
            };
            let of = (full == Full::Address).then_some(from);
            if let Some((session, turn)) = self.sessions.longest_silent(of) {
                self.counters.made_room.count();
                self.end_session(session, turn, Cause::Room).await;
                continue;
            }
            self.counters.without_place.count();
            let (sessions_max, address_max) =
                (self.limits.sessions_max, self.limits.sessions_per_address_max);
            tracing::warn!(%from, ?full, sessions_max, "a client was refused: no session is left");
            let silence = self.limits.room_silence_min.as_secs();
            let (whose, most) = match full {
                Full::Address => ("your address has", address_max),
                Full::Server | Full::Stopping => ("the server has", sessions_max),
            };
            return Err(format!(
                "Too many connections: {whose} its maximum of {most}, and none was silent for {silence} s; close some, \
                 or raise max_connections"
            ));
        }
    }

    /// What is said of a session that is not there.
    fn no_session(&self, id: &SessionId) -> String {
        let ended = self.sessions.end_of(id);
        ended.map_or_else(|| INVALID_SESSION.to_owned(), |ended| format!("{INVALID_SESSION}: {ended}"))
    }

    /// Compares a client's token with the right one; before that, an address with many wrong ones waits.
    async fn check_token(&self, from: IpAddr, token: &str) -> Result<(), &'static str> {
        let give_up = Instant::now() + WAIT_MAX;
        let mut place = None;
        loop {
            let now = Instant::now();
            let pause = match self.guesses.judge(from, token, &self.token, now) {
                Verdict::Right => return Ok(()),
                Verdict::Wrong { tell } => {
                    self.counters.wrong_tokens.count();
                    if let Some(count) = tell {
                        tracing::warn!(%from, count, "a client has shown a wrong token");
                    }
                    return Err(AUTHENTICATION_FAILED);
                }
                Verdict::Wait(pause) => pause,
            };
            if place.is_none() {
                place = self.guesses.wait(from, now);
            }
            if place.is_none() || now + pause > give_up {
                self.counters.slowed.count();
                return Err(TOO_MANY_GUESSES);
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn connected(&self) -> Response {
        Response::Connected(Connected {
            duckdb_version: self.duckdb_version.clone(),
            platform: self.platform.clone(),
            version: protocol_1::VERSION,
        })
    }

    /// A request in a session: waits for the session, then for a thread, then for the service.
    async fn request(&self, session: Arc<Session>, request: Request) -> Result<Response, ServiceError> {
        let invalid = || ServiceError::new("Invalid Input", INVALID_SESSION);
        let Some(turn) = session.turn(self.limits.session_requests_max).await else {
            return Err(ServiceError::new("Connection", "too many requests wait in this connection"));
        };
        if !turn.open {
            return Err(ServiceError::new("Invalid Input", self.no_session(&session.id)));
        }
        let id = session.id.clone();
        match &request {
            Request::Prepare { sql } => session.note_statement(sql),
            Request::Append(append) => {
                let Append { schema, table, .. } = append;
                let dot = if schema.is_empty() { "" } else { "." };
                session.note_statement(&format!("APPEND {schema}{dot}{table}"));
            }
            _ => {}
        }
        match request {
            // Handled before there is a session.
            Request::Connect(_) => Err(invalid()),
            Request::Prepare { sql } => {
                self.work(session, turn, move |service, turn| prepare(service, &id, turn, &sql)).await
            }
            Request::Fetch { result } => {
                self.work(session, turn, move |service, turn| fetch(service, &id, turn, result)).await
            }
            Request::Append(append) => {
                let memory = self.memory_for(append.chunk.memory_bytes).await?;
                let call = move |service: &dyn Service, _: &mut Turn| {
                    let result =
                        service.append(id.as_str(), &append.schema, &append.table, append.chunk.bytes);
                    drop(memory);
                    result
                };
                self.work(session, turn, call).await.map(|()| Response::Success)
            }
            Request::Disconnect => self.close(session, turn).await.map(|()| Response::Success),
        }
    }

    /// Waits until so many bytes are free, of those in which appended rows are read.
    async fn memory_for(&self, bytes: u64) -> Result<OwnedSemaphorePermit, ServiceError> {
        let all = self.limits.appends_bytes_max / MEMORY_UNIT;
        let units = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(MEMORY_UNIT).min(all);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let stopping = |_| ServiceError::new("Connection", "the server is stopping");
        self.memory.clone().acquire_many_owned(units).await.map_err(stopping)
    }

    /// Makes a call of a client's request, and notes whether it leaves a transaction open.
    async fn work<T: Send + 'static>(
        &self,
        session: Arc<Session>,
        turn: Turn,
        call: impl FnOnce(&dyn Service, &mut Turn) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let noted = session.clone();
        let call = move |service: &dyn Service, turn: &mut Turn| {
            let result = call(service, turn);
            noted.note_transaction(service.is_in_transaction(noted.id.as_str()));
            result
        };
        self.call(&self.calls, session, turn, call).await
    }

    /// Closes a session. The session leaves the table only when the call that closes it begins: the task that waits
    /// for this call may be dropped, and then another task can still close the session.
    async fn close(&self, session: Arc<Session>, turn: Turn) -> Result<(), ServiceError> {
        let (id, sessions) = (session.id.clone(), self.sessions.clone());
        let call = move |service: &dyn Service, turn: &mut Turn| {
            turn.open = false;
            sessions.remove(&id);
            service.disconnect(id.as_str())
        };
        self.call(&self.closings, session, turn, call).await
    }

    /// Makes one service call on a thread of its own. If the caller goes away meanwhile, the call is
    /// abandoned; the session and the thread are free only when it has really ended.
    async fn call<T: Send + 'static>(
        &self,
        threads: &Arc<Semaphore>,
        session: Arc<Session>,
        mut turn: Turn,
        call: impl FnOnce(&dyn Service, &mut Turn) -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let stopping = || ServiceError::new("Connection", "the server is stopping");
        let permit = threads.clone().acquire_owned().await.map_err(|_| stopping())?;
        let abandoned = Arc::new(AtomicBool::new(false));
        let number = session.next_call();
        // At the end of an ended call it does nothing.
        let _guard = AbandonOnDrop {
            service: self.service.clone(),
            session: session.clone(),
            number,
            abandoned: abandoned.clone(),
        };
        let service = self.service.clone();
        let task = tokio::task::spawn_blocking(move || {
            let call = || in_call(|| call(service.as_ref(), &mut turn).map_err(for_client));
            let result = session.run(number, &abandoned, call);
            drop((turn, permit));
            result
        });
        task.await.map(|result| result.unwrap_or_else(|| Err(stopping()))).unwrap_or_else(|error| {
            tracing::error!(%error, "a request has panicked");
            Err(ServiceError::new("Internal", "internal error: the request has panicked on the server"))
        })
    }

    /// Closes sessions that have been silent for too long.
    pub(crate) async fn reap(&self) {
        for (session, turn) in self.sessions.silent() {
            self.counters.silent.count();
            self.end_session(session, turn, Cause::Silence).await;
        }
    }

    /// Closes a session in the words of an administrator: what it runs is interrupted.
    pub(crate) async fn close_by_order(&self, session: Arc<Session>) {
        session.interrupt(|id| self.service.interrupt(id));
        if let Some(turn) = session.turn(usize::MAX).await
            && turn.open
        {
            self.end_session(session, turn, Cause::Order).await;
        }
    }

    /// Closes a session that its client has not closed.
    async fn end_session(&self, session: Arc<Session>, turn: Turn, cause: Cause) {
        let ended = self.sessions.note_end(&session, cause);
        tracing::info!(session = ?session.id, "{ended}");
        self.close_session(session, turn).await;
    }

    /// Closes a session without a request of its client.
    pub(crate) async fn close_session(&self, session: Arc<Session>, turn: Turn) {
        if let Err(error) = self.close(session, turn).await {
            tracing::warn!(%error, "closing a session has failed");
        }
    }

    /// Interrupts every call that runs in a session.
    pub(crate) fn interrupt_all(&self) {
        for session in self.sessions.all() {
            session.interrupt(|id| self.service.interrupt(id));
        }
    }
}

/// Abandons a call whose caller goes away before its end.
struct AbandonOnDrop {
    service: Arc<dyn Service>,
    session: Arc<Session>,
    number: u64,
    abandoned: Arc<AtomicBool>,
}

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.session.abandon(self.number, &self.abandoned, |id| self.service.interrupt(id));
    }
}

fn prepare(
    service: &dyn Service,
    id: &SessionId,
    turn: &mut Turn,
    sql: &str,
) -> Result<Response, ServiceError> {
    turn.result = None;
    let bytes = random_bytes().map_err(|error| ServiceError::new("IO", error.to_string()))?;
    let prepared = service.prepare(id.as_str(), sql)?;
    let result = ResultId::from_random(bytes);
    turn.result = Some(LiveResult { id: result, batches: 0, ended: !prepared.more });
    Ok(Response::Prepared(protocol_1::Prepared {
        types: prepared.types,
        names: prepared.names,
        needs_more_fetch: prepared.more,
        chunks: prepared.chunks,
        result,
    }))
}

fn fetch(
    service: &dyn Service,
    id: &SessionId,
    turn: &mut Turn,
    result: ResultId,
) -> Result<Response, ServiceError> {
    let live = turn.result.as_mut().filter(|live| live.id == result);
    let live = live.ok_or_else(|| ServiceError::new("Invalid Input", RESULT_CLOSED))?;
    // A client with several fetches under way asks again after the end.
    let fetched = if live.ended { Ok(Vec::new()) } else { service.fetch(id.as_str()) };
    let chunks = match fetched {
        Ok(chunks) => chunks,
        Err(error) => {
            turn.result = None;
            return Err(error);
        }
    };
    if chunks.is_empty() {
        live.ended = true;
        return Ok(Response::Fetched(Batch { chunks, index: None }));
    }
    live.batches += 1;
    Ok(Response::Fetched(Batch { chunks, index: Some(live.batches) }))
}

/// What a client is told of an error. DuckDB adds to its internal errors where in the program they arose; addresses in
/// the server's memory help those who attack it, and are for the log.
fn for_client(mut error: ServiceError) -> ServiceError {
    if let Some(at) = error.message.find(STACK_TRACE) {
        tracing::error!(error = error.message, "a statement has met an internal error");
        error.message.truncate(at);
        error.message.truncate(error.message.trim_end().len());
    }
    error
}

/// An ERROR_RESPONSE.
pub(crate) fn refusal(message: &str) -> Vec<Bytes> {
    Response::Error { message: message.to_owned() }.encode("")
}
