//! Bounds on what is accepted, with the reason for each number.

/// Bytes at which a transaction that is being written is cut into parts.
///
/// An entry is held in memory a few times (log buffer, one message per peer,
/// apply queue), so this bounds the memory of the pipeline; 4 MiB is about
/// fifty thousand rows of 75 bytes, far past the point where bigger batches
/// apply faster.
pub const PART_BYTES: usize = 4 << 20;

/// Largest Raft entry in bytes. Only a single row can make an entry that is
/// larger than [`PART_BYTES`], since a row is never split; this bounds the row.
pub const ENTRY_BYTES_MAX: usize = 32 << 20;

/// Largest HTTP request body in bytes that a client may send.
///
/// A stock client sends one chunk of at most 2048 rows per APPEND; 64 MiB allows
/// 32 KiB a row.
pub const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Longest SQL text in bytes that is taken from a client.
pub const SQL_BYTES_MAX: usize = 16 << 20;

/// Fewest characters in a token, wherever one is configured.
///
/// A server lets about sixty guesses a minute through in all: sixteen characters out of sixteen are 64 bits, which no
/// such guesser finds. The stock `quack_serve` asks for four.
pub const TOKEN_CHARS_MIN: usize = 16;

/// Most client sessions on one node at a time. Each holds a DuckDB connection.
pub const SESSIONS_MAX: usize = 1024;

/// A session that has been silent for this many seconds is closed and its
/// transaction rolled back. Stock clients of protocol 1 send no heartbeat.
pub const SESSION_IDLE_SECONDS_MAX: u64 = 3600;

/// The same for a session with an open transaction: checkpoints may wait for it.
pub const TRANSACTION_IDLE_SECONDS_MAX: u64 = 300;

/// Most values of a sequence that one entry of the log reserves. Every node counts them one by one when it applies the
/// entry: a million takes a few milliseconds.
pub const SEQUENCE_VALUES_MAX: u64 = 1_000_000;
