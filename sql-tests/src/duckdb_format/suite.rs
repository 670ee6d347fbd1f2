//! All files in all worlds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::differences::{Differences, Verdict};
use super::parse;
use super::pool::Pool;
use super::report::Report;
use super::run::{self, Outcome};
use super::world::{Kind, World};
use crate::environment::Environment;
use crate::suite::files;

/// A file is run again, this many times in all, when its failure says nothing about the file.
const RUNS_MAX: usize = 3;
/// Failures that say that the machine was too busy for a cluster to keep its quorum, or that another program has
/// taken a port in between.
const CIRCUMSTANCES: [&str; 2] =
    ["needs the cluster's quorum, which this node cannot reach", "Address already in use"];

/// Everything that a run needs, and what has come of it so far.
#[derive(Debug)]
pub struct Suite {
    root: PathBuf,
    /// The names of all files: their paths below the root, without the extension.
    pub files: BTreeSet<String>,
    differences: Differences,
    pool: Arc<Pool>,
    report: Mutex<Report>,
    /// Logs of processes; deleted with the suite.
    _folder: tempfile::TempDir,
}

impl Suite {
    /// Finds the files below `root` and starts what they share; `documents` is where documents are.
    pub fn new(environment: Environment, root: &Path, documents: &Path) -> Result<Self, String> {
        let short = |path: PathBuf| {
            path.strip_prefix(root).unwrap_or(&path).with_extension("").to_string_lossy().into_owned()
        };
        let files: BTreeSet<String> = files(root)?.into_iter().map(short).collect();
        let differences = Differences::read(&root.join("differences.toml"), &files, documents)?;
        let folder = scratch_folder()?;
        let pool = Pool::new(environment, folder.path()).map_err(|error| error.to_string())?;
        Ok(Self {
            root: root.to_path_buf(),
            files,
            differences,
            pool: Arc::new(pool),
            report: Mutex::default(),
            _folder: folder,
        })
    }

    /// Runs a file in a world, and takes note of it.
    ///
    /// Gives the reason when it was skipped or is known to differ. Fails as the file does.
    pub fn run(&self, file: &str, kind: Kind) -> Result<Option<String>, String> {
        let start = Instant::now();
        let path = self.root.join(file).with_extension("test");
        let mut outcome = self.outcome(file, &path, kind).unwrap_or_else(Outcome::Failed);
        for _ in 1..RUNS_MAX {
            match &outcome {
                Outcome::Failed(message) if CIRCUMSTANCES.iter().any(|text| message.contains(text)) => {
                    self.report().add_repeat(file, kind, message);
                    outcome = self.outcome(file, &path, kind).unwrap_or_else(Outcome::Failed);
                }
                _ => break,
            }
        }
        let verdict = self.differences.judge(file, kind, outcome);
        let result = match &verdict {
            Verdict::Passed => Ok(None),
            Verdict::Skipped(reason) => Ok(Some(reason.clone())),
            Verdict::Explained(reason) => Ok(Some(format!("differs: {reason}"))),
            Verdict::Failed(message) => Err(format!("{}: {message}", path.display())),
        };
        self.report().add(file, kind, verdict, start.elapsed());
        result
    }

    /// Ends the processes, and gives the report.
    ///
    /// The second part is what is wrong although no single test has failed.
    pub fn finish(&self) -> (String, Vec<String>) {
        let report = self.report();
        let mut problems = report.problems();
        if let Err(error) = self.pool.finish() {
            problems.push(error.to_string());
        }
        (report.text(), problems)
    }

    fn outcome(&self, file: &str, path: &Path, kind: Kind) -> Result<Outcome, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let script = parse::parse(&text)?;
        let scratch = scratch_folder()?;
        let data = self.root.join("data");
        let world = World::start(&self.pool, kind, scratch.path(), &data);
        let world = world.map_err(|error| format!("cannot start the world: {error}"))?;
        Ok(run::run(&script, file, world, &data))
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn scratch_folder() -> Result<tempfile::TempDir, String> {
    let folder = tempfile::Builder::new().prefix("quack-duckdb-").tempdir();
    folder.map_err(|error| format!("cannot make a scratch folder: {error}"))
}
