//! Why bytes are not a message.
//!
//! A stock server answers undecodable bytes with DuckDB's own exception, as JSON
//! in a header. Clients have been seen to look for parts of these texts (one of
//! them probes the protocol version with them), so where DuckDB has an error for
//! a case, its wording is used.

/// A message that does not decode. It says nothing about the session: the sender
/// may try again with a correct message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input ends inside a value.
    #[error("Failed to deserialize: not enough data in buffer to fulfill read request")]
    Truncated,
    /// A field that must be there is not the next one.
    #[error("Failed to deserialize: field id mismatch, expected: {expected}, got: {found}")]
    FieldMismatch {
        /// Id of the field that must come next.
        expected: u16,
        /// What is there instead; 65535 is the end of the object.
        found: u16,
    },
    /// A field that this version of the protocol does not have.
    #[error("Failed to deserialize: expected end of object, but found field id: {found}")]
    UnknownField {
        /// Id of that field.
        found: u16,
    },
    /// A number needs more bits than its field has.
    #[error("Failed to deserialize: the number in '{what}' is out of range")]
    NumberOutOfRange {
        /// Name of the field.
        what: &'static str,
    },
    /// A length or a count is beyond what is accepted.
    #[error("Failed to deserialize: '{what}' has {found} bytes or items, at most {max} are accepted")]
    TooLong {
        /// Name of the field.
        what: &'static str,
        /// The length or count in the message.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// A text that is not UTF-8.
    #[error("Invalid unicode (byte sequence mismatch) detected in value construction")]
    NotUtf8,
    /// A value that has the right form and no meaning.
    #[error("Failed to deserialize: '{what}' is not valid")]
    Invalid {
        /// Name of the field.
        what: &'static str,
    },
    /// Bytes after the end of the message.
    #[error("Failed to deserialize: {count} bytes follow the end of the message")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A type or a vector is nested deeper than is accepted.
    #[error("Failed to deserialize: nested deeper than {max} levels")]
    NestedTooDeeply {
        /// The limit.
        max: usize,
    },
    /// A message that is not of the kind that was asked for.
    #[error("Unsupported message type {found}")]
    UnexpectedMessage {
        /// Type id of the message.
        found: u8,
    },
}

impl Error {
    /// DuckDB's name for the class of this error, as in the JSON of its exceptions.
    pub fn exception_type(&self) -> &'static str {
        match self {
            Error::NotUtf8 => "Invalid Input",
            _ => "Serialization",
        }
    }
}
