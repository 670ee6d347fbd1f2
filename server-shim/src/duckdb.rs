//! A DuckDB database in memory, through its C API. The only unsafe code of the package.

use std::ffi::{CStr, CString};
use std::ptr;
use std::sync::Arc;

use libduckdb_sys as sys;

/// Sets a variable of the environment, in which the extension finds it when it is loaded. Only before the process has a
/// second thread.
pub fn tell_extension(variable: &str, value: &str) -> Result<(), String> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return Err(format!("cannot set {variable}: the process has {threads} threads, and may have one"));
    }
    // SAFETY: no other thread can be reading the environment: this is the only one.
    unsafe { std::env::set_var(variable, value) };
    Ok(())
}

unsafe extern "C" {
    /// See `open_libraries.cpp`.
    fn quackd_open_libraries() -> i32;
}

/// A row of texts; `None` is NULL.
pub type Row = Vec<Option<String>>;

/// An open database. It closes when its last connection ends.
struct Database(sys::duckdb_database);

// SAFETY: DuckDB's databases are made for use from any thread.
unsafe impl Send for Database {}
unsafe impl Sync for Database {}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: ours, ended once; a null handle is accepted.
        unsafe { sys::duckdb_close(&raw mut self.0) };
    }
}

/// A connection to a database in memory.
pub struct Connection {
    connection: sys::duckdb_connection,
    database: Arc<Database>,
}

// SAFETY: DuckDB's connections may move between threads. This one is not `Sync`: one thread at a time uses it.
unsafe impl Send for Connection {}

impl Connection {
    /// Opens a database in memory that may load our own, unsigned extension, and connects to it.
    pub fn open() -> Result<Self, String> {
        let mut database = Database(ptr::null_mut());
        let mut config = ptr::null_mut();
        let mut message = ptr::null_mut();
        // SAFETY: it may be called at any time, and again.
        if unsafe { quackd_open_libraries() } != 0 {
            return Err("this DuckDB does not let its program load extensions".to_owned());
        }
        // SAFETY: every pointer is ours; a failure leaves the handle null, which the C API accepts in Drop.
        unsafe {
            if sys::duckdb_create_config(&raw mut config) != sys::DuckDBSuccess {
                return Err("cannot make a DuckDB configuration".to_owned());
            }
            sys::duckdb_set_config(config, c"allow_unsigned_extensions".as_ptr(), c"true".as_ptr());
            let state = sys::duckdb_open_ext(ptr::null(), &raw mut database.0, config, &raw mut message);
            sys::duckdb_destroy_config(&raw mut config);
            if state != sys::DuckDBSuccess {
                let text = text(message);
                sys::duckdb_free(message.cast());
                return Err(format!("cannot open DuckDB: {text}"));
            }
        }
        Self::connect(Arc::new(database))
    }

    /// Another connection to the same database.
    pub fn another(&self) -> Result<Self, String> {
        Self::connect(self.database.clone())
    }

    fn connect(database: Arc<Database>) -> Result<Self, String> {
        let mut connection = ptr::null_mut();
        // SAFETY: the database is open.
        if unsafe { sys::duckdb_connect(database.0, &raw mut connection) } != sys::DuckDBSuccess {
            return Err("cannot connect to DuckDB".to_owned());
        }
        Ok(Self { connection, database })
    }

    /// Runs a statement.
    pub fn execute(&self, sql: &str) -> Result<(), String> {
        self.query(sql).map(|_| ())
    }

    /// Runs a statement and returns its rows as texts. Nested types must have been cast to VARCHAR.
    pub fn query(&self, sql: &str) -> Result<Vec<Row>, String> {
        let sql = CString::new(sql).map_err(|_| "a statement holds a zero byte".to_owned())?;
        // SAFETY: an all-zero result is what the C API fills in; it is destroyed in every case.
        unsafe {
            let mut result: sys::duckdb_result = std::mem::zeroed();
            let state = sys::duckdb_query(self.connection, sql.as_ptr(), &raw mut result);
            let rows = if state == sys::DuckDBSuccess {
                let columns = sys::duckdb_column_count(&raw mut result);
                let rows = sys::duckdb_row_count(&raw mut result);
                Ok((0..rows)
                    .map(|row| (0..columns).map(|column| value(&raw mut result, column, row)).collect())
                    .collect())
            } else {
                Err(text(sys::duckdb_result_error(&raw mut result)))
            };
            sys::duckdb_destroy_result(&raw mut result);
            rows
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: ours, ended once, before the database that it holds.
        unsafe { sys::duckdb_disconnect(&raw mut self.connection) };
    }
}

/// # Safety
/// `result` is a result that has this column and this row.
unsafe fn value(result: *mut sys::duckdb_result, column: sys::idx_t, row: sys::idx_t) -> Option<String> {
    // SAFETY: as promised by the caller; the text is ours to free.
    unsafe {
        if sys::duckdb_value_is_null(result, column, row) {
            return None;
        }
        let value = sys::duckdb_value_varchar(result, column, row);
        let copy = text(value);
        sys::duckdb_free(value.cast());
        Some(copy)
    }
}

/// # Safety
/// `pointer` is null or a text that ends with a zero byte.
unsafe fn text(pointer: *const std::ffi::c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
