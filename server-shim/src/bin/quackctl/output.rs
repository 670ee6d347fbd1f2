//! What a command prints, as text or as one JSON object, and how the program ends.
//!
//! Every JSON object has `ok`, `code`, `exit_code` and `message`; `details` holds what was found, and a command adds its
//! own members.

use std::io::{self, Write};

use quack_admin::{Error, ExitCode, Finding, Severity, exit_code_of};
use quack_offline::{LeftOut, RecoveredGroup};
use serde_json::{Map, Value, json};

/// The result of a command.
pub struct Output {
    code: ExitCode,
    message: String,
    /// Lines before the message, in text.
    lines: Vec<String>,
    /// Members beside the common ones, in JSON.
    members: Map<String, Value>,
}

impl Output {
    /// It is done.
    pub fn done(message: String) -> Self {
        Self { code: ExitCode::Ok, message, lines: Vec::new(), members: Map::new() }
    }

    /// The arguments are wrong.
    pub fn invalid(message: String) -> Self {
        Self { code: ExitCode::Validation, ..Self::done(message) }
    }

    /// What was found about `subject`. Warnings alone are no failure.
    pub fn of_findings(subject: &str, findings: &[Finding]) -> Self {
        let count = |severity| findings.iter().filter(|finding| finding.rule.severity() == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let mut output = Self::done(format!("{subject}: {errors} errors, {warnings} warnings"));
        output.code = exit_code_of(findings);
        output.lines = findings.iter().map(Finding::to_string).collect();
        output.with("details", findings.iter().map(Finding::to_json).collect())
    }

    /// The same with another end.
    pub fn ending(mut self, code: ExitCode) -> Self {
        self.code = code;
        self
    }

    /// The same with a member in JSON.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    /// The same with lines in text.
    pub fn lines(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.lines.extend(lines);
        self
    }

    /// Prints, and tells how to end.
    pub fn print(mut self, as_json: bool) -> std::process::ExitCode {
        let text = if as_json {
            let mut object = Map::new();
            object.insert("ok".to_owned(), (self.code == ExitCode::Ok).into());
            object.insert("code".to_owned(), self.code.as_str().into());
            object.insert("exit_code".to_owned(), self.code.number().into());
            object.insert("message".to_owned(), self.message.into());
            object.append(&mut self.members);
            object.entry("details").or_insert(json!([]));
            format!("{:#}\n", Value::Object(object))
        } else if self.lines.is_empty() && self.code != ExitCode::Ok {
            eprintln!("quackctl: {}", self.message);
            return self.code.into();
        } else {
            self.lines.push(self.message);
            self.lines.join("\n") + "\n"
        };
        // A failed write is no error: the reader has closed standard output and wants no more of it.
        let _ = std::io::stdout().write_all(text.as_bytes());
        self.code.into()
    }
}

/// A line of what was found, behind its name.
pub fn line(name: &str, value: &dyn std::fmt::Display) -> String {
    format!("{name:<12}{value}")
}

/// What was taken of a group's log.
pub fn group_line(group: &RecoveredGroup) -> String {
    let name = group.name.clone().unwrap_or_else(|| group.group.to_string());
    let unknown = if group.last > group.committed {
        format!(
            "; entries {} to {} were not known to be committed, and are taken",
            group.committed.next(),
            group.last
        )
    } else {
        String::new()
    };
    line("group", &format!("{name}: taken through entry {}{unknown}", group.last))
}

/// The same in JSON.
pub fn group_json(group: &RecoveredGroup) -> Value {
    json!({
        "group": group.group.0,
        "name": group.name,
        "committed": group.committed.0,
        "last": group.last.0,
    })
}

/// Which entries of the root could not be taken.
pub fn left_out_line(left_out: &LeftOut) -> String {
    line(
        "left out",
        &format!(
            "entries {} to {} of 'default': they order entries of group {} that never reached this node",
            left_out.first, left_out.last, left_out.group
        ),
    )
}

/// The same in JSON.
pub fn left_out_json(left_out: Option<&LeftOut>) -> Value {
    left_out.map_or(
        Value::Null,
        |left_out| json!({"first": left_out.first.0, "last": left_out.last.0, "group": left_out.group.0}),
    )
}

/// Rows as lines, each column as wide as its widest cell.
pub fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..COLUMNS).map(width).collect();
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

impl From<quack_offline::Error> for Output {
    fn from(error: quack_offline::Error) -> Self {
        let code = match &error {
            quack_offline::Error::Folder(
                quack_node::Error::Read { source, .. } | quack_node::Error::Io { source, .. },
            ) => match source.kind() {
                io::ErrorKind::NotFound => ExitCode::NotFound,
                io::ErrorKind::PermissionDenied => ExitCode::Permission,
                _ => ExitCode::Failed,
            },
            quack_offline::Error::Folder(
                quack_node::Error::NoMember { .. }
                | quack_node::Error::NoBackup { .. }
                | quack_node::Error::NotANode { .. }
                | quack_node::Error::Foreign { .. }
                | quack_node::Error::Taken { .. },
            )
            | quack_offline::Error::QuorumPossible { .. }
            | quack_offline::Error::OnlyVoter(_)
            | quack_offline::Error::NoVoter { .. } => ExitCode::Validation,
            _ => ExitCode::Failed,
        };
        Self { code, ..Self::done(error.to_string()) }
    }
}

impl From<Error> for Output {
    fn from(error: Error) -> Self {
        Self { code: error.exit_code(), ..Self::done(error.to_string()) }
    }
}
