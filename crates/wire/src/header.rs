//! The header that every message of every protocol version starts with.

use bytes::Bytes;

use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Error, InvalidSessionId, SessionId};

/// Longest session id in bytes that is read at all. Ids have 32; a longer text is
/// simply not the id of a session.
const SESSION_ID_BYTES_MAX: usize = 256;

/// How the serializer writes "no number" (DuckDB's invalid index).
pub(crate) const NO_INDEX: u64 = u64::MAX;

/// What kind of message a header announces. Numbers that no version knows are kept,
/// so that a server can answer them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageType(pub u8);

impl MessageType {
    /// Opens a session.
    pub const CONNECTION_REQUEST: Self = Self(1);
    /// Answers CONNECTION_REQUEST; carries the new session's id in its header.
    pub const CONNECTION_RESPONSE: Self = Self(2);
    /// Runs a text.
    pub const PREPARE_REQUEST: Self = Self(3);
    /// Answers PREPARE_REQUEST: the result's shape and first rows.
    pub const PREPARE_RESPONSE: Self = Self(4);
    /// Asks for the next rows of a result.
    pub const FETCH_REQUEST: Self = Self(7);
    /// Answers FETCH_REQUEST.
    pub const FETCH_RESPONSE: Self = Self(8);
    /// Rows for a table.
    pub const APPEND_REQUEST: Self = Self(9);
    /// Says that a request without a result of its own has been carried out.
    pub const SUCCESS_RESPONSE: Self = Self(10);
    /// Closes a session.
    pub const DISCONNECT: Self = Self(11);
    /// Says that a request has failed.
    pub const ERROR_RESPONSE: Self = Self(100);
}

/// What stands before the body of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The kind of the body that follows.
    pub message_type: MessageType,
    /// The session that the message belongs to; empty where there is none. Kept as
    /// it came: see [`Header::session`].
    pub session: String,
    /// The client's own number for its query. Only its logs use it.
    pub client_query: Option<u64>,
}

impl Header {
    /// The header of a server's answer: no session, no query.
    pub fn answer(message_type: MessageType) -> Self {
        Self { message_type, session: String::new(), client_query: None }
    }

    /// The session's id, checked.
    pub fn session(&self) -> Result<SessionId, InvalidSessionId> {
        SessionId::parse(&self.session)
    }

    /// Reads the header of a message and returns it with the bytes of the body.
    pub fn decode(message: &Bytes) -> Result<(Self, Bytes), Error> {
        let mut reader = Reader::new(message.clone());
        reader.field(1)?;
        let message_type = reader.unsigned("message type")?;
        let message_type =
            u8::try_from(message_type).map_err(|_| Error::NumberOutOfRange { what: "message type" })?;
        let session = reader.text_field(2, "connection id", SESSION_ID_BYTES_MAX)?;
        reader.field(3)?;
        let query = reader.unsigned("client query id")?;
        reader.end()?;
        let client_query = (query != NO_INDEX).then_some(query);
        let header = Self { message_type: MessageType(message_type), session, client_query };
        Ok((header, reader.rest()))
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.field(1);
        writer.unsigned(u64::from(self.message_type.0));
        writer.text_field(2, &self.session);
        writer.field(3);
        writer.unsigned(self.client_query.unwrap_or(NO_INDEX));
        writer.end();
    }
}
