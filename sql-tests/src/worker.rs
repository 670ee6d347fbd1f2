//! A child process that hosts DuckDB, and the lines of JSON that it understands.
//!
//! Several threads may ask at the same time; each waits for its own answer. Invariants: a request has one
//! answer; a worker that gives none in time is killed, so that no test hangs; no worker outlives its
//! [`Worker`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Types of the columns, as DuckDB writes them.
    pub types: Vec<String>,
    /// The values, row by row.
    pub rows: Vec<Vec<Option<String>>>,
}

/// One process.
#[derive(Debug)]
pub struct Worker {
    child: Mutex<Child>,
    requests: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<Waiting>>,
    watched: Mutex<Watched>,
    stderr: PathBuf,
}

/// What the process works for.
#[derive(Debug)]
struct Watched {
    /// The folder that may not grow without bounds.
    folder: PathBuf,
    /// Where its part of the standard error begins.
    stderr_start: u64,
}

/// Who waits for which answer.
#[derive(Debug, Default)]
struct Waiting {
    next_id: u64,
    senders: BTreeMap<u64, Sender<Value>>,
    /// Why there will be no more answers.
    ended: Option<String>,
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
        let requests = Mutex::new(child.stdin.take());
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        if let Some(output) = child.stdout.take() {
            let waiting = Arc::clone(&waiting);
            std::thread::spawn(move || read_answers(output, &waiting));
        }
        let watched = Mutex::new(Watched { folder: folder.to_path_buf(), stderr_start: 0 });
        Ok(Self { child: Mutex::new(child), requests, waiting, watched, stderr })
    }

    /// From now on `folder` is the one that may not grow without bounds, and failures show what the process
    /// writes to its standard error after this.
    pub fn watch(&self, folder: &Path) {
        let stderr_start = std::fs::metadata(&self.stderr).map_or(0, |metadata| metadata.len());
        *lock(&self.watched) = Watched { folder: folder.to_path_buf(), stderr_start };
    }

    /// Opens the database at `path`.
    pub fn open(&self, path: &str, config: &Value, stock: bool) -> Result<(), Error> {
        self.request(json!({"op": "open", "path": path, "config": config, "stock": stock})).map(drop)
    }

    /// Opens a database in memory for [`query`](Self::query), in a process that works in `folder` from now on.
    pub fn open_in(&self, folder: &Path, config: &Value) -> Result<(), Error> {
        self.request(json!({"op": "open", "c_api": true, "config": config, "folder": folder})).map(drop)
    }

    /// Statements that every connection runs first, from now on.
    pub fn prepare_connections(&self, statements: &[String]) -> Result<(), Error> {
        self.request(json!({"op": "prepare_connections", "statements": statements})).map(drop)
    }

    /// Runs `sql` on the connection called `connection`, which is made at its first use.
    pub fn execute(&self, connection: &str, sql: &str) -> Result<Rows, Error> {
        let answer = self.request(json!({"op": "execute", "connection": connection, "sql": sql}))?;
        Ok(rows(&answer))
    }

    /// Runs the statements of `sql` and gives the rows, if they are wanted, as DuckDB writes them.
    pub fn query(&self, connection: &str, sql: &str, wanted: bool) -> Result<Rows, Error> {
        let request = json!({"op": "query", "connection": connection, "sql": sql, "rows": wanted});
        Ok(rows(&self.request(request)?))
    }

    /// The values of a file of results, row by row, read by a DuckDB of its own.
    pub fn read_expected(&self, path: &str, columns: &[String]) -> Result<Rows, Error> {
        Ok(rows(&self.request(json!({"op": "read_expected", "path": path, "columns": columns}))?))
    }

    /// Closes a connection; its next use makes it anew.
    pub fn close_connection(&self, connection: &str) -> Result<(), Error> {
        self.request(json!({"op": "close_connection", "connection": connection})).map(drop)
    }

    /// Closes the database; the process can open another one.
    pub fn close_database(&self) -> Result<(), Error> {
        self.request(json!({"op": "close"})).map(drop)
    }

    /// Closes the database and ends the process in the ordinary way.
    ///
    /// Fails when it does not end by itself with exit code 0.
    pub fn close(&self) -> Result<(), Error> {
        self.close_database()?;
        *lock(&self.requests) = None;
        let start = Instant::now();
        while start.elapsed() < EXIT_TIMEOUT {
            let status = lock(&self.child).try_wait();
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
    pub fn kill(&self) -> Option<ExitStatus> {
        let mut child = lock(&self.child);
        // A process that has ended already cannot be killed, which is what is wanted.
        let _ = child.kill();
        child.wait().ok()
    }

    fn request(&self, mut request: Value) -> Result<Value, Error> {
        let (sender, answers) = channel();
        let id = self.expect_answer(sender)?;
        request["id"] = json!(id);
        let sent = match lock(&self.requests).as_mut() {
            Some(pipe) => writeln!(pipe, "{request}").and_then(|()| pipe.flush()),
            None => return Err(self.failure("was closed before")),
        };
        if let Err(error) = sent {
            return Err(self.failure(&format!("takes no more requests: {error}")));
        }
        let answer = self.answer(&answers)?;
        match answer["error"].as_str() {
            // The addresses of an internal error tell nothing and fill pages.
            Some(error) => {
                Err(Error::Database(error.split("\nStack Trace:").next().unwrap_or(error).to_owned()))
            }
            None => Ok(answer),
        }
    }

    /// Takes a number for a request whose answer goes to `sender`.
    fn expect_answer(&self, sender: Sender<Value>) -> Result<u64, Error> {
        let mut waiting = lock(&self.waiting);
        if let Some(reason) = waiting.ended.clone() {
            drop(waiting);
            return Err(self.failure(&reason));
        }
        waiting.next_id += 1;
        let id = waiting.next_id;
        waiting.senders.insert(id, sender);
        Ok(id)
    }

    fn answer(&self, answers: &Receiver<Value>) -> Result<Value, Error> {
        // Intervals are counted, because no time passes for a process that is stopped together with this one.
        let mut waited = Duration::ZERO;
        loop {
            match answers.recv_timeout(FOLDER_INTERVAL) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => {
                    let reason = lock(&self.waiting).ended.clone().unwrap_or_default();
                    let status = self.kill().map_or_else(String::new, |status| format!(" ({status})"));
                    return Err(self.failure(&format!("{reason}{status}")));
                }
                Err(RecvTimeoutError::Timeout) => waited += FOLDER_INTERVAL,
            }
            if waited > ANSWER_TIMEOUT {
                self.kill();
                return Err(self.failure("gave no answer within 120 s and was killed"));
            }
            if folder_bytes(&lock(&self.watched).folder) > FOLDER_BYTES_MAX {
                self.kill();
                return Err(self.failure("wrote more than 8 GiB to its folder and was killed"));
            }
        }
    }

    fn failure(&self, what: &str) -> Error {
        let log = std::fs::read(&self.stderr).unwrap_or_default();
        let start = usize::try_from(lock(&self.watched).stderr_start).unwrap_or(0);
        let log = String::from_utf8_lossy(log.get(start..).unwrap_or_default()).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(STDERR_LINES_MAX)..].join("\n");
        let note = if tail.is_empty() { String::new() } else { format!("\nits standard error:\n{tail}") };
        Error::Process(format!("{what}{note}"))
    }
}

/// Hands every line of `output` to the caller that waits for it. After the end of the output, or a line that no
/// caller has asked for, all waiting callers learn that there is no answer.
fn read_answers(output: ChildStdout, waiting: &Mutex<Waiting>) {
    let mut reason = "ended without an answer".to_owned();
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let answer = serde_json::from_str::<Value>(&line).unwrap_or_default();
        let sender = answer["id"].as_u64().and_then(|id| lock(waiting).senders.remove(&id));
        let Some(sender) = sender else {
            reason = format!("answered with something else: {line:?}");
            break;
        };
        // A caller that has stopped waiting has killed the process.
        let _ = sender.send(answer);
    }
    let mut waiting = lock(waiting);
    waiting.ended = Some(reason);
    waiting.senders.clear();
}

fn rows(answer: &Value) -> Rows {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    Rows {
        columns: list(&answer["columns"]).iter().filter_map(text).collect(),
        types: list(&answer["types"]).iter().filter_map(text).collect(),
        rows: list(&answer["rows"]).iter().map(|row| list(row).iter().map(text).collect()).collect(),
    }
}

/// A thread that has panicked has failed its test; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
