//! The life of a node's process: open, load, serve, wait for a signal, stop.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use quack_admin::config::Configuration;
use quack_admin::http::AdminServer;
use quack_admin::status::{Board, Phase};
use quack_admin::{quote, serve_statement, setting_statements};
use quack_host::duckdb::Connection;
use quack_host::extension::load_statement;
use quack_types::folder::REBUILD;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::refresher::Refresher;

/// How often it looks whether the node is to be rebuilt.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Exit status when stopping took too long.
const STUCK_EXIT: i32 = 1;

/// Serves until a signal comes, and stops.
pub fn run(configuration: &Configuration) -> Result<(), String> {
    let admin = configuration.admin.clone();
    let board = Arc::new(Board::new(admin.as_ref().map_or(Duration::MAX, |face| face.stale_after)));
    // Before anything else starts, so that a signal that comes early is not lost.
    let signals = watch_signals(board.clone(), configuration.shutdown_timeout)?;
    let admin_server = match &admin {
        None => None,
        Some(face) => {
            let server = AdminServer::start(&face.host, face.port, board.clone());
            let server = server.map_err(|error| error.to_string())?;
            println!("admin at http://{}", server.address());
            Some(server)
        }
    };
    let connection = Connection::open()?;
    for statement in setting_statements(configuration) {
        connection.execute(&statement).map_err(|error| format!("{statement}: {error}"))?;
    }
    connection.execute(&load_statement(configuration.extension.as_deref())?)?;
    let refresher = match &admin {
        None => None,
        Some(face) => Some(Refresher::start(connection.another()?, board.clone(), face.refresh)?),
    };
    let mut uri = serve(&connection, configuration)?;
    board.set_phase(Phase::Serving);
    loop {
        match signals.recv_timeout(LOOK_INTERVAL) {
            Err(RecvTimeoutError::Timeout) if configuration.data_dir.join(REBUILD).exists() => {
                uri = rebuild(&connection, configuration, &board, &uri)?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
            Ok(signal) => {
                println!("stopping on signal {signal}");
                break;
            }
        }
    }
    let stopped = connection.execute(&format!("CALL quack_stop({})", quote(&uri)));
    drop(refresher);
    drop(connection);
    drop(admin_server);
    tracing::info!("stopped");
    stopped
}

/// Starts to serve; returns the address.
fn serve(connection: &Connection, configuration: &Configuration) -> Result<String, String> {
    tracing::info!(data_dir = %configuration.data_dir.display(), "starting");
    let rows = connection.query(&serve_statement(configuration))?;
    let row = rows.first().ok_or("quack_serve has returned nothing")?;
    let text = |value: Option<&Option<String>>| value.cloned().flatten().unwrap_or_default();
    let uri = text(row.first());
    // A token is there only if the extension has drawn it, and then it must be shown.
    match row.get(2).cloned().flatten() {
        Some(token) => println!("listening at {uri} with token {token}"),
        None => println!("listening at {uri} as {}", configuration.name()),
    }
    tracing::info!(%uri, "serving");
    Ok(uri)
}

/// Starts a node again that must not work with what it has: it is rebuilt from its cluster in the background.
fn rebuild(
    connection: &Connection,
    configuration: &Configuration,
    board: &Board,
    uri: &str,
) -> Result<String, String> {
    tracing::warn!(node = configuration.name(), "the node is to be rebuilt from its cluster: starting again");
    board.set_phase(Phase::Starting);
    connection.execute(&format!("CALL quack_stop({})", quote(uri)))?;
    let uri = serve(connection, configuration)?;
    board.set_phase(Phase::Serving);
    Ok(uri)
}

/// Starts the thread that waits for SIGTERM or SIGINT. From then on the process ends within `timeout`, even when a
/// thread hangs: acknowledged writes are in the log, and the next start reads them from there.
fn watch_signals(board: Arc<Board>, timeout: Duration) -> Result<Receiver<i32>, String> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| error.to_string())?;
    let (send, receive) = channel();
    let watch = move || {
        let Some(signal) = signals.forever().next() else { return };
        board.set_phase(Phase::Stopping);
        tracing::info!(signal, "stopping");
        // The receiver is gone when starting has failed, and the process ends by itself.
        let _ = send.send(signal);
        std::thread::sleep(timeout);
        tracing::error!(
            seconds = timeout.as_secs(),
            "stopping takes too long: ending without a last checkpoint"
        );
        signal_hook::low_level::exit(STUCK_EXIT);
    };
    let spawned = quack_types::thread::builder("quack-signals").spawn(watch);
    spawned.map_err(|error| format!("cannot start the thread that waits for signals: {error}"))?;
    Ok(receive)
}
