//! Numbers that are written differently and are equal all the same, by the type of their column.

/// FLOAT and DOUBLE are equal when they differ by less than this part of the expected value.
const TOLERANCE: f64 = 0.01;
/// And by no more than this near zero.
const TOLERANCE_ABSOLUTE: f64 = 1e-8;
/// Digits of a DECIMAL or an integer at most; a text with more is no number of DuckDB.
const DIGITS_MAX: usize = 80;

/// Whether both texts are the same number of the type; false when they are no numbers, or the type is none.
pub fn equal(actual: &str, expected: &str, sql_type: &str) -> bool {
    match sql_type {
        "FLOAT" | "DOUBLE" => floating(actual, expected),
        "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "HUGEINT" | "UTINYINT" | "USMALLINT" | "UINTEGER"
        | "UBIGINT" | "UHUGEINT" | "BIGNUM" => exact(actual, expected, 0),
        _ => match scale(sql_type) {
            Some(scale) => exact(actual, expected, scale),
            None => false,
        },
    }
}

fn floating(actual: &str, expected: &str) -> bool {
    let (Ok(actual), Ok(expected)) = (actual.trim().parse::<f64>(), expected.trim().parse::<f64>()) else {
        return false;
    };
    if actual.is_nan() && expected.is_nan() {
        return true;
    }
    if !actual.is_finite() || !expected.is_finite() {
        return actual == expected;
    }
    (actual - expected).abs() <= expected.abs() * TOLERANCE + TOLERANCE_ABSOLUTE
}

/// The digits behind the point of `DECIMAL(width,scale)`.
fn scale(sql_type: &str) -> Option<usize> {
    let inside = sql_type.strip_prefix("DECIMAL(")?.strip_suffix(')')?;
    inside.split_once(',')?.1.trim().parse().ok()
}

fn exact(actual: &str, expected: &str, scale: usize) -> bool {
    match (digits(actual, scale), digits(expected, scale)) {
        (Some(actual), Some(expected)) => actual == expected,
        _ => false,
    }
}

/// The sign and the digits of a number, rounded to `scale` digits behind the point, without leading zeroes.
fn digits(text: &str, scale: usize) -> Option<(bool, String)> {
    let text = text.trim();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || all.len() > DIGITS_MAX || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let kept: String = fraction.chars().chain(std::iter::repeat('0')).take(scale).collect();
    let mut digits = format!("{whole}{kept}").into_bytes();
    if fraction.as_bytes().get(scale).is_some_and(|digit| *digit >= b'5') {
        increment(&mut digits);
    }
    let digits = String::from_utf8(digits).ok()?;
    let digits = digits.trim_start_matches('0').to_owned();
    Some((negative && !digits.is_empty(), digits))
}

fn increment(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_numbers_have_a_tolerance() {
        assert!(equal("0.1", "0.1000000001", "DOUBLE"));
        assert!(equal("101", "100.5", "FLOAT"));
        assert!(!equal("102", "100", "DOUBLE"));
        assert!(equal("1e-9", "0", "DOUBLE"));
        assert!(!equal("1e-7", "0", "DOUBLE"));
        assert!(equal("nan", "NaN", "DOUBLE"));
        assert!(equal("inf", "Infinity", "DOUBLE"));
        assert!(!equal("inf", "-inf", "DOUBLE"));
        assert!(!equal("inf", "1", "DOUBLE"));
        assert!(!equal("1", "one", "DOUBLE"));
    }

    #[test]
    fn integers_and_decimals_have_none() {
        assert!(equal("1", "1.0", "INTEGER"));
        assert!(equal("1", "+01", "INTEGER"));
        assert!(!equal("1000", "1001", "BIGINT"));
        assert!(equal("-0", "0", "INTEGER"));
        assert!(!equal("-1", "1", "INTEGER"));
        assert!(equal("1.50", "1.5", "DECIMAL(9,2)"));
        assert!(!equal("1.50", "1.51", "DECIMAL(9,2)"));
        assert!(equal("2.00", "1.995", "DECIMAL(9,2)"));
        assert!(equal("10.00", "9.999", "DECIMAL(9,2)"));
        let wide = "170141183460469231731687303715884105727";
        assert!(equal(wide, wide, "HUGEINT"));
        assert!(!equal(wide, "170141183460469231731687303715884105726", "HUGEINT"));
    }

    #[test]
    fn texts_are_no_numbers() {
        assert!(!equal("1", "1.0", "VARCHAR"));
        assert!(!equal("1.50", "1.5", "DECIMAL(9,2)[]"));
        assert!(!equal("NULL", "0", "INTEGER"));
        assert!(!equal("", "0", "INTEGER"));
    }
}
