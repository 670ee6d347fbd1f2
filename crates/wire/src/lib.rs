//! Codec of the Quack client protocol: bytes in, messages out, and back.
//!
//! Sans-io: no socket, no thread, no clock, no session. Every byte that comes in
//! is foreign, so decoding is strict, bounded and free of panics; nothing is
//! allocated that the input has not paid for.
//!
//! A message is a header object followed by a body object, both in the encoding
//! of DuckDB's `BinarySerializer`. The header is the same in every version of the
//! protocol; the bodies are not. [`protocol_1`] holds those of version 1, spoken
//! by DuckDB 1.5.3 to 1.5.6; a further version is a further module beside it. A
//! server decodes the [`Header`], chooses the version (by what CONNECTION_REQUEST
//! asks for, kept for the life of the session) and gives the rest to that module.
//!
//! Logical types and data chunks pass through as opaque byte strings: DuckDB's
//! own serializer makes and reads them. The exception is [`skim`], which finds
//! where such an object ends and refuses one that is not well formed.

#![cfg_attr(test, allow(clippy::unwrap_used))]
#![deny(missing_docs)]

mod error;
mod header;
mod id;
pub mod protocol_1;
mod reader;
pub mod skim;
mod writer;

pub use error::Error;
pub use header::{Header, MessageType};
pub use id::{InvalidSessionId, ResultId, SessionId};
