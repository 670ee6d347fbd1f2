//! The table functions, as C++ calls them.

use std::ffi::c_void;

use crate::barrier;
use crate::ffi::{Bytes, Error, Interrupt, RowSink, ServeArguments, Sink};
use crate::host::Host;
use crate::serve::Arguments;

/// # Safety
/// `host` came from `quack_rs_host_open` and has not been closed.
pub(crate) unsafe fn host<'a>(host: *mut c_void) -> &'a Host {
    // SAFETY: as promised by the caller.
    unsafe { &*host.cast::<Host>() }
}

// SAFETY of the calls below: as `bridge.h` asks of C++.

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_serve(
    rust_host: *mut c_void,
    arguments: *const ServeArguments<'_>,
    rows: RowSink,
    error: *mut Error,
) {
    barrier::call(error, || {
        let (host, arguments) = unsafe { (host(rust_host), Arguments::from_ffi(&*arguments)) };
        rows.put(&host.serve(&arguments)?);
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_stop(rust_host: *mut c_void, uri: Bytes<'_>, rows: RowSink, error: *mut Error) {
    barrier::call(error, || {
        let status = unsafe { host(rust_host) }.stop(&uri.text())?;
        rows.put(&[Some(status)]);
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_server_list(rust_host: *mut c_void, rows: RowSink, error: *mut Error) {
    barrier::call(error, || {
        unsafe { host(rust_host) }.server_list().iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_active_connections(rust_host: *mut c_void, rows: RowSink, error: *mut Error) {
    barrier::call(error, || {
        unsafe { host(rust_host) }.active_connections().iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_close_connection(
    rust_host: *mut c_void,
    uri: Bytes<'_>,
    number: u64,
    rows: RowSink,
    error: *mut Error,
) {
    barrier::call(error, || {
        let status = unsafe { host(rust_host) }.close_connection(&uri.text(), number)?;
        rows.put(&[Some(status)]);
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_raft_status(rust_host: *mut c_void, rows: RowSink, error: *mut Error) {
    barrier::call(error, || {
        unsafe { host(rust_host) }.raft_status().iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_metrics(rust_host: *mut c_void, rows: RowSink, error: *mut Error) {
    barrier::call(error, || {
        unsafe { host(rust_host) }.metrics().iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_outcomes(rust_host: *mut c_void, rows: RowSink, error: *mut Error) {
    barrier::call(error, || {
        unsafe { host(rust_host) }.outcomes().iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_state_hash(rust_host: *mut c_void, rows: RowSink, error: *mut Error) {
    barrier::call(error, || {
        unsafe { host(rust_host) }.state_hash()?.iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_attach_local(
    rust_host: *mut c_void,
    uri: Bytes<'_>,
    token: Bytes<'_>,
    interrupt: Interrupt,
    catalog: Sink,
    error: *mut Error,
) {
    barrier::call(error, || {
        let host = unsafe { host(rust_host) };
        if let Some(name) = host.catalog_at(&uri.text(), &token.text(), &interrupt)? {
            catalog.put(name.as_bytes());
        }
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_nodes(
    rust_host: *mut c_void,
    catalog: Bytes<'_>,
    rows: RowSink,
    error: *mut Error,
) {
    barrier::call(error, || {
        unsafe { host(rust_host) }.nodes(&catalog.text())?.iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_contract_status(rust_host: *mut c_void, rows: RowSink, error: *mut Error) {
    barrier::call(error, || {
        unsafe { host(rust_host) }.contract_status().iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_verify(
    rust_host: *mut c_void,
    catalog: Bytes<'_>,
    rows: RowSink,
    error: *mut Error,
) {
    barrier::call(error, || {
        unsafe { host(rust_host) }.verify(&catalog.text())?.iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_backup(
    rust_host: *mut c_void,
    catalog: Bytes<'_>,
    folder: Bytes<'_>,
    rows: RowSink,
    error: *mut Error,
) {
    barrier::call(error, || {
        rows.put(&unsafe { host(rust_host) }.backup(&catalog.text(), &folder.text())?);
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_change_members(
    rust_host: *mut c_void,
    catalog: Bytes<'_>,
    what: Bytes<'_>,
    argument: Bytes<'_>,
    rows: RowSink,
    error: *mut Error,
) {
    barrier::call(error, || {
        let host = unsafe { host(rust_host) };
        let status = host.change_members(&catalog.text(), &what.text(), &argument.text())?;
        rows.put(&[Some(status)]);
        Ok(())
    });
}
