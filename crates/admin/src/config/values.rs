//! Values by their keys: unknown keys, wrong kinds and impossible numbers become findings, and never a stop.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use super::keys::KEYS;
use crate::suggestion::nearest;
use crate::yaml::{Node, Value};
use crate::{Finding, Rule};

/// What a file says, by dotted key.
pub struct Values<'a> {
    file: &'a Path,
    nodes: BTreeMap<&'static str, Node>,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Values<'a> {
    /// Takes a parsed file apart.
    pub fn new(file: &'a Path, root: Node, findings: &'a mut Vec<Finding>) -> Self {
        let mut values = Self { file, nodes: BTreeMap::new(), findings };
        values.section("", root);
        values
    }

    fn section(&mut self, prefix: &str, node: Node) {
        let entries = match node.value {
            Value::Map(entries) => entries,
            Value::Null => return,
            _ => {
                let what = if prefix.is_empty() { "the file" } else { prefix };
                self.add(
                    Rule::WrongType,
                    node.line,
                    format!("{what} must hold keys: write `key: value` lines"),
                );
                return;
            }
        };
        for (name, node) in entries {
            let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            let inside = format!("{path}.");
            if KEYS.iter().any(|key| key.path.starts_with(&inside)) {
                self.section(&path, node);
                continue;
            }
            match KEYS.iter().find(|key| key.path == path) {
                None => self.unknown(&path, node.line),
                Some(key) => match key.unsupported {
                    Some(reason) => self.add(Rule::UnsupportedKey, node.line, format!("{path}: {reason}")),
                    None => {
                        self.nodes.insert(key.path, node);
                    }
                },
            }
        }
    }

    fn unknown(&mut self, path: &str, line: usize) {
        let known = KEYS.iter().filter(|key| key.unsupported.is_none()).map(|key| key.path);
        let hint = match nearest(path, known) {
            Some(name) => format!("did you mean {name}?"),
            None => "docs/configuration.md lists all keys".to_owned(),
        };
        self.add(Rule::UnknownKey, line, format!("there is no key {path}: {hint}"));
    }

    /// Adds a finding about a line.
    pub fn add(&mut self, rule: Rule, line: usize, message: impl Into<String>) {
        self.findings.push(Finding::new(rule, self.file, message).at(line));
    }

    /// Adds a finding about a key that is not there.
    pub fn missing(&mut self, rule: Rule, message: impl Into<String>) {
        self.findings.push(Finding::new(rule, self.file, message));
    }

    /// The line of a key, or the first.
    pub fn line(&self, path: &str) -> usize {
        self.nodes.get(path).map_or(1, |node| node.line)
    }

    /// Whether a key has a value.
    pub fn has(&self, path: &str) -> bool {
        self.nodes.get(path).is_some_and(|node| node.value != Value::Null)
    }

    fn scalar(&mut self, path: &'static str) -> Option<(String, usize)> {
        debug_assert!(KEYS.iter().any(|key| key.path == path), "{path} is not a key");
        let node = self.nodes.get(path)?;
        let line = node.line;
        match &node.value {
            Value::Null => None,
            Value::Scalar(text) => Some((text.clone(), line)),
            Value::List(_) | Value::Map(_) => {
                self.add(Rule::WrongType, line, format!("{path} must be a single value"));
                None
            }
        }
    }

    /// A text that is not empty.
    pub fn text(&mut self, path: &'static str) -> Option<String> {
        let (text, line) = self.scalar(path)?;
        if text.trim().is_empty() || text.contains('\0') {
            self.add(Rule::BadValue, line, format!("{path} is empty: give it a value, or leave the key out"));
            return None;
        }
        Some(text)
    }

    /// True or false.
    pub fn flag(&mut self, path: &'static str) -> Option<bool> {
        let (text, line) = self.scalar(path)?;
        match text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.add(Rule::WrongType, line, format!("{path} is '{text}': write true or false"));
                None
            }
        }
    }

    /// A whole number within bounds.
    pub fn number(&mut self, path: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let (text, line) = self.scalar(path)?;
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(number) if digits && range.contains(&number) => Some(number),
            Ok(_) | Err(_) if digits && !text.is_empty() => {
                let message = format!("{path} is {text}: give {} to {}", range.start(), range.end());
                self.add(Rule::BadValue, line, message);
                None
            }
            _ => {
                self.add(Rule::WrongType, line, format!("{path} is '{text}': give a whole number"));
                None
            }
        }
    }

    /// A port.
    pub fn port(&mut self, path: &'static str) -> Option<u16> {
        self.number(path, 0..=u64::from(u16::MAX)).and_then(|port| port.try_into().ok())
    }

    /// A list of texts, or one text with commas; each with its line.
    pub fn list(&mut self, path: &'static str) -> Vec<(String, usize)> {
        let Some(node) = self.nodes.get(path).cloned() else { return Vec::new() };
        match node.value {
            Value::Null => Vec::new(),
            Value::Scalar(text) => {
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                parts.map(|part| (part.to_owned(), node.line)).collect()
            }
            Value::List(items) => {
                let mut texts = Vec::new();
                for item in items {
                    match item.value {
                        Value::Scalar(text) => texts.push((text, item.line)),
                        _ => self.add(Rule::WrongType, item.line, format!("{path} must be a list of texts")),
                    }
                }
                texts
            }
            Value::Map(_) => {
                self.add(Rule::WrongType, node.line, format!("{path} must be a list: write `- …` lines"));
                Vec::new()
            }
        }
    }
}
