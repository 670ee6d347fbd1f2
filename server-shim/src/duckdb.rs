//! A DuckDB database in memory, through its C API.

use std::ffi::{CStr, CString};
use std::ptr;

use libduckdb_sys as sys;

/// An open database with one connection. Both end with it.
pub struct Database {
    database: sys::duckdb_database,
    connection: sys::duckdb_connection,
}

impl Database {
    /// Opens a database in memory that may load our own, unsigned extension.
    pub fn open() -> Result<Self, String> {
        let mut opened = Self { database: ptr::null_mut(), connection: ptr::null_mut() };
        let mut config = ptr::null_mut();
        let mut message = ptr::null_mut();
        // SAFETY: every pointer is ours; a failure leaves the handles null, which the C API accepts in Drop.
        unsafe {
            if sys::duckdb_create_config(&raw mut config) != sys::DuckDBSuccess {
                return Err("cannot make a DuckDB configuration".to_owned());
            }
            sys::duckdb_set_config(config, c"allow_unsigned_extensions".as_ptr(), c"true".as_ptr());
            let state = sys::duckdb_open_ext(ptr::null(), &raw mut opened.database, config, &raw mut message);
            sys::duckdb_destroy_config(&raw mut config);
            if state != sys::DuckDBSuccess {
                let text = text(message);
                sys::duckdb_free(message.cast());
                return Err(format!("cannot open DuckDB: {text}"));
            }
            if sys::duckdb_connect(opened.database, &raw mut opened.connection) != sys::DuckDBSuccess {
                return Err("cannot connect to DuckDB".to_owned());
            }
        }
        Ok(opened)
    }

    /// Runs a statement.
    pub fn execute(&self, sql: &str) -> Result<(), String> {
        self.first_row(sql).map(|_| ())
    }

    /// Runs a statement and returns the first row of its result as text.
    pub fn first_row(&self, sql: &str) -> Result<Vec<String>, String> {
        let sql = CString::new(sql).map_err(|_| "a statement holds a zero byte".to_owned())?;
        // SAFETY: an all-zero result is what the C API fills in; it is destroyed in every case.
        unsafe {
            let mut result: sys::duckdb_result = std::mem::zeroed();
            let state = sys::duckdb_query(self.connection, sql.as_ptr(), &raw mut result);
            let row = if state == sys::DuckDBSuccess {
                let columns = if sys::duckdb_row_count(&raw mut result) == 0 {
                    0
                } else {
                    sys::duckdb_column_count(&raw mut result)
                };
                let value = |column| {
                    let value = sys::duckdb_value_varchar(&raw mut result, column, 0);
                    let copy = text(value);
                    sys::duckdb_free(value.cast());
                    copy
                };
                Ok((0..columns).map(value).collect())
            } else {
                Err(text(sys::duckdb_result_error(&raw mut result)))
            };
            sys::duckdb_destroy_result(&raw mut result);
            row
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // SAFETY: ours, ended once; null handles are accepted.
        unsafe {
            sys::duckdb_disconnect(&raw mut self.connection);
            sys::duckdb_close(&raw mut self.database);
        }
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
