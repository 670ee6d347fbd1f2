//! The part of YAML that a configuration needs: maps, lists and scalars, each with its line.
//!
//! Not taken, by name: anchors and aliases (a few hundred bytes of them expand to gigabytes), tags, several documents,
//! a key twice. Depth, size and count are bounded. Scalars stay texts: the reader of a key knows what it wants, so that
//! a token `0123` is not a number on the way.

use saphyr_parser::{Event, Parser, ScalarStyle};

/// Deepest nesting. The deepest key of a configuration has three levels.
const DEPTH_MAX: usize = 16;
/// Most maps, lists and scalars in a file.
const NODES_MAX: usize = 20_000;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Line, from 1.
    pub line: usize,
    /// The value.
    pub value: Value,
}

/// What stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, `null` or `~`.
    Null,
    /// A text, a number, true or false.
    Scalar(String),
    /// `- …`.
    List(Vec<Node>),
    /// `key: …`, in the order of the file.
    Map(Vec<(String, Node)>),
}

/// Why a text is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Reads one document. An empty text is an empty map.
pub fn parse(text: &str) -> Result<Node, YamlError> {
    let mut builder = Builder::default();
    for item in Parser::new_from_str(text) {
        let (event, span) = item.map_err(|error| YamlError {
            line: error.marker().line().max(1),
            message: error.info().to_owned(),
        })?;
        builder.on_event(event, span.start.line().max(1))?;
    }
    Ok(builder.root.unwrap_or(Node { line: 1, value: Value::Map(Vec::new()) }))
}

/// A map or list that is still open.
struct Open {
    node: Node,
    /// The key that waits for its value.
    key: Option<String>,
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    nodes: usize,
}

impl Builder {
    fn on_event(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        let refuse = |message: &str| Err(YamlError { line, message: message.to_owned() });
        match event {
            Event::Alias(_) => refuse("aliases (*name) are not taken: write the value out"),
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor != 0 =>
            {
                refuse("anchors (&name) are not taken: write the value out")
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => refuse("tags (!name) are not taken: leave the tag out"),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    refuse("a second document begins here: one file is one node")
                } else {
                    Ok(())
                }
            }
            Event::Scalar(text, style, ..) => self.scalar(&text, style == ScalarStyle::Plain, line),
            Event::SequenceStart(..) => self.push(Value::List(Vec::new()), line),
            Event::MappingStart(..) => self.push(Value::Map(Vec::new()), line),
            Event::SequenceEnd | Event::MappingEnd => {
                let closed = self.open.pop().expect("the parser closes only what it has opened");
                self.put(closed.node)
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, plain: bool, line: usize) -> Result<(), YamlError> {
        self.count(line)?;
        if let Some(Open { node: Node { value: Value::Map(entries), .. }, key: key @ None }) =
            self.open.last_mut()
        {
            if entries.iter().any(|(name, _)| name == text) {
                return Err(YamlError {
                    line,
                    message: format!("the key '{text}' is there twice: remove one"),
                });
            }
            *key = Some(text.to_owned());
            return Ok(());
        }
        let null = plain && matches!(text, "" | "~" | "null" | "Null" | "NULL");
        self.put(Node { line, value: if null { Value::Null } else { Value::Scalar(text.to_owned()) } })
    }

    fn push(&mut self, value: Value, line: usize) -> Result<(), YamlError> {
        self.count(line)?;
        if self.open.len() == DEPTH_MAX {
            return Err(YamlError { line, message: format!("nested deeper than {DEPTH_MAX} levels") });
        }
        if let Some(Open { node: Node { value: Value::Map(_), .. }, key: None }) = self.open.last() {
            return Err(YamlError { line, message: "a key must be a word".to_owned() });
        }
        self.open.push(Open { node: Node { line, value }, key: None });
        Ok(())
    }

    fn put(&mut self, node: Node) -> Result<(), YamlError> {
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut parent.node.value, parent.key.take()) {
            (Value::Map(entries), Some(key)) => entries.push((key, node)),
            (Value::List(items), _) => items.push(node),
            _ => return Err(YamlError { line: node.line, message: "a key must be a word".to_owned() }),
        }
        Ok(())
    }

    fn count(&mut self, line: usize) -> Result<(), YamlError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(YamlError { line, message: format!("more than {NODES_MAX} values") });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_lists_and_scalars_keep_their_lines_and_their_text() {
        let root = parse("a: 1\nb:\n  c: 'null'\n  d:\n  - x:1=y\n  - \"\"\n  e: ~\n").unwrap();
        let Value::Map(entries) = root.value else { panic!() };
        assert_eq!(entries[0].1, Node { line: 1, value: Value::Scalar("1".into()) });
        let Value::Map(inner) = &entries[1].1.value else { panic!() };
        assert_eq!(inner[0].1, Node { line: 3, value: Value::Scalar("null".into()) });
        let Value::List(items) = &inner[1].1.value else { panic!() };
        assert_eq!(items[0], Node { line: 5, value: Value::Scalar("x:1=y".into()) });
        assert_eq!(items[1].value, Value::Scalar(String::new()));
        assert_eq!(inner[2].1.value, Value::Null);
    }

    #[test]
    fn what_is_not_taken_is_refused_by_name_and_line() {
        let deep = "[".repeat(17) + &"]".repeat(17);
        let many = format!("a: [{}]", "1,".repeat(20_001));
        for (text, line, message) in [
            ("a: 1\na: 2", 2, "is there twice"),
            ("a: &x 1\nb: *x", 1, "anchors"),
            ("a: !int 1", 1, "tags"),
            ("a: 1\n---\nb: 2", 2, "second document"),
            ("? [a]\n: b", 1, "must be a word"),
            (&deep, 1, "deeper"),
            (&many, 1, "more than"),
            ("a: [1", 2, "expected"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(message), "{text}: {error:?}");
            assert_eq!(error.line, line, "{text}: {error:?}");
        }
        assert_eq!(parse("").unwrap().value, Value::Map(Vec::new()));
        assert_eq!(parse("# only a comment\n").unwrap().value, Value::Map(Vec::new()));
    }
}
