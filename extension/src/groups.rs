//! Groups of tables, as SQL sees them: the cluster's switch, the lanes that there are, and the road of a writer.

use std::ffi::c_void;

use quack_apply::writer::DEFAULT_GROUP;
use quack_cluster::Feature;
use quack_proto::log::v1::{Settings, entry::Body};
use quack_types::GroupId;

use crate::barrier;
use crate::ffi::{Bytes, Error, RowSink};
use crate::functions::host;
use crate::proposer::{LogProposer, SharedNode};
use crate::writer::{as_result, writer};

/// # Safety
/// The catalog that passes the node holds a reference.
unsafe fn node<'a>(node: *const c_void) -> &'a SharedNode {
    // SAFETY: as promised by the caller.
    unsafe { &*node.cast::<SharedNode>() }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_groups_enabled(handle: *const c_void) -> bool {
    barrier::call(std::ptr::null_mut(), || {
        // SAFETY: as `bridge.h` asks of C++.
        Ok(unsafe { node(handle) }.node().is_ok_and(|node| node.groups_enabled()))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_require_groups(handle: *const c_void, error: *mut Error) {
    // SAFETY: as `bridge.h` asks of C++.
    barrier::call(error, || unsafe { node(handle) }.require(&Feature::GROUPS));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_require_extension(
    handle: *const c_void,
    name: Bytes<'_>,
    error: *mut Error,
) {
    // SAFETY: as `bridge.h` asks of C++.
    barrier::call(error, || unsafe { node(handle) }.require_extension(&name.text()));
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_node_group_id(handle: *const c_void, name: Bytes<'_>) -> u64 {
    barrier::call(std::ptr::null_mut(), || {
        let name = name.text();
        if name == DEFAULT_GROUP {
            return Ok(GroupId::ROOT.0);
        }
        // SAFETY: as `bridge.h` asks of C++.
        let group = unsafe { node(handle) }.node().ok().and_then(|node| node.group_named(&name));
        Ok(group.map_or(0, |group| group.0))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_set_groups_enabled(
    rust_host: *mut c_void,
    catalog: Bytes<'_>,
    enabled: bool,
    error: *mut Error,
) {
    barrier::call(error, || {
        // SAFETY: as `bridge.h` asks of C++.
        let node = unsafe { host(rust_host) }.node_of(&catalog.text())?;
        node.require(&Feature::GROUPS)?;
        let settings = Body::Settings(Settings { groups_enabled: Some(enabled) });
        let outcome = LogProposer::new(node).run(settings)?;
        as_result(outcome).map(|_| ())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_group_status(
    rust_host: *mut c_void,
    catalog: Bytes<'_>,
    rows: RowSink,
    error: *mut Error,
) {
    barrier::call(error, || {
        // SAFETY: as `bridge.h` asks of C++.
        let host = unsafe { host(rust_host) };
        host.group_status(&catalog.text())?.iter().for_each(|row| rows.put(row));
        Ok(())
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn quack_rs_writer_weigh(handle: *mut c_void, group: Bytes<'_>, bytes: u64) {
    barrier::call(std::ptr::null_mut(), || {
        let group = group.text();
        let group = if group.is_empty() { DEFAULT_GROUP } else { &group };
        // SAFETY: as the header asks of C++.
        unsafe { writer(handle) }.weigh(group, bytes);
        Ok(())
    });
}
