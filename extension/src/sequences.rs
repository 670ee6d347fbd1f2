//! Values of sequences, for the statements of this process.
//!
//! Each reservation is a log entry of its own, and the applier draws the values when it applies the entry: the log
//! orders the reservations that several nodes propose at the same time, so that no node has to try again. A statement
//! that is rolled back returns no values, as in DuckDB. A lost answer leaves a gap.

use std::ffi::c_void;
use std::sync::Arc;

use quack_apply::StoreError;
use quack_apply::sequence;
use quack_apply::stock::Meant;
use quack_apply::store::ErrorKind;
use quack_cluster::Feature;
use quack_proto::log::v1::{
    Applied, SequenceDraw, SequenceRun, SequenceSet, Step, Transaction, entry::Body, step::Kind,
};

use crate::barrier;
use crate::ffi::{Bytes, Error, Interrupt, Sequence};
use crate::proposer::{LogProposer, SharedNode};
use crate::writer::{as_result, borrow_node};

/// Proposes one step, and waits until it is applied here.
fn run(node: &Arc<SharedNode>, interrupt: Interrupt, kind: Kind) -> Result<Applied, StoreError> {
    node.require(&Feature::SEQUENCES)?;
    let mut proposer = LogProposer::new(node.clone());
    proposer.watch(interrupt);
    let body = Body::Transaction(Transaction { parts: 0, steps: vec![Step { kind: Some(kind) }] });
    let outcome = proposer.run(body);
    // Whether it was applied is not known then, and makes no difference to the statement.
    let interrupted = |error| if interrupt.interrupted() { was_interrupted() } else { error };
    as_result(outcome.map_err(interrupted)?)
}

fn was_interrupted() -> StoreError {
    StoreError::new(ErrorKind::INTERRUPT, "Interrupted!")
}

fn reserve(
    node: &Arc<SharedNode>,
    interrupt: Interrupt,
    meant: &Meant,
    count: u64,
) -> Result<SequenceRun, StoreError> {
    let draw = SequenceDraw { schema: meant.schema.clone(), name: meant.name.clone(), count };
    // An answer without values belongs to a repeated entry: its values were drawn before, and no statement got them.
    run(node, interrupt, Kind::Draw(draw))?.drawn.ok_or_else(|| {
        let message =
            "the values that were drawn from a sequence are not known any more: run the statement again";
        StoreError::new(ErrorKind::TRANSACTION, message)
    })
}

fn fill(
    node: &Arc<SharedNode>,
    interrupt: Interrupt,
    meant: &Meant,
    range: u64,
    values: &mut [i64],
) -> Result<(), StoreError> {
    let mut filled = node.stock().take(meant, values);
    while filled < values.len() {
        let missing = (values.len() - filled) as u64;
        let mut rest = reserve(node, interrupt, meant, missing.max(range))?;
        while filled < values.len() {
            let Some(value) = sequence::take(&mut rest) else { break };
            values[filled] = value;
            filled += 1;
        }
        if range > 1 {
            node.stock().put(meant, values[filled - 1], rest);
        }
    }
    Ok(())
}

fn meant(sequence: &Sequence<'_>) -> Meant {
    let (schema, name) = (sequence.schema.text(), sequence.name.text());
    Meant { schema, name, entry: sequence.entry, sets: sequence.sets }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_sequence_draw(
    node: *const c_void,
    sequence: Sequence<'_>,
    range: u64,
    interrupt: Interrupt,
    values: *mut i64,
    count: usize,
    error: *mut Error,
) {
    barrier::call(error, || {
        // SAFETY: the catalog that passes it holds a reference.
        let node = unsafe { borrow_node(node) };
        // SAFETY: C++ gives room for so many.
        let values = unsafe { std::slice::from_raw_parts_mut(values, count) };
        fill(&node, interrupt, &meant(&sequence), range, values)
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_sequence_last(
    node: *const c_void,
    sequence: Sequence<'_>,
    range: u64,
    value: *mut i64,
) -> bool {
    barrier::call(std::ptr::null_mut(), || {
        // SAFETY: the catalog that passes it holds a reference.
        let node = unsafe { borrow_node(node) };
        let last = node.stock().last(&meant(&sequence), range > 1);
        if let Some(last) = last {
            // SAFETY: C++ gives room for one.
            unsafe { *value = last };
        }
        Ok(last.is_some())
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_sequence_set(
    node: *const c_void,
    schema: Bytes<'_>,
    name: Bytes<'_>,
    value: i64,
    is_called: bool,
    interrupt: Interrupt,
    error: *mut Error,
) {
    barrier::call(error, || {
        // SAFETY: the catalog that passes it holds a reference.
        let node = unsafe { borrow_node(node) };
        let set = SequenceSet { schema: schema.text(), name: name.text(), value, is_called };
        run(&node, interrupt, Kind::Set(set)).map(|_| ())
    });
}
