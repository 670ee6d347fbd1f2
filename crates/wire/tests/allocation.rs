//! Decoding allocates in proportion to the size of the input, not to the sizes that the input claims.

#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;

use bytes::Bytes;
use quack_wire::protocol_1::{Request, Response};
use quack_wire::{Header, MessageType, skim};

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// Adds up what each thread asks for.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|allocated| allocated.set(allocated.get() + layout.size()));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer is from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that decoding this message in every way asks for, at the most.
fn allocated(bytes: &Bytes) -> usize {
    let mut most = 0;
    let mut measure = |run: &dyn Fn()| {
        ALLOCATED.set(0);
        run();
        most = most.max(ALLOCATED.get());
    };
    measure(&|| drop(skim::check_chunk(bytes)));
    measure(&|| drop(Header::decode(bytes)));
    let body = Header::decode(bytes).map_or(bytes.clone(), |(_, body)| body);
    for message_type in (1..=16).chain([100]).map(MessageType) {
        measure(&|| drop(Request::decode(message_type, body.clone())));
        measure(&|| drop(Response::decode(message_type, body.clone())));
    }
    most
}

/// A short string in a list of many costs more in memory than in the message, by its own three words.
fn check(name: &str, bytes: &Bytes) {
    let (found, max) = (allocated(bytes), 32 * bytes.len() + 1024);
    assert!(found <= max, "{name}: {found} bytes for an input of {}", bytes.len());
}

#[test]
fn recorded_messages_are_decoded_within_their_size() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        check(&path.display().to_string(), &std::fs::read(&path).unwrap().into());
    }
}

#[test]
fn messages_that_claim_much_get_little() {
    let huge = b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f";
    let million = b"\xc0\x84\x3d";
    for claim in [&huge[..], &million[..], &b"\xff\xff\x03"[..]] {
        for start in [
            // Header: a session id of that length. Bodies: a text, types, names, chunks, a chunk's rows,
            // a chunk's types.
            &b"\x01\0\x03\x02\0"[..],
            b"\x01\0",
            b"\x02\0",
            b"\x04\0",
            b"d\0",
            b"d\0\0e\0",
            b"d\0\x01e\0\x01d\0\x19\xff\xfff\0\x01d\0\0f\0",
            b"d\0\x01e\0\x01d\0he\0\x01d\0\x06\xc8\0",
        ] {
            let bytes: Bytes = [start, claim, b"abc"].concat().into();
            check(&format!("{bytes:?}"), &bytes);
        }
    }
}
