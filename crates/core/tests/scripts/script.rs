//! The text format of a script: reading, and writing it again with new outputs.

/// One command line: a name and its arguments.
pub struct Command<'a> {
    pub name: &'a str,
    pub arguments: Vec<&'a str>,
}

impl Command<'_> {
    /// The argument at this place, read as a number.
    pub fn number(&self, place: usize) -> Result<u64, String> {
        let text = self.text(place)?;
        text.parse().map_err(|_| format!("{}: '{text}' is not a number", self.name))
    }

    pub fn text(&self, place: usize) -> Result<&str, String> {
        self.arguments.get(place).copied().ok_or(format!("{} needs {} arguments", self.name, place + 1))
    }
}

/// Runs every block; returns the script as it would have to be.
pub fn run(
    text: &str,
    mut execute: impl FnMut(&Command) -> Result<String, String>,
) -> Result<String, String> {
    let mut result = String::new();
    let mut output = String::new();
    let mut is_output = false;
    for line in text.lines().chain([""]) {
        if is_output {
            // The old output, up to the empty line.
            if line.is_empty() {
                result.push_str(&format!("---\n{output}\n"));
                output.clear();
                is_output = false;
            }
        } else if line == "---" {
            is_output = true;
        } else {
            result.push_str(line);
            result.push('\n');
            let mut words = line.split_whitespace();
            match words.next() {
                Some(name) if !name.starts_with('#') => {
                    let command = Command { name, arguments: words.collect() };
                    output.push_str(&execute(&command).map_err(|error| format!("'{line}': {error}"))?);
                }
                _ => {}
            }
        }
    }
    if !output.is_empty() {
        return Err("the last block has no '---'".to_owned());
    }
    Ok(format!("{}\n", result.trim_end()))
}

/// Where two texts part, with the lines before.
pub fn difference(expected: &str, actual: &str) -> String {
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let same = expected.iter().zip(&actual).take_while(|(left, right)| left == right).count();
    let part = |lines: &[&str], sign: &str| {
        lines.iter().skip(same).take(12).map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    let before: String =
        expected[same.saturating_sub(5)..same].iter().map(|line| format!("  {line}\n")).collect();
    format!(
        "the output differs from line {}:\n{before}{}{}",
        same + 1,
        part(&expected, "-"),
        part(&actual, "+")
    )
}
