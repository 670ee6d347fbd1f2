//! A table as a node answers it: columns with names and types, rows of texts.
//!
//! Columns are looked up by name. Columns that this crate does not know are kept: a newer extension may add some.

use serde_json::{Map, Value};

/// What a column holds, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole numbers and fractions.
    Number,
    /// True or false.
    Boolean,
    /// A list of names.
    List,
    /// Anything else.
    Text,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
}

impl Column {
    /// A column by the name of its DuckDB type, such as `UBIGINT` or `VARCHAR[]`.
    pub fn of_type(name: &str, type_name: &str) -> Self {
        let kind = match type_name {
            "BOOLEAN" => Kind::Boolean,
            list if list.ends_with(']') => Kind::List,
            "FLOAT" | "DOUBLE" => Kind::Number,
            number if number.ends_with("INT") || number == "INTEGER" || number == "UINTEGER" => Kind::Number,
            number if number.starts_with("DECIMAL") => Kind::Number,
            _ => Kind::Text,
        };
        Self { name: name.to_owned(), kind }
    }
}

/// Rows of texts; `None` is NULL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with one value for every column.
    pub rows: Vec<Vec<Option<String>>>,
}

impl Table {
    /// Value of a column in a row; `None` when there is no such column, or it is NULL.
    pub fn value<'a>(&'a self, row: &'a [Option<String>], column: &str) -> Option<&'a str> {
        let index = self.columns.iter().position(|known| known.name == column)?;
        row.get(index)?.as_deref()
    }

    /// Whether a column is true in a row.
    pub fn is_true(&self, row: &[Option<String>], column: &str) -> bool {
        self.value(row, column) == Some("true")
    }

    /// A whole number in a row.
    pub fn number(&self, row: &[Option<String>], column: &str) -> Option<u64> {
        self.value(row, column)?.parse().ok()
    }

    /// The names in a list, which DuckDB writes as `[a, b]`.
    pub fn list<'a>(&'a self, row: &'a [Option<String>], column: &str) -> Vec<&'a str> {
        self.value(row, column).map(names).unwrap_or_default()
    }

    /// The rows as JSON objects, with the types of the columns.
    pub fn to_json(&self) -> Value {
        let object = |row: &Vec<Option<String>>| -> Value {
            let fields = self.columns.iter().zip(row);
            fields
                .map(|(column, value)| (column.name.clone(), json(column.kind, value.as_deref())))
                .collect::<Map<_, _>>()
                .into()
        };
        self.rows.iter().map(object).collect()
    }
}

fn names(text: &str) -> Vec<&str> {
    let inside = text.trim().trim_start_matches('[').trim_end_matches(']');
    inside.split(',').map(|name| name.trim().trim_matches('\'')).filter(|name| !name.is_empty()).collect()
}

fn json(kind: Kind, value: Option<&str>) -> Value {
    let Some(text) = value else { return Value::Null };
    match kind {
        // What is no number in JSON, such as NaN, stays a text.
        Kind::Number => serde_json::from_str::<serde_json::Number>(text).map_or(text.into(), Value::Number),
        Kind::Boolean => match text {
            "true" => true.into(),
            "false" => false.into(),
            other => other.into(),
        },
        Kind::List => names(text).into(),
        Kind::Text => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_json_with_the_types_of_their_columns() {
        let types = [
            ("n", "UBIGINT"),
            ("b", "BOOLEAN"),
            ("l", "VARCHAR[]"),
            ("t", "VARCHAR"),
            ("d", "DOUBLE"),
            ("i", "INTEGER"),
        ];
        let columns = types.map(|(name, type_name)| Column::of_type(name, type_name)).to_vec();
        let row =
            ["18446744073709551615", "true", "[n0, n1]", "7", "0.5", "x"].map(|text| Some(text.to_owned()));
        let table = Table { columns, rows: vec![row.to_vec(), vec![None; 6]] };
        let expected = serde_json::json!([
            {"n": u64::MAX, "b": true, "l": ["n0", "n1"], "t": "7", "d": 0.5, "i": "x"},
            {"n": null, "b": null, "l": null, "t": null, "d": null, "i": null},
        ]);
        assert_eq!(table.to_json(), expected);
        assert_eq!(table.list(&table.rows[0], "l"), ["n0", "n1"]);
        assert_eq!(names("[]"), Vec::<&str>::new());
        assert_eq!(table.value(&table.rows[0], "no such column"), None);
    }
}
