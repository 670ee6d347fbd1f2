//! The structure of a serialized Vector.

use super::Budget;
use super::logical_type::Shape;
use crate::Error;
use crate::reader::Reader;

/// DuckDB's `VectorType`, as far as it is written. Shredded vectors are of 2.0.
mod kind {
    pub const FLAT: u64 = 0;
    pub const CONSTANT: u64 = 2;
    pub const DICTIONARY: u64 = 3;
    pub const SEQUENCE: u64 = 4;
}

/// Passes over one Vector object of `count` values.
pub(super) fn skip(reader: &mut Reader, shape: &Shape, count: u64, budget: &mut Budget) -> Result<(), Error> {
    match reader.unsigned_field(90, "vector type")? {
        kind::FLAT => skip_values(reader, shape, count, budget)?,
        kind::CONSTANT => {
            budget.take(count, shape.row_bytes())?;
            // DuckDB reads a whole vector of one value here, of any type: an input could make it
            // recur without end. It writes none but a flat one.
            skip_values(reader, shape, 1, budget)?;
        }
        kind::DICTIONARY => skip_dictionary(reader, shape, count, budget)?,
        kind::SEQUENCE => {
            if !matches!(shape, Shape::Fixed(1 | 2 | 4 | 8)) {
                return Err(Error::Invalid { what: "vector type" });
            }
            budget.take(count, shape.row_bytes())?;
            reader.field(91)?;
            reader.signed("sequence start")?;
            reader.field(92)?;
            reader.signed("sequence increment")?;
        }
        _ => return Err(Error::Invalid { what: "vector type" }),
    }
    reader.end()
}

fn skip_dictionary(reader: &mut Reader, shape: &Shape, count: u64, budget: &mut Budget) -> Result<(), Error> {
    reader.field(91)?;
    let selection = blob(reader, "dictionary selection", count.checked_mul(4))?.to_vec();
    reader.field(92)?;
    let size = reader.unsigned("dictionary size")?;
    let inside = |code: &[u8]| code.try_into().is_ok_and(|code| u64::from(u32::from_le_bytes(code)) < size);
    if !selection.chunks_exact(4).all(inside) {
        return Err(Error::Invalid { what: "dictionary selection" });
    }
    skip_values(reader, shape, size, budget)
}

/// Passes over the fields of a flat vector, without the end of the object.
fn skip_values(reader: &mut Reader, shape: &Shape, count: u64, budget: &mut Budget) -> Result<(), Error> {
    if *shape == Shape::Geometry && reader.optional_field(99)? {
        reader.unsigned("geometry format")?;
    }
    reader.field(100)?;
    if reader.boolean("has validity mask")? {
        reader.field(101)?;
        // One bit a value, in words of 64.
        blob(reader, "validity", count.div_ceil(64).checked_mul(8))?;
    }
    match shape {
        Shape::Fixed(width) => {
            reader.field(102)?;
            blob(reader, "data", count.checked_mul(*width))?;
        }
        Shape::Text | Shape::Geometry => {
            reader.field(102)?;
            list_length(reader, "strings", count)?;
            for _ in 0..count {
                let length = reader.length("string", usize::MAX)?;
                reader.take(length as u64)?;
            }
        }
        Shape::Struct(children) => {
            reader.field(103)?;
            list_length(reader, "struct children", children.len() as u64)?;
            for child in children {
                skip(reader, child, count, budget)?;
            }
        }
        Shape::List(child) => skip_list(reader, child, count, budget)?,
        Shape::Array(child, size) => {
            reader.field(103)?;
            if reader.unsigned("array size")? != *size {
                return Err(Error::Invalid { what: "array size" });
            }
            reader.field(104)?;
            let items = count.checked_mul(*size).ok_or(Error::NumberOutOfRange { what: "array size" })?;
            skip_items(reader, child, items, budget)?;
        }
    }
    Ok(())
}

fn skip_list(reader: &mut Reader, child: &Shape, count: u64, budget: &mut Budget) -> Result<(), Error> {
    reader.field(104)?;
    let items = reader.unsigned("list size")?;
    reader.field(105)?;
    list_length(reader, "list entries", count)?;
    for _ in 0..count {
        reader.field(100)?;
        let offset = reader.unsigned("list entry offset")?;
        reader.field(101)?;
        let length = reader.unsigned("list entry length")?;
        if offset.checked_add(length).is_none_or(|end| end > items) {
            return Err(Error::Invalid { what: "list entry" });
        }
        reader.end()?;
    }
    reader.field(106)?;
    skip_items(reader, child, items, budget)
}

/// Passes over the child vector of lists or arrays. Its length is what the input says:
/// where there cannot be a byte for each item, the items are made from nothing.
fn skip_items(reader: &mut Reader, child: &Shape, items: u64, budget: &mut Budget) -> Result<(), Error> {
    if items > reader.remaining() as u64 {
        budget.take(items, child.row_bytes())?;
    }
    skip(reader, child, items, budget)
}

/// The length of a list, which must be the one that follows from the type and the rows.
fn list_length(reader: &mut Reader, what: &'static str, expected: u64) -> Result<(), Error> {
    if reader.length(what, usize::MAX)? as u64 != expected {
        return Err(Error::Invalid { what });
    }
    Ok(())
}

/// A byte string, whose length must be the one that follows from the type and the rows.
fn blob<'a>(reader: &'a mut Reader, what: &'static str, expected: Option<u64>) -> Result<&'a [u8], Error> {
    let length = reader.length(what, usize::MAX)? as u64;
    if Some(length) != expected {
        return Err(Error::Invalid { what });
    }
    reader.take(length)
}
