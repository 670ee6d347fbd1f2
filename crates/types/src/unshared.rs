//! Descriptors that a forked child of this process must not keep open: while it lives, a port would stay taken, a folder
//! locked, and a peer's connection open, although the process that works with them has ended.

use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// More descriptors than these are shared with children.
const PLACES: usize = 4096;
const FREE: RawFd = -1;

// A child is forked at any moment: what it reads must need no lock.
static DESCRIPTORS: [AtomicI32; PLACES] = [const { AtomicI32::new(FREE) }; PLACES];

/// Keeps a descriptor in the list. To be dropped before the descriptor is closed, or right behind: a child that is forked in
/// between loses what has its number next.
#[derive(Debug)]
pub struct Unshared(Option<&'static AtomicI32>);

impl Unshared {
    #[must_use]
    pub fn new(descriptor: &impl AsRawFd) -> Self {
        let descriptor = descriptor.as_raw_fd();
        let take = |place: &&AtomicI32| {
            place.compare_exchange(FREE, descriptor, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        Self(DESCRIPTORS.iter().find(take))
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            place.store(FREE, Ordering::Release);
        }
    }
}

/// All of them. Takes no lock and no memory, as a child must not before it calls `exec`.
pub fn descriptors() -> impl Iterator<Item = RawFd> {
    DESCRIPTORS.iter().map(|place| place.load(Ordering::Acquire)).filter(|descriptor| *descriptor != FREE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_listed_until_it_is_dropped() {
        let file = tempfile();
        let listed = || descriptors().filter(|descriptor| *descriptor == file.as_raw_fd()).count();
        let (one, other) = (Unshared::new(&file), Unshared::new(&file));
        assert_eq!(listed(), 2);
        drop(one);
        assert_eq!(listed(), 1);
        drop(other);
        assert_eq!(listed(), 0);
    }

    fn tempfile() -> std::fs::File {
        std::fs::File::open("/dev/null").unwrap()
    }
}
