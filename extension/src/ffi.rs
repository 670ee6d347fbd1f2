//! The border in Rust's words: mirrors `extension/cpp/include/bridge.h`, declaration by declaration.

use std::ffi::{c_char, c_void};
use std::marker::PhantomData;

use quack_apply::store::ErrorKind;
use quack_apply::{Placement, StoreError};

/// Bytes borrowed for the duration of a call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    data: *const u8,
    length: usize,
    borrowed: PhantomData<&'a [u8]>,
}

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { data: bytes.as_ptr(), length: bytes.len(), borrowed: PhantomData }
    }

    /// Stands for SQL's NULL in a row.
    pub fn null() -> Self {
        Self { data: std::ptr::null(), length: 0, borrowed: PhantomData }
    }

    pub fn as_slice(&self) -> &'a [u8] {
        if self.data.is_null() || self.length == 0 {
            return &[];
        }
        // SAFETY: the code that made this value guarantees `length` bytes for the lifetime.
        unsafe { std::slice::from_raw_parts(self.data, self.length) }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.as_slice()).into_owned()
    }
}

impl<'a> From<&'a str> for Bytes<'a> {
    fn from(text: &'a str) -> Self {
        Self::new(text.as_bytes())
    }
}

/// A failure on its way across. See `QuackError`.
#[repr(C)]
pub struct Error {
    kind: i32,
    message: *mut c_char,
}

impl Error {
    pub fn none() -> Self {
        Self { kind: -1, message: std::ptr::null_mut() }
    }

    /// Takes the failure that C++ has reported, if any.
    pub fn take(self) -> Result<(), StoreError> {
        if self.kind < 0 {
            return Ok(());
        }
        let message = if self.message.is_null() {
            String::from("unknown error")
        } else {
            // SAFETY: C++ made it with quack_cpp_copy_text, terminated by zero, and gave it to us.
            unsafe {
                let text = std::ffi::CStr::from_ptr(self.message).to_string_lossy().into_owned();
                quack_cpp_free(self.message.cast());
                text
            }
        };
        Err(StoreError::new(ErrorKind(self.kind), message))
    }

    /// Reports a failure to C++.
    pub fn set(&mut self, error: &StoreError) {
        self.kind = error.kind.0;
        // SAFETY: the text is copied during the call.
        self.message = unsafe { quack_cpp_copy_text(Bytes::from(error.message.as_str())) }.cast();
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Table<'a> {
    pub schema: Bytes<'a>,
    pub name: Bytes<'a>,
    pub shape: u64,
    pub number: u64,
}

/// See `QuackPlaces`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Places<'a> {
    pub revision: u64,
    pub runs: Bytes<'a>,
    columns: *const u32,
    column_count: usize,
    pub check: u64,
    pub in_place: bool,
    lives: PhantomData<&'a [u32]>,
}

impl<'a> Places<'a> {
    pub fn of(places: &'a quack_proto::log::v1::Places) -> Self {
        Self {
            revision: places.revision,
            runs: Bytes::new(&places.runs),
            columns: places.columns.as_ptr(),
            column_count: places.columns.len(),
            check: places.check,
            in_place: places.in_place,
            lives: PhantomData,
        }
    }

    pub fn columns(&self) -> Vec<u32> {
        if self.column_count == 0 {
            return Vec::new();
        }
        // SAFETY: C++ passes an array of that length, which lives for the call.
        unsafe { std::slice::from_raw_parts(self.columns, self.column_count) }.to_vec()
    }
}

/// See `QuackRevisions`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Revisions {
    pub last: u64,
    pub unordered: *const u64,
    pub unordered_count: usize,
    pub unordered_below: u64,
}

/// See `QuackSequence`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sequence<'a> {
    pub schema: Bytes<'a>,
    pub name: Bytes<'a>,
    pub entry: u64,
    pub sets: u64,
}

/// See `QuackSequenceState`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct SequenceState {
    pub usage_count: u64,
    pub counter: i64,
    pub last_value: i64,
    pub increment: i64,
    pub minimum: i64,
    pub maximum: i64,
    pub has_last_value: bool,
    pub cycle: bool,
}

/// Receives bytes. See `QuackSink`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Sink {
    context: *mut c_void,
    take: extern "C" fn(*mut c_void, Bytes<'_>),
}

impl Sink {
    /// Collects what arrives; the vector must outlive the call that the sink is given to.
    pub fn into_vec(target: &mut Vec<bytes::Bytes>) -> Self {
        extern "C" fn take(context: *mut c_void, bytes: Bytes<'_>) {
            // SAFETY: `context` is the vector that `into_vec` was given, and no other code uses it meanwhile.
            let target = unsafe { &mut *context.cast::<Vec<bytes::Bytes>>() };
            target.push(bytes::Bytes::copy_from_slice(bytes.as_slice()));
        }
        Self { context: std::ptr::from_mut(target).cast(), take }
    }

    /// Hands bytes to the other side.
    pub fn put(&self, bytes: &[u8]) {
        (self.take)(self.context, Bytes::new(bytes));
    }
}

/// Receives rows as text. See `QuackRowSink`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RowSink {
    context: *mut c_void,
    take: extern "C" fn(*mut c_void, *const Bytes<'_>, usize),
}

impl RowSink {
    pub fn put(&self, values: &[Option<String>]) {
        let values: Vec<Bytes<'_>> = values
            .iter()
            .map(|value| value.as_ref().map_or(Bytes::null(), |text| Bytes::from(text.as_str())))
            .collect();
        (self.take)(self.context, values.as_ptr(), values.len());
    }
}

/// Receives the lanes that tables need. See `QuackPlacementSink`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PlacementSink {
    context: *mut c_void,
    take: extern "C" fn(*mut c_void, Bytes<'_>, u32),
}

impl PlacementSink {
    /// Collects what arrives; the vector must outlive the call that the sink is given to.
    pub fn into_vec(target: &mut Vec<Placement>) -> Self {
        extern "C" fn take(context: *mut c_void, name: Bytes<'_>, tables: u32) {
            // SAFETY: `context` is the vector that `into_vec` was given, and no other code uses it meanwhile.
            let target = unsafe { &mut *context.cast::<Vec<Placement>>() };
            target.push(Placement { group: name.text(), tables });
        }
        Self { context: std::ptr::from_mut(target).cast(), take }
    }
}

/// Asks whether the waiting statement has been interrupted. See `QuackInterrupt`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Interrupt {
    context: *mut c_void,
    interrupted: extern "C" fn(*mut c_void) -> bool,
}

impl Interrupt {
    pub fn interrupted(&self) -> bool {
        (self.interrupted)(self.context)
    }

    /// Tells the waiting statement something.
    pub fn tell(&self, what: extern "C" fn(*mut c_void)) {
        what(self.context);
    }
}

#[repr(C)]
pub struct ServeArguments<'a> {
    pub uri: Bytes<'a>,
    pub token: Bytes<'a>,
    pub token_file: Bytes<'a>,
    pub node_id: Bytes<'a>,
    pub data_dir: Bytes<'a>,
    pub catalog: Bytes<'a>,
    pub peers: *const Bytes<'a>,
    pub peers_count: usize,
    pub extensions: *const Bytes<'a>,
    pub extensions_count: usize,
    pub cert_file: Bytes<'a>,
    pub key_file: Bytes<'a>,
    pub client_ca_file: Bytes<'a>,
    pub allow_other_hostname: bool,
    pub consistency: Bytes<'a>,
    pub allow_host_access: bool,
    pub allow_origins: *const Bytes<'a>,
    pub allow_origins_count: usize,
    pub require_tls: bool,
    pub max_connections: u32,
    pub idle_connection_timeout_secs: u32,
    pub idle_transaction_timeout_secs: u32,
}

unsafe extern "C-unwind" {
    /// Throws what LOAD is refused with.
    pub fn quack_cpp_register(loader: *mut c_void);
}

unsafe extern "C" {
    pub fn quack_cpp_stop_at_exit();
    pub fn quack_cpp_copy_text(text: Bytes<'_>) -> *mut c_void;
    pub fn quack_cpp_free(pointer: *mut c_void);
    pub fn quack_cpp_host_abandoned(host: *mut c_void) -> bool;

    pub fn quack_cpp_store_open(
        host: *mut c_void,
        path: Bytes<'_>,
        catalog: Bytes<'_>,
        node: *const c_void,
        error: *mut Error,
    ) -> *mut c_void;
    pub fn quack_cpp_store_seal(store: *mut c_void, reason: Bytes<'_>);
    pub fn quack_cpp_store_close(store: *mut c_void) -> bool;
    pub fn quack_cpp_store_catalog(store: *mut c_void, name: Sink);
    pub fn quack_cpp_state_hasher_open(
        store: *mut c_void,
        position: *mut u64,
        error: *mut Error,
    ) -> *mut c_void;
    pub fn quack_cpp_state_hasher_run(hasher: *mut c_void, hash: Sink, error: *mut Error);
    pub fn quack_cpp_state_hasher_close(hasher: *mut c_void);
    pub fn quack_cpp_store_checkpoint(store: *mut c_void, error: *mut Error);
    pub fn quack_cpp_store_checkpoints(store: *mut c_void) -> u64;

    pub fn quack_cpp_applier_open(store: *mut c_void, error: *mut Error) -> *mut c_void;
    pub fn quack_cpp_applier_close(applier: *mut c_void);
    pub fn quack_cpp_applier_claim(applier: *mut c_void, owner: Bytes<'_>, foreign: bool, error: *mut Error);
    pub fn quack_cpp_applier_position(applier: *mut c_void, index: *mut u64, state: Sink, error: *mut Error);
    pub fn quack_cpp_applier_begin(applier: *mut c_void, error: *mut Error);
    pub fn quack_cpp_applier_commit(applier: *mut c_void, index: u64, state: Bytes<'_>, error: *mut Error);
    pub fn quack_cpp_applier_rollback(applier: *mut c_void);
    pub fn quack_cpp_applier_find(
        applier: *mut c_void,
        table: Table<'_>,
        chunk: Bytes<'_>,
        search: bool,
        error: *mut Error,
    ) -> bool;
    pub fn quack_cpp_applier_change_found(applier: *mut c_void, error: *mut Error);
    pub fn quack_cpp_applier_forget_found(applier: *mut c_void);
    pub fn quack_cpp_applier_has_key(applier: *mut c_void, table: Table<'_>, error: *mut Error) -> bool;
    pub fn quack_cpp_applier_change_places(
        applier: *mut c_void,
        table: Table<'_>,
        places: Places<'_>,
        chunk: Bytes<'_>,
        count: u32,
        error: *mut Error,
    );
    pub fn quack_cpp_applier_reached(applier: *mut c_void, revisions: Revisions);
    pub fn quack_cpp_applier_insert(
        applier: *mut c_void,
        table: Table<'_>,
        chunk: Bytes<'_>,
        error: *mut Error,
    );
    pub fn quack_cpp_applier_clear_way(applier: *mut c_void, error_kind: i32, error: *mut Error) -> i32;
    pub fn quack_cpp_applier_ddl(applier: *mut c_void, definition: Bytes<'_>, error: *mut Error);
    pub fn quack_cpp_applier_placements(applier: *mut c_void, sink: PlacementSink, error: *mut Error);
    pub fn quack_cpp_applier_number_tables(applier: *mut c_void, last: u64, error: *mut Error) -> u64;
    pub fn quack_cpp_applier_sequence(
        applier: *mut c_void,
        schema: Bytes<'_>,
        name: Bytes<'_>,
        state: *mut SequenceState,
        error: *mut Error,
    ) -> bool;
    pub fn quack_cpp_applier_move_sequence(
        applier: *mut c_void,
        schema: Bytes<'_>,
        name: Bytes<'_>,
        state: *const SequenceState,
        is_set: bool,
        error: *mut Error,
    );

    pub fn quack_cpp_session_open(
        store: *mut c_void,
        consistency: Bytes<'_>,
        allow_host_access: bool,
        error: *mut Error,
    ) -> *mut c_void;
    pub fn quack_cpp_session_close(session: *mut c_void);
    pub fn quack_cpp_session_interrupt(session: *mut c_void);
    pub fn quack_cpp_session_in_transaction(session: *mut c_void) -> bool;
    pub fn quack_cpp_session_query(
        session: *mut c_void,
        sql: Bytes<'_>,
        types: Sink,
        names: Sink,
        error: *mut Error,
    );
    pub fn quack_cpp_session_fetch(
        session: *mut c_void,
        chunks_max: usize,
        chunks: Sink,
        error: *mut Error,
    ) -> bool;
    pub fn quack_cpp_session_append(
        session: *mut c_void,
        schema: Bytes<'_>,
        table: Bytes<'_>,
        chunk: Bytes<'_>,
        error: *mut Error,
    );
}
