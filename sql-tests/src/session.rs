//! The processes of one test file and the catalog that they look at.
//!
//! Connections whose name begins with `stock` are stock DuckDB 1.5 clients, each in a process of its own;
//! all others are connections of the one DuckDB 2.0 process that serves. Both see the catalog under test as
//! `cp`; the serving process also has it as its default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::environment::Environment;
use crate::worker::{Error, Rows, Worker};

/// What `cp` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Catalog {
    /// A plain DuckDB file, without the extension: what a user of DuckDB would expect.
    Native,
    /// The replicated catalog, served by the process and attached in it.
    Quack,
    /// Nothing: the file itself serves and attaches.
    None,
}

/// The token of every served catalog in the tests.
const TOKEN: &str = "token-of-the-tests";

/// The running processes of one file.
#[derive(Debug)]
pub struct Session {
    environment: Environment,
    catalog: Catalog,
    scratch: PathBuf,
    host: Option<Worker>,
    clients: BTreeMap<String, Worker>,
    listen_uri: String,
}

impl Session {
    /// Starts the serving process with its files below `scratch`.
    pub fn start(environment: Environment, catalog: Catalog, scratch: &Path) -> Result<Self, Error> {
        let scratch = scratch.to_path_buf();
        let clients = BTreeMap::new();
        let mut session =
            Self { environment, catalog, scratch, host: None, clients, listen_uri: String::new() };
        session.start_host()?;
        Ok(session)
    }

    /// Runs `sql` on `connection`, with the placeholders of the test files replaced.
    pub fn execute(&mut self, connection: &str, sql: &str) -> Result<Rows, Error> {
        let sql = self.substitute(sql);
        if connection.starts_with("stock") {
            return self.client(connection)?.execute(connection, &sql);
        }
        self.host()?.execute(connection, &sql)
    }

    /// Ends the serving process and starts it again on the same folder. Clients are ended, too: a stock
    /// client never connects again.
    pub fn restart(&mut self, kill: bool) -> Result<(), Error> {
        self.clients.clear();
        if kill {
            self.host()?.kill();
        } else {
            self.stop()?;
        }
        self.start_host()
    }

    /// Ends everything in the ordinary way; a process that crashes or hangs fails the test.
    pub fn finish(&mut self) -> Result<(), Error> {
        for client in self.clients.values() {
            client.close()?;
        }
        self.stop()
    }

    fn stop(&mut self) -> Result<(), Error> {
        if self.catalog == Catalog::Quack {
            let stop = format!("CALL quack_stop('{}')", self.listen_uri);
            self.host()?.execute("default", &stop)?;
        }
        self.host()?.close()
    }

    fn host(&mut self) -> Result<&mut Worker, Error> {
        self.host.as_mut().ok_or_else(|| Error::Process("was not started".to_owned()))
    }

    fn start_host(&mut self) -> Result<(), Error> {
        let environment = &self.environment;
        let worker = Worker::start(&environment.python, &environment.worker, &self.scratch, "host")?;
        let unsigned = json!({"allow_unsigned_extensions": "true"});
        worker.open(":memory:", &unsigned, false)?;
        let mut prepare = vec!["USE cp".to_owned()];
        if self.catalog != Catalog::Native {
            worker.execute("default", &format!("LOAD '{}'", environment.extension.display()))?;
        }
        match self.catalog {
            Catalog::None => prepare.clear(),
            Catalog::Native => {
                let path = self.scratch.join("native.duckdb");
                worker.execute("default", &format!("ATTACH '{}' AS cp", path.display()))?;
            }
            Catalog::Quack => {
                let folder = self.scratch.join("n0");
                let serve = format!(
                    "CALL quack_serve('quack:127.0.0.1:0', token := '{TOKEN}', node_id := 'n0', data_dir := '{}')",
                    folder.display()
                );
                let served = worker.execute("default", &serve)?;
                let uri = served.rows.first().and_then(|row| row.first()?.clone());
                self.listen_uri =
                    uri.ok_or_else(|| Error::Process("gave no listen_uri for quack_serve".to_owned()))?;
                let attach = format!("ATTACH '{}' AS cp (TYPE quack, TOKEN '{TOKEN}')", self.listen_uri);
                worker.execute("default", &attach)?;
            }
        }
        worker.prepare_connections(&prepare)?;
        self.host = Some(worker);
        Ok(())
    }

    fn client(&mut self, name: &str) -> Result<&mut Worker, Error> {
        if !self.clients.contains_key(name) {
            let environment = &self.environment;
            let worker = Worker::start(&environment.python_stock, &environment.worker, &self.scratch, name)?;
            worker.open(":memory:", &json!({}), true)?;
            let attach = format!("ATTACH '{}' AS cp (TYPE quack, TOKEN '{TOKEN}')", self.listen_uri);
            worker.execute(name, &attach)?;
            self.clients.insert(name.to_owned(), worker);
        }
        self.clients.get_mut(name).ok_or_else(|| Error::Process("was not started".to_owned()))
    }

    fn substitute(&self, sql: &str) -> String {
        sql.replace("__SCRATCH__", &self.scratch.to_string_lossy())
            .replace("__EXTENSION__", &self.environment.extension.to_string_lossy())
            .replace("__REPOSITORY__", &self.environment.repository.to_string_lossy())
            .replace("__URI__", &self.listen_uri)
            .replace("__TOKEN__", TOKEN)
    }
}
