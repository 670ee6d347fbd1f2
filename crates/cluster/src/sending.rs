//! The one snapshot that a node sends at a time: to whom, out of which file, and until when.
//!
//! Its place is taken before the checkpoint is made, so that two receivers that ask together do not both get it. This
//! module reads no clock: each caller passes the time.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quack_node::CheckpointHold;
use quack_proto::peer::v1::{Piece, PieceRequest};
use quack_types::NodeId;

/// A piece is small enough that messages pass it by, and large enough that asking costs nothing.
pub(crate) const PIECE_BYTES: u32 = 1 << 20;
/// A receiver that is silent for so long has gone.
const IDLE: Duration = Duration::from_secs(30);
/// A receiver that is slower than this keeps the place from all others, for days.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// What keeps checkpoints away until it is dropped, or is over.
pub(crate) trait Hold {
    /// Whether checkpoints are made again: a copy is none any more.
    fn is_over(&self) -> bool;
}

impl Hold for CheckpointHold {
    fn is_over(&self) -> bool {
        CheckpointHold::is_over(self)
    }
}

/// What a receiver hears whose snapshot is not there any more.
const OVER: &str = "that snapshot is over: begin another one";

/// The snapshot that is being sent; there is one at a time. `H` keeps checkpoints away until it is dropped.
#[derive(Debug)]
pub(crate) struct Snapshots<H = CheckpointHold>(Mutex<Slot<H>>);

#[derive(Debug)]
struct Slot<H> {
    /// Counts the snapshots of this process.
    begun: u64,
    /// Nothing is sent any more.
    closed: bool,
    sending: Option<Sending<H>>,
}

#[derive(Debug)]
struct Sending<H> {
    to: NodeId,
    number: u64,
    /// `None` while the checkpoint is being made.
    source: Option<Source<H>>,
}

/// What is sent, and as what.
#[derive(Debug)]
pub(crate) struct Source<H> {
    pub(crate) id: u64,
    pub(crate) file: Arc<File>,
    pub(crate) length: u64,
    pub(crate) began: Instant,
    /// When a piece was asked for last.
    pub(crate) used: Instant,
    pub(crate) hold: H,
}

/// A place that was taken for a snapshot; given back unless the snapshot is there.
pub(crate) struct Reserved<'a, H: Hold> {
    snapshots: &'a Snapshots<H>,
    pub(crate) number: u64,
}

impl<H: Hold> Drop for Reserved<'_, H> {
    fn drop(&mut self) {
        let mut slot = self.snapshots.lock();
        if slot.sending.as_ref().is_some_and(|other| other.number == self.number && other.source.is_none()) {
            slot.sending = None;
        }
    }
}

/// Of a piece.
pub(crate) fn checksum(id: u64, number: u64, data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&id.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.update(data);
    hasher.finalize()
}

impl<H> Default for Snapshots<H> {
    fn default() -> Self {
        Self(Mutex::new(Slot { begun: 0, closed: false, sending: None }))
    }
}

impl<H> Source<H> {
    /// Whether the receiver takes too long, all in all.
    fn is_slow(&self, now: Instant) -> bool {
        let time = Duration::from_secs(self.length / BYTES_PER_SECOND_MIN);
        now.saturating_duration_since(self.began) > 2 * IDLE + time
    }
}

impl<H: Hold> Snapshots<H> {
    fn lock(&self) -> MutexGuard<'_, Slot<H>> {
        // Every change of it is one assignment.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the only place, for a snapshot to this node. One that it has begun before is over.
    pub(crate) fn reserve(&self, to: &NodeId, now: Instant) -> Result<Reserved<'_, H>, String> {
        self.expire(now);
        let mut slot = self.lock();
        if slot.closed {
            return Err("it is stopping".to_owned());
        }
        if let Some(other) = slot.sending.as_ref().filter(|sending| sending.to != *to) {
            return Err(format!("it sends a snapshot to node '{}': ask again later", other.to));
        }
        slot.begun += 1;
        let number = slot.begun;
        let former = slot.sending.replace(Sending { to: to.clone(), number, source: None });
        drop(slot);
        // Like every other one: it may hold the last reference to a node, whose end takes its time.
        drop(former);
        Ok(Reserved { snapshots: self, number })
    }

    /// The piece that a receiver asks for.
    pub(crate) fn piece(&self, to: &NodeId, request: &PieceRequest, now: Instant) -> Result<Piece, String> {
        let (file, length) = {
            let mut slot = self.lock();
            let sending = slot.sending.as_mut().filter(|sending| sending.to == *to);
            let source = sending
                .and_then(|sending| sending.source.as_mut())
                .filter(|source| source.id == request.id)
                .ok_or(OVER)?;
            source.used = now;
            (Arc::clone(&source.file), source.length)
        };
        let offset = request.number.saturating_mul(u64::from(PIECE_BYTES));
        let bytes = length.saturating_sub(offset).min(u64::from(PIECE_BYTES));
        if bytes == 0 {
            return Err(format!("the snapshot has no piece {}", request.number));
        }
        let mut data = vec![0; bytes as usize];
        file.read_exact_at(&mut data, offset)
            .map_err(|error| format!("the store cannot be read: {error}"))?;
        // Behind the reading: a checkpoint may have come in between.
        let is_there = |sending: &Sending<H>| {
            sending.source.as_ref().is_some_and(|source| source.id == request.id && !source.hold.is_over())
        };
        if !self.lock().sending.as_ref().is_some_and(is_there) {
            return Err(OVER.to_owned());
        }
        let crc32 = checksum(request.id, request.number, &data);
        Ok(Piece { data: data.into(), crc32 })
    }

    /// The receiver has all of it. Returns when it began, if it is the snapshot that is being sent.
    pub(crate) fn end(&self, to: &NodeId, request: &PieceRequest) -> Option<Instant> {
        let ended = self.let_go(|sending, source| sending.to == *to && source.id == request.id)?;
        ended.source.map(|source| source.began)
    }

    /// Lets go of a snapshot whose receiver fetches nothing more, or not fast enough.
    pub(crate) fn expire(&self, now: Instant) {
        if let Some(gone) = self.let_go(|_, source| now.saturating_duration_since(source.used) > IDLE) {
            tracing::info!(to = %gone.to, "the receiver of the snapshot fetches nothing more of it");
        }
        if let Some(slow) = self.let_go(|_, source| source.is_slow(now) || source.hold.is_over()) {
            tracing::warn!(to = %slow.to, "the snapshot is given up: it is fetched too slowly");
        }
    }

    /// Returns what it lets go of, so that it ends outside of the lock.
    fn let_go(&self, of: impl FnOnce(&Sending<H>, &Source<H>) -> bool) -> Option<Sending<H>> {
        let mut slot = self.lock();
        let goes =
            slot.sending.as_ref().is_some_and(|it| it.source.as_ref().is_some_and(|source| of(it, source)));
        if goes { slot.sending.take() } else { None }
    }

    /// Lets go of everything, for ever.
    pub(crate) fn close(&self) {
        let mut slot = self.lock();
        slot.closed = true;
        let gone = slot.sending.take();
        drop(slot);
        drop(gone);
    }
}

impl<H: Hold> Reserved<'_, H> {
    /// The snapshot is there.
    pub(crate) fn publish(&self, source: Source<H>) -> Result<(), String> {
        let mut slot = self.snapshots.lock();
        match slot.sending.as_mut().filter(|sending| sending.number == self.number) {
            Some(sending) => sending.source = Some(source),
            None => return Err("that snapshot has been begun again meanwhile".to_owned()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    impl Hold for Arc<AtomicBool> {
        fn is_over(&self) -> bool {
            self.load(Ordering::Relaxed)
        }
    }

    /// What a snapshot is sent out of: a file with these bytes, and a hold that can be counted.
    fn source(id: u64, bytes: &[u8], used: Instant, hold: &Arc<AtomicBool>) -> Source<Arc<AtomicBool>> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        let (file, length) = (Arc::new(file), bytes.len() as u64);
        Source { id, file, length, began: used, used, hold: Arc::clone(hold) }
    }

    fn is_held(hold: &Arc<AtomicBool>) -> bool {
        Arc::strong_count(hold) > 1
    }

    #[test]
    fn the_place_is_taken_while_the_checkpoint_is_made_and_given_back_when_it_fails() {
        let (snapshots, now) = (Snapshots::<Arc<AtomicBool>>::default(), Instant::now());
        let reserved = snapshots.reserve(&id("n1"), now).unwrap();
        let Err(error) = snapshots.reserve(&id("n2"), now) else { panic!("two places") };
        assert!(error.contains("it sends a snapshot to node 'n1'"), "{error}");
        // A checkpoint may take longer than a receiver may be silent.
        snapshots.expire(now + 10 * IDLE);
        assert!(snapshots.reserve(&id("n2"), now).is_err());
        drop(reserved);
        assert!(snapshots.reserve(&id("n2"), now).is_ok());
    }

    #[test]
    fn one_that_is_begun_again_takes_the_place_of_the_former_one() {
        let (snapshots, now, hold) = (Snapshots::default(), Instant::now(), Arc::new(AtomicBool::new(false)));
        let first = snapshots.reserve(&id("n1"), now).unwrap();
        let second = snapshots.reserve(&id("n1"), now).unwrap();
        assert_ne!(first.number, second.number);
        assert!(first.publish(source(1, b"old", now, &hold)).is_err());
        drop(first);
        assert!(!is_held(&hold), "what came too late holds nothing");
        second.publish(source(2, b"new", now, &hold)).unwrap();
        drop(second);
        assert!(is_held(&hold));
        let piece = |id: u64| snapshots.piece(&self::id("n1"), &PieceRequest { id, number: 0 }, now);
        assert!(piece(1).is_err());
        let new = piece(2).unwrap();
        assert_eq!((&new.data[..], new.crc32), (&b"new"[..], checksum(2, 0, b"new")));
        // Again, after some of it has been sent.
        let _third = snapshots.reserve(&id("n1"), now).unwrap();
        assert!(!is_held(&hold) && piece(2).is_err());
    }

    #[test]
    fn a_receiver_that_falls_silent_loses_its_place_and_one_that_asks_keeps_it() {
        let (snapshots, start, hold) =
            (Snapshots::default(), Instant::now(), Arc::new(AtomicBool::new(false)));
        let begun = snapshots.reserve(&id("n1"), start).unwrap();
        begun.publish(source(1, b"bytes", start, &hold)).unwrap();
        drop(begun);
        let request = PieceRequest { id: 1, number: 0 };
        let later = start + IDLE;
        snapshots.expire(later);
        assert!(snapshots.piece(&id("n1"), &request, later).is_ok());
        // No other node keeps the snapshot from expiring, and no other node ends it.
        assert!(snapshots.piece(&id("n2"), &request, later + IDLE).is_err());
        assert_eq!(snapshots.end(&id("n2"), &request), None);
        snapshots.expire(later + IDLE);
        assert!(is_held(&hold));
        // A receiver that wants the place does not have to wait for a call of `expire`.
        assert!(snapshots.reserve(&id("n2"), later + IDLE).is_err());
        assert!(snapshots.reserve(&id("n2"), later + IDLE + Duration::from_millis(1)).is_ok());
        assert!(!is_held(&hold));
        assert!(snapshots.piece(&id("n1"), &request, later + IDLE).is_err());
    }

    #[test]
    fn a_receiver_that_asks_slowly_for_ever_loses_its_place_and_so_does_one_whose_hold_is_over() {
        let (snapshots, start, hold) =
            (Snapshots::default(), Instant::now(), Arc::new(AtomicBool::new(false)));
        let begin = |bytes: &[u8], id| {
            let begun = snapshots.reserve(&self::id("n1"), start).unwrap();
            begun.publish(source(id, bytes, start, &hold)).unwrap();
        };
        begin(&vec![0; 2 << 20], 1);
        let request = PieceRequest { id: 1, number: 0 };
        let seconds = (1..1000).take_while(|seconds| {
            let now = start + Duration::from_secs(*seconds);
            snapshots.expire(now);
            snapshots.piece(&id("n1"), &request, now).is_ok()
        });
        assert_eq!(seconds.count(), 60 + 32, "as long as 2 MiB may take");
        assert!(!is_held(&hold));

        begin(b"bytes", 2);
        hold.store(true, Ordering::Relaxed);
        assert_eq!(snapshots.piece(&id("n1"), &PieceRequest { id: 2, number: 0 }, start).unwrap_err(), OVER);
        snapshots.expire(start);
        assert!(!is_held(&hold));
    }

    #[test]
    fn nothing_is_held_after_the_end_and_nothing_after_the_close() {
        let (snapshots, now, hold) = (Snapshots::default(), Instant::now(), Arc::new(AtomicBool::new(false)));
        let begun = snapshots.reserve(&id("n1"), now).unwrap();
        begun.publish(source(1, b"bytes", now, &hold)).unwrap();
        drop(begun);
        assert!(snapshots.piece(&id("n1"), &PieceRequest { id: 1, number: 1 }, now).is_err());
        assert!(snapshots.piece(&id("n1"), &PieceRequest { id: 1, number: u64::MAX }, now).is_err());
        assert_eq!(snapshots.end(&id("n1"), &PieceRequest { id: 1, number: 0 }), Some(now));
        assert!(!is_held(&hold));
        let late = snapshots.reserve(&id("n1"), now).unwrap();
        snapshots.close();
        assert!(late.publish(source(2, b"bytes", now, &hold)).is_err());
        assert!(!is_held(&hold), "a node that stops is held by no snapshot");
        assert!(snapshots.reserve(&id("n1"), now).is_err());
    }
}
