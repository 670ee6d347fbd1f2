//! Finds where a serialized LogicalType or DataChunk ends, and whether it is well formed.
//!
//! The encoding does not describe itself: only who knows the type of a column
//! knows how long its data are. So this module reads the structure and skips the
//! values. It has two uses: to cut the chunks of an answer apart, and to look at
//! a chunk from the network before DuckDB's deserializer does, which trusts
//! counts (a row count of four billion makes it allocate that many rows).
//!
//! Source: the messages of DuckDB 1.5.5 in `tests/vectors`, and the generated
//! `serialize_types.cpp` and `Vector::Serialize` of DuckDB 2.0.0. The strings are
//! in the form that storage versions before 2.0 use (a list, field 102).

mod logical_type;
#[cfg(test)]
mod tests;
mod vector;

use bytes::Bytes;

use crate::Error;
use crate::reader::Reader;
use logical_type::Shape;

/// Most rows in one chunk: as many BIGINTs as fill the largest request. DuckDB itself makes chunks
/// of up to 2048 rows, its vector size; other clients have been seen to send whole record batches in
/// one, and the stock server takes them. Code that passes a chunk on must cut it.
pub const CHUNK_ROWS_MAX: u64 = quack_types::limits::REQUEST_BYTES_MAX as u64 / 8;

/// Most levels that a type may be nested. Types in use have a handful.
pub const NESTING_MAX: usize = 128;

/// Most types in one chunk, nested ones counted. Tables in use have a few thousand columns at most.
pub const TYPES_MAX: usize = 16_384;

/// Most bytes of memory that DuckDB may be made to take for a chunk by what the chunk says about
/// itself: vectors for its types and its row count, before any data is seen, for the elements of its
/// lists, and for the expansion of constants, dictionaries and sequences. A record batch of a million
/// rows and thirty columns fits.
pub const MEMORY_BYTES_MAX: u64 = 512 << 20;

/// Most bytes that the rows of one chunk may hold when each has its own values: two megabytes for each
/// row of a vector. Rows of a small chunk can share a constant, values of a dictionary, elements of lists;
/// each of them is checked and written by itself, though.
pub const VALUES_BYTES_MAX: u64 = u32::MAX as u64 - 1;

/// Most items of an ARRAY type, as DuckDB has it (`ArrayType::MAX_ARRAY_SIZE`).
pub const ARRAY_ITEMS_MAX: u64 = 100_000;

/// Rows that DuckDB makes room for at least.
const VECTOR_ROWS: u64 = 2048;

/// What one chunk may still use of the limits above.
#[derive(Debug)]
struct Budget {
    types: usize,
    memory_bytes: u64,
}

impl Budget {
    fn new() -> Self {
        Self { types: TYPES_MAX, memory_bytes: MEMORY_BYTES_MAX }
    }

    fn taken(&self) -> u64 {
        MEMORY_BYTES_MAX - self.memory_bytes
    }

    /// Accounts for memory that the receiver takes without having received as much.
    fn take(&mut self, count: u64, bytes_each: u64) -> Result<(), Error> {
        let found = count.saturating_mul(bytes_each.max(1));
        let too_long = Error::TooLong { what: "memory for vectors", found, max: MEMORY_BYTES_MAX };
        self.memory_bytes = self.memory_bytes.checked_sub(found).ok_or(too_long)?;
        Ok(())
    }
}

/// A chunk whose structure is sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The whole serialized DataChunk object, with the 0xFFFF that closes it.
    pub bytes: Bytes,
    /// Its number of rows.
    pub rows: u64,
    /// Bytes of memory that the receiver takes to read it, its own bytes among them.
    pub memory_bytes: u64,
}

/// Checks that `bytes` are exactly one serialized DataChunk object.
///
/// # Errors
/// What is wrong with them, or what of them is beyond a limit.
pub fn check_chunk(bytes: &Bytes) -> Result<Chunk, Error> {
    let mut reader = Reader::new(bytes.clone());
    let chunk = take_chunk(&mut reader)?;
    reader.finish()?;
    Ok(chunk)
}

/// Cuts a serialized LogicalType object off the input.
pub(crate) fn take_type(reader: &mut Reader) -> Result<Bytes, Error> {
    let from = reader.position();
    Shape::read(reader, &mut Budget::new(), 0)?;
    Ok(reader.slice(from, reader.position()))
}

/// Cuts a serialized DataChunk object off the input.
pub(crate) fn take_chunk(reader: &mut Reader) -> Result<Chunk, Error> {
    let from = reader.position();
    let mut budget = Budget::new();
    let rows = skip_chunk(reader, &mut budget)?;
    let bytes = reader.slice(from, reader.position());
    let memory_bytes = budget.taken().saturating_add(bytes.len() as u64);
    Ok(Chunk { bytes, rows, memory_bytes })
}

fn skip_chunk(reader: &mut Reader, budget: &mut Budget) -> Result<u64, Error> {
    reader.field(100)?;
    let rows = reader.unsigned("chunk rows")?;
    if rows > CHUNK_ROWS_MAX {
        return Err(Error::TooLong { what: "chunk rows", found: rows, max: CHUNK_ROWS_MAX });
    }
    reader.field(101)?;
    let columns = reader.length("chunk types", TYPES_MAX)?;
    if columns == 0 {
        return Err(Error::Invalid { what: "chunk types" });
    }
    let mut shapes = Vec::new();
    for _ in 0..columns {
        shapes.push(Shape::read(reader, budget, 0)?);
    }
    reader.field(102)?;
    if reader.length("chunk columns", TYPES_MAX)? != columns {
        return Err(Error::Invalid { what: "chunk columns" });
    }
    for shape in &shapes {
        budget.take(rows.max(VECTOR_ROWS), shape.row_bytes())?;
    }
    let mut values_bytes = 0_u64;
    for shape in &shapes {
        let sizes = vector::skip(reader, shape, rows, budget)?;
        values_bytes = values_bytes.saturating_add(sizes.total(rows));
    }
    if values_bytes > VALUES_BYTES_MAX {
        return Err(Error::TooLong {
            what: "values of the rows",
            found: values_bytes,
            max: VALUES_BYTES_MAX,
        });
    }
    reader.end()?;
    Ok(rows)
}
