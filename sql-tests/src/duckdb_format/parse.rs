//! From the text of a file in DuckDB's format to its records.
//!
//! A record is a directive and the lines below it, up to an empty line or a comment. Text that the parser
//! does not understand is an error with its line: a directive that is passed over would be a test that cannot fail.

use std::time::Duration;

use super::condition::{Condition, Decision};
use super::groups;
use super::record::{Command, Expectation, Load, Loop, Query, Record, Script, Sort, Statement};

/// The line between a statement and what it must give.
const RULE: &str = "----";
/// More rounds than any test needs; a slip of the pen would fill the memory.
const LOOP_VALUES_MAX: i64 = 1_000_000;
/// Directives of one line, which must be followed by an empty line or a comment.
const SINGLE_LINE: [&str; 19] = [
    "concurrentforeach",
    "concurrentloop",
    "endloop",
    "foreach",
    "halt",
    "hash-threshold",
    "load",
    "loop",
    "mode",
    "reconnect",
    "require",
    "require-env",
    "reset",
    "restart",
    "set",
    "sleep",
    "tags",
    "test-env",
    "unzip",
];

/// Parses `text`.
///
/// Fails with `line N: …`.
pub fn parse(text: &str) -> Result<Script, String> {
    let lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches('\r')).collect();
    let description = lines.iter().filter_map(|line| line.strip_prefix("# description:")).next();
    let description = description.unwrap_or_default().trim().to_owned();
    let mut parser = Parser { lines, position: 0, open: Vec::new(), records: Vec::new(), skipped: 0 };
    parser.run().map_err(|message| format!("line {}: {message}", parser.position + 1))?;
    Ok(Script { description, records: parser.records })
}

struct Parser<'a> {
    lines: Vec<&'a str>,
    /// The line that is looked at, counted from 0.
    position: usize,
    /// Loops that have begun, with the records that were there before.
    open: Vec<(Record, Vec<Record>)>,
    records: Vec<Record>,
    /// How many `mode skip` are not undone.
    skipped: usize,
}

impl Parser<'_> {
    fn run(&mut self) -> Result<(), String> {
        while self.next_record() {
            if !self.record()? {
                break;
            }
        }
        match self.open.pop() {
            Some((record, _)) => {
                self.position = record.line - 1;
                Err("this loop has no `endloop`".to_owned())
            }
            None => Ok(()),
        }
    }

    /// Goes on to the next line that says something.
    fn next_record(&mut self) -> bool {
        while self.line().is_some_and(is_blank) {
            self.position += 1;
        }
        self.line().is_some()
    }

    fn line(&self) -> Option<&str> {
        self.lines.get(self.position).copied()
    }

    fn words(&self) -> Vec<String> {
        self.line().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }

    /// Reads one record, with the conditions in front of it. Returns false at `halt`.
    fn record(&mut self) -> Result<bool, String> {
        let (mut conditions, mut wanted) = (Vec::new(), true);
        let mut words = self.words();
        while let Some(kind @ ("skipif" | "onlyif")) = words.first().map(String::as_str) {
            match Decision::parse(&words[1..].join(" "), kind == "skipif")? {
                Decision::Never => wanted = false,
                Decision::Always => {}
                Decision::When(mut more) => conditions.append(&mut more),
            }
            self.position += 1;
            words = self.words();
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some((directive, parameters)) = words.split_first() else {
            return Err("a condition without a record below it".to_owned());
        };
        if SINGLE_LINE.contains(directive)
            && !self.lines.get(self.position + 1).is_none_or(|line| is_blank(line))
        {
            return Err(format!("an empty line must follow `{directive}`"));
        }
        if *directive == "mode" && matches!(parameters, ["skip" | "unskip"]) {
            self.skip(parameters[0] == "skip")?;
        } else if self.skipped > 0 || !wanted {
            self.pass_over(directive)?;
        } else if *directive == "halt" && parameters.is_empty() {
            return Ok(false);
        } else {
            self.directive(directive, parameters, conditions)?;
        }
        self.position += 1;
        Ok(true)
    }

    fn skip(&mut self, begin: bool) -> Result<(), String> {
        let level = if begin { self.skipped.checked_add(1) } else { self.skipped.checked_sub(1) };
        self.skipped = level.ok_or("`mode unskip` without a `mode skip`")?;
        Ok(())
    }

    /// Leaves a record out that must be one all the same.
    fn pass_over(&mut self, directive: &str) -> Result<(), String> {
        if !SINGLE_LINE.contains(&directive) && !["statement", "query"].contains(&directive) {
            return Err(unknown(directive));
        }
        let is_loop = directive.contains("loop") || directive.contains("foreach");
        if is_loop && self.skipped == 0 {
            return Err("a loop cannot be left out by a condition; put it on the records inside".to_owned());
        }
        while self.lines.get(self.position + 1).is_some_and(|line| !is_blank(line)) {
            self.position += 1;
        }
        Ok(())
    }

    fn directive(
        &mut self,
        directive: &str,
        parameters: &[&str],
        conditions: Vec<Condition>,
    ) -> Result<(), String> {
        let line = self.position + 1;
        let command = match directive {
            "statement" => Command::Statement(self.statement(parameters)?),
            "query" => Command::Query(self.query(parameters)?),
            "loop" | "concurrentloop" | "foreach" | "concurrentforeach" => {
                let command = Command::Loop(loop_start(directive, parameters)?);
                let outside = std::mem::take(&mut self.records);
                self.open.push((Record { line, conditions, command }, outside));
                return Ok(());
            }
            "endloop" => return self.end_loop(),
            "hash-threshold" | "tags" => return check_ignored(directive, parameters),
            _ => single(directive, parameters, !self.open.is_empty())?,
        };
        self.records.push(Record { line, conditions, command });
        Ok(())
    }

    fn end_loop(&mut self) -> Result<(), String> {
        let (mut record, outside) = self.open.pop().ok_or("an `endloop` without its loop")?;
        let inside = std::mem::replace(&mut self.records, outside);
        if let Command::Loop(definition) = &mut record.command {
            definition.body = inside;
        }
        self.records.push(record);
        Ok(())
    }

    fn statement(&mut self, parameters: &[&str]) -> Result<Statement, String> {
        let (kind, connection) = match parameters {
            [kind] => (*kind, None),
            [kind, connection] => (*kind, Some((*connection).to_owned())),
            _ => return Err("write `statement ok|error|maybe [connection]`".to_owned()),
        };
        let sql = self.sql()?;
        let expected = self.expected().map(|lines| lines.join("\n"));
        let expectation = match (kind, expected) {
            ("ok", None) => Expectation::Ok,
            ("ok", Some(_)) => {
                return Err("`statement ok` gives nothing to compare; write `query`".to_owned());
            }
            ("error", Some(text)) if !text.is_empty() => Expectation::Error(text),
            ("maybe", Some(text)) if !text.is_empty() => Expectation::Maybe(text),
            ("error" | "maybe", _) => {
                return Err(format!("`statement {kind}` needs `----` and the text of the error"));
            }
            _ => return Err(format!("a statement is `ok`, `error` or `maybe`, not `{kind}`")),
        };
        Ok(Statement { expectation, connection, sql })
    }

    fn query(&mut self, parameters: &[&str]) -> Result<Query, String> {
        let (types, rest) = parameters
            .split_first()
            .ok_or("write `query TYPES [sort] [label]`, such as `query IT rowsort`")?;
        if let Some(wrong) = types.chars().find(|letter| !"TIR".contains(*letter)) {
            return Err(format!("the types of a query are the letters T, I and R, not {wrong:?}"));
        }
        let (sort, connection) = match rest.first() {
            None | Some(&"nosort") => (Sort::None, None),
            Some(&("rowsort" | "sort")) => (Sort::Rows, None),
            Some(&"valuesort") => (Sort::Values, None),
            // What is no sort mode is a connection.
            Some(name) => (Sort::None, Some((*name).to_owned())),
        };
        if rest.len() > 2 {
            return Err(format!("`{}` is too much for a query", rest[2..].join(" ")));
        }
        let label = rest.get(1).map(|label| (*label).to_owned());
        let columns = types.len();
        let sql = self.sql()?;
        let expected = self.expected().unwrap_or_default();
        Ok(Query { columns, sort, connection, label, sql, expected })
    }

    /// The lines up to the rule or the end of the record; leaves the position on the last one of them.
    fn sql(&mut self) -> Result<String, String> {
        let start = self.position + 1;
        let rest = self.lines.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|line| !is_blank(line) && **line != RULE).count();
        if count == 0 {
            return Err("there is no SQL below this line".to_owned());
        }
        self.position += count;
        Ok(rest[..count].join("\n"))
    }

    /// The lines below the rule, if there is one; here a comment is a value, and only an empty line ends it.
    fn expected(&mut self) -> Option<Vec<String>> {
        if self.lines.get(self.position + 1) != Some(&RULE) {
            return None;
        }
        let rest = &self.lines[self.position + 2..];
        let lines: Vec<String> =
            rest.iter().take_while(|line| !line.is_empty()).map(|l| (*l).to_owned()).collect();
        self.position += 1 + lines.len();
        Some(lines)
    }
}

fn is_blank(line: &str) -> bool {
    line.is_empty() || line.starts_with('#')
}

fn unknown(directive: &str) -> String {
    format!("the directive `{directive}` is not known")
}

/// What has no effect here but must be written correctly.
fn check_ignored(directive: &str, parameters: &[&str]) -> Result<(), String> {
    match (directive, parameters) {
        ("hash-threshold", [number]) if number.parse::<u64>().is_ok() => Ok(()),
        ("hash-threshold", _) => Err("write `hash-threshold NUMBER`".to_owned()),
        (_, []) => Err("write `tags TAG …`".to_owned()),
        _ => Ok(()),
    }
}

fn loop_start(directive: &str, parameters: &[&str]) -> Result<Loop, String> {
    let concurrent = directive.starts_with("concurrent");
    let (variable, values) = match parameters {
        [variable, from, up_to] if directive.ends_with("loop") => {
            let number = |text: &str| text.parse::<i64>().map_err(|_| format!("`{text}` is no number"));
            let (from, up_to) = (number(from)?, number(up_to)?);
            if up_to.saturating_sub(from) > LOOP_VALUES_MAX {
                return Err(format!("a loop has at most {LOOP_VALUES_MAX} rounds"));
            }
            (variable, (from..up_to).map(|value| value.to_string()).collect())
        }
        _ if directive.ends_with("loop") => return Err(format!("write `{directive} NAME FROM UP_TO`")),
        [variable, words @ ..] if !words.is_empty() => (variable, groups::expand(words)?),
        _ => return Err(format!("write `{directive} NAME VALUE …`")),
    };
    if values.is_empty() {
        return Err("this loop has no round at all".to_owned());
    }
    Ok(Loop { variable: (*variable).to_owned(), values, concurrent, body: Vec::new() })
}

/// A directive of one line that becomes a command.
fn single(directive: &str, parameters: &[&str], in_loop: bool) -> Result<Command, String> {
    let owned = |text: &str| text.to_owned();
    let command = match (directive, parameters) {
        ("require", [_, ..]) => Command::Require(parameters.iter().map(|text| owned(text)).collect()),
        ("require-env" | "test-env", _) if in_loop => {
            return Err(format!("`{directive}` cannot stand in a loop"));
        }
        ("require-env", [name]) => Command::RequireEnv(owned(name), None),
        ("require-env", [name, value]) => Command::RequireEnv(owned(name), Some(owned(value))),
        ("test-env", [name, value]) => Command::TestEnv(owned(name), owned(value)),
        ("load", [] | [_] | [_, "readonly" | "readwrite"]) => Command::Load(Load {
            path: parameters.first().map(|path| owned(path)),
            read_only: parameters.get(1) == Some(&"readonly"),
        }),
        ("restart", []) => Command::Restart,
        ("reconnect", []) => Command::Reconnect,
        ("sleep", [count, unit]) => Command::Sleep(duration(count, unit)?),
        ("unzip", [from]) => Command::Unzip(owned(from), None),
        ("unzip", [from, to]) => Command::Unzip(owned(from), (*to != "NULL").then(|| owned(to))),
        ("mode", ["output_result" | "debug"]) => Command::Print(true),
        ("mode", ["no_output"]) => Command::Print(false),
        ("set", ["ignore_error_messages", texts @ ..]) => Command::IgnoreErrors(list(texts)),
        ("set", ["always_fail_error_messages", texts @ ..]) => Command::AlwaysFail(list(texts)),
        ("set", ["seed", seed]) if seed.parse::<f64>().is_ok() => Command::Seed(owned(seed)),
        ("reset", ["label", label]) => Command::ResetLabel(owned(label)),
        ("halt", _) => return Err("`halt` takes nothing".to_owned()),
        _ if SINGLE_LINE.contains(&directive) => {
            return Err(format!("`{directive}` cannot take `{}`", parameters.join(" ")));
        }
        _ => return Err(unknown(directive)),
    };
    Ok(command)
}

/// Texts that are separated by commas, and may contain spaces.
fn list(words: &[&str]) -> Vec<String> {
    let joined = words.join(" ");
    joined.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()
}

fn duration(count: &str, unit: &str) -> Result<Duration, String> {
    /// A test that sleeps longer tests the patience of its reader.
    const MAX: Duration = Duration::from_secs(10);
    let count: u64 = count.parse().map_err(|_| format!("`{count}` is no number"))?;
    let duration = match unit.trim_end_matches('s') {
        "second" | "sec" => Duration::from_secs(count),
        "millisecond" | "milli" => Duration::from_millis(count),
        "microsecond" | "micro" => Duration::from_micros(count),
        "nanosecond" | "nano" => Duration::from_nanos(count),
        _ => return Err(format!("`{unit}` is no unit of time; write seconds or milliseconds")),
    };
    if duration > MAX {
        return Err(format!("a test sleeps at most {} s", MAX.as_secs()));
    }
    Ok(duration)
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
