//! The program that checks the model, `tla` of the crate `tla-checker`: installing, calling and reading it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::plan::{Expected, Run};

/// A later one may count states differently, or read the model differently.
const VERSION: &str = "0.24.11";
/// A run that gets here has lost its bounds: the largest needs a third of it.
const STATES_MAX: u64 = 30_000;

/// The installed checker.
pub struct Checker {
    program: PathBuf,
}

/// What the checker says about one run.
pub struct Verdict {
    /// `ok` when all states are checked; otherwise why not.
    pub status: String,
    /// The invariant that is violated.
    pub violated: Option<String>,
    /// The predicates, among those that were asked for, that some state satisfies.
    pub reached: Vec<String>,
    /// Distinct states that were looked at.
    pub states: u64,
}

impl Checker {
    /// Takes the checker from the user's cache folder, or puts it there, which takes a minute or two.
    pub fn install() -> Result<Self, String> {
        let folder = cache_folder()?.join("tla-checker").join(VERSION);
        let program = folder.join("bin").join("tla");
        if !is_right(&program) {
            println!("installing tla-checker {VERSION} into {}", folder.display());
            let target = folder.join("target");
            let status = Command::new("cargo")
                .args([
                    "install",
                    "--quiet",
                    "--locked",
                    "--force",
                    "tla-checker",
                    "--version",
                    VERSION,
                    "--root",
                ])
                .arg(&folder)
                .env("CARGO_TARGET_DIR", &target)
                .stdin(Stdio::null())
                .status()
                .map_err(|error| format!("cannot start cargo to install tla-checker: {error}"))?;
            // What is left over is only large.
            let _ = std::fs::remove_dir_all(&target);
            if !status.success() || !is_right(&program) {
                return Err(format!(
                    "cargo could not install tla-checker {VERSION}: is crates.io reachable?"
                ));
            }
        }
        Ok(Self { program })
    }

    /// Has the run checked; its configuration goes into a file in `folder`.
    pub fn check(&self, model: &Path, run: &Run, folder: &Path) -> Result<Verdict, String> {
        let name = run.text.len().to_string() + run.mutant.as_deref().unwrap_or_default();
        let file = folder.join(format!("{}-{}.cfg", run.configuration, name.replace([' ', '\''], "-")));
        std::fs::write(&file, &run.text)
            .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        let mut command = Command::new(&self.program);
        command.arg(model).arg("--config").arg(&file).arg("--json");
        command.args(["--max-states", &STATES_MAX.to_string()]);
        if let Expected::Holds { reached } = &run.expected {
            command.args(reached.iter().flat_map(|name| ["--count-satisfying", name]));
        }
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        Verdict::read(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| {
            let words = String::from_utf8_lossy(&output.stderr);
            format!("the checker cannot read {} with {}.cfg:\n{words}", model.display(), run.configuration)
        })
    }
}

impl Verdict {
    /// Reads the line of JSON among the lines that the checker prints.
    fn read(output: &str) -> Option<Self> {
        let json = output.lines().find(|line| line.starts_with('{'))?;
        let json: Value = serde_json::from_str(json).ok()?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let properties = json["properties"].as_array().map(Vec::as_slice).unwrap_or_default();
        let reached = properties.iter().filter(|property| property["satisfied"].as_u64() > Some(0));
        Some(Self {
            status: text(&json["status"])?,
            violated: text(&json["invariant_name"]),
            reached: reached.filter_map(|property| text(&property["name"])).collect(),
            states: json["stats"]["states_explored"].as_u64().unwrap_or(0),
        })
    }

    /// Whether every state was looked at, and nothing was found.
    pub fn is_complete(&self) -> bool {
        self.status == "ok"
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.violated {
            Some(invariant) => write!(formatter, "violates {invariant}"),
            None if self.is_complete() => formatter.write_str("holds"),
            None => formatter.write_str(&self.status),
        }
    }
}

fn cache_folder() -> Result<PathBuf, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .ok_or_else(|| "set HOME or XDG_CACHE_HOME: the checker is installed below it".to_owned())
}

/// Whether the program is there, runs, and is of the right version.
fn is_right(program: &Path) -> bool {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim().ends_with(VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completed_run_says_what_it_reached() {
        let output = "Checking spec\n\n{\"status\": \"ok\", \"stats\": {\"states_explored\": 12}, \"properties\": \
            [{\"name\": \"A\", \"satisfied\": 3}, {\"name\": \"B\", \"satisfied\": 0}]}\n";
        let verdict = Verdict::read(output).expect("this is what the checker prints");
        assert!(verdict.is_complete() && verdict.violated.is_none());
        assert_eq!((verdict.states, verdict.reached), (12, vec!["A".to_owned()]));
    }

    #[test]
    fn a_violation_is_named() {
        let output = "{\"status\": \"invariant_violation\", \"invariant_name\": \"A\", \"trace\": [], \
            \"stats\": {\"states_explored\": 5}}";
        let verdict = Verdict::read(output).expect("this is what the checker prints");
        assert_eq!((verdict.violated.as_deref(), verdict.is_complete()), (Some("A"), false));
    }

    #[test]
    fn words_that_are_no_verdict_are_not_taken_for_one() {
        assert!(Verdict::read("error: unexpected `*`\n").is_none());
        assert!(Verdict::read("").is_none());
    }
}
