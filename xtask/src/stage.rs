//! One stage of the tests: a program whose output passes through while its closing line is read.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How a stage says how many tests passed and failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// `test result: ok. 12 passed; 0 failed; …`, once for each test program.
    Libtest,
    /// `==== 12 passed, 1 failed in 3.4s ====`.
    Pytest,
    /// Nothing but the exit code: one test.
    ExitCode,
}

/// A test program and how to read it.
pub struct Stage {
    /// What `xtask test` calls it.
    pub name: &'static str,
    /// What the summary calls it.
    pub title: &'static str,
    /// The program and its arguments.
    pub command: Command,
    /// The form of its closing line.
    pub closing: Closing,
}

/// What came of a stage.
pub struct Outcome {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed; never zero when the program failed or ran no test at all.
    pub failed: u64,
    /// Wall-clock time of the stage.
    pub elapsed: Duration,
}

impl Stage {
    /// Runs the stage to its end, passes what it prints on to `echo`, and counts.
    ///
    /// Fails when the program cannot be started; a program that fails is an [`Outcome`].
    pub fn run(mut self, echo: &mut dyn Write) -> Result<Outcome, String> {
        let start = Instant::now();
        let program = self.command.get_program().to_string_lossy().into_owned();
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start {program} for the stage {}: {error}", self.name))?;
        let (mut passed, mut failed) = (0, 0);
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).split(b'\n') {
                let line = line.map_err(|error| format!("cannot read from {program}: {error}"))?;
                let line = String::from_utf8_lossy(&line);
                // A closed terminal is no reason to leave the tests half run.
                let _ = writeln!(echo, "{line}");
                let counted = count(self.closing, &line);
                passed += counted.0;
                failed += counted.1;
            }
        }
        let status = child.wait().map_err(|error| format!("cannot wait for {program}: {error}"))?;
        if self.closing == Closing::ExitCode && status.success() {
            passed = 1;
        }
        if failed == 0 && (!status.success() || passed == 0) {
            failed = 1;
        }
        Ok(Outcome { passed, failed, elapsed: start.elapsed() })
    }
}

/// Tests that `line` reports as passed and failed; zeroes when it is no closing line.
fn count(closing: Closing, line: &str) -> (u64, u64) {
    match closing {
        Closing::Libtest => match line.strip_prefix("test result: ") {
            Some(rest) => (number_before(rest, "passed"), number_before(rest, "failed")),
            None => (0, 0),
        },
        Closing::Pytest if is_pytest_closing(line) => {
            let failed = number_before(line, "failed") + number_before(line, "error");
            (number_before(line, "passed"), failed + number_before(line, "errors"))
        }
        Closing::Pytest | Closing::ExitCode => (0, 0),
    }
}

/// Whether `line` ends as pytest's summary does: `… in 3.2s` or, beyond a minute, `… in 75.2s (0:01:15)`.
fn is_pytest_closing(line: &str) -> bool {
    let Some((_, time)) = line.trim_matches(['=', ' ']).rsplit_once(" in ") else { return false };
    let seconds = time.split(' ').next().and_then(|word| word.strip_suffix('s'));
    seconds.is_some_and(|seconds| seconds.parse::<f64>().is_ok())
}

/// The number in front of `word`, or zero.
fn number_before(line: &str, word: &str) -> u64 {
    let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let pair = words.windows(2).find(|pair| pair[1] == word);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_cargo_are_counted() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; finished in 0.01s";
        assert_eq!(count(Closing::Libtest, line), (12, 3));
        assert_eq!(count(Closing::Libtest, "test quick ... ok"), (0, 0));
    }

    #[test]
    fn closing_lines_of_pytest_are_counted() {
        assert_eq!(count(Closing::Pytest, "==== 2 failed, 40 passed, 1 error in 3.21s ===="), (40, 3));
        assert_eq!(count(Closing::Pytest, "==== 9 passed in 61.20s (0:01:01) ===="), (9, 0));
        assert_eq!(count(Closing::Pytest, "12 passed in 3.21s"), (12, 0));
        assert_eq!(count(Closing::Pytest, "process/test_x.py::a 9 passed the line"), (0, 0));
    }

    fn shell(closing: Closing, script: &str) -> Stage {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Stage { name: "shell", title: "a shell script", command, closing }
    }

    #[test]
    fn a_program_that_runs_no_test_has_failed() {
        let outcome = shell(Closing::Libtest, "true").run(&mut Vec::new()).expect("a shell starts");
        assert_eq!((outcome.passed, outcome.failed), (0, 1));
    }

    #[test]
    fn a_program_that_fails_after_its_closing_line_has_failed() {
        let script = "echo 'test result: ok. 3 passed; 0 failed;'; exit 3";
        let outcome = shell(Closing::Libtest, script).run(&mut Vec::new()).expect("a shell starts");
        assert_eq!((outcome.passed, outcome.failed), (3, 1));
    }
}
