//! From the text of a `.test` file to the steps that a session takes.
//!
//! A file is a script of the crate `sqllogictest`, and these lines of ours, each between blank lines:
//!
//! - `restart` ends the serving process in the ordinary way and starts it again on the same folder;
//! - `kill` does the same with SIGKILL;
//! - `loop NAME FROM UP_TO`, `foreach NAME VALUE …` and `endloop` repeat what is between, with `${NAME}`
//!   replaced in SQL and results; in a VALUE, `␣` stands for a space.
//!
//! The file opens with a comment `# description: …`, one sentence; a file of `single/` that cannot run on
//! plain DuckDB also has `# native: no, …` with the reason.

use sqllogictest::{DefaultColumnType, QueryExpect, Record};

/// A parsed file.
#[derive(Debug)]
pub struct Script {
    /// What the file shows.
    pub description: String,
    /// Whether plain DuckDB must behave the same.
    pub native: bool,
    /// What to do, in order.
    pub steps: Vec<Step>,
}

/// One thing to do.
#[derive(Debug)]
pub enum Step {
    /// A statement or query, with the name of its connection.
    Record(String, Box<Record<DefaultColumnType>>),
    /// Stop the serving process and start it again.
    Restart,
    /// Kill the serving process and start it again.
    Kill,
}

/// A directive survives the parser of `sqllogictest` as the name of a subtest.
const MARK: char = '@';

/// Parses the file `name` with the content `text`.
///
/// Fails with the line that is wrong.
pub fn parse(name: &str, text: &str) -> Result<Script, String> {
    let description = header(text, "description").unwrap_or_default();
    if description.is_empty() {
        return Err(format!("{name}: the file must open with `# description: …`"));
    }
    let native = match header(text, "native") {
        None => true,
        Some(value) if value.starts_with("no, ") => false,
        Some(_) => return Err(format!("{name}: write `# native: no, <reason>` or leave the line out")),
    };
    let marked: Vec<String> = text.lines().map(mark).collect();
    let records = sqllogictest::parse_with_name::<DefaultColumnType>(&marked.join("\n"), name)
        .map_err(|error| error.to_string())?;
    Ok(Script { description, native, steps: steps(name, &records)? })
}

fn header(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().map_while(|line| line.strip_prefix("# "));
    lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).next().map(str::to_owned)
}

/// Turns a directive into a subtest, and leaves every other line alone.
fn mark(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["restart" | "kill" | "endloop"] | ["loop", _, _, _] | ["foreach", _, _, ..] => {
            format!("subtest {MARK}{}", words.join(&MARK.to_string()))
        }
        _ => line.to_owned(),
    }
}

fn steps(name: &str, records: &[Record<DefaultColumnType>]) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = records;
    while let Some((record, tail)) = rest.split_first() {
        rest = tail;
        match directive(record).as_deref() {
            Some(["restart"]) => steps.push(Step::Restart),
            Some(["kill"]) => steps.push(Step::Kill),
            Some(["endloop"]) => return Err(format!("{name}: an `endloop` without its loop")),
            Some([_, variable, values @ ..]) => {
                let end = end_of_loop(rest).ok_or_else(|| format!("{name}: a loop without `endloop`"))?;
                for value in loop_values(directive(record).as_deref(), values) {
                    let body: Vec<_> = rest[..end].iter().map(|r| replace(r, variable, &value)).collect();
                    steps.extend(self::steps(name, &body)?);
                }
                rest = &rest[end + 1..];
            }
            _ => steps.extend(step(record)),
        }
    }
    Ok(steps)
}

fn directive(record: &Record<DefaultColumnType>) -> Option<Vec<&str>> {
    let Record::Subtest { name, .. } = record else { return None };
    Some(name.strip_prefix(MARK)?.split(MARK).collect())
}

fn end_of_loop(records: &[Record<DefaultColumnType>]) -> Option<usize> {
    let mut depth = 0usize;
    for (index, record) in records.iter().enumerate() {
        match directive(record).as_deref() {
            Some(["endloop"]) if depth == 0 => return Some(index),
            Some(["endloop"]) => depth -= 1,
            Some(["loop" | "foreach", ..]) => depth += 1,
            _ => {}
        }
    }
    None
}

fn loop_values(directive: Option<&[&str]>, values: &[&str]) -> Vec<String> {
    if let (Some(["loop", ..]), [from, up_to]) = (directive, values) {
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        return (number(from)..number(up_to)).map(|value| value.to_string()).collect();
    }
    values.iter().map(|value| value.replace('␣', " ")).collect()
}

fn replace(record: &Record<DefaultColumnType>, name: &str, value: &str) -> Record<DefaultColumnType> {
    let placeholder = format!("${{{name}}}");
    let mut record = record.clone();
    match &mut record {
        Record::Statement { sql, .. } => *sql = sql.replace(&placeholder, value),
        Record::Query { sql, expected, .. } => {
            *sql = sql.replace(&placeholder, value);
            if let QueryExpect::Results { results, .. } = expected {
                for line in results {
                    *line = line.replace(&placeholder, value);
                }
            }
        }
        _ => {}
    }
    record
}

/// A record that does something, with its connection taken out: the session routes by name.
fn step(record: &Record<DefaultColumnType>) -> Option<Step> {
    let mut record = record.clone();
    let name = match &mut record {
        Record::Statement { connection, .. }
        | Record::Query { connection, .. }
        | Record::Let { connection, .. } => match std::mem::take(connection) {
            sqllogictest::Connection::Default => "default".to_owned(),
            sqllogictest::Connection::Named(name) => name,
        },
        Record::Comment(_) | Record::Newline | Record::Condition(_) | Record::Connection(_) => return None,
        _ => "default".to_owned(),
    };
    Some(Step::Record(name, Box::new(record)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(script: &Script) -> Vec<String> {
        let text = |step: &Step| match step {
            Step::Record(name, record) => match record.as_ref() {
                Record::Statement { sql, .. } | Record::Query { sql, .. } => format!("{name}: {sql}"),
                other => format!("{name}: {other:?}"),
            },
            other => format!("{other:?}"),
        };
        script.steps.iter().map(text).collect()
    }

    #[test]
    fn loops_are_unrolled_inside_out() {
        let text = "# description: loops\n\nloop i 0 2\n\nforeach t a b\n\n\
            statement ok\nSELECT ${i}, '${t}'\n\nendloop\n\nendloop\n\nrestart\n\nkill\n";
        let script = parse("a.test", text).unwrap();
        let expected = [
            "default: SELECT 0, 'a'",
            "default: SELECT 0, 'b'",
            "default: SELECT 1, 'a'",
            "default: SELECT 1, 'b'",
            "Restart",
            "Kill",
        ];
        assert_eq!(sql(&script), expected);
    }

    #[test]
    fn a_connection_holds_for_one_record() {
        let text = "# description: names\n\nconnection other\nstatement ok\nA\n\nstatement ok\nB\n";
        assert_eq!(sql(&parse("a.test", text).unwrap()), ["other: A", "default: B"]);
    }

    #[test]
    fn a_file_without_a_description_is_refused() {
        assert!(parse("a.test", "statement ok\nA\n").unwrap_err().contains("description"));
    }

    #[test]
    fn a_file_that_is_not_for_plain_duckdb_gives_the_reason() {
        let script = parse("a.test", "# description: x\n# native: no, it looks at the log\n").unwrap();
        assert!(!script.native);
        assert!(parse("a.test", "# description: x\n# native: no\n").is_err());
    }

    #[test]
    fn loops_must_be_closed() {
        assert!(parse("a.test", "# description: x\n\nloop i 0 2\n").is_err());
        assert!(parse("a.test", "# description: x\n\nendloop\n").is_err());
    }
}
