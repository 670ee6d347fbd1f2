//! The servers of one DuckDB instance.

use std::collections::HashMap;
use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use quack_apply::StoreError;
use quack_apply::store::ErrorKind;
use quack_cluster::Change;
use quack_net::{Endpoint, PeerSpec};
use quack_types::NodeId;

use crate::ffi::{self, Interrupt};
use crate::proposer::SharedNode;
use crate::serve::{Arguments, Server, invalid};

/// How often the guardian checks whether a user other than this extension still holds the instance.
const GUARDIAN_PERIOD: Duration = Duration::from_millis(100);
/// How long a server waits, before it begins, for others of the process that are ending.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// All hosts of the process, for its exit; and the process they live in.
static HOSTS: Mutex<Vec<Weak<Host>>> = Mutex::new(Vec::new());
/// Stores whose server has stopped while a statement still held them, by data folder.
static LINGERING: Mutex<Vec<(PathBuf, Weak<SharedNode>)>> = Mutex::new(Vec::new());

/// Belongs to one DuckDB instance; C++ holds one reference, the guardian thread another.
pub struct Host {
    /// The C++ host; valid until `quack_rs_host_close`, and as long as a server runs.
    raw: *mut c_void,
    process: u32,
    servers: Mutex<HashMap<String, Arc<Server>>>,
    /// Held while a server is being started or stopped, so that this happens one at a time.
    changing: Mutex<()>,
    guarded: AtomicBool,
    /// The thread that is stopping all servers.
    ending: Mutex<Option<ThreadId>>,
}

// SAFETY: the C++ host is made for use from any thread.
unsafe impl Send for Host {}
unsafe impl Sync for Host {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Host {
    fn all(&self) -> Vec<Arc<Server>> {
        let mut servers: Vec<_> = lock(&self.servers).values().cloned().collect();
        servers.sort_by_key(|server| server.uri());
        servers
    }

    pub fn serve(&self, arguments: &Arguments) -> Result<Vec<Option<String>>, StoreError> {
        self.wait_for_abandoned();
        let _changing = lock(&self.changing);
        refuse_lingering(arguments)?;
        // SAFETY: C++ is in a call that holds the host.
        let server = Arc::new(unsafe { Server::start(self.raw, arguments) }?);
        let row = server.serve_row();
        lock(&self.servers).insert(server.uri(), server);
        self.guard();
        Ok(row)
    }

    /// Waits for the end of servers whose instance has just been closed in this process: the next one may be meant for
    /// their port and folder.
    fn wait_for_abandoned(&self) {
        let deadline = Instant::now() + CLOSING_TIME;
        let is_abandoned = |host: &Arc<Self>| {
            let Ok(_changing) = host.changing.try_lock() else { return lock(&host.ending).is_some() };
            // SAFETY: a server is there, so the C++ host has not been closed.
            !lock(&host.servers).is_empty() && unsafe { ffi::quack_cpp_host_abandoned(host.raw) }
        };
        let others = || -> Vec<_> {
            // A child that was forked has those of its parent, which run there.
            let is_other = |host: &Arc<Self>| {
                host.process == std::process::id() && !std::ptr::eq(Arc::as_ptr(host), self)
            };
            lock(&HOSTS).iter().filter_map(Weak::upgrade).filter(is_other).collect()
        };
        while Instant::now() < deadline && others().iter().any(is_abandoned) {
            std::thread::sleep(GUARDIAN_PERIOD);
        }
    }

    pub fn stop(&self, uri: &str) -> Result<String, StoreError> {
        let _changing = lock(&self.changing);
        let server = self.server_at(uri)?;
        lock(&self.servers).remove(&server.uri());
        stop_server(&server);
        Ok(format!("stopped {}", server.uri()))
    }

    fn server_at(&self, uri: &str) -> Result<Arc<Server>, StoreError> {
        let endpoint: Endpoint = uri.parse().map_err(invalid)?;
        self.all().into_iter().find(|server| server.is_at(&endpoint)).ok_or_else(|| {
            let message =
                format!("no server of this process listens at {endpoint}: see FROM quack_server_list()");
            invalid(message)
        })
    }

    pub fn server_list(&self) -> Vec<Vec<Option<String>>> {
        self.all().iter().map(|server| server.list_row()).collect()
    }

    pub fn active_connections(&self) -> Vec<Vec<Option<String>>> {
        self.all().iter().flat_map(|server| server.session_rows()).collect()
    }

    /// Closes the session of a client of the server at `uri`.
    pub fn close_connection(&self, uri: &str, number: u64) -> Result<String, StoreError> {
        let server = self.server_at(uri)?;
        if !server.close_session(number) {
            let message =
                format!("{} has no connection {number}: see FROM quack_active_connections()", server.uri());
            return Err(invalid(message));
        }
        Ok(format!("closed connection {number} of {}", server.uri()))
    }

    pub fn raft_status(&self) -> Vec<Vec<Option<String>>> {
        self.all().iter().flat_map(|server| server.raft_rows()).collect()
    }

    pub fn contract_status(&self) -> Vec<Vec<Option<String>>> {
        self.all().iter().flat_map(|server| server.contract_rows()).collect()
    }

    pub fn metrics(&self) -> Vec<Vec<Option<String>>> {
        self.all().iter().flat_map(|server| server.metric_rows()).collect()
    }

    pub fn outcomes(&self) -> Vec<Vec<Option<String>>> {
        self.all().iter().flat_map(|server| server.outcome_rows()).collect()
    }

    pub fn state_hash(&self) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        self.all().iter().map(|server| server.hash_row()).collect()
    }

    fn server_of(&self, catalog: &str) -> Result<Arc<Server>, StoreError> {
        self.all().into_iter().find(|server| server.serves(catalog)).ok_or_else(|| {
            let message = format!(
                "no server of this process serves the catalog '{catalog}': see FROM quack_server_list()"
            );
            invalid(message)
        })
    }

    pub fn nodes(&self, catalog: &str) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        Ok(self.server_of(catalog)?.node_rows())
    }

    /// The node that the catalog is of; an empty name is that of the only one there is.
    pub fn node_of(&self, catalog: &str) -> Result<Arc<SharedNode>, StoreError> {
        let server = match self.all().as_slice() {
            [server] if catalog.is_empty() => server.clone(),
            _ if catalog.is_empty() => {
                let message = "name the catalog that is meant: quack_multiraft_sql_set_enabled(true, 'cp'). FROM \
                               quack_server_list() shows those that this process serves";
                return Err(invalid(message));
            }
            _ => self.server_of(catalog)?,
        };
        server.node()
    }

    pub fn group_status(&self, catalog: &str) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        Ok(self.server_of(catalog)?.group_rows())
    }

    pub fn verify(&self, catalog: &str) -> Result<Vec<Vec<Option<String>>>, StoreError> {
        self.server_of(catalog)?.verify_rows()
    }

    pub fn backup(&self, catalog: &str, to: &str) -> Result<Vec<Option<String>>, StoreError> {
        self.server_of(catalog)?.backup(to)
    }

    pub fn change_members(&self, catalog: &str, what: &str, argument: &str) -> Result<String, StoreError> {
        let server = self.server_of(catalog)?;
        let (change, done) = match what {
            "put" => {
                let spec: PeerSpec = argument.parse().map_err(invalid)?;
                let done = format!("{} is a member from now on; it joins when it is started", spec.node);
                (Change::Put(spec), done)
            }
            "remove" => {
                let node = NodeId::new(argument).map_err(invalid)?;
                let done = format!("{node} is no member any more: stop its server");
                (Change::Remove(node), done)
            }
            _ => {
                let node = NodeId::new(argument).map_err(invalid)?;
                let done = format!("leadership is being handed to {node}");
                (Change::Lead(node), done)
            }
        };
        server.change_members(&change)?;
        Ok(done)
    }

    /// The catalog of the server at `uri`, for a client that shows the token, as soon as it is ready; `None` when there
    /// is no such server here.
    pub fn catalog_at(
        &self,
        uri: &str,
        token: &str,
        interrupt: &Interrupt,
    ) -> Result<Option<String>, StoreError> {
        let endpoint: Endpoint = uri.parse().map_err(invalid)?;
        let server = self.all().into_iter().find(|server| server.is_at(&endpoint));
        let Some(server) = server else { return Ok(None) };
        server.authenticate(token)?;
        server.wait_for_catalog(interrupt).map(Some)
    }

    fn stop_all(&self) {
        let this_thread = std::thread::current().id();
        if *lock(&self.ending) == Some(this_thread) {
            // The end of the last server has closed the instance, which closes this host.
            return;
        }
        let _changing = lock(&self.changing);
        *lock(&self.ending) = Some(this_thread);
        let servers: Vec<_> = lock(&self.servers).drain().map(|(_, server)| server).collect();
        servers.iter().for_each(|server| stop_server(server));
        *lock(&self.ending) = None;
    }

    /// Starts the thread that ends the servers when all other users have let go of the instance: a server must not keep
    /// an instance alive that its user has closed.
    fn guard(&self) {
        if self.guarded.swap(true, Ordering::AcqRel) {
            return;
        }
        let this =
            lock(&HOSTS).iter().filter_map(Weak::upgrade).find(|host| std::ptr::eq(Arc::as_ptr(host), self));
        let Some(this) = this else { return };
        let spawned = quack_types::thread::builder("quack-guardian").spawn(move || run_guardian(&this));
        if let Err(error) = spawned {
            self.guarded.store(false, Ordering::Release);
            tracing::error!(%error, "no guardian: the servers outlive the closing of the database");
        }
    }
}

fn stop_server(server: &Server) {
    let (closed, node) = server.stop();
    if !closed {
        lock(&LINGERING).push((server.data_dir().to_path_buf(), node));
    }
}

fn refuse_lingering(arguments: &Arguments) -> Result<(), StoreError> {
    let mut lingering = lock(&LINGERING);
    lingering.retain(|(_, node)| node.strong_count() > 0);
    let folder = arguments.data_folder();
    if lingering.iter().any(|(path, _)| *path == folder) {
        let message = "a statement still runs on the catalog of the server that was stopped: end it first, then serve again";
        return Err(StoreError::new(ErrorKind::CONNECTION, message));
    }
    Ok(())
}

fn run_guardian(host: &Host) {
    let mut abandoned = false;
    loop {
        std::thread::sleep(GUARDIAN_PERIOD);
        // A thread that closes the instance stops the servers first, and waits for this lock.
        let changing = lock(&host.changing);
        if lock(&host.servers).is_empty() {
            // The next server starts another guardian.
            host.guarded.store(false, Ordering::Release);
            return;
        }
        // SAFETY: a server is there, so the C++ host has not been closed.
        let now = unsafe { ffi::quack_cpp_host_abandoned(host.raw) };
        drop(changing);
        if now && abandoned {
            host.guarded.store(false, Ordering::Release);
            host.stop_all();
            return;
        }
        abandoned = now;
    }
}

/// Registers what ends the servers when the process exits.
pub fn stop_at_exit() {
    // SAFETY: no condition beyond being loaded.
    unsafe { ffi::quack_cpp_stop_at_exit() };
}

#[unsafe(no_mangle)]
extern "C" fn quack_rs_host_open(raw: *mut c_void) -> *mut c_void {
    let host = Arc::new(Host {
        raw,
        process: std::process::id(),
        servers: Mutex::default(),
        changing: Mutex::default(),
        guarded: AtomicBool::new(false),
        ending: Mutex::default(),
    });
    let mut hosts = lock(&HOSTS);
    hosts.retain(|other| other.strong_count() > 0);
    hosts.push(Arc::downgrade(&host));
    Arc::into_raw(host).cast_mut().cast()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_host_close(rust_host: *mut c_void) {
    crate::barrier::call(std::ptr::null_mut(), || {
        // SAFETY: made by `quack_rs_host_open`, closed once.
        let host = unsafe { Arc::from_raw(rust_host.cast::<Host>()) };
        if host.process == std::process::id() {
            host.stop_all();
        }
        Ok(())
    });
}

#[unsafe(no_mangle)]
extern "C" fn quack_rs_process_exit() {
    crate::barrier::call(std::ptr::null_mut(), || {
        // A lock that another thread holds now may never be released: then leave everything as it is.
        let Ok(hosts) = HOSTS.try_lock() else { return Ok(()) };
        // A fork has none of the threads.
        let hosts: Vec<_> = hosts
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|host| host.process == std::process::id())
            .collect();
        let servers: Vec<_> = hosts
            .iter()
            .filter_map(|host| host.servers.try_lock().ok().map(|mut servers| std::mem::take(&mut *servers)))
            .flat_map(HashMap::into_values)
            .collect();
        if !servers.is_empty() {
            // Not on this thread: its thread-local values are being destroyed.
            let halting = quack_types::thread::builder("quack-halt").spawn(move || {
                for server in servers {
                    server.halt();
                    // Its parts must not be dropped: DuckDB may be half gone.
                    std::mem::forget(server);
                }
            });
            if let Ok(thread) = halting {
                // A panic in it has been printed; there is nothing left to do about it.
                let _ = thread.join();
            }
        }
        std::mem::forget(hosts);
        Ok(())
    });
}

#[unsafe(no_mangle)]
extern "C" fn quack_rs_each_unshared(each: extern "C" fn(*mut c_void, i32), target: *mut c_void) {
    for descriptor in quack_types::unshared::descriptors() {
        each(target, descriptor);
    }
}
