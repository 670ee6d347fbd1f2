//! Whether a result is what the file says, by the rules of DuckDB's own runner.
//!
//! A value is compared as text. NULL is `NULL`, an empty text `(empty)`, a BOOLEAN `1` or `0`, which a file
//! may also write as `true` and `false`. Numbers that differ as texts are compared as numbers of the column's
//! type, FLOAT and DOUBLE with a tolerance of one percent. `<REGEX>:` and `<!REGEX>:` match a whole value.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use regex::RegexBuilder;

use super::number;
use super::record::Sort;
use crate::worker::Rows;

/// Values that a failure shows at most, of either side.
const SHOWN_LINES_MAX: usize = 20;

/// What a query must give.
#[derive(Debug)]
pub struct Expected<'a> {
    /// How many columns.
    pub columns: usize,
    /// In which order.
    pub sort: Sort,
    /// The lines below `----`, or the values of a file.
    pub lines: &'a [String],
    /// The name under which equal results are compared.
    pub label: Option<&'a str>,
}

/// The hashes of the labelled results of a file.
pub type Labels = BTreeMap<String, String>;

/// Compares `rows` with `expected`.
///
/// Fails with what differs first, and both sides.
pub fn check(rows: &Rows, expected: &Expected<'_>, labels: &mut Labels) -> Result<(), String> {
    let width = rows.columns.len();
    let mut actual: Vec<String> =
        rows.rows.iter().flat_map(|row| row.iter().zip(&rows.types)).map(render).collect();
    sort(&mut actual, width, expected.sort);
    let hash = hash(&actual);
    if let Some(label) = expected.label {
        let first = labels.entry(label.to_owned()).or_insert_with(|| hash.clone());
        if *first != hash {
            return Err(format!("the label {label} stands for another result: {first}, and now {hash}"));
        }
    }
    match expected.lines {
        [] if expected.label.is_some() => Ok(()),
        [line] if is_hash(line) => {
            if *line == hash {
                Ok(())
            } else {
                Err(format!("expected {line}, found {hash}"))
            }
        }
        _ => check_values(rows, &actual, expected)
            .map_err(|message| format!("{message}\n{}", both(&actual, width, expected.lines))),
    }
}

/// Whether `error` is the one that is expected: it contains the text, or matches the regular expression.
///
/// Fails when the expression is none.
pub fn is_error(error: &str, expected: &str) -> Result<bool, String> {
    if error.contains(expected) {
        return Ok(true);
    }
    Ok(matches(error, expected)?.unwrap_or(false))
}

/// The text of a value, given its type.
fn render((value, sql_type): (&Option<String>, &String)) -> String {
    match value.as_deref() {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some("true") if sql_type == "BOOLEAN" => "1".to_owned(),
        Some("false") if sql_type == "BOOLEAN" => "0".to_owned(),
        Some(text) => text.replace('\0', "\\0"),
    }
}

fn sort(values: &mut Vec<String>, width: usize, sort: Sort) {
    match sort {
        Sort::Rows if width > 0 => {
            let mut rows: Vec<Vec<String>> = values.chunks(width).map(<[String]>::to_vec).collect();
            rows.sort();
            *values = rows.concat();
        }
        Sort::Values => values.sort(),
        Sort::None | Sort::Rows => {}
    }
}

fn hash(values: &[String]) -> String {
    let mut digest = Md5::new();
    for value in values {
        digest.update(value);
        digest.update("\n");
    }
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} values hashing to {hex}", values.len())
}

fn is_hash(line: &str) -> bool {
    let Some((count, digest)) = line.split_once(" values hashing to ") else { return false };
    count.parse::<u64>().is_ok() && digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn check_values(rows: &Rows, actual: &[String], expected: &Expected<'_>) -> Result<(), String> {
    let width = rows.columns.len();
    if width != expected.columns {
        return Err(format!(
            "expected {} columns, found {width}: {}",
            expected.columns,
            rows.columns.join(", ")
        ));
    }
    let values = values_of(expected.lines, width, rows.rows.len())?;
    if values.len() != actual.len() {
        return Err(format!("expected {} rows, found {}", values.len() / width, rows.rows.len()));
    }
    for (index, (actual, expected)) in actual.iter().zip(&values).enumerate() {
        if !equal(actual, expected, &rows.types[index % width])? {
            return Err(format!(
                "row {}, column {} ({}): expected {expected:?}, found {actual:?}",
                index / width + 1,
                index % width + 1,
                rows.columns[index % width],
            ));
        }
    }
    Ok(())
}

/// The expected values one by one. A line is a row with tabs when there are as many lines as rows, or when
/// every line has a tab; otherwise it is a value.
fn values_of(lines: &[String], width: usize, rows: usize) -> Result<Vec<String>, String> {
    let row_wise = (width > 1 && lines.len() == rows) || lines.iter().all(|line| line.contains('\t'));
    if !row_wise {
        if !lines.len().is_multiple_of(width) {
            return Err(format!("{} expected values do not make rows of {width}", lines.len()));
        }
        return Ok(lines.to_vec());
    }
    let mut values = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let row: Vec<&str> = line.split('\t').collect();
        if row.len() != width {
            return Err(format!(
                "line {} of the expected rows has {} values, not {width}",
                index + 1,
                row.len()
            ));
        }
        values.extend(row.into_iter().map(str::to_owned));
    }
    Ok(values)
}

fn equal(actual: &str, expected: &str, sql_type: &str) -> Result<bool, String> {
    if actual == expected || matches(actual, expected)? == Some(true) {
        return Ok(true);
    }
    if sql_type == "BOOLEAN" {
        let truth = |text: &str| match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        };
        return Ok(truth(actual).is_some() && truth(actual) == truth(expected));
    }
    Ok(number::equal(actual, expected, sql_type))
}

/// Whether the whole text matches, if `pattern` is a regular expression at all.
fn matches(text: &str, pattern: &str) -> Result<Option<bool>, String> {
    let (expression, wanted) = match (pattern.strip_prefix("<REGEX>:"), pattern.strip_prefix("<!REGEX>:")) {
        (Some(expression), _) => (expression, true),
        (_, Some(expression)) => (expression, false),
        _ => return Ok(None),
    };
    let whole = format!(r"\A(?:{expression})\z");
    let regex = RegexBuilder::new(&whole).dot_matches_new_line(true).build();
    let regex = regex.map_err(|error| format!("\"{expression}\" is no regular expression: {error}"))?;
    Ok(Some(regex.is_match(text) == wanted))
}

fn both(actual: &[String], width: usize, expected: &[String]) -> String {
    let rows: Vec<String> = actual.chunks(width.max(1)).map(|row| row.join("\t")).collect();
    format!("expected:\n{}\nfound:\n{}", shown(expected), shown(&rows))
}

fn shown(lines: &[String]) -> String {
    let mut text = lines[..lines.len().min(SHOWN_LINES_MAX)].join("\n");
    if lines.len() > SHOWN_LINES_MAX {
        text.push_str(&format!("\n… and {} more lines", lines.len() - SHOWN_LINES_MAX));
    }
    text
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
