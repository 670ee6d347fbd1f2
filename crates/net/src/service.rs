//! What the host of a server implements: it runs the statements.

use bytes::Bytes;

/// The answer of a service to a request that has failed.
///
/// Protocol 1 sends the message alone; later protocols send the class too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// DuckDB's name of the exception's class, such as `Catalog` or `Constraint`.
    pub exception_type: String,
    /// The message, without the class: the client puts its own in front.
    pub message: String,
}

impl ServiceError {
    /// An error of the given class.
    pub fn new(exception_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self { exception_type: exception_type.into(), message: message.into() }
    }
}

/// Who opens a session. The token has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opening {
    /// The client's DuckDB version as it says, such as `v1.5.5`; not to be relied on.
    pub duckdb_version: String,
    /// The client's platform as it says, such as `linux_amd64`.
    pub platform: String,
    /// The protocol version of the session: in which form chunks are to be serialized.
    pub protocol: u64,
}

/// What running a text has brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// Each column's serialized LogicalType object, with the 0xFFFF that closes it.
    pub types: Vec<Bytes>,
    /// Each column's name.
    pub names: Vec<String>,
    /// The first rows: serialized DataChunk objects, each with the 0xFFFF that closes it.
    pub chunks: Vec<Bytes>,
    /// Whether there may be more rows to [`Service::fetch`].
    pub more: bool,
}

/// Runs the requests of clients.
///
/// Calls block, and are made on threads that are kept for that, at most
/// [`Limits::requests_max`](crate::Limits::requests_max) at a time and four more that close sessions.
/// What the server guarantees:
/// - all calls of one session, [`interrupt`](Service::interrupt) excepted, come one after the other;
/// - `connect` is the first of them, and if it has succeeded, `disconnect` is the last;
/// - `fetch` is called only while the result of the last `prepare` has not ended;
/// - a panic is caught and becomes an error of that one request.
pub trait Service: Send + Sync + 'static {
    /// Opens a session under an id that the server has drawn. The id is a secret.
    fn connect(&self, session: &str, opening: &Opening) -> Result<(), ServiceError>;

    /// Runs a text of one or more statements. Its result replaces the session's former one, which
    /// is closed also when this fails.
    fn prepare(&self, session: &str, sql: &str) -> Result<Prepared, ServiceError>;

    /// The next rows of the session's result: serialized DataChunk objects as in
    /// [`Prepared::chunks`]; none when the result has ended.
    fn fetch(&self, session: &str) -> Result<Vec<Bytes>, ServiceError>;

    /// Adds the rows of one chunk to a table. `schema` may be empty. The chunk is a whole
    /// serialized DataChunk object, with the 0xFFFF that closes it. Its structure has been checked;
    /// whether its types are those of the table, and what its values are, has not. It may have more
    /// rows than a vector of DuckDB (up to [`quack_wire::skim::CHUNK_ROWS_MAX`]): some clients send
    /// whole record batches.
    fn append(&self, session: &str, schema: &str, table: &str, chunk: Bytes) -> Result<(), ServiceError>;

    /// Whether the session has a transaction open, or a result that is not fetched to its end.
    fn is_in_transaction(&self, session: &str) -> bool;

    /// Closes a session: its client has said so, has been silent for too long, or the server stops.
    /// Rolls an open transaction back. The session is gone even when this returns an error.
    fn disconnect(&self, session: &str) -> Result<(), ServiceError>;

    /// Interrupts what the session is running now: its client has gone away, or the server stops.
    /// Called from any thread, only while another call of the session runs, which may be `connect` or
    /// `disconnect`. Must not block.
    fn interrupt(&self, session: &str);
}
