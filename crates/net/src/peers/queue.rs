//! Frames that wait for one peer, bounded in bytes and count.
//!
//! Filled from plain threads, which never wait; emptied by the task that writes.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::session::lock;

/// What is taken at a time: written together, and small enough to be let go of soon.
const BATCH_BYTES: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Notify,
    bytes_max: usize,
    frames_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, frames_max: usize) -> Self {
        Self { waiting: Mutex::default(), filled: Notify::new(), bytes_max, frames_max }
    }

    /// Adds a frame; false when there is no room for it.
    pub(super) fn push(&self, frame: Bytes) -> bool {
        let mut waiting = lock(&self.waiting);
        let bytes = waiting.bytes + frame.len();
        if bytes > self.bytes_max || waiting.frames.len() >= self.frames_max {
            return false;
        }
        waiting.bytes = bytes;
        waiting.frames.push_back(frame);
        let first = waiting.frames.len() == 1;
        drop(waiting);
        // The task that empties the queue takes all frames before it waits again: only the first one has to wake it.
        if first {
            self.filled.notify_one();
        }
        true
    }

    /// Waits for frames and takes some: one at least, and more as long as they are small.
    pub(super) async fn take(&self) -> Vec<Bytes> {
        loop {
            let taken = self.take_now();
            if !taken.is_empty() {
                return taken;
            }
            self.filled.notified().await;
        }
    }

    fn take_now(&self) -> Vec<Bytes> {
        let mut waiting = lock(&self.waiting);
        let (mut count, mut bytes) = (0, 0);
        for frame in &waiting.frames {
            if count > 0 && bytes + frame.len() > BATCH_BYTES {
                break;
            }
            count += 1;
            bytes += frame.len();
        }
        waiting.bytes -= bytes;
        waiting.frames.drain(..count).collect()
    }

    /// Drops what waits. Returns how many frames that were.
    pub(super) fn clear(&self) -> usize {
        std::mem::take(&mut *lock(&self.waiting)).frames.len()
    }

    pub(super) fn bytes(&self) -> usize {
        lock(&self.waiting).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Bytes {
        vec![1; bytes].into()
    }

    #[test]
    fn a_full_queue_takes_no_more_in_bytes_or_in_count() {
        let queue = Queue::new(10, 3);
        assert!(queue.push(frame(6)));
        assert!(!queue.push(frame(5)));
        assert!(queue.push(frame(4)) && queue.push(frame(0)));
        assert!(!queue.push(frame(0)));
        assert_eq!((queue.bytes(), queue.clear(), queue.bytes()), (10, 3, 0));
        assert!(queue.push(frame(10)));
    }

    #[test]
    fn small_frames_are_taken_together_and_in_order() {
        let queue = Queue::new(10 << 20, 100);
        for size in [1, 2, BATCH_BYTES, 3, 4, BATCH_BYTES - 7, 1] {
            assert!(queue.push(frame(size)));
        }
        let mut sizes = Vec::new();
        loop {
            let taken: Vec<_> = queue.take_now().iter().map(Bytes::len).collect();
            if taken.is_empty() {
                break;
            }
            sizes.push(taken);
        }
        assert_eq!(sizes, [vec![1, 2], vec![BATCH_BYTES], vec![3, 4, BATCH_BYTES - 7], vec![1]]);
        assert_eq!(queue.bytes(), 0);
    }
}
