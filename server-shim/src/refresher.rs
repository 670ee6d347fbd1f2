//! The thread that asks the node about itself and puts the answers on the board.
//!
//! It has a connection of its own. When the database is stuck, only this thread is stuck with it: those who ask the
//! admin face see the age of the last answer.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use quack_admin::status::{Board, Column, Table};
use quack_host::duckdb::Connection;

/// How long the end of the process waits for a question that runs.
const END_WAIT: Duration = Duration::from_secs(5);

/// The thread. It ends when this is dropped, or soon after.
pub struct Refresher {
    stop: Option<Sender<()>>,
    ended: Receiver<()>,
}

impl Refresher {
    /// Starts to ask every `period`.
    pub fn start(connection: Connection, board: Arc<Board>, period: Duration) -> Result<Self, String> {
        let (stop, stopped) = channel::<()>();
        let (end, ended) = channel();
        let run = move || {
            run(&connection, &board, period, &stopped);
            drop(connection);
            // The send fails only when the process has stopped waiting.
            let _ = end.send(());
        };
        let spawned = quack_types::thread::builder("quack-refresher").spawn(run);
        spawned.map_err(|error| format!("cannot start the thread that takes the figures: {error}"))?;
        Ok(Self { stop: Some(stop), ended })
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.ended.recv_timeout(END_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the database still has not answered about itself");
        }
    }
}

fn run(connection: &Connection, board: &Board, period: Duration, stopped: &Receiver<()>) {
    let mut raft = Source::new("quack_raft_status");
    let mut servers = Source::new("quack_server_list");
    let mut measured = Source::new("quack_metrics");
    let mut take = || Ok((raft.take(connection)?, servers.take(connection)?, measured.take(connection)?));
    loop {
        match take() {
            Ok((raft, servers, measured)) => board.put(raft, servers, measured),
            Err::<_, String>(error) => {
                tracing::warn!(%error, "the node does not answer about itself");
                board.fail(error);
            }
        }
        match stopped.recv_timeout(period) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A table function without arguments.
struct Source {
    function: &'static str,
    /// They do not change as long as the extension is loaded.
    columns: Vec<Column>,
}

impl Source {
    fn new(function: &'static str) -> Self {
        Self { function, columns: Vec::new() }
    }

    fn take(&mut self, connection: &Connection) -> Result<Table, String> {
        let function = self.function;
        if self.columns.is_empty() {
            let sql = format!("SELECT column_name, column_type FROM (DESCRIBE FROM {function}())");
            let described = connection.query(&sql)?;
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let column = |row: &quack_host::duckdb::Row| match row.as_slice() {
                [name, type_name] => Some(Column::of_type(&text(name), &text(type_name))),
                _ => None,
            };
            self.columns = described.iter().filter_map(column).collect();
        }
        let rows = connection.query(&format!("SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {function}()"))?;
        Ok(Table { columns: self.columns.clone(), rows })
    }
}
