//! The structure of a serialized LogicalType, reduced to what decides how the data
//! of such a column are laid out.

use super::{ARRAY_ITEMS_MAX, Budget, NESTING_MAX};
use crate::Error;
use crate::protocol_1::NAME_BYTES_MAX;
use crate::reader::Reader;

/// How the values of a type are laid out in a serialized vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// So many bytes each.
    Fixed(u64),
    /// Strings and everything that DuckDB holds as strings.
    Text,
    /// Like text, after a field that names the format.
    Geometry,
    /// One vector for each child.
    Struct(Vec<Shape>),
    /// Offsets and lengths into one child.
    List(Box<Shape>),
    /// So many items of one child each.
    Array(Box<Shape>, u64),
}

/// DuckDB's `LogicalTypeId` of the types that have a layout of their own.
mod id {
    pub const DECIMAL: u64 = 21;
    pub const GEOMETRY: u64 = 60;
    pub const STRUCT: u64 = 100;
    pub const LIST: u64 = 101;
    pub const MAP: u64 = 102;
    pub const ENUM: u64 = 104;
    pub const UNION: u64 = 107;
    pub const ARRAY: u64 = 108;
    pub const VARIANT: u64 = 109;
    pub const TUPLE: u64 = 110;
}

/// What stands in the extra information of a type (`ExtraTypeInfo`).
#[derive(Debug)]
enum Info {
    None,
    Decimal { width: u64 },
    Child(Shape),
    Children(Vec<Shape>),
    Enum { count: u64 },
    Array(Shape, u64),
}

impl Shape {
    /// Reads one LogicalType object.
    pub(super) fn read(reader: &mut Reader, budget: &mut Budget, depth: usize) -> Result<Self, Error> {
        if depth >= NESTING_MAX {
            return Err(Error::NestedTooDeeply { max: NESTING_MAX });
        }
        budget.types = budget.types.checked_sub(1).ok_or(Error::TooLong {
            what: "types",
            found: super::TYPES_MAX as u64 + 1,
            max: super::TYPES_MAX as u64,
        })?;
        reader.field(100)?;
        let type_id = reader.unsigned("type id")?;
        let mut info = Info::None;
        if reader.optional_field(101)? && reader.boolean("type info")? {
            info = Info::read(reader, budget, depth)?;
        }
        reader.end()?;
        Self::of(type_id, info)
    }

    fn of(type_id: u64, info: Info) -> Result<Self, Error> {
        Ok(match (type_id, info) {
            (id::DECIMAL, Info::Decimal { width }) => Shape::Fixed(match width {
                1..=4 => 2,
                5..=9 => 4,
                10..=18 => 8,
                19..=38 => 16,
                _ => return Err(Error::Invalid { what: "decimal width" }),
            }),
            (id::ENUM, Info::Enum { count }) => Shape::Fixed(match count {
                0..=0xff => 1,
                0x100..=0xffff => 2,
                _ => 4,
            }),
            (id::STRUCT | id::UNION | id::VARIANT | id::TUPLE, Info::Children(children)) => {
                Shape::Struct(children)
            }
            (id::VARIANT, Info::None) => Shape::variant(),
            (id::LIST | id::MAP, Info::Child(child)) => Shape::List(Box::new(child)),
            (id::ARRAY, Info::Array(child, size)) => Shape::Array(Box::new(child), size),
            (id::GEOMETRY, Info::None) => Shape::Geometry,
            (plain, Info::None) => Shape::plain(plain).ok_or(Error::Invalid { what: "type id" })?,
            _ => return Err(Error::Invalid { what: "type info" }),
        })
    }

    fn plain(type_id: u64) -> Option<Self> {
        Some(Shape::Fixed(match type_id {
            // BOOLEAN, TINYINT, UTINYINT
            10 | 11 | 28 => 1,
            // SMALLINT, USMALLINT
            12 | 29 => 2,
            // SQLNULL, INTEGER, DATE, FLOAT, UINTEGER
            1 | 13 | 15 | 22 | 30 => 4,
            // BIGINT, TIME, TIMESTAMP in four units, DOUBLE, UBIGINT, TIMESTAMPTZ, TIMETZ, TIME_NS
            14 | 16..=20 | 23 | 31 | 32 | 34 | 35 => 8,
            // INTERVAL, UHUGEINT, HUGEINT, UUID
            27 | 49 | 50 | 54 => 16,
            // CHAR, VARCHAR, BLOB, BIT, BIGNUM
            24..=26 | 36 | 39 => return Some(Shape::Text),
            _ => return None,
        }))
    }

    /// VARIANT is a struct whose children are always the same and are not written.
    fn variant() -> Self {
        let list = |child| Shape::List(Box::new(child));
        Shape::Struct(vec![
            list(Shape::Text),
            list(Shape::Struct(vec![Shape::Fixed(4), Shape::Fixed(4)])),
            list(Shape::Struct(vec![Shape::Fixed(1), Shape::Fixed(4)])),
            Shape::Text,
        ])
    }

    /// Bytes that a row of this shape takes in DuckDB's vectors, roughly. A list counts with one item.
    pub(super) fn row_bytes(&self) -> u64 {
        match self {
            Shape::Fixed(width) => *width,
            Shape::Text | Shape::Geometry => 16,
            Shape::List(child) => child.row_bytes().saturating_add(16),
            Shape::Struct(children) => {
                children.iter().fold(0, |bytes, child| child.row_bytes().saturating_add(bytes))
            }
            Shape::Array(child, size) => child.row_bytes().saturating_mul(*size),
        }
    }
}

impl Info {
    fn read(reader: &mut Reader, budget: &mut Budget, depth: usize) -> Result<Self, Error> {
        reader.field(100)?;
        let kind = reader.unsigned("type info kind")?;
        // The alias, such as JSON. Fields 102 and 103 (modifiers and properties of types that
        // extensions make) are refused by what is read next.
        reader.text_field(101, "type alias", NAME_BYTES_MAX)?;
        let info = match kind {
            // GENERIC; STRING, whose field 200 is a collation.
            1 => Info::None,
            2 => {
                let width = reader.unsigned_field(200, "decimal width")?;
                reader.unsigned_field(201, "decimal scale")?;
                Info::Decimal { width }
            }
            3 => {
                reader.text_field(200, "collation", NAME_BYTES_MAX)?;
                Info::None
            }
            4 => {
                reader.field(200)?;
                Info::Child(Shape::read(reader, budget, depth + 1)?)
            }
            5 => Info::Children(read_children(reader, budget, depth)?),
            6 => read_enum(reader)?,
            9 => {
                reader.field(200)?;
                let child = Shape::read(reader, budget, depth + 1)?;
                let size = reader.unsigned_field(201, "array size")?;
                if size > ARRAY_ITEMS_MAX {
                    let max = ARRAY_ITEMS_MAX;
                    return Err(Error::TooLong { what: "array size", found: size, max });
                }
                Info::Array(child, size)
            }
            13 => {
                reader.field(200)?;
                reader.text_field(100, "coordinate system", NAME_BYTES_MAX)?;
                reader.end()?;
                Info::None
            }
            _ => return Err(Error::Invalid { what: "type info kind" }),
        };
        reader.end()?;
        Ok(info)
    }
}

/// A list of pairs of a name and a type.
fn read_children(reader: &mut Reader, budget: &mut Budget, depth: usize) -> Result<Vec<Shape>, Error> {
    let mut children = Vec::new();
    if !reader.optional_field(200)? {
        return Ok(children);
    }
    for _ in 0..reader.length("struct children", super::TYPES_MAX)? {
        reader.field(0)?;
        reader.text("struct child name", NAME_BYTES_MAX)?;
        reader.field(1)?;
        children.push(Shape::read(reader, budget, depth + 1)?);
        reader.end()?;
    }
    Ok(children)
}

fn read_enum(reader: &mut Reader) -> Result<Info, Error> {
    reader.field(200)?;
    let count = reader.unsigned("enum values")?;
    reader.field(201)?;
    // A count of bytes, not of memory: nothing is kept.
    if reader.length("enum values", usize::MAX)? as u64 != count {
        return Err(Error::Invalid { what: "enum values" });
    }
    for _ in 0..count {
        let length = reader.length("enum value", usize::MAX)?;
        reader.take(length as u64)?;
    }
    Ok(Info::Enum { count })
}
