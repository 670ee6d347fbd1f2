//! Results that are right in every way of writing them, and results that are wrong.

use super::{Expected, Labels, check, is_error};
use crate::duckdb_format::record::Sort;
use crate::worker::Rows;

/// Columns with these types, and their rows; `∅` is NULL.
fn rows(types: &[&str], rows: &[&[&str]]) -> Rows {
    let value = |text: &&str| (*text != "∅").then(|| (*text).to_owned());
    Rows {
        columns: (0..types.len()).map(|index| format!("c{index}")).collect(),
        types: types.iter().map(|name| (*name).to_owned()).collect(),
        rows: rows.iter().map(|row| row.iter().map(value).collect()).collect(),
    }
}

fn compare(rows: &Rows, sort: Sort, lines: &[&str]) -> Result<(), String> {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    let expected = Expected { columns: rows.columns.len(), sort, lines: &lines, label: None };
    check(rows, &expected, &mut Labels::new())
}

fn one(sql_type: &str, actual: &str, expected: &str) -> Result<(), String> {
    compare(&rows(&[sql_type], &[&[actual]]), Sort::None, &[expected])
}

#[test]
fn values_stand_one_by_one_or_in_rows() {
    let result = rows(&["INTEGER", "VARCHAR"], &[&["1", "a"], &["2", "b"]]);
    assert_eq!(compare(&result, Sort::None, &["1", "a", "2", "b"]), Ok(()));
    assert_eq!(compare(&result, Sort::None, &["1\ta", "2\tb"]), Ok(()));
}

#[test]
fn a_wrong_value_is_found_with_its_place() {
    let result = rows(&["INTEGER", "VARCHAR"], &[&["1", "a"], &["2", "b"]]);
    let message = compare(&result, Sort::None, &["1\ta", "2\tc"]).unwrap_err();
    assert!(message.contains("row 2, column 2 (c1): expected \"c\", found \"b\""), "{message}");
    assert!(compare(&result, Sort::None, &["1", "a", "3", "b"]).is_err());
    assert!(compare(&result, Sort::None, &["2\tb", "1\ta"]).is_err());
}

#[test]
fn a_wrong_number_of_rows_or_columns_is_found() {
    let result = rows(&["INTEGER", "VARCHAR"], &[&["1", "a"], &["2", "b"]]);
    assert!(compare(&result, Sort::None, &["1\ta"]).unwrap_err().contains("expected 1 rows, found 2"));
    assert!(compare(&result, Sort::None, &[]).unwrap_err().contains("expected 0 rows"));
    assert!(compare(&result, Sort::None, &["1\ta", "2\tb", "3\tc"]).is_err());
    assert!(compare(&result, Sort::None, &["1", "a", "2"]).unwrap_err().contains("do not make rows"));
    assert!(compare(&result, Sort::None, &["1\ta\tx", "2\tb\tx"]).unwrap_err().contains("has 3 values"));
    let empty = rows(&["INTEGER"], &[]);
    assert_eq!(compare(&empty, Sort::None, &[]), Ok(()));
    assert!(compare(&empty, Sort::None, &["1"]).is_err());
    let narrow = Expected { columns: 1, sort: Sort::None, lines: &["1".to_owned()], label: None };
    assert!(check(&result, &narrow, &mut Labels::new()).unwrap_err().contains("expected 1 columns, found 2"));
}

#[test]
fn null_and_the_empty_text_have_names() {
    assert_eq!(one("VARCHAR", "∅", "NULL"), Ok(()));
    assert_eq!(one("VARCHAR", "", "(empty)"), Ok(()));
    assert!(one("VARCHAR", "∅", "(empty)").is_err());
    assert!(one("VARCHAR", "", "NULL").is_err());
    assert!(one("INTEGER", "∅", "0").is_err());
    assert_eq!(one("VARCHAR", "a\0b", "a\\0b"), Ok(()));
}

#[test]
fn truth_has_two_spellings() {
    for (actual, expected) in [("true", "true"), ("true", "1"), ("false", "False"), ("false", "0")] {
        assert_eq!(one("BOOLEAN", actual, expected), Ok(()));
    }
    assert!(one("BOOLEAN", "true", "0").is_err());
    assert!(one("BOOLEAN", "false", "no").is_err());
    assert!(one("BOOLEAN", "∅", "false").is_err());
    assert!(one("VARCHAR", "true", "1").is_err());
}

#[test]
fn numbers_are_compared_by_their_types() {
    assert_eq!(one("DOUBLE", "0.30000000000000004", "0.3"), Ok(()));
    assert!(one("DOUBLE", "0.31", "0.3").is_err());
    assert!(one("VARCHAR", "0.30000000000000004", "0.3").is_err());
    assert_eq!(one("DECIMAL(4,2)", "1.50", "1.5"), Ok(()));
    assert!(one("INTEGER", "100", "101").is_err());
}

#[test]
fn rows_and_values_can_be_sorted() {
    let result = rows(&["INTEGER", "VARCHAR"], &[&["2", "a"], &["10", "b"], &["2", "A"]]);
    assert_eq!(compare(&result, Sort::Rows, &["10\tb", "2\tA", "2\ta"]), Ok(()));
    assert!(compare(&result, Sort::Rows, &["2\tA", "2\ta", "10\tb"]).is_err());
    assert_eq!(compare(&result, Sort::Values, &["10", "2", "2", "A", "a", "b"]), Ok(()));
    assert!(compare(&result, Sort::Values, &["10", "2", "2", "A", "a", "c"]).is_err());
}

#[test]
fn regular_expressions_match_the_whole_value_over_lines() {
    assert_eq!(one("VARCHAR", "first\nlast", "<REGEX>:first.*last"), Ok(()));
    assert!(one("VARCHAR", "first\nlast", "<REGEX>:first").is_err());
    assert_eq!(one("VARCHAR", "abc", "<!REGEX>:.*x.*"), Ok(()));
    assert!(one("VARCHAR", "axc", "<!REGEX>:.*x.*").is_err());
    assert!(one("VARCHAR", "a", "<REGEX>:(").unwrap_err().contains("no regular expression"));
}

#[test]
fn a_hash_stands_for_all_values() {
    let result = rows(&["INTEGER", "VARCHAR"], &[&["1", "∅"], &["2", ""]]);
    // printf '1\nNULL\n2\n(empty)\n' | md5sum
    let found = "4 values hashing to 597efb3299617ae3c3152a50d76e7e2e";
    assert_eq!(compare(&result, Sort::None, &[found]), Ok(()));
    assert!(compare(&result, Sort::None, &[&found.replace("4 values", "5 values")]).is_err());
    let other = rows(&["INTEGER", "VARCHAR"], &[&["1", "∅"], &["3", ""]]);
    assert!(compare(&other, Sort::None, &[found]).unwrap_err().contains("hashing to"));
}

#[test]
fn results_with_the_same_label_are_the_same() {
    let mut labels = Labels::new();
    let mut labelled = |result: &Rows, lines: &[String]| {
        let expected = Expected { columns: 1, sort: Sort::Rows, lines, label: Some("x") };
        check(result, &expected, &mut labels)
    };
    assert_eq!(labelled(&rows(&["INTEGER"], &[&["1"], &["2"]]), &[]), Ok(()));
    assert_eq!(labelled(&rows(&["VARCHAR"], &[&["2"], &["1"]]), &[]), Ok(()));
    assert!(labelled(&rows(&["INTEGER"], &[&["1"], &["3"]]), &[]).unwrap_err().contains("label x"));
    assert!(labelled(&rows(&["INTEGER"], &[&["1"], &["2"]]), &["1".to_owned(), "3".to_owned()]).is_err());
}

#[test]
fn an_error_contains_the_expected_text_or_matches() {
    let error = "Constraint Error: Duplicate key \"i: 1\"\nmore";
    assert_eq!(is_error(error, "Duplicate key"), Ok(true));
    assert_eq!(is_error(error, "duplicate key"), Ok(false));
    assert_eq!(is_error(error, "<REGEX>:Constraint Error.*more"), Ok(true));
    assert_eq!(is_error(error, "<REGEX>:Constraint Error"), Ok(false));
    assert_eq!(is_error(error, "<!REGEX>:.*Catalog.*"), Ok(true));
    assert_eq!(is_error(error, "<!REGEX>:.*Constraint.*"), Ok(false));
    assert!(is_error(error, "<REGEX>:[").is_err());
}
