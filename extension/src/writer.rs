//! The transactions that C++ writes for the log, and the node as C++ holds it.

use std::ffi::c_void;
use std::sync::Arc;

use quack_apply::store::ErrorKind;
use quack_apply::writer::Change;
use quack_apply::{StoreError, Writer};
use quack_cluster::Feature;
use quack_proto::log::v1::{self as proto, Applied, Outcome, Rows, SequenceUsage, outcome::Kind};

use crate::barrier;
use crate::ffi::{Bytes, Error, Interrupt, Places, SequenceState, Table};
use crate::proposer::{LogProposer, SharedNode};

/// One reference to the node, for a catalog to keep until DuckDB has closed its file.
pub fn share_node(node: &Arc<SharedNode>) -> *const c_void {
    Arc::into_raw(node.clone()).cast()
}

/// A further reference to a node.
///
/// # Safety
/// `node` came from [`share_node`] and has not been released.
pub(crate) unsafe fn borrow_node(node: *const c_void) -> Arc<SharedNode> {
    // SAFETY: as promised by the caller.
    unsafe {
        Arc::increment_strong_count(node.cast::<SharedNode>());
        Arc::from_raw(node.cast::<SharedNode>())
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_release(node: *const c_void) {
    barrier::call(std::ptr::null_mut(), || {
        // SAFETY: made by `share_node`, released once.
        drop(unsafe { Arc::from_raw(node.cast::<SharedNode>()) });
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_serves(node: *const c_void) -> bool {
    // SAFETY: the catalog that passes it holds a reference.
    unsafe { &*node.cast::<SharedNode>() }.serves()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_has_failed(node: *const c_void) -> bool {
    // SAFETY: the catalog that passes it holds a reference.
    unsafe { &*node.cast::<SharedNode>() }.has_failed()
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_require_room(node: *const c_void, error: *mut Error) {
    barrier::call(error, || {
        // SAFETY: the catalog that passes it holds a reference.
        unsafe { &*node.cast::<SharedNode>() }.require_room()
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_begin_checkpoint(node: *const c_void, count: u64, error: *mut Error) {
    barrier::call(error, || {
        // SAFETY: the catalog that passes it holds a reference.
        unsafe { &*node.cast::<SharedNode>() }.begin_checkpoint(count)
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_end_checkpoint(node: *const c_void, count: u64) {
    barrier::call(std::ptr::null_mut(), || {
        // SAFETY: the catalog that passes it holds a reference.
        unsafe { &*node.cast::<SharedNode>() }.end_checkpoint(count);
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_admit(
    node: *const c_void,
    linearizable: bool,
    interrupt: Interrupt,
    error: *mut Error,
) {
    barrier::call(error, || {
        // SAFETY: the catalog that passes it holds a reference.
        let node = unsafe { &*node.cast::<SharedNode>() };
        node.require_service()?;
        if linearizable { node.linearize(interrupt) } else { Ok(()) }
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_fail(node: *const c_void, reason: Bytes<'_>) {
    barrier::call(std::ptr::null_mut(), || {
        // SAFETY: the catalog that passes it holds a reference.
        unsafe { &*node.cast::<SharedNode>() }.fail(&reason.text());
        Ok(())
    });
}

type DuckDbWriter = Writer<LogProposer>;

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_writer_open(node: *const c_void, error: *mut Error) -> *mut c_void {
    // A pointer has no default: it crosses the barrier as a number.
    let address = barrier::call(error, || {
        // SAFETY: the catalog that passes it holds a reference.
        let node = unsafe { borrow_node(node) };
        Ok(Box::into_raw(Box::new(DuckDbWriter::new(LogProposer::new(node)))) as usize)
    });
    address as *mut c_void
}

/// # Safety
/// `writer` came from `quack_rs_writer_open` and has not been ended; one call at a time.
pub(crate) unsafe fn writer<'a>(writer: *mut c_void) -> &'a mut DuckDbWriter {
    // SAFETY: as promised by the caller.
    unsafe { &mut *writer.cast::<DuckDbWriter>() }
}

fn rows(table: Table<'_>, chunk: Bytes<'_>, count: u32) -> Rows {
    Rows {
        schema: table.schema.text(),
        table: table.name.text(),
        shape: table.shape,
        table_number: table.number,
        count,
        chunk: bytes::Bytes::copy_from_slice(chunk.as_slice()),
        places: None,
    }
}

macro_rules! take_rows {
    ($name:ident, $change:expr) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            handle: *mut c_void,
            table: Table<'_>,
            chunk: Bytes<'_>,
            count: u32,
            error: *mut Error,
        ) {
            // SAFETY: as the header asks of C++.
            barrier::call(error, || unsafe { writer(handle) }.rows($change, rows(table, chunk, count)));
        }
    };
}

take_rows!(quack_rs_writer_deleted, Change::Deleted);
take_rows!(quack_rs_writer_inserted, Change::Inserted);
take_rows!(quack_rs_writer_updated, Change::Updated);

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_writer_places(
    handle: *mut c_void,
    table: Table<'_>,
    places: Places<'_>,
    chunk: Bytes<'_>,
    count: u32,
    error: *mut Error,
) {
    barrier::call(error, || {
        let columns = places.columns();
        let change = if columns.is_empty() { Change::Deleted } else { Change::Updated };
        let runs = bytes::Bytes::copy_from_slice(places.runs.as_slice());
        let Places { revision, check, in_place, .. } = places;
        let places = proto::Places { revision, runs, columns, check, in_place };
        let rows = Rows { places: Some(places), ..rows(table, chunk, count) };
        // SAFETY: as the header asks of C++.
        unsafe { writer(handle) }.rows(change, rows)
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_writer_begin_statement(handle: *mut c_void) {
    // SAFETY: as the header asks of C++.
    unsafe { writer(handle) }.begin_statement();
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_writer_ddl(
    handle: *mut c_void,
    text: Bytes<'_>,
    definition: Bytes<'_>,
    error: *mut Error,
) {
    barrier::call(error, || {
        // SAFETY: as the header asks of C++.
        let writer = unsafe { writer(handle) };
        writer.proposer_mut().require(&Feature::SCHEMA)?;
        writer.ddl(text.text(), definition.as_slice().to_vec().into())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_writer_sequence(
    handle: *mut c_void,
    schema: Bytes<'_>,
    name: Bytes<'_>,
    state: *const SequenceState,
    error: *mut Error,
) {
    barrier::call(error, || {
        // SAFETY: valid for the call.
        let state = unsafe { *state };
        let usage = SequenceUsage {
            schema: schema.text(),
            name: name.text(),
            usage_count: state.usage_count,
            counter: state.counter,
            last_value: state.has_last_value.then_some(state.last_value),
        };
        // SAFETY: as the header asks of C++.
        unsafe { writer(handle) }.sequence(usage);
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_writer_commit(
    handle: *mut c_void,
    interrupt: Interrupt,
    handed_over: extern "C" fn(*mut c_void),
    error: *mut Error,
) {
    barrier::call(error, || {
        // SAFETY: this ends the writer, once.
        let mut writer = unsafe { Box::from_raw(handle.cast::<DuckDbWriter>()) };
        writer.proposer_mut().watch(interrupt);
        as_result(writer.commit(|| interrupt.tell(handed_over))?).map(|_| ())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_writer_abort(handle: *mut c_void) {
    barrier::call(std::ptr::null_mut(), || {
        // SAFETY: this ends the writer, once.
        unsafe { Box::from_raw(handle.cast::<DuckDbWriter>()) }.abort();
        Ok(())
    });
}

const REMOVED: &str = "nothing was written: the cluster has removed this node and takes no entries from it. CALL \
                       quack_add_node on another node, and start this one again: it takes a copy of what the others have";

/// A refusal as the DuckDB error that it is.
pub(crate) fn as_result(outcome: Outcome) -> Result<Applied, StoreError> {
    match outcome.kind {
        Some(Kind::Applied(applied)) => Ok(applied),
        Some(Kind::Refused(refused)) => {
            let kind = i32::try_from(refused.error_kind).map_or(ErrorKind::INTERNAL, ErrorKind);
            if kind == ErrorKind::INTERNAL {
                // As it is, it would end the client's own DuckDB.
                let message = format!("nothing was written: DuckDB fails an assertion: {}", refused.message);
                return Err(StoreError::new(ErrorKind::INVALID_INPUT, message));
            }
            Err(StoreError::new(kind, refused.message))
        }
        // The applier has given the entry no effect: the cluster has ended the life in which this node proposed it.
        None => Err(StoreError::new(ErrorKind::INVALID_INPUT, REMOVED)),
    }
}
