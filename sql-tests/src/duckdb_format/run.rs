//! Carries out the records of a file in a world.
//!
//! A file ends at its first failure, as with DuckDB's runner, or at a requirement that is not met.

use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::compare::{self, Expected, Labels};
use super::record::{Command, Expectation, Load, Loop, Query, Record, Script, Statement};
use super::require;
use super::variables::{Binding, Variables};
use super::world::{DEFAULT, World};
use crate::worker::Error;

/// Errors that no record may expect: they are bugs.
const ALWAYS_FAIL: [&str; 3] = ["INTERNAL Error", "FATAL Error", "differs from original result"];
/// An unpacked file above this size is a mistake.
const UNZIPPED_BYTES_MAX: u64 = 256 << 20;

/// What became of a file in a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All records did what they must.
    Passed,
    /// A requirement is not met, or an error came that the file ignores.
    Skipped(String),
    /// The first record that did not do what it must, and how.
    Failed(String),
}

/// Why a file ends before its last record.
enum Stop {
    Skip(String),
    Fail(String),
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Fail(message)
    }
}

/// Runs the file `name`; `data` is the folder of the common data.
pub fn run(script: &Script, name: &str, world: World, data: &Path) -> Outcome {
    let variables = Variables::new(&world.test_folder(), &world.working_folder(), data, name);
    let state = State {
        variables,
        labels: Labels::new(),
        ignored: Vec::new(),
        always_fail: ALWAYS_FAIL.map(str::to_owned).to_vec(),
        print: false,
    };
    let mut run = Run { world, state: Mutex::new(state) };
    let result = run.records(&script.records).and_then(|()| {
        let equal = run.world.check_equal();
        equal.map_err(|error| Stop::Fail(format!("at the end of the file: {error}")))
    });
    // A file that has failed ends its processes with it: its fault must not reach the next file, nor be hidden by
    // a later one.
    let finish = |world: World| world.finish().map_err(|error| format!("at the end of the file: {error}"));
    match result {
        Err(Stop::Fail(message)) => Outcome::Failed(message),
        Err(Stop::Skip(reason)) => {
            finish(run.world).map_or_else(Outcome::Failed, |()| Outcome::Skipped(reason))
        }
        Ok(()) => finish(run.world).map_or_else(Outcome::Failed, |()| Outcome::Passed),
    }
}

struct Run {
    world: World,
    /// Shared by the threads of a concurrent loop.
    state: Mutex<State>,
}

struct State {
    variables: Variables,
    labels: Labels,
    ignored: Vec<String>,
    always_fail: Vec<String>,
    print: bool,
}

/// Where a record stands.
#[derive(Clone, Default)]
struct Place {
    /// The values of the loops around, the outermost first.
    loops: Vec<Binding>,
    /// The connection of a round of a concurrent loop.
    connection: Option<String>,
}

impl Run {
    fn records(&mut self, records: &[Record]) -> Result<(), Stop> {
        self.each(records, &Place::default())
    }

    fn each(&mut self, records: &[Record], place: &Place) -> Result<(), Stop> {
        for record in records {
            let done = match (included(record, place), &record.command) {
                (Ok(false), _) => Ok(()),
                (Ok(true), Command::Loop(definition)) if definition.concurrent => {
                    self.concurrent(definition, place)
                }
                (Ok(true), Command::Loop(definition)) => {
                    let inside = |value: &String| place.inside(&definition.variable, value);
                    definition.values.iter().try_for_each(|value| self.each(&definition.body, &inside(value)))
                }
                (Ok(true), _) => self.alone(record, place),
                (Err(message), _) => Err(message.into()),
            };
            done.map_err(|stop| at(record, place, stop))?;
        }
        Ok(())
    }

    /// A record that may change the world.
    fn alone(&mut self, record: &Record, place: &Place) -> Result<(), Stop> {
        let process = |error: Error| Stop::Fail(error.to_string());
        match &record.command {
            Command::Restart => self.world.restart().map_err(process),
            Command::Load(load) => {
                let path = load.path.as_ref().map(|path| self.replace(path, place)).transpose()?;
                self.world.load(Load { path, read_only: load.read_only }).map_err(process)
            }
            _ => self.shared(record, place),
        }
    }

    /// A record that several threads may carry out at the same time.
    fn shared(&self, record: &Record, place: &Place) -> Result<(), Stop> {
        match &record.command {
            Command::Statement(statement) => self.statement(statement, place),
            Command::Query(query) => self.query(query, place),
            Command::Sleep(duration) => {
                std::thread::sleep(*duration);
                Ok(())
            }
            Command::Reconnect => {
                self.world.reconnect(DEFAULT).map_err(|error| Stop::Fail(error.to_string()))
            }
            Command::Require(words) => {
                require::check(&self.world, words)?.map_or(Ok(()), |why| Err(Stop::Skip(why)))
            }
            Command::RequireEnv(name, value) => match (std::env::var(name), value) {
                (Ok(actual), None) => Ok(self.state().variables.define(name, &actual)?),
                (Ok(actual), Some(value)) if actual == *value => {
                    Ok(self.state().variables.define(name, &actual)?)
                }
                _ => Err(Stop::Skip(format!("require-env {name}"))),
            },
            Command::TestEnv(name, default) => {
                let value = std::env::var(name).unwrap_or_else(|_| default.clone());
                Ok(self.state().variables.define(name, &value)?)
            }
            Command::Unzip(from, to) => self.unzip(from, to.as_deref(), place),
            Command::Print(print) => {
                self.state().print = *print;
                Ok(())
            }
            Command::IgnoreErrors(texts) => {
                self.state().ignored.clone_from(texts);
                Ok(())
            }
            Command::AlwaysFail(texts) => {
                self.state().always_fail.clone_from(texts);
                Ok(())
            }
            Command::Seed(seed) => {
                let sql = format!("SELECT setseed({seed})");
                self.world
                    .execute(DEFAULT, &sql, false)
                    .map(drop)
                    .map_err(|error| Stop::Fail(error.to_string()))
            }
            Command::ResetLabel(label) => match self.state().labels.remove(label) {
                Some(_) => Ok(()),
                None => Err(Stop::Fail(format!("there is no label \"{label}\" to reset"))),
            },
            Command::Restart | Command::Load(_) | Command::Loop(_) => {
                Err(Stop::Fail("this cannot stand in a concurrent loop".to_owned()))
            }
        }
    }

    /// One thread and one connection for every value. All run to their end; the first failure counts.
    fn concurrent(&self, definition: &Loop, place: &Place) -> Result<(), Stop> {
        if place.connection.is_some() {
            return Err(Stop::Fail("a concurrent loop cannot stand in another".to_owned()));
        }
        let results = std::thread::scope(|scope| {
            let start = |(index, value): (usize, &String)| {
                let connection = format!("(round {index})");
                let mut inside = place.inside(&definition.variable, value);
                inside.connection = Some(connection.clone());
                scope.spawn(move || {
                    let done = self.round(&definition.body, &inside);
                    let closed = self.world.reconnect(&connection);
                    done.and(closed.map_err(|error| Stop::Fail(error.to_string())))
                })
            };
            let threads: Vec<_> = definition.values.iter().enumerate().map(start).collect();
            let panicked = |_| Err(Stop::Fail("the runner has panicked".to_owned()));
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect::<Vec<_>>()
        });
        results.into_iter().collect()
    }

    /// The records of a concurrent loop for one of its values.
    fn round(&self, records: &[Record], place: &Place) -> Result<(), Stop> {
        for record in records {
            let done = match (included(record, place), &record.command) {
                (Ok(false), _) => Ok(()),
                (Ok(true), Command::Loop(definition)) if !definition.concurrent => {
                    let inside = |value: &String| place.inside(&definition.variable, value);
                    definition
                        .values
                        .iter()
                        .try_for_each(|value| self.round(&definition.body, &inside(value)))
                }
                (Ok(true), _) => self.shared(record, place),
                (Err(message), _) => Err(message.into()),
            };
            done.map_err(|stop| at(record, place, stop))?;
        }
        Ok(())
    }

    fn statement(&self, statement: &Statement, place: &Place) -> Result<(), Stop> {
        let sql = self.replace(&statement.sql, place)?;
        let connection = connection(statement.connection.as_deref(), place)?;
        let result = self.world.execute(&connection, &sql, false);
        match (&statement.expectation, result) {
            (_, Err(Error::Process(message))) => Err(Stop::Fail(format!("{sql}\nthe process {message}"))),
            (_, Err(Error::Database(error))) if self.is_bug(&error) => {
                Err(Stop::Fail(format!("{sql}\na bug: {error}")))
            }
            (Expectation::Ok | Expectation::Maybe(_), Ok(_)) => Ok(()),
            (Expectation::Ok, Err(error)) => Err(self.unexpected(&sql, &error.to_string())),
            (Expectation::Error(text), Ok(_)) => {
                Err(Stop::Fail(format!("{sql}\nexpected an error, and it worked: {text}")))
            }
            (Expectation::Error(text) | Expectation::Maybe(text), Err(error)) => {
                let expected = self.replace(text, place)?;
                let error = error.to_string();
                if compare::is_error(&error, text)? || compare::is_error(&error, &expected)? {
                    return Ok(());
                }
                Err(Stop::Fail(format!("{sql}\nexpected the error: {expected}\nfound the error: {error}")))
            }
        }
    }

    fn query(&self, query: &Query, place: &Place) -> Result<(), Stop> {
        let sql = self.replace(&query.sql, place)?;
        let connection = connection(query.connection.as_deref(), place)?;
        let rows = match self.world.execute(&connection, &sql, true) {
            Ok(rows) => rows,
            Err(error) => return Err(self.unexpected(&sql, &error.to_string())),
        };
        let mut columns = query.columns;
        let mut lines = Vec::new();
        for line in &query.expected {
            lines.push(self.replace(line, place)?);
        }
        if let [line] = lines.as_slice()
            && let Some(path) = line.strip_prefix("<FILE>:")
        {
            let read = self.world.read_expected(path, &rows.columns).map_err(|error| error.to_string())?;
            columns = rows.columns.len();
            lines = read.rows.into_iter().flatten().map(Option::unwrap_or_default).collect();
        }
        let expected = Expected { columns, sort: query.sort, lines: &lines, label: query.label.as_deref() };
        let mut state = self.state();
        if state.print {
            eprintln!("{sql}\n{:?}", rows.rows);
        }
        compare::check(&rows, &expected, &mut state.labels)
            .map_err(|message| Stop::Fail(format!("{sql}\n{message}")))
    }

    fn unzip(&self, from: &str, to: Option<&str>, place: &Place) -> Result<(), Stop> {
        let from = self.replace(from, place)?;
        let name = Path::new(&from).file_stem().unwrap_or_default().to_owned();
        let to = match to {
            Some(to) => self.replace(to, place)?.into(),
            None => self.world.test_folder().join(name),
        };
        let failed = |error: std::io::Error| Stop::Fail(format!("unzip {from}: {error}"));
        let from_working_folder = self.world.working_folder().join(&from);
        let file = std::fs::File::open(from_working_folder).map_err(failed)?;
        let mut bytes = Vec::new();
        let decoder = flate2::read::GzDecoder::new(file);
        decoder.take(UNZIPPED_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
        std::fs::write(to, bytes).map_err(failed)
    }

    fn is_bug(&self, error: &str) -> bool {
        self.state().always_fail.iter().any(|text| error.contains(text))
    }

    /// An error that the file does not expect: a failure, unless the file ignores such errors.
    fn unexpected(&self, sql: &str, error: &str) -> Stop {
        match self.state().ignored.iter().find(|text| error.contains(text.as_str())) {
            Some(text) => Stop::Skip(format!("an error with \"{text}\" is ignored: {error}")),
            None => Stop::Fail(format!("{sql}\n{error}")),
        }
    }

    fn replace(&self, text: &str, place: &Place) -> Result<String, String> {
        self.state().variables.replace(text, &place.loops)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn inside(&self, variable: &str, value: &str) -> Self {
        let mut inside = self.clone();
        inside.loops.push(Binding { name: variable.to_owned(), value: value.to_owned() });
        inside
    }
}

fn included(record: &Record, place: &Place) -> Result<bool, String> {
    for condition in &record.conditions {
        if !condition.allows(&place.loops)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn connection(named: Option<&str>, place: &Place) -> Result<String, String> {
    match (named, &place.connection) {
        (Some(_), Some(_)) => Err("a record of a concurrent loop cannot name its connection".to_owned()),
        (Some(name), None) => Ok(name.to_owned()),
        (None, Some(round)) => Ok(round.clone()),
        (None, None) => Ok(DEFAULT.to_owned()),
    }
}

/// Puts the line in front, once.
fn at(record: &Record, place: &Place, stop: Stop) -> Stop {
    let values: Vec<String> =
        place.loops.iter().map(|binding| format!(" {}={}", binding.name, binding.value)).collect();
    match stop {
        Stop::Fail(message) if !message.starts_with("line ") => {
            Stop::Fail(format!("line {}{}: {message}", record.line, values.concat()))
        }
        other => other,
    }
}
