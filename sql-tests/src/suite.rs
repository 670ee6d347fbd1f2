//! Finds the test files and runs one of them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqllogictest::{DB, DBOutput, DefaultColumnType, Record, Runner, StatementExpect};

use crate::environment::Environment;
use crate::script::{self, Script, Step};
use crate::session::{Catalog, Session};
use crate::worker::{Error, Rows};

/// One file on one kind of catalog: one named test.
#[derive(Clone, Debug)]
pub struct Case {
    /// `quack::single/insert/values` and the like.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What the file runs on.
    pub catalog: Catalog,
}

/// The test files below `root`, each once for each catalog that it runs on, in order of name.
///
/// Fails when a file cannot be read or parsed, because a test that is not found cannot fail.
pub fn cases(root: &Path) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for (folder, catalogs) in [
        ("single", [Catalog::Quack, Catalog::Native].as_slice()),
        ("compat", &[Catalog::Quack]),
        ("serve", &[Catalog::None]),
    ] {
        for path in files(&root.join(folder))? {
            let short = path.strip_prefix(root).unwrap_or(&path).with_extension("");
            let native = load(&path)?.native;
            for catalog in catalogs.iter().filter(|catalog| native || **catalog != Catalog::Native) {
                let prefix = if *catalog == Catalog::Native { "native" } else { "quack" };
                let name = format!("{prefix}::{}", short.display());
                cases.push(Case { name, path: path.clone(), catalog: *catalog });
            }
        }
    }
    Ok(cases)
}

/// Runs a file from start to end.
///
/// Fails with the place in the file and what was expected there.
pub fn run(environment: &Environment, case: &Case) -> Result<(), String> {
    let script = load(&case.path)?;
    let scratch = tempfile::Builder::new()
        .prefix("quack-sql-")
        .tempdir()
        .map_err(|error| format!("cannot make a scratch folder: {error}"))?;
    let session = Session::start(environment.clone(), case.catalog, scratch.path())
        .map_err(|error| format!("cannot start the session: {error}"))?;
    let shared = Arc::new(Mutex::new(Routed { session, connection: String::new(), counts: false }));
    let result = run_steps(script, case, &shared);
    let finished = lock(&shared).session.finish();
    result?;
    finished.map_err(|error| format!("{}: at the end of the file: {error}", case.path.display()))
}

fn run_steps(script: Script, case: &Case, shared: &Arc<Mutex<Routed>>) -> Result<(), String> {
    let database = Database(Arc::clone(shared));
    let mut runner = Runner::new(move || {
        let database = database.clone();
        async move { Ok::<_, Error>(database) }
    });
    runner.add_label(if case.catalog == Catalog::Native { "native" } else { "quack" });
    for step in script.steps {
        match step {
            Step::Record(connection, record) => {
                let counts = StatementExpect::Count(0);
                {
                    let mut routed = lock(shared);
                    routed.connection = connection;
                    routed.counts = matches!(record.as_ref(), Record::Statement { expected, .. }
                        if std::mem::discriminant(expected) == std::mem::discriminant(&counts));
                }
                runner.run(*record).map_err(|error| error.display(false).to_string())?;
            }
            Step::Restart | Step::Kill => {
                let kill = matches!(step, Step::Kill);
                let restarted = lock(shared).session.restart(kill);
                restarted.map_err(|error| format!("{}: restart: {error}", case.path.display()))?;
            }
        }
    }
    Ok(())
}

fn load(path: &Path) -> Result<Script, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    script::parse(&path.display().to_string(), &text)
}

/// The `.test` files below `folder`, in order.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "test") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The session, and where the next statement goes.
struct Routed {
    session: Session,
    connection: String,
    /// Whether the next result is the number of rows that a statement changed.
    counts: bool,
}

fn lock(shared: &Mutex<Routed>) -> MutexGuard<'_, Routed> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The face of the session for `sqllogictest`.
#[derive(Clone)]
struct Database(Arc<Mutex<Routed>>);

impl DB for Database {
    type Error = Error;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Error> {
        let mut routed = lock(&self.0);
        let connection = routed.connection.clone();
        let rows = routed.session.execute(&connection, sql)?;
        match count(&rows) {
            Some(count) if routed.counts => Ok(DBOutput::StatementComplete(count)),
            _ => {
                let types = vec![DefaultColumnType::Any; rows.columns.len()];
                Ok(DBOutput::Rows { types, rows: rows.rows.into_iter().map(render).collect() })
            }
        }
    }
}

/// The number of changed rows, when that is what `rows` is.
fn count(rows: &Rows) -> Option<u64> {
    match (rows.columns.as_slice(), rows.rows.as_slice()) {
        ([column], [row]) if column == "Count" => row.first()?.as_ref()?.parse().ok(),
        _ => None,
    }
}

/// The text of a row as it stands in a file.
fn render(row: Vec<Option<String>>) -> Vec<String> {
    let text = |value: Option<String>| match value {
        None => "NULL".to_owned(),
        Some(text) if text.is_empty() => "(empty)".to_owned(),
        Some(text) => text.replace('\n', "\\n"),
    };
    row.into_iter().map(text).collect()
}
