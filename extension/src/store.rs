//! The DuckDB file of a node, as Rust owns it.

use std::ffi::c_void;
use std::sync::{Mutex, Weak};

use quack_apply::sequence::SequenceState;
use quack_apply::store::ErrorKind;
use quack_apply::{Placement, Store, StoreError};
use quack_node::STACK_BYTES;
use quack_proto::log::v1::{Ddl, Rows};
use quack_types::LogIndex;

use crate::ffi::{self, Bytes, Error, PlacementSink, Places, Sink, Table};
use crate::proposer::SharedNode;

/// What `quack_cpp_applier_clear_way` returns when it could not.
const STATEMENT_GOES_ON: i32 = 2;

/// An attached store. Usable from any thread; closed once.
pub struct AttachedStore {
    handle: Mutex<Option<Handle>>,
}

#[derive(Clone, Copy)]
struct Handle(*mut c_void);
// SAFETY: the C++ object behind it may be used from any thread.
unsafe impl Send for Handle {}

impl AttachedStore {
    /// Attaches the file at `path` under `catalog`. Takes over one reference to `node`.
    ///
    /// # Safety
    /// `host` is a live C++ host; `node` came from [`crate::writer::share_node`].
    pub unsafe fn open(
        host: *mut c_void,
        path: &str,
        catalog: &str,
        node: *const c_void,
    ) -> Result<Self, StoreError> {
        let handles = (Handle(host), Handle(node.cast_mut()));
        let open = move || {
            let (host, node) = handles;
            let mut error = Error::none();
            // SAFETY: as promised by the caller, who waits for this thread.
            let handle = unsafe {
                let (path, catalog) = (Bytes::from(path), Bytes::from(catalog));
                ffi::quack_cpp_store_open(host.0, path, catalog, node.0, &raw mut error)
            };
            error.take().map(|()| Handle(handle))
        };
        // Definitions are read by recursion, and the thread that serves is the host's, which may be small.
        let builder = std::thread::Builder::new().name("quack-open".to_owned()).stack_size(STACK_BYTES);
        let opened = std::thread::scope(|scope| {
            let thread = builder.spawn_scoped(scope, open).map_err(|error| {
                StoreError::new(ErrorKind::IO, format!("a thread cannot be started: {error}"))
            })?;
            thread
                .join()
                .unwrap_or_else(|_| Err(StoreError::new(ErrorKind::INTERNAL, "the store's thread panicked")))
        })?;
        Ok(Self { handle: Mutex::new(Some(opened)) })
    }

    /// The C++ object; null once closed.
    pub fn raw(&self) -> *mut c_void {
        let handle = self.handle.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        handle.map_or(std::ptr::null_mut(), |handle| handle.0)
    }

    /// The name under which the store is attached now; empty once closed.
    pub fn catalog(&self) -> String {
        let raw = self.raw();
        if raw.is_null() {
            return String::new();
        }
        let mut name = Vec::new();
        // SAFETY: not closed.
        unsafe { ffi::quack_cpp_store_catalog(raw, Sink::into_vec(&mut name)) };
        name.first().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
    }

    /// Refuses every further write.
    pub fn seal(&self, reason: &str) {
        let raw = self.raw();
        if !raw.is_null() {
            // SAFETY: not closed.
            unsafe { ffi::quack_cpp_store_seal(raw, Bytes::from(reason)) };
        }
    }

    /// Writes a checkpoint.
    pub fn checkpoint(&self) -> Result<(), StoreError> {
        let mut error = Error::none();
        // SAFETY: checkpoints are made by the node, which stops before the store is closed.
        unsafe { ffi::quack_cpp_store_checkpoint(self.raw(), &raw mut error) };
        error.take()
    }

    /// How many checkpoints its file has seen.
    pub fn checkpoints(&self) -> u64 {
        // SAFETY: asked for before the node starts.
        unsafe { ffi::quack_cpp_store_checkpoints(self.raw()) }
    }

    /// A snapshot of the store as it is now, to be hashed.
    pub fn snapshot_for_hash(&self) -> Result<StateHasher, StoreError> {
        let mut error = Error::none();
        let mut position = 0;
        // SAFETY: asked for while the node runs, which ends before the store is closed.
        let hasher =
            unsafe { ffi::quack_cpp_state_hasher_open(self.raw(), &raw mut position, &raw mut error) };
        error.take()?;
        Ok(StateHasher { hasher, position: LogIndex(position) })
    }

    /// Detaches the store. Returns whether its file is closed: a statement that still runs keeps it open.
    pub fn close(&self) -> bool {
        let handle = self.handle.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        // SAFETY: taken out, so this happens once.
        handle.is_none_or(|handle| unsafe { ffi::quack_cpp_store_close(handle.0) })
    }
}

/// A snapshot of a store that is being hashed. The store stays open as long as it is there.
pub struct StateHasher {
    hasher: *mut c_void,
    /// The last transaction that the snapshot holds.
    pub position: LogIndex,
}

// SAFETY: used by one thread at a time.
unsafe impl Send for StateHasher {}

impl StateHasher {
    /// A hash of all that the store held.
    pub fn run(self) -> Result<String, StoreError> {
        let mut error = Error::none();
        let mut hash = Vec::new();
        // SAFETY: `self` owns it.
        unsafe { ffi::quack_cpp_state_hasher_run(self.hasher, Sink::into_vec(&mut hash), &raw mut error) };
        error.take()?;
        Ok(hash.first().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default())
    }
}

impl Drop for StateHasher {
    fn drop(&mut self) {
        // SAFETY: owned, and closed once.
        unsafe { ffi::quack_cpp_state_hasher_close(self.hasher) };
    }
}

/// The store's only writer, on the apply thread.
pub struct DuckDbStore {
    applier: *mut c_void,
    /// Waits for memory on its behalf. It does not keep the node: the node keeps it.
    node: Weak<SharedNode>,
}

// SAFETY: used by one thread at a time.
unsafe impl Send for DuckDbStore {}

impl DuckDbStore {
    /// Opens the applier of a store; returns the position and the state that it finds. A new store becomes `owner`'s,
    /// and so does a `foreign` one; another's is refused.
    pub fn open(
        store: &AttachedStore,
        owner: &str,
        foreign: bool,
        node: Weak<SharedNode>,
    ) -> Result<(Self, LogIndex, Vec<u8>), StoreError> {
        let mut error = Error::none();
        // SAFETY: the store is open.
        let applier = unsafe { ffi::quack_cpp_applier_open(store.raw(), &raw mut error) };
        error.take()?;
        let opened = Self { applier, node };
        let mut index = 0;
        let mut state = Vec::new();
        let mut error = Error::none();
        // SAFETY: `opened` owns the applier.
        unsafe { ffi::quack_cpp_applier_claim(applier, Bytes::from(owner), foreign, &raw mut error) };
        error.take()?;
        let mut error = Error::none();
        // SAFETY: as before.
        unsafe {
            ffi::quack_cpp_applier_position(
                applier,
                &raw mut index,
                Sink::into_vec(&mut state),
                &raw mut error,
            );
        }
        error.take()?;
        let state = state.first().map(|bytes| bytes.to_vec()).unwrap_or_default();
        Ok((opened, LogIndex(index), state))
    }

    fn call(&mut self, body: impl FnOnce(*mut c_void, *mut Error)) -> Result<(), StoreError> {
        let mut error = Error::none();
        body(self.applier, &raw mut error);
        error.take()
    }
}

impl Drop for DuckDbStore {
    fn drop(&mut self) {
        // SAFETY: owned, and closed once.
        unsafe { ffi::quack_cpp_applier_close(self.applier) };
    }
}

fn table(rows: &Rows) -> Table<'_> {
    Table {
        schema: Bytes::from(rows.schema.as_str()),
        name: Bytes::from(rows.table.as_str()),
        shape: rows.shape,
        number: rows.table_number,
    }
}

// SAFETY of all calls below: `self` owns the applier, and what is passed lives for the call.
impl Store for DuckDbStore {
    fn begin(&mut self) -> Result<(), StoreError> {
        self.call(|applier, error| unsafe { ffi::quack_cpp_applier_begin(applier, error) })
    }

    fn commit(&mut self, index: LogIndex, state: &[u8]) -> Result<(), StoreError> {
        self.call(|applier, error| unsafe {
            ffi::quack_cpp_applier_commit(applier, index.0, Bytes::new(state), error);
        })
    }

    fn rollback(&mut self) {
        unsafe { ffi::quack_cpp_applier_rollback(self.applier) };
    }

    fn find(&mut self, rows: &Rows, search: bool) -> Result<bool, StoreError> {
        let mut found = false;
        self.call(|applier, error| unsafe {
            found = ffi::quack_cpp_applier_find(applier, table(rows), Bytes::new(&rows.chunk), search, error);
        })?;
        Ok(found)
    }

    fn change_found(&mut self) -> Result<(), StoreError> {
        self.call(|applier, error| unsafe { ffi::quack_cpp_applier_change_found(applier, error) })
    }

    fn forget_found(&mut self) {
        unsafe { ffi::quack_cpp_applier_forget_found(self.applier) };
    }

    fn has_key(&mut self, rows: &Rows) -> Result<bool, StoreError> {
        let mut has_key = false;
        self.call(|applier, error| unsafe {
            has_key = ffi::quack_cpp_applier_has_key(applier, table(rows), error);
        })?;
        Ok(has_key)
    }

    fn change_places(&mut self, rows: &Rows) -> Result<(), StoreError> {
        let Some(places) = &rows.places else {
            return Err(StoreError::new(ErrorKind::INTERNAL, "the rows are not named by their places"));
        };
        self.call(|applier, error| unsafe {
            let (places, chunk) = (Places::of(places), Bytes::new(&rows.chunk));
            ffi::quack_cpp_applier_change_places(applier, table(rows), places, chunk, rows.count, error);
        })
    }

    fn reached(&mut self, revisions: &quack_apply::Revisions) {
        let (unordered, unordered_below) = revisions.unordered();
        let unordered: Vec<u64> = unordered.collect();
        let reached = ffi::Revisions {
            last: revisions.last,
            unordered: unordered.as_ptr(),
            unordered_count: unordered.len(),
            unordered_below,
        };
        unsafe { ffi::quack_cpp_applier_reached(self.applier, reached) };
    }

    fn insert(&mut self, rows: &Rows) -> Result<(), StoreError> {
        self.call(|applier, error| unsafe {
            ffi::quack_cpp_applier_insert(applier, table(rows), Bytes::new(&rows.chunk), error);
        })
    }

    fn clear_way(&mut self, error: ErrorKind) -> Result<bool, StoreError> {
        let mut cleared = 0;
        loop {
            self.call(|applier, failure| unsafe {
                cleared = ffi::quack_cpp_applier_clear_way(applier, error.0, failure);
            })?;
            if cleared != STATEMENT_GOES_ON {
                if cleared != 0 && error == ErrorKind::OUT_OF_MEMORY {
                    tracing::warn!(
                        "an entry of the log needs more memory than 'memory_limit' allows: the limit is exceeded for it"
                    );
                }
                return Ok(cleared != 0);
            }
            tracing::warn!(
                "a statement is in the way of what was committed, in a transaction that has changed the catalog or sees \
                 a table as it was before an index was made of it, and heeds no interruption; until it ends, this node \
                 applies nothing more"
            );
        }
    }

    fn waits_for_memory(&mut self) -> bool {
        // While it starts there is no node yet: the next start tries again.
        let node = self.node.upgrade();
        let node = node.as_ref().and_then(|shared| shared.node().ok());
        node.is_some_and(|node| {
            node.wait_for_memory("an entry of the log needs more memory than this machine has left")
        })
    }

    fn ddl(&mut self, ddl: &Ddl) -> Result<(), StoreError> {
        let definition = Bytes::new(&ddl.definition);
        self.call(|applier, error| unsafe { ffi::quack_cpp_applier_ddl(applier, definition, error) })
    }

    fn placements(&mut self) -> Result<Vec<Placement>, StoreError> {
        let mut placements = Vec::new();
        let sink = PlacementSink::into_vec(&mut placements);
        self.call(|applier, error| unsafe { ffi::quack_cpp_applier_placements(applier, sink, error) })?;
        Ok(placements)
    }

    fn number_tables(&mut self, last: u64) -> Result<u64, StoreError> {
        let mut given = last;
        self.call(|applier, error| unsafe {
            given = ffi::quack_cpp_applier_number_tables(applier, last, error);
        })?;
        Ok(given)
    }

    fn sequence(&mut self, schema: &str, name: &str) -> Result<Option<SequenceState>, StoreError> {
        let mut state = ffi::SequenceState::default();
        let mut found = false;
        self.call(|applier, error| unsafe {
            let (schema, name) = (Bytes::from(schema), Bytes::from(name));
            found = ffi::quack_cpp_applier_sequence(applier, schema, name, &raw mut state, error);
        })?;
        Ok(found.then(|| SequenceState {
            usage_count: state.usage_count,
            counter: state.counter,
            last_value: state.has_last_value.then_some(state.last_value),
            increment: state.increment,
            minimum: state.minimum,
            maximum: state.maximum,
            cycle: state.cycle,
        }))
    }

    fn move_sequence(
        &mut self,
        schema: &str,
        name: &str,
        state: &SequenceState,
        is_set: bool,
    ) -> Result<(), StoreError> {
        let moved = ffi::SequenceState {
            usage_count: state.usage_count,
            counter: state.counter,
            last_value: state.last_value.unwrap_or_default(),
            increment: state.increment,
            minimum: state.minimum,
            maximum: state.maximum,
            has_last_value: state.last_value.is_some(),
            cycle: state.cycle,
        };
        self.call(|applier, error| unsafe {
            let (schema, name) = (Bytes::from(schema), Bytes::from(name));
            ffi::quack_cpp_applier_move_sequence(applier, schema, name, &raw const moved, is_set, error);
        })
    }
}
