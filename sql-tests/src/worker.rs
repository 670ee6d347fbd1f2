//! A child process that hosts DuckDB, and the lines of JSON that it understands.
//!
//! Invariants: a request has one answer; a worker that gives none in time is killed, so that no test hangs;
//! no worker outlives its [`Worker`].

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// No statement of a suite needs more, even on a machine that builds at the same time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// A process that has closed its database must be gone after this time.
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);
/// Files of a test above this size are a runaway, and would fill the disk before the time is over.
const FOLDER_BYTES_MAX: u64 = 8 << 30;
/// How often the folder is looked at while a statement runs.
const FOLDER_INTERVAL: Duration = Duration::from_secs(1);
/// Lines of the worker's standard error that a failure shows.
const STDERR_LINES_MAX: usize = 30;

/// Why a worker did not give rows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// DuckDB's own error text, which begins with the error's class.
    #[error("{0}")]
    Database(String),
    /// The process is gone, hangs, or said something that is not an answer.
    #[error("the process that hosts DuckDB {0}")]
    Process(String),
}

/// The rows of a statement, as text; NULL is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// The values, row by row.
    pub rows: Vec<Vec<Option<String>>>,
}

/// One process.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    requests: Option<ChildStdin>,
    answers: Receiver<String>,
    folder: PathBuf,
    stderr: PathBuf,
    next_id: u64,
}

impl Worker {
    /// Starts `python program` in `folder`; its standard error goes to `<folder>/<name>.stderr`.
    pub fn start(python: &Path, program: &Path, folder: &Path, name: &str) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::Process(format!("cannot be started: {error}"));
        let stderr = folder.join(format!("{name}.stderr"));
        let log = File::options().create(true).append(true).open(&stderr).map_err(failed)?;
        let mut child = Command::new(python)
            .arg(program)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let requests = child.stdin.take();
        let (sender, answers) = channel();
        if let Some(output) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(Self { child, requests, answers, folder: folder.to_path_buf(), stderr, next_id: 0 })
    }

    /// Opens the database at `path`.
    pub fn open(&mut self, path: &str, config: &Value, stock: bool) -> Result<(), Error> {
        self.request(json!({"op": "open", "path": path, "config": config, "stock": stock})).map(drop)
    }

    /// Statements that every connection runs first, from now on.
    pub fn prepare_connections(&mut self, statements: &[String]) -> Result<(), Error> {
        self.request(json!({"op": "prepare_connections", "statements": statements})).map(drop)
    }

    /// Runs `sql` on the connection called `connection`, which is made at its first use.
    pub fn execute(&mut self, connection: &str, sql: &str) -> Result<Rows, Error> {
        let answer = self.request(json!({"op": "execute", "connection": connection, "sql": sql}))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let columns = list(&answer["columns"]).iter().filter_map(text).collect();
        let rows = list(&answer["rows"]).iter().map(|row| list(row).iter().map(text).collect()).collect();
        Ok(Rows { columns, rows })
    }

    /// Closes the database and ends the process in the ordinary way.
    ///
    /// Fails when it does not end by itself with exit code 0.
    pub fn close(&mut self) -> Result<(), Error> {
        self.request(json!({"op": "close"}))?;
        self.requests = None;
        let start = Instant::now();
        while start.elapsed() < EXIT_TIMEOUT {
            let status = self.child.try_wait();
            match status.map_err(|error| Error::Process(format!("cannot be waited for: {error}")))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.failure(&format!("ended badly ({status})"))),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        self.kill();
        Err(self.failure("did not end within 30 s of closing its database"))
    }

    /// Ends the process with SIGKILL and waits until it is gone.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        // A process that has ended already cannot be killed, which is what is wanted.
        let _ = self.child.kill();
        self.child.wait().ok()
    }

    fn request(&mut self, mut request: Value) -> Result<Value, Error> {
        self.next_id += 1;
        request["id"] = json!(self.next_id);
        let sent = match &mut self.requests {
            Some(pipe) => writeln!(pipe, "{request}").and_then(|()| pipe.flush()),
            None => return Err(self.failure("was closed before")),
        };
        if let Err(error) = sent {
            return Err(self.failure(&format!("takes no more requests: {error}")));
        }
        let line = self.answer()?;
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| self.failure(&format!("answered with something else: {line:?}: {error}")))?;
        if answer["id"] != request["id"] {
            return Err(self.failure(&format!("answered another request: {line:?}")));
        }
        match answer["error"].as_str() {
            // The addresses of an internal error tell nothing and fill pages.
            Some(error) => {
                Err(Error::Database(error.split("\nStack Trace:").next().unwrap_or(error).to_owned()))
            }
            None => Ok(answer),
        }
    }

    fn answer(&mut self) -> Result<String, Error> {
        let start = Instant::now();
        loop {
            match self.answers.recv_timeout(FOLDER_INTERVAL) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.kill().map_or_else(String::new, |status| format!(" ({status})"));
                    return Err(self.failure(&format!("ended without an answer{status}")));
                }
                Err(RecvTimeoutError::Timeout) if start.elapsed() > ANSWER_TIMEOUT => {
                    self.kill();
                    return Err(self.failure("gave no answer within 120 s and was killed"));
                }
                Err(RecvTimeoutError::Timeout) if folder_bytes(&self.folder) > FOLDER_BYTES_MAX => {
                    self.kill();
                    return Err(self.failure("wrote more than 8 GiB to its folder and was killed"));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn failure(&self, what: &str) -> Error {
        let log = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(STDERR_LINES_MAX)..].join("\n");
        let note = if tail.is_empty() { String::new() } else { format!("\nits standard error:\n{tail}") };
        Error::Process(format!("{what}{note}"))
    }
}

/// Bytes of all files below `folder`. Files come and go meanwhile, so what cannot be read counts nothing.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => folder_bytes(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}
