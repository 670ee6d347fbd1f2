//! What a server of protocol 1 answers.

use bytes::Bytes;

use super::request::{CHUNK_FIELD, encode_chunk};
use super::{CHUNKS_MAX, COLUMNS_MAX, ERROR_BYTES_MAX, NAME_BYTES_MAX};
use crate::header::NO_INDEX;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Error, Header, MessageType, ResultId, skim};

/// One answer, without its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// The session is open. Its id goes into the header: see [`Response::encode`].
    Connected(Connected),
    /// The text has run.
    Prepared(Prepared),
    /// More rows, or the end of them.
    Fetched(Batch),
    /// Done, with nothing to return.
    Success,
    /// Failed. Version 1 carries the message alone, without DuckDB's name of the
    /// exception's class; a stock client shows it as an Invalid Input Error.
    Error {
        /// The message.
        message: String,
    },
}

/// The body of CONNECTION_RESPONSE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The server's DuckDB version, such as `v2.0.0`.
    pub duckdb_version: String,
    /// The server's platform, such as `linux_amd64`.
    pub platform: String,
    /// The protocol version of this session.
    pub version: u64,
}

/// The body of PREPARE_RESPONSE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Each column's serialized LogicalType object, with the 0xFFFF that closes it.
    pub types: Vec<Bytes>,
    /// The columns' names, as many as there are types.
    pub names: Vec<String>,
    /// Whether the client must fetch: there are more rows than those in `chunks`.
    pub needs_more_fetch: bool,
    /// Serialized DataChunk objects, each with the 0xFFFF that closes it.
    pub chunks: Vec<Bytes>,
    /// Names the result in the fetches to come.
    pub result: ResultId,
}

/// The body of FETCH_RESPONSE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Serialized DataChunk objects; none at the end of the result.
    pub chunks: Vec<Bytes>,
    /// Counts the batches of a result from 1; those of PREPARE_RESPONSE come before. A
    /// client that fetches in parallel puts the rows in order by it. `None` at the end.
    pub index: Option<u64>,
}

impl Response {
    /// The number that goes into the header.
    pub fn message_type(&self) -> MessageType {
        match self {
            Response::Connected(_) => MessageType::CONNECTION_RESPONSE,
            Response::Prepared(_) => MessageType::PREPARE_RESPONSE,
            Response::Fetched(_) => MessageType::FETCH_RESPONSE,
            Response::Success => MessageType::SUCCESS_RESPONSE,
            Response::Error { .. } => MessageType::ERROR_RESPONSE,
        }
    }

    /// Reads the body that follows a header.
    ///
    /// # Errors
    /// [`Error::UnexpectedMessage`] when the type is not that of an answer of this
    /// version; otherwise what is wrong with the bytes.
    pub fn decode(message_type: MessageType, body: Bytes) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let response = match message_type {
            MessageType::CONNECTION_RESPONSE => Response::Connected(Connected::decode(&mut reader)?),
            MessageType::PREPARE_RESPONSE => Response::Prepared(Prepared::decode(&mut reader)?),
            MessageType::FETCH_RESPONSE => Response::Fetched(Batch::decode(&mut reader)?),
            MessageType::SUCCESS_RESPONSE => Response::Success,
            MessageType::ERROR_RESPONSE => {
                Response::Error { message: reader.text_field(1, "message", ERROR_BYTES_MAX)? }
            }
            MessageType(found) => return Err(Error::UnexpectedMessage { found }),
        };
        reader.end()?;
        reader.finish()?;
        Ok(response)
    }

    /// Writes the whole message; the segments are to be sent one after the other.
    ///
    /// `session` is the new session's id for [`Response::Connected`], and empty for
    /// every other answer, as the stock server has it.
    pub fn encode(&self, session: &str) -> Vec<Bytes> {
        let mut writer = Writer::default();
        let mut header = Header::answer(self.message_type());
        header.session = session.to_owned();
        header.encode(&mut writer);
        match self {
            Response::Connected(connected) => connected.encode(&mut writer),
            Response::Prepared(prepared) => prepared.encode(&mut writer),
            Response::Fetched(batch) => batch.encode(&mut writer),
            Response::Success => {}
            Response::Error { message } => writer.text_field(1, message),
        }
        writer.end();
        writer.finish()
    }
}

impl Connected {
    fn decode(reader: &mut Reader) -> Result<Self, Error> {
        Ok(Self {
            duckdb_version: reader.text_field(1, "server version", NAME_BYTES_MAX)?,
            platform: reader.text_field(2, "server platform", NAME_BYTES_MAX)?,
            version: reader.unsigned_field(3, "quack version")?,
        })
    }

    fn encode(&self, writer: &mut Writer) {
        writer.text_field(1, &self.duckdb_version);
        writer.text_field(2, &self.platform);
        writer.unsigned_field(3, self.version);
    }
}

impl Prepared {
    fn decode(reader: &mut Reader) -> Result<Self, Error> {
        let mut types = Vec::new();
        if reader.optional_field(1)? {
            for _ in 0..reader.length("result types", COLUMNS_MAX)? {
                types.push(skim::take_type(reader)?);
            }
        }
        let mut names = Vec::new();
        if reader.optional_field(2)? {
            for _ in 0..reader.length("result names", COLUMNS_MAX)? {
                names.push(reader.text("result name", NAME_BYTES_MAX)?);
            }
        }
        let needs_more_fetch = reader.optional_field(3)? && reader.boolean("needs more fetch")?;
        let chunks = decode_chunks(reader, 4)?;
        reader.field(5)?;
        Ok(Self { types, names, needs_more_fetch, chunks, result: reader.result_id("result uuid")? })
    }

    fn encode(&self, writer: &mut Writer) {
        if !self.types.is_empty() {
            writer.field(1);
            writer.unsigned(self.types.len() as u64);
            self.types.iter().for_each(|logical_type| writer.raw(logical_type));
        }
        if !self.names.is_empty() {
            writer.field(2);
            writer.unsigned(self.names.len() as u64);
            self.names.iter().for_each(|name| writer.text(name));
        }
        if self.needs_more_fetch {
            writer.field(3);
            writer.byte(1);
        }
        encode_chunks(writer, 4, &self.chunks);
        writer.field(5);
        writer.result_id(self.result);
    }
}

impl Batch {
    fn decode(reader: &mut Reader) -> Result<Self, Error> {
        let chunks = decode_chunks(reader, 1)?;
        reader.field(2)?;
        let index = reader.unsigned("batch index")?;
        Ok(Self { chunks, index: (index != NO_INDEX).then_some(index) })
    }

    fn encode(&self, writer: &mut Writer) {
        encode_chunks(writer, 1, &self.chunks);
        writer.field(2);
        writer.unsigned(self.index.unwrap_or(NO_INDEX));
    }
}

fn decode_chunks(reader: &mut Reader, field: u16) -> Result<Vec<Bytes>, Error> {
    let mut chunks = Vec::new();
    if !reader.optional_field(field)? {
        return Ok(chunks);
    }
    for _ in 0..reader.length("results", CHUNKS_MAX)? {
        if !reader.boolean("result chunk")? {
            return Err(Error::Invalid { what: "result chunk" });
        }
        reader.field(CHUNK_FIELD)?;
        chunks.push(skim::take_chunk(reader)?.bytes);
        reader.end()?;
    }
    Ok(chunks)
}

fn encode_chunks(writer: &mut Writer, field: u16, chunks: &[Bytes]) {
    if chunks.is_empty() {
        return;
    }
    writer.field(field);
    writer.unsigned(chunks.len() as u64);
    chunks.iter().for_each(|chunk| encode_chunk(writer, chunk));
}
