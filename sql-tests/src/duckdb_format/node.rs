//! One process of a world: a DuckDB instance, and the catalog that it has attached.

use std::fmt::Write;
use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use super::pool::Leased;
use crate::worker::{Error, Rows};

/// The token of every served catalog.
const TOKEN: &str = "token-of-the-tests";
/// The connection for what the runner itself does.
const RUNNER: &str = "(runner)";

/// A process with an open instance.
#[derive(Debug)]
pub struct Node {
    /// The process.
    pub leased: Leased,
    uri: Option<String>,
}

/// How a node of a cluster serves.
#[derive(Debug)]
pub struct Serving<'a> {
    /// The node's name.
    pub name: &'a str,
    /// The folder of its data.
    pub folder: &'a Path,
    /// The port, or 0 for any.
    pub port: u16,
    /// Further arguments of `quack_serve`.
    pub options: &'a str,
}

impl Node {
    /// A process that hosts nothing yet.
    pub fn new(leased: Leased) -> Self {
        Self { leased, uri: None }
    }

    /// Opens an instance that works in `working` and has its other files in `own`, which no other node uses.
    pub fn open(&self, working: &Path, own: &Path) -> Result<(), Error> {
        let config = json!({
            "allow_unsigned_extensions": "true",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "extension_directory": own.join("extensions"),
            "secret_directory": own.join("secrets"),
            "temp_directory": own.join("spilled"),
        });
        self.leased.worker.open_in(working, &config)
    }

    /// Loads the extension and serves a folder.
    pub fn serve(&mut self, extension: &Path, serving: &Serving<'_>) -> Result<(), Error> {
        let Serving { name, folder, port, options } = serving;
        self.run(&format!("LOAD '{}'", extension.display()), false)?;
        let mut serve = format!(
            "CALL quack_serve('quack:127.0.0.1:{port}', token := '{TOKEN}', node_id := '{name}', data_dir := '{}'",
            folder.display()
        );
        if !options.is_empty() {
            // A text takes what is written to it.
            let _ = write!(serve, ", {options}");
        }
        serve.push(')');
        let served = self.run(&serve, true)?;
        let uri = served.rows.first().and_then(|row| row.first()?.clone());
        self.uri = Some(uri.ok_or_else(|| Error::Process("gave no listen_uri for quack_serve".to_owned()))?);
        Ok(())
    }

    /// Attaches what it serves, and makes it the default database of every connection.
    pub fn attach_served(&self, name: &str, options: &str, consistency: &str) -> Result<(), Error> {
        self.run(&format!("SET GLOBAL quack_consistency = '{consistency}'"), false)?;
        let uri = self.uri.as_deref().unwrap_or_default();
        self.run(&format!("ATTACH '{uri}' AS {name} (TYPE quack, TOKEN '{TOKEN}'{options})"), false)?;
        self.make_default(name)
    }

    /// Attaches a plain database, and makes it the default database of every connection.
    pub fn attach_file(&self, path: &str, name: &str, read_only: bool) -> Result<(), Error> {
        let options = if read_only { " (READ_ONLY)" } else { "" };
        self.run(&format!("ATTACH '{}' AS {name}{options}", path.replace('\'', "''")), false)?;
        self.make_default(name)
    }

    fn make_default(&self, name: &str) -> Result<(), Error> {
        self.leased.worker.prepare_connections(&[format!("USE {name}")])
    }

    /// Runs a statement of the runner's own.
    pub fn run(&self, sql: &str, wanted: bool) -> Result<Rows, Error> {
        self.leased.worker.query(RUNNER, sql, wanted)
    }

    /// Stops serving and closes the instance.
    pub fn close(&mut self) -> Result<(), Error> {
        if let Some(uri) = self.uri.take() {
            self.run(&format!("CALL quack_stop('{uri}')"), false)?;
        }
        self.leased.worker.close_database()
    }
}

/// Ports that were free a moment ago, all different.
pub fn free_ports(count: usize) -> Result<Vec<u16>, Error> {
    let failed = |error| Error::Process(format!("has no free port: {error}"));
    let listen = |_| TcpListener::bind(("127.0.0.1", 0)).map_err(failed);
    let listeners = (0..count).map(listen).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr().map_err(failed)?.port())).collect()
}
