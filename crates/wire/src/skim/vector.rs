//! The structure of a serialized Vector.

use super::Budget;
use super::logical_type::Shape;
use crate::Error;
use crate::reader::Reader;

/// An offset and a length, as DuckDB holds a list.
const LIST_ENTRY_BYTES: u64 = 16;

/// DuckDB's `VectorType`, as far as it is written. Shredded vectors are of 2.0.
mod kind {
    pub const FLAT: u64 = 0;
    pub const CONSTANT: u64 = 2;
    pub const DICTIONARY: u64 = 3;
    pub const SEQUENCE: u64 = 4;
}

/// Bytes of memory that values take when each has its own: those of columns, strings, the elements of lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sizes {
    /// So many each.
    Even(u64),
    /// Those of each value; four gigabytes stand for more.
    Each(Vec<u32>),
}

impl Sizes {
    /// The bytes of `count` values.
    pub(super) fn total(&self, count: u64) -> u64 {
        match self {
            Sizes::Even(bytes) => bytes.saturating_mul(count),
            Sizes::Each(sizes) => sizes.iter().map(|size| u64::from(*size)).sum(),
        }
    }

    /// The sizes of values that consist of two.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Sizes::Even(one), Sizes::Even(two)) => Sizes::Even(one.saturating_add(two)),
            (Sizes::Each(mut sizes), Sizes::Even(bytes)) | (Sizes::Even(bytes), Sizes::Each(mut sizes)) => {
                sizes.iter_mut().for_each(|size| *size = size.saturating_add(capped(bytes)));
                Sizes::Each(sizes)
            }
            (Sizes::Each(mut sizes), Sizes::Each(others)) => {
                sizes.iter_mut().zip(others).for_each(|(size, other)| *size = size.saturating_add(other));
                Sizes::Each(sizes)
            }
        }
    }

    /// The sizes of ranges of the values, each an offset and a length within them.
    fn of_ranges(self, ranges: &[(u64, u64)]) -> Self {
        let bytes: Vec<u32> = match self {
            Sizes::Even(bytes) => {
                ranges.iter().map(|(_, length)| capped(bytes.saturating_mul(*length))).collect()
            }
            Sizes::Each(sizes) => {
                let mut before = Vec::with_capacity(sizes.len() + 1);
                before.push(0_u64);
                for size in sizes {
                    before.push(before[before.len() - 1] + u64::from(size));
                }
                let bytes = |(offset, length): &(u64, u64)| {
                    capped(before[(offset + length) as usize] - before[*offset as usize])
                };
                ranges.iter().map(bytes).collect()
            }
        };
        Sizes::Each(bytes)
    }
}

fn capped(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Passes over one Vector object of `count` values.
pub(super) fn skip(
    reader: &mut Reader,
    shape: &Shape,
    count: u64,
    budget: &mut Budget,
) -> Result<Sizes, Error> {
    let sizes = match reader.unsigned_field(90, "vector type")? {
        kind::FLAT => skip_values(reader, shape, count, budget)?,
        kind::CONSTANT => {
            budget.take(count, shape.row_bytes())?;
            // DuckDB reads a whole vector of one value here, of any type: an input could make it
            // recur without end. It writes none but a flat one.
            Sizes::Even(skip_values(reader, shape, 1, budget)?.total(1))
        }
        kind::DICTIONARY => skip_dictionary(reader, shape, count, budget)?,
        kind::SEQUENCE => {
            let Shape::Fixed(width @ (1 | 2 | 4 | 8)) = shape else {
                return Err(Error::Invalid { what: "vector type" });
            };
            budget.take(count, *width)?;
            reader.field(91)?;
            reader.signed("sequence start")?;
            reader.field(92)?;
            reader.signed("sequence increment")?;
            Sizes::Even(*width)
        }
        _ => return Err(Error::Invalid { what: "vector type" }),
    };
    reader.end()?;
    Ok(sizes)
}

fn skip_dictionary(
    reader: &mut Reader,
    shape: &Shape,
    count: u64,
    budget: &mut Budget,
) -> Result<Sizes, Error> {
    reader.field(91)?;
    let selection = blob(reader, "dictionary selection", count.checked_mul(4))?.to_vec();
    let codes = || selection.as_chunks::<4>().0.iter().map(|code| u32::from_le_bytes(*code));
    reader.field(92)?;
    let size = reader.unsigned("dictionary size")?;
    budget.take(size, shape.row_bytes())?;
    if !codes().all(|code| u64::from(code) < size) {
        return Err(Error::Invalid { what: "dictionary selection" });
    }
    Ok(match skip_values(reader, shape, size, budget)? {
        Sizes::Each(sizes) => Sizes::Each(codes().map(|code| sizes[code as usize]).collect()),
        even => even,
    })
}

/// Passes over the fields of a flat vector, without the end of the object.
fn skip_values(reader: &mut Reader, shape: &Shape, count: u64, budget: &mut Budget) -> Result<Sizes, Error> {
    if *shape == Shape::Geometry && reader.optional_field(99)? {
        reader.unsigned("geometry format")?;
    }
    reader.field(100)?;
    if reader.boolean("has validity mask")? {
        reader.field(101)?;
        // One bit a value, in words of 64.
        blob(reader, "validity", count.div_ceil(64).checked_mul(8))?;
    }
    Ok(match shape {
        Shape::Fixed(width) => {
            reader.field(102)?;
            blob(reader, "data", count.checked_mul(*width))?;
            Sizes::Even(*width)
        }
        Shape::Text | Shape::Geometry => {
            reader.field(102)?;
            list_length(reader, "strings", count)?;
            let mut sizes = Vec::with_capacity(count as usize);
            for _ in 0..count {
                let length = reader.length("string", usize::MAX)? as u64;
                reader.take(length)?;
                sizes.push(capped(length.saturating_add(shape.row_bytes())));
            }
            Sizes::Each(sizes)
        }
        Shape::Struct(children) => {
            reader.field(103)?;
            list_length(reader, "struct children", children.len() as u64)?;
            let mut sizes = Sizes::Even(0);
            for child in children {
                sizes = sizes.and(skip(reader, child, count, budget)?);
            }
            sizes
        }
        Shape::List(child) => skip_list(reader, child, count, budget)?,
        Shape::Array(child, size) => {
            reader.field(103)?;
            if reader.unsigned("array size")? != *size {
                return Err(Error::Invalid { what: "array size" });
            }
            reader.field(104)?;
            let items = count.checked_mul(*size).ok_or(Error::NumberOutOfRange { what: "array size" })?;
            match skip_items(reader, child, items, budget)? {
                Sizes::Even(bytes) => Sizes::Even(bytes.saturating_mul(*size)),
                each => {
                    let ranges: Vec<_> = (0..count).map(|row| (row * size, *size)).collect();
                    each.of_ranges(&ranges)
                }
            }
        }
    })
}

fn skip_list(reader: &mut Reader, child: &Shape, count: u64, budget: &mut Budget) -> Result<Sizes, Error> {
    reader.field(104)?;
    let items = reader.unsigned("list size")?;
    reader.field(105)?;
    list_length(reader, "list entries", count)?;
    let mut ranges = Vec::with_capacity(count as usize);
    for _ in 0..count {
        reader.field(100)?;
        let offset = reader.unsigned("list entry offset")?;
        reader.field(101)?;
        let length = reader.unsigned("list entry length")?;
        if offset.checked_add(length).is_none_or(|end| end > items) {
            return Err(Error::Invalid { what: "list entry" });
        }
        ranges.push((offset, length));
        reader.end()?;
    }
    reader.field(106)?;
    let sizes = skip_items(reader, child, items, budget)?.of_ranges(&ranges);
    Ok(sizes.and(Sizes::Even(LIST_ENTRY_BYTES)))
}

/// Passes over the child vector of lists or arrays. Its length is what the input says.
fn skip_items(reader: &mut Reader, child: &Shape, items: u64, budget: &mut Budget) -> Result<Sizes, Error> {
    budget.take(items, child.row_bytes())?;
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
