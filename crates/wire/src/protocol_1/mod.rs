//! Protocol version 1, spoken by DuckDB 1.5.3 to 1.5.6.
//!
//! The bodies of its messages, one enum for each direction. An object's fields
//! come in ascending order; a field with its default value (zero, false, empty)
//! is left out, except where the code says otherwise. An unknown field is an
//! error: version 1 clients and servers refuse them too.
//!
//! Known from the traffic of the stock client and server 1.5.5; the recorded
//! messages in `tests/vectors` are the reference.

mod request;
mod response;

pub use request::{Append, Connecting, Request, SQL};
pub use response::{Batch, Connected, Prepared, Response};

/// The number of this version in the handshake.
pub const VERSION: u64 = 1;

/// Longest token in bytes. The stock server sets no limit; tokens in use have up to
/// a few hundred bytes, a JSON web token a few thousand.
pub const TOKEN_BYTES_MAX: usize = 64 << 10;

/// Longest name in bytes (schema, table, column, version, platform) that is accepted.
pub const NAME_BYTES_MAX: usize = 64 << 10;

/// Longest error message in bytes that is accepted. It may quote a whole statement.
pub const ERROR_BYTES_MAX: usize = quack_types::limits::SQL_BYTES_MAX + (64 << 10);

/// Most columns of a result. DuckDB itself becomes unusable long before.
pub const COLUMNS_MAX: usize = 65_536;

/// Most chunks in one answer. The stock server sends 12.
pub const CHUNKS_MAX: usize = 65_536;
