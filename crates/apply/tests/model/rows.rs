//! Rows as bytes: what a serialized DataChunk is to DuckDB.
//!
//! ```text
//!   count u32 | width u32 | count * width values i64 | padding that means nothing
//! ```

use quack_proto::log::v1::{Places, Rows};

/// A key and a value. Every table of the model has these two columns.
pub type Row = (i64, i64);

/// A row to be deleted or updated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sought {
    pub row: Row,
    /// Where the origin saw it.
    pub hint: i64,
    /// `None` when it is to be deleted.
    pub new: Option<Row>,
}

/// The shape of every table that has these columns.
pub const SHAPE: u64 = 2;

fn encode(table: &str, width: u32, rows: &[Vec<i64>], padding: usize) -> Rows {
    let count = u32::try_from(rows.len()).unwrap();
    let mut chunk = Vec::new();
    chunk.extend(count.to_le_bytes());
    chunk.extend(width.to_le_bytes());
    chunk.extend(rows.iter().flatten().flat_map(|value| value.to_le_bytes()));
    chunk.resize(chunk.len() + padding, 0);
    Rows {
        schema: "main".into(),
        table: table.into(),
        shape: SHAPE,
        table_number: 0,
        count,
        chunk: chunk.into(),
        places: None,
    }
}

/// Rows that are named by their places, in ascending order, and their new values; none when they are deleted. The chunk
/// says for the tests which rows that are.
pub fn placed(
    table: &str,
    revision: u64,
    rows: &[(u64, Row)],
    new: Option<&dyn Fn(Row) -> i64>,
    are_all: bool,
) -> Rows {
    let encoded: Vec<Vec<i64>> = rows
        .iter()
        .map(|(_, row)| [row.0, row.1].into_iter().chain(new.map(|new| new(*row))).collect())
        .collect();
    let width = if new.is_some() { 3 } else { 2 };
    let mut runs = Vec::new();
    let mut end = 0;
    for (place, _) in rows {
        // Less than what takes two bytes.
        runs.extend([u8::try_from(place - end).unwrap(), 1]);
        assert!(runs.iter().all(|byte| *byte < 0x80));
        end = place + 1;
    }
    let places = Places {
        revision,
        runs: if are_all { Vec::new() } else { runs }.into(),
        columns: new.iter().map(|_| 1).collect(),
        check: 0,
        in_place: false,
    };
    Rows { places: Some(places), ..encode(table, width, &encoded, 0) }
}

/// The places, the rows that are there, and their new values.
pub fn decode_placed(rows: &Rows) -> Vec<(usize, Row, Option<i64>)> {
    let runs = &rows.places.as_ref().unwrap().runs;
    let mut end = 0;
    let mut places = Vec::new();
    for run in runs.chunks(2) {
        places.push(end + usize::from(run[0]));
        end = places.last().unwrap() + 1;
    }
    if runs.is_empty() {
        places = (0..rows.count as usize).collect();
    }
    let values = decode(rows).into_iter();
    places
        .into_iter()
        .zip(values)
        .map(|(place, values)| (place, (values[0], values[1]), values.get(2).copied()))
        .collect()
}

fn decode(rows: &Rows) -> Vec<Vec<i64>> {
    let number = |at: usize| u32::from_le_bytes(rows.chunk[at..at + 4].try_into().unwrap()) as usize;
    let (count, width) = (number(0), number(4));
    let values = rows.chunk[8..].chunks_exact(8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap()));
    let values: Vec<i64> = values.take(count * width).collect();
    assert_eq!(count, rows.count as usize);
    values.chunks(width.max(1)).map(<[i64]>::to_vec).collect()
}

pub fn inserted(table: &str, rows: &[Row], padding: usize) -> Rows {
    let rows: Vec<_> = rows.iter().map(|(key, value)| vec![*key, *value]).collect();
    encode(table, 2, &rows, padding)
}

/// Rows to delete, or to update when they have new values. All of them are one or the other.
pub fn changed(table: &str, sought: &[Sought], padding: usize) -> Rows {
    let encoded = |sought: &Sought| {
        let mut values = vec![sought.row.0, sought.row.1, sought.hint];
        values.extend(sought.new.into_iter().flat_map(|(key, value)| [key, value]));
        values
    };
    let rows: Vec<_> = sought.iter().map(encoded).collect();
    let width = if sought.iter().any(|sought| sought.new.is_some()) { 5 } else { 3 };
    encode(table, width, &rows, padding)
}

pub fn decode_inserted(rows: &Rows) -> Vec<Row> {
    decode(rows).into_iter().map(|values| (values[0], values[1])).collect()
}

pub fn decode_changed(rows: &Rows) -> Vec<Sought> {
    let sought = |values: Vec<i64>| Sought {
        row: (values[0], values[1]),
        hint: values[2],
        new: values.get(3).map(|key| (*key, values[4])),
    };
    decode(rows).into_iter().map(sought).collect()
}
