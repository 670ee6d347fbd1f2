//! The loadable extension: DuckDB on one side, the node on the other.
//!
//! Everything here sees DuckDB through `ffi`; nothing here is worth a unit test, because what is lives in the crates
//! below. C++ is in `extension/cpp`; `extension/cpp/include/bridge.h` lists every symbol that crosses the border.

mod barrier;
mod cluster_host;
mod ffi;
mod functions;
mod groups;
mod host;
mod logging;
mod machine;
mod proposer;
mod sequences;
mod serve;
mod service;
mod status;
mod store;
mod store_file;
mod verifications;
mod writer;

use std::ffi::c_void;

// Linked for DuckDB itself: the C++ side calls its classes.
use libduckdb_sys as _;

/// DuckDB calls this to load the extension; `loader` is its `ExtensionLoader`.
///
/// # Safety
/// Called by DuckDB with a loader that is valid for the duration of the call.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn quack_duckdb_cpp_init(loader: *mut c_void) {
    host::stop_at_exit();
    // An exception of DuckDB passes through this frame on its way to the host, as in any extension.
    // SAFETY: `loader` is handed on as it came.
    unsafe { ffi::quack_cpp_register(loader) };
}
