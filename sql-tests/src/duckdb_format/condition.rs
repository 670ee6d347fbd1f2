//! `skipif` and `onlyif`: by the name of a database system, or by the values of loops.

use super::variables::Binding;

/// Names that mean the system under test.
const OURS: &str = "duckdb";

/// What a line `skipif …` or `onlyif …` decides.
#[derive(Debug, PartialEq, Eq)]
pub enum Decision {
    /// The record is for another system.
    Never,
    /// The record is always run.
    Always,
    /// It depends on loops.
    When(Vec<Condition>),
}

/// A comparison of a loop's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    variable: String,
    comparison: Comparison,
    value: String,
    /// What the comparison's result must be for the record to run.
    wanted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    NotEqual,
    GreaterOrEqual,
    Greater,
    LessOrEqual,
    Less,
    Equal,
}

/// Longer symbols first, because they begin with the shorter ones.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<>", Comparison::NotEqual),
    (">=", Comparison::GreaterOrEqual),
    (">", Comparison::Greater),
    ("<=", Comparison::LessOrEqual),
    ("<", Comparison::Less),
    ("=", Comparison::Equal),
];

impl Decision {
    /// Reads what follows `skipif` (`skip`) or `onlyif`.
    pub fn parse(text: &str, skip: bool) -> Result<Self, String> {
        if text.is_empty() {
            return Err("name a system, or compare a loop's value: `skipif i=2`".to_owned());
        }
        if text.contains(' ') {
            return Err(format!("\"{text}\" must be one word, without spaces"));
        }
        if !text.contains(['=', '<', '>']) {
            let ours = text.eq_ignore_ascii_case(OURS);
            return Ok(if ours == skip { Self::Never } else { Self::Always });
        }
        let conditions: Result<Vec<_>, _> =
            text.split("&&").map(|part| Condition::parse(part, !skip)).collect();
        conditions.map(Self::When)
    }
}

impl Condition {
    fn parse(text: &str, wanted: bool) -> Result<Self, String> {
        let found = COMPARISONS.iter().find_map(|(symbol, comparison)| {
            let (variable, value) = text.split_once(symbol)?;
            Some((variable.trim().to_owned(), *comparison, value.trim().to_owned()))
        });
        match found {
            Some((variable, comparison, value)) if !variable.is_empty() && !value.is_empty() => {
                Ok(Self { variable, comparison, value, wanted })
            }
            _ => Err(format!("\"{text}\" is no comparison such as `i=2` or `i>=2`")),
        }
    }

    /// Whether the record runs inside these loops.
    ///
    /// Fails when no loop has the variable, or when a value should be a number and is none.
    pub fn allows(&self, loops: &[Binding]) -> Result<bool, String> {
        let bound = loops.iter().find(|binding| binding.name == self.variable);
        let actual =
            &bound.ok_or_else(|| format!("no loop around has the variable \"{}\"", self.variable))?.value;
        let holds = match self.comparison {
            Comparison::Equal => *actual == self.value,
            Comparison::NotEqual => *actual != self.value,
            Comparison::Greater => number(actual)? > number(&self.value)?,
            Comparison::GreaterOrEqual => number(actual)? >= number(&self.value)?,
            Comparison::Less => number(actual)? < number(&self.value)?,
            Comparison::LessOrEqual => number(actual)? <= number(&self.value)?,
        };
        Ok(holds == self.wanted)
    }
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("\"{text}\" is compared as a number, and is none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(text: &str, skip: bool, value: &str) -> Result<bool, String> {
        let Decision::When(conditions) = Decision::parse(text, skip)? else { panic!("{text}") };
        let loops = [Binding { name: "i".to_owned(), value: value.to_owned() }];
        conditions.iter().try_fold(true, |all, condition| Ok(all && condition.allows(&loops)?))
    }

    #[test]
    fn a_system_is_ours_or_another() {
        assert_eq!(Decision::parse("duckdb", true), Ok(Decision::Never));
        assert_eq!(Decision::parse("mysql", true), Ok(Decision::Always));
        assert_eq!(Decision::parse("DuckDB", false), Ok(Decision::Always));
        assert_eq!(Decision::parse("mysql", false), Ok(Decision::Never));
    }

    #[test]
    fn every_comparison_is_told_apart() {
        for (text, holds) in [
            ("i=2", [0, 1, 0]),
            ("i<>2", [1, 0, 1]),
            ("i>2", [0, 0, 1]),
            ("i>=2", [0, 1, 1]),
            ("i<2", [1, 0, 0]),
            ("i<=2", [1, 1, 0]),
        ] {
            for (value, holds) in ["1", "2", "3"].iter().zip(holds) {
                assert_eq!(allows(text, false, value), Ok(holds == 1), "{text} {value}");
                assert_eq!(allows(text, true, value), Ok(holds == 0), "{text} {value}");
            }
        }
    }

    #[test]
    fn all_parts_must_allow_it() {
        assert_eq!(allows("i>1&&i<>3", false, "2"), Ok(true));
        assert_eq!(allows("i>1&&i<>3", false, "3"), Ok(false));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Decision::parse("", true).is_err());
        assert!(Decision::parse("i = 2", true).unwrap_err().contains("without spaces"));
        assert!(Decision::parse("=2", true).is_err());
        assert!(Decision::parse("i=", true).is_err());
        assert!(allows("i>2", true, "abc").is_err());
        assert!(allows("k=2", true, "2").unwrap_err().contains("\"k\""));
    }
}
