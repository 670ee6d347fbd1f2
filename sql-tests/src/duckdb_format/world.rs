//! Where a file runs: a catalog that is the default database of every connection.
//!
//! The process's own database is in memory, called `memory`, in every world; the catalog is attached to it,
//! under the same name in every world, so that a file cannot tell the worlds apart by names. It is called `cp`,
//! and after `load PATH` by the path's file name, as DuckDB does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::node::{Node, Serving, free_ports};
use super::pool::Pool;
use super::record::Load;
use super::routing::{Effects, Router};
use crate::worker::{Error, Rows};

/// The catalog's name before the first `load`.
const NAME: &str = "cp";
/// The connection of records that name none.
pub const DEFAULT: &str = "default";
/// Names of databases that every process has already.
const TAKEN: [&str; 3] = ["memory", "temp", "system"];
/// Another program may take a port between the moment it was found free and the moment it is used.
const BIRTHS_MAX: usize = 5;
/// The nodes of a cluster have applied the same within this time, or something is wrong.
const EQUAL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often they are asked.
const EQUAL_INTERVAL: Duration = Duration::from_millis(10);

/// The kinds of worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A plain DuckDB file, without the extension.
    Native,
    /// A cluster of one node.
    One,
    /// A cluster of three nodes, with statements to changing nodes.
    Three,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Native, Self::One, Self::Three];

    /// The kind with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == name)
    }

    fn nodes(self) -> usize {
        if self == Self::Three { 3 } else { 1 }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Native => "native",
            Self::One => "one",
            Self::Three => "three",
        })
    }
}

/// A running world.
#[derive(Debug)]
pub struct World {
    kind: Kind,
    pool: Arc<Pool>,
    scratch: PathBuf,
    nodes: Vec<Node>,
    router: Mutex<Router>,
    /// What is open.
    load: Load,
    /// What the default connection has set, to be set again after a restart, as DuckDB's runner does.
    settings: Mutex<Vec<String>>,
    /// The cluster that stands for a path of `load`.
    clusters: BTreeMap<String, Cluster>,
}

/// What outlives a restart.
#[derive(Clone, Debug)]
struct Cluster {
    folder: PathBuf,
    ports: Vec<u16>,
}

impl World {
    /// Starts a world with its files below `scratch`, an empty folder; relative paths in `data/` are of `data`.
    pub fn start(pool: &Arc<Pool>, kind: Kind, scratch: &Path, data: &Path) -> Result<Self, Error> {
        let path = scratch.join(format!("{NAME}.db")).to_string_lossy().into_owned();
        let mut world = Self {
            kind,
            pool: Arc::clone(pool),
            scratch: scratch.to_path_buf(),
            nodes: Vec::new(),
            router: Mutex::new(Router::new(kind.nodes())),
            load: Load { path: Some(path), read_only: false },
            settings: Mutex::default(),
            clusters: BTreeMap::new(),
        };
        let failed = |error| Error::Process(format!("has no folder: {error}"));
        std::fs::create_dir_all(world.test_folder()).map_err(failed)?;
        std::fs::create_dir_all(world.working_folder()).map_err(failed)?;
        std::os::unix::fs::symlink(data, world.working_folder().join("data")).map_err(failed)?;
        for _ in 0..kind.nodes() {
            world.nodes.push(Node::new(pool.take(scratch)?));
        }
        world.open()?;
        Ok(world)
    }

    /// Runs the statements of `sql`, wherever it belongs; the rows, if they are wanted.
    pub fn execute(&self, connection: &str, sql: &str, wanted: bool) -> Result<Rows, Error> {
        let effects = Effects::of(sql);
        let target = self.router().route(connection, effects);
        let result = self.nodes[target.node].leased.worker.query(connection, sql, wanted);
        self.router().done(connection, effects, target.node, result.is_ok());
        if connection == DEFAULT && effects.is_setting() && result.is_ok() {
            let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
            settings.retain(|earlier| Effects::setting_name(earlier) != Effects::setting_name(sql));
            settings.push(sql.to_owned());
        }
        if target.all && result.is_ok() {
            for (index, node) in self.nodes.iter().enumerate().filter(|(index, _)| *index != target.node) {
                let other = node.leased.worker.query(connection, sql, false);
                other.map_err(|error| {
                    Error::Process(format!(
                        "of node {} did it, and that of node {index} did not: {error}",
                        target.node
                    ))
                })?;
            }
        }
        result
    }

    /// The values of a file of results.
    pub fn read_expected(&self, path: &str, columns: &[String]) -> Result<Rows, Error> {
        self.nodes[0].leased.worker.read_expected(path, columns)
    }

    /// The extensions that are loaded.
    pub fn loaded_extensions(&self) -> Result<Vec<String>, Error> {
        let rows = self.nodes[0].run("SELECT extension_name FROM duckdb_extensions() WHERE loaded", true)?;
        Ok(rows.rows.into_iter().flatten().flatten().collect())
    }

    /// Makes the connection anew.
    pub fn reconnect(&self, connection: &str) -> Result<(), Error> {
        self.router().forget(connection);
        self.nodes.iter().try_for_each(|node| node.leased.worker.close_connection(connection))
    }

    /// Closes everything and opens another catalog, or the one of the same path again.
    pub fn load(&mut self, load: Load) -> Result<(), Error> {
        self.close()?;
        self.load = load;
        self.open()
    }

    /// Closes everything and opens the same catalog again, with the settings of the default connection.
    pub fn restart(&mut self) -> Result<(), Error> {
        let settings = std::mem::take(&mut *self.settings.lock().unwrap_or_else(PoisonError::into_inner));
        self.close()?;
        self.open()?;
        settings.iter().try_for_each(|sql| self.execute(DEFAULT, sql, false).map(drop))
    }

    /// Ends everything in the ordinary way.
    pub fn finish(mut self) -> Result<(), Error> {
        self.close()?;
        self.nodes.drain(..).try_for_each(|node| self.pool.give_back(node.leased))
    }

    /// Waits until all nodes have applied the same, and checks that their states are the same.
    pub fn check_equal(&self) -> Result<(), Error> {
        if self.kind != Kind::Three {
            return Ok(());
        }
        let start = Instant::now();
        let mut interval = EQUAL_INTERVAL;
        loop {
            let ask =
                |node: &Node| Ok(node.run("SELECT applied_index, hash FROM quack_state_hash()", true)?.rows);
            let states = self.nodes.iter().map(ask).collect::<Result<Vec<_>, Error>>()?;
            if states.iter().all(|state| *state == states[0]) {
                return Ok(());
            }
            // The state is a function of the position alone.
            let position =
                |state: &Vec<Vec<Option<String>>>| state.first().and_then(|row| row.first().cloned());
            let same_position = states.iter().all(|state| position(state) == position(&states[0]));
            if same_position || start.elapsed() > EQUAL_TIMEOUT {
                return Err(Error::Process(format!("is one of nodes that differ: {states:?}")));
            }
            std::thread::sleep(interval);
            interval *= 2;
        }
    }

    /// The folder that is the file's own.
    pub fn test_folder(&self) -> PathBuf {
        self.scratch.join("test")
    }

    /// The folder that the processes work in.
    pub fn working_folder(&self) -> PathBuf {
        self.scratch.join("work")
    }

    fn close(&mut self) -> Result<(), Error> {
        *self.router() = Router::new(self.kind.nodes());
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clear();
        at_once(&mut self.nodes, |_, node| node.close())
    }

    fn open(&mut self) -> Result<(), Error> {
        self.open_instances()?;
        let name = self.name();
        if self.kind == Kind::Native {
            let path = self.load.path.as_deref().unwrap_or(":memory:");
            return self.nodes[0].attach_file(path, &name, self.load.read_only);
        }
        self.serve()?;
        // The connections of a file are at different nodes, one statement after the other.
        let consistency = if self.kind == Kind::Three { "linearizable" } else { "session" };
        let options = if self.load.read_only { ", READ_ONLY" } else { "" };
        // A node is ready only when its cluster is, so all are asked at the same time.
        at_once(&mut self.nodes, |_, node| node.attach_served(&name, options, consistency))
    }

    fn open_instances(&mut self) -> Result<(), Error> {
        let (working, scratch) = (self.working_folder(), self.scratch.clone());
        at_once(&mut self.nodes, |index, node| node.open(&working, &scratch.join(format!("own{index}"))))
    }

    /// Serves the cluster that stands for the path: the one of last time, or a new one.
    fn serve(&mut self) -> Result<(), Error> {
        let number = self.clusters.len();
        let key = self.load.path.clone().unwrap_or_else(|| format!("(memory {number})"));
        if let Some(cluster) = self.clusters.get(&key).cloned() {
            return self.serve_cluster(&cluster);
        }
        let mut births = 0;
        loop {
            births += 1;
            let folder = self.scratch.join(format!("served{number}-{births}"));
            let cluster = Cluster { folder, ports: free_ports(self.nodes.len())? };
            match self.serve_cluster(&cluster) {
                Ok(()) => {
                    self.clusters.insert(key, cluster);
                    return Ok(());
                }
                Err(error) if births < BIRTHS_MAX && error.to_string().contains("in use") => {
                    at_once(&mut self.nodes, |_, node| node.close())?;
                    self.open_instances()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn serve_cluster(&mut self, cluster: &Cluster) -> Result<(), Error> {
        let pool = Arc::clone(&self.pool);
        let peer = |(index, port): (usize, &u16)| format!("n{index}:voter=quack:127.0.0.1:{port}");
        let peers: Vec<String> = cluster.ports.iter().enumerate().map(peer).collect();
        let alone = self.kind == Kind::One;
        at_once(&mut self.nodes, |index, node| {
            let name = format!("n{index}");
            let options = match alone {
                true => String::new(),
                false => format!("peers := '{}', {}", peers.join(","), pool.certificate(&name)),
            };
            let folder = cluster.folder.join(&name);
            let serving =
                Serving { name: &name, folder: &folder, port: cluster.ports[index], options: &options };
            node.serve(&pool.environment.extension, &serving)
        })
    }

    /// The catalog's name, as SQL writes it.
    fn name(&self) -> String {
        let stem = self.load.path.as_deref().and_then(|path| Path::new(path).file_stem());
        let name = stem.map(|stem| stem.to_string_lossy().into_owned());
        let name = name.filter(|name| !TAKEN.contains(&name.as_str())).unwrap_or_else(|| NAME.to_owned());
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    fn router(&self) -> MutexGuard<'_, Router> {
        self.router.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` with every node, at the same time.
fn at_once(
    nodes: &mut [Node],
    work: impl Fn(usize, &mut Node) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    if let [node] = nodes {
        return work(0, node);
    }
    let work = &work;
    std::thread::scope(|scope| {
        let start = |(index, node)| scope.spawn(move || work(index, node));
        let threads: Vec<_> = nodes.iter_mut().enumerate().map(start).collect();
        let panicked = |_| Err(Error::Process("met a panic of the runner".to_owned()));
        let results: Vec<_> =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect();
        results.into_iter().collect()
    })
}
