//! Where a file runs: a catalog that is the default database of every connection.
//!
//! The process's own database is in memory, called `memory`, in every world; the catalog is attached to it,
//! under the same name in every world, so that a file cannot tell the worlds apart by names. It is called `cp`,
//! and after `load PATH` by the path's file name, as DuckDB does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::record::Load;
use crate::environment::Environment;
use crate::worker::{Error, Rows, Worker};

/// The token of every served catalog.
const TOKEN: &str = "token-of-the-tests";
/// The connection for what the runner itself does.
const RUNNER: &str = "(runner)";
/// The catalog's name before the first `load`.
const NAME: &str = "cp";

/// The kinds of worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A plain DuckDB file, without the extension.
    Native,
    /// A cluster of one node.
    One,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Native, Self::One];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Native => "native",
            Self::One => "one",
        })
    }
}

/// A running world.
#[derive(Debug)]
pub struct World {
    kind: Kind,
    environment: Environment,
    scratch: PathBuf,
    worker: Worker,
    /// What is open.
    load: Load,
    uri: Option<String>,
    /// The served folder that stands for a path of `load`.
    folders: BTreeMap<Option<String>, PathBuf>,
}

impl World {
    /// Starts a world with its files below `scratch`, an empty folder.
    pub fn start(environment: &Environment, kind: Kind, scratch: &Path) -> Result<Self, Error> {
        for folder in [test_folder(scratch), working_folder(scratch)] {
            let failed = |error| Error::Process(format!("has no folder {}: {error}", folder.display()));
            std::fs::create_dir_all(&folder).map_err(failed)?;
        }
        let worker = Worker::start(&environment.python, &environment.worker, scratch, "host")?;
        let path = scratch.join(format!("{NAME}.db")).to_string_lossy().into_owned();
        let mut world = Self {
            kind,
            environment: environment.clone(),
            scratch: scratch.to_path_buf(),
            worker,
            load: Load { path: Some(path), read_only: false },
            uri: None,
            folders: BTreeMap::new(),
        };
        world.open()?;
        Ok(world)
    }

    /// Runs the statements of `sql`; the rows, if they are wanted.
    pub fn execute(&self, connection: &str, sql: &str, wanted: bool) -> Result<Rows, Error> {
        self.worker.query(connection, sql, wanted)
    }

    /// The values of a file of results.
    pub fn read_expected(&self, path: &str, columns: &[String]) -> Result<Rows, Error> {
        self.worker.read_expected(path, columns)
    }

    /// The extensions that are loaded.
    pub fn loaded_extensions(&self) -> Result<Vec<String>, Error> {
        let sql = "SELECT extension_name FROM duckdb_extensions() WHERE loaded";
        let rows = self.worker.query(RUNNER, sql, true)?;
        Ok(rows.rows.into_iter().flatten().flatten().collect())
    }

    /// Makes the connection anew.
    pub fn reconnect(&self, connection: &str) -> Result<(), Error> {
        self.worker.close_connection(connection)
    }

    /// Closes everything and opens another catalog, or the one of the same path again.
    pub fn load(&mut self, load: Load) -> Result<(), Error> {
        self.close()?;
        self.load = load;
        self.open()
    }

    /// Closes everything and opens the same catalog again.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.close()?;
        self.open()
    }

    /// Ends everything in the ordinary way.
    pub fn finish(mut self) -> Result<(), Error> {
        self.close()?;
        self.worker.close()
    }

    /// The folder that is the file's own.
    pub fn test_folder(&self) -> PathBuf {
        test_folder(&self.scratch)
    }

    /// The folder that the processes work in.
    pub fn working_folder(&self) -> PathBuf {
        working_folder(&self.scratch)
    }

    fn close(&mut self) -> Result<(), Error> {
        if let Some(uri) = self.uri.take() {
            self.worker.query(RUNNER, &format!("CALL quack_stop('{uri}')"), false)?;
        }
        self.worker.close_database()
    }

    fn open(&mut self) -> Result<(), Error> {
        let config = json!({
            "allow_unsigned_extensions": "true",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "secret_directory": self.scratch.join("secrets"),
            "temp_directory": self.scratch.join("spilled"),
        });
        self.worker.open_in(&working_folder(&self.scratch), &config)?;
        let attach = match self.kind {
            Kind::Native => self.native_attach(),
            Kind::One => self.serve()?,
        };
        self.worker.query(RUNNER, &attach, false)?;
        self.worker.prepare_connections(&[format!("USE {}", quoted(&self.name()))])
    }

    fn native_attach(&self) -> String {
        let path = self.load.path.as_deref().unwrap_or(":memory:");
        let read_only = if self.load.read_only { " (READ_ONLY)" } else { "" };
        format!("ATTACH '{}' AS {}{read_only}", path.replace('\'', "''"), quoted(&self.name()))
    }

    /// Serves the folder that stands for the path, and returns the statement that attaches it.
    fn serve(&mut self) -> Result<String, Error> {
        let number = self.folders.len();
        let new = || self.scratch.join(format!("served{number}"));
        let folder = match &self.load.path {
            Some(_) => self.folders.entry(self.load.path.clone()).or_insert_with(new).clone(),
            None => self.folders.entry(Some(format!("(memory {number})"))).or_insert_with(new).clone(),
        };
        self.worker.query(RUNNER, &format!("LOAD '{}'", self.environment.extension.display()), false)?;
        let serve = format!(
            "CALL quack_serve('quack:127.0.0.1:0', token := '{TOKEN}', node_id := 'n0', data_dir := '{}')",
            folder.join("n0").display()
        );
        let served = self.worker.query(RUNNER, &serve, true)?;
        let uri = served.rows.first().and_then(|row| row.first()?.clone());
        let uri = uri.ok_or_else(|| Error::Process("gave no listen_uri for quack_serve".to_owned()))?;
        let read_only = if self.load.read_only { ", READ_ONLY" } else { "" };
        let name = quoted(&self.name());
        let attach = format!("ATTACH '{uri}' AS {name} (TYPE quack, TOKEN '{TOKEN}'{read_only})");
        self.uri = Some(uri);
        Ok(attach)
    }

    /// The catalog's name.
    fn name(&self) -> String {
        let stem = self.load.path.as_deref().and_then(|path| Path::new(path).file_stem());
        match stem.map(|stem| stem.to_string_lossy().into_owned()) {
            Some(name) if !["memory", "temp", "system"].contains(&name.as_str()) => name,
            _ => NAME.to_owned(),
        }
    }
}

fn test_folder(scratch: &Path) -> PathBuf {
    scratch.join("test")
}

fn working_folder(scratch: &Path) -> PathBuf {
    scratch.join("work")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
