//! Worker processes that run one file after the other.
//!
//! What a file leaves behind cannot reach the next one: everything that SQL can change belongs to a DuckDB
//! instance, a folder or a node, and a file has all of them for itself. Only the operating system's process is
//! used again, because its start costs more than most files. One whose instance did not close in the
//! ordinary way is not used again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::environment::Environment;
use crate::worker::{Error, Worker};

/// A process ends in the ordinary way after this many files, so that the run also shows that it can.
const USES_MAX: usize = 50;
/// The nodes that have a certificate.
const NODES: [&str; 3] = ["n0", "n1", "n2"];

/// The processes, and what all nodes share.
#[derive(Debug)]
pub struct Pool {
    /// Where the programs are.
    pub environment: Environment,
    folder: PathBuf,
    idle: Mutex<Vec<Leased>>,
    started: AtomicUsize,
}

/// A process in use.
#[derive(Debug)]
pub struct Leased {
    /// The process.
    pub worker: Worker,
    uses: usize,
}

impl Pool {
    /// A pool with its files in `folder`: logs of the processes, and certificates for three nodes.
    pub fn new(environment: Environment, folder: &Path) -> Result<Self, Error> {
        let pool = Self {
            environment,
            folder: folder.to_path_buf(),
            idle: Mutex::default(),
            started: AtomicUsize::new(0),
        };
        let authority = pool.certificates().join("ca");
        pool.quackctl(&["cert", "init", "--out"], &authority)?;
        for node in NODES {
            let nodes = pool.certificates().join("nodes");
            let authority = authority.to_string_lossy();
            pool.quackctl(
                &["cert", "issue", "--days", "30", "--node", node, "--ca", &authority, "--out"],
                &nodes,
            )?;
        }
        Ok(pool)
    }

    /// A process that hosts nothing yet. `folder` is the file's own, which must not grow without bounds.
    pub fn take(&self, folder: &Path) -> Result<Leased, Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut leased = match idle {
            Some(leased) => leased,
            None => {
                let name = format!("worker{}", self.started.fetch_add(1, Ordering::Relaxed));
                let environment = &self.environment;
                let worker = Worker::start(&environment.python, &environment.worker, &self.folder, &name)?;
                Leased { worker, uses: 0 }
            }
        };
        leased.uses += 1;
        leased.worker.watch(folder);
        Ok(leased)
    }

    /// Takes back a process that has closed its instance.
    pub fn give_back(&self, leased: Leased) -> Result<(), Error> {
        if leased.uses >= USES_MAX {
            return leased.worker.close();
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(leased);
        Ok(())
    }

    /// Ends all processes that are not in use, in the ordinary way.
    pub fn finish(&self) -> Result<(), Error> {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        idle.iter().try_for_each(|leased| leased.worker.close())
    }

    /// The arguments of `quack_serve` for the certificate of a node.
    pub fn certificate(&self, node: &str) -> String {
        let folder = self.certificates();
        let file = |path: PathBuf| format!("'{}'", path.display());
        format!(
            "cert_file := {}, key_file := {}, client_ca_file := {}",
            file(folder.join("nodes").join(format!("{node}.crt"))),
            file(folder.join("nodes").join(format!("{node}.key"))),
            file(folder.join("ca").join("ca.crt")),
        )
    }

    fn certificates(&self) -> PathBuf {
        self.folder.join("certificates")
    }

    fn quackctl(&self, arguments: &[&str], out: &Path) -> Result<(), Error> {
        let output = Command::new(&self.environment.quackctl).args(arguments).arg(out).output();
        let output =
            output.map_err(|error| Error::Process(format!("has no certificates: quackctl: {error}")))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Process(format!("has no certificates: quackctl: {text}")));
        }
        Ok(())
    }
}
