//! Runs the requests of network clients in DuckDB sessions.

use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use quack_apply::StoreError;
use quack_net::{Opening, Prepared, Service, ServiceError};

use crate::ffi::{self, Error, Sink};
use crate::store::AttachedStore;

/// Chunks in one answer: what the stock server sends by default.
const CHUNKS_PER_ANSWER: usize = 12;

/// What a server lets the sessions of its clients do.
#[derive(Debug, Clone, Default)]
pub struct ClientRules {
    /// Level that a session begins with; empty for what the process has set.
    pub consistency: String,
    /// Whether they may use files and the other databases of the process.
    pub allow_host_access: bool,
}

/// One DuckDB session per client session.
pub struct Sessions {
    store: Arc<AttachedStore>,
    rules: ClientRules,
    sessions: Mutex<HashMap<String, Arc<Session>>>,
}

/// A C++ session. The server makes one call at a time, `interrupt` excepted; the last owner closes it.
struct Session(*mut c_void);
// SAFETY: calls come one at a time, and interrupting is allowed from any thread.
unsafe impl Send for Session {}
unsafe impl Sync for Session {}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: closed once, when no thread uses it any more.
        unsafe { ffi::quack_cpp_session_close(self.0) };
    }
}

impl Sessions {
    pub fn new(store: Arc<AttachedStore>, rules: ClientRules) -> Self {
        Self { store, rules, sessions: Mutex::default() }
    }

    fn get(&self, session: &str) -> Result<Arc<Session>, ServiceError> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions
            .get(session)
            .cloned()
            .ok_or_else(|| ServiceError::new("Invalid Input", "Invalid connection id"))
    }
}

/// A client of protocol 1 puts its own class in front of the message.
fn answer(error: StoreError) -> ServiceError {
    ServiceError::new(error.kind.name(), error.message)
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

// SAFETY of all calls below: the session is alive, since its Arc is held for the call, and what is passed lives for it.
impl Service for Sessions {
    fn connect(&self, session: &str, _opening: &Opening) -> Result<(), ServiceError> {
        let mut error = Error::none();
        let consistency = ffi::Bytes::from(self.rules.consistency.as_str());
        let handle = unsafe {
            let allow_host_access = self.rules.allow_host_access;
            ffi::quack_cpp_session_open(self.store.raw(), consistency, allow_host_access, &raw mut error)
        };
        error.take().map_err(answer)?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.insert(session.to_owned(), Arc::new(Session(handle)));
        Ok(())
    }

    fn prepare(&self, session: &str, sql: &str) -> Result<Prepared, ServiceError> {
        let session = self.get(session)?;
        let (mut types, mut names) = (Vec::new(), Vec::new());
        let mut error = Error::none();
        unsafe {
            let (types, names) = (Sink::into_vec(&mut types), Sink::into_vec(&mut names));
            ffi::quack_cpp_session_query(session.0, ffi::Bytes::from(sql), types, names, &raw mut error);
        }
        error.take().map_err(answer)?;
        let (chunks, more) = fetch(&session)?;
        Ok(Prepared { types, names: names.iter().map(text).collect(), chunks, more })
    }

    fn fetch(&self, session: &str) -> Result<Vec<Bytes>, ServiceError> {
        let session = self.get(session)?;
        Ok(fetch(&session)?.0)
    }

    fn append(&self, session: &str, schema: &str, table: &str, chunk: Bytes) -> Result<(), ServiceError> {
        let session = self.get(session)?;
        let mut error = Error::none();
        let (schema, table) = (ffi::Bytes::from(schema), ffi::Bytes::from(table));
        unsafe {
            ffi::quack_cpp_session_append(session.0, schema, table, ffi::Bytes::new(&chunk), &raw mut error);
        }
        error.take().map_err(answer)
    }

    fn is_in_transaction(&self, session: &str) -> bool {
        self.get(session).is_ok_and(|session| unsafe { ffi::quack_cpp_session_in_transaction(session.0) })
    }

    fn disconnect(&self, session: &str) -> Result<(), ServiceError> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = sessions.remove(session);
        drop(sessions);
        drop(closed);
        Ok(())
    }

    fn interrupt(&self, session: &str) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(session) = sessions.get(session) {
            unsafe { ffi::quack_cpp_session_interrupt(session.0) };
        }
    }
}

fn fetch(session: &Session) -> Result<(Vec<Bytes>, bool), ServiceError> {
    let mut chunks = Vec::new();
    let mut error = Error::none();
    // SAFETY: the session is alive, and the server makes one call at a time.
    let more = unsafe {
        ffi::quack_cpp_session_fetch(
            session.0,
            CHUNKS_PER_ANSWER,
            Sink::into_vec(&mut chunks),
            &raw mut error,
        )
    };
    error.take().map_err(answer)?;
    Ok((chunks, more))
}
