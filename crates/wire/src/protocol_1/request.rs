//! What a client of protocol 1 sends.

use bytes::Bytes;
use quack_types::limits::SQL_BYTES_MAX;

use super::{NAME_BYTES_MAX, TOKEN_BYTES_MAX};
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Error, Header, MessageType, ResultId, skim};

/// Field id of the chunk inside its wrapper object.
pub(super) const CHUNK_FIELD: u16 = 300;

/// The field that holds the text of a statement, as errors about it say.
pub const SQL: &str = "sql query";

/// One request, without its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Opens a session.
    Connect(Connecting),
    /// Runs a text of one or more statements and returns the first rows of its result.
    Prepare {
        /// The text.
        sql: String,
    },
    /// Asks for the next rows of the session's result.
    Fetch {
        /// The result, as PREPARE_RESPONSE named it.
        result: ResultId,
    },
    /// Adds rows to a table.
    Append(Append),
    /// Closes the session.
    Disconnect,
}

/// The body of CONNECTION_REQUEST.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Connecting {
    /// The token. Secret: not shown by `Debug`.
    pub token: String,
    /// The client's DuckDB version, such as `v1.5.5`.
    pub duckdb_version: String,
    /// The client's platform, such as `linux_amd64`.
    pub platform: String,
    /// Lowest protocol version that the client speaks.
    pub version_min: u64,
    /// Highest protocol version that the client speaks.
    pub version_max: u64,
}

impl std::fmt::Debug for Connecting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connecting")
            .field("duckdb_version", &self.duckdb_version)
            .field("platform", &self.platform)
            .field("version_min", &self.version_min)
            .field("version_max", &self.version_max)
            .finish_non_exhaustive()
    }
}

/// The body of APPEND_REQUEST.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The rows. Decoding has checked their structure (see [`skim`]), and neither their types nor their values.
    pub chunk: skim::Chunk,
}

impl Request {
    /// The number that goes into the header.
    pub fn message_type(&self) -> MessageType {
        match self {
            Request::Connect(_) => MessageType::CONNECTION_REQUEST,
            Request::Prepare { .. } => MessageType::PREPARE_REQUEST,
            Request::Fetch { .. } => MessageType::FETCH_REQUEST,
            Request::Append(_) => MessageType::APPEND_REQUEST,
            Request::Disconnect => MessageType::DISCONNECT,
        }
    }

    /// Reads the body that follows a header.
    ///
    /// # Errors
    /// [`Error::UnexpectedMessage`] when the type is not that of a request of this
    /// version; otherwise what is wrong with the bytes.
    pub fn decode(message_type: MessageType, body: Bytes) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let request = match message_type {
            MessageType::CONNECTION_REQUEST => Request::Connect(Connecting::decode(&mut reader)?),
            MessageType::PREPARE_REQUEST => {
                Request::Prepare { sql: reader.text_field(1, SQL, SQL_BYTES_MAX)? }
            }
            MessageType::FETCH_REQUEST => {
                reader.field(1)?;
                Request::Fetch { result: reader.result_id("result uuid")? }
            }
            MessageType::APPEND_REQUEST => Request::Append(Append::decode(&mut reader)?),
            MessageType::DISCONNECT => Request::Disconnect,
            MessageType(found) => return Err(Error::UnexpectedMessage { found }),
        };
        reader.end()?;
        reader.finish()?;
        Ok(request)
    }

    /// Writes the whole message; the segments are to be sent one after the other.
    ///
    /// `session` is empty for [`Request::Connect`].
    pub fn encode(&self, session: &str, client_query: Option<u64>) -> Vec<Bytes> {
        let mut writer = Writer::default();
        let header = Header { message_type: self.message_type(), session: session.to_owned(), client_query };
        header.encode(&mut writer);
        match self {
            Request::Connect(connecting) => connecting.encode(&mut writer),
            Request::Prepare { sql } => writer.text_field(1, sql),
            Request::Fetch { result } => {
                writer.field(1);
                writer.result_id(*result);
            }
            Request::Append(append) => append.encode(&mut writer),
            Request::Disconnect => {}
        }
        writer.end();
        writer.finish()
    }
}

impl Connecting {
    fn decode(reader: &mut Reader) -> Result<Self, Error> {
        Ok(Self {
            token: reader.text_field(1, "auth string", TOKEN_BYTES_MAX)?,
            duckdb_version: reader.text_field(2, "client version", NAME_BYTES_MAX)?,
            platform: reader.text_field(3, "client platform", NAME_BYTES_MAX)?,
            version_min: reader.unsigned_field(4, "min supported quack version")?,
            version_max: reader.unsigned_field(5, "max supported quack version")?,
        })
    }

    fn encode(&self, writer: &mut Writer) {
        writer.text_field(1, &self.token);
        writer.text_field(2, &self.duckdb_version);
        writer.text_field(3, &self.platform);
        writer.unsigned_field(4, self.version_min);
        writer.unsigned_field(5, self.version_max);
    }
}

impl Append {
    fn decode(reader: &mut Reader) -> Result<Self, Error> {
        let schema = reader.text_field(1, "schema name", NAME_BYTES_MAX)?;
        let table = reader.text_field(2, "table name", NAME_BYTES_MAX)?;
        reader.field(3)?;
        if !reader.boolean("append chunk")? {
            return Err(Error::Invalid { what: "append chunk" });
        }
        reader.field(CHUNK_FIELD)?;
        let chunk = skim::take_chunk(reader)?;
        reader.end()?;
        Ok(Self { schema, table, chunk })
    }

    fn encode(&self, writer: &mut Writer) {
        writer.text_field(1, &self.schema);
        writer.text_field(2, &self.table);
        writer.field(3);
        encode_chunk(writer, &self.chunk.bytes);
    }
}

/// A chunk as a message holds it: a nullable pointer to an object with the chunk inside.
pub(super) fn encode_chunk(writer: &mut Writer, chunk: &Bytes) {
    writer.byte(1);
    writer.field(CHUNK_FIELD);
    writer.raw(chunk);
    writer.end();
}
