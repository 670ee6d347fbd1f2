//! A socket that gives up when nothing moves.
//!
//! What a read may wait for depends on what the connection is doing, which its HTTP side says
//! through [`Activity`]:
//! - between two requests, for the idle time; on a new connection, for the head time;
//! - from the first byte of a request to the end of its head, for the head time in all, so that
//!   a client that sends a byte now and then gains nothing;
//! - in the body of a request, for the stall time at each standstill;
//! - while a request runs, for as long as it takes: the read is there only to see the client go.
//!
//! A write waits for the stall time at each standstill.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Limits;

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for a request, or receives its head.
    Head = 0,
    /// Receives the body of a request.
    Body = 1,
    /// Runs a request. The client has nothing to send.
    Run = 2,
}

/// Tells the socket what the connection is doing: the phase in the lowest two bits, and above it
/// how many requests have begun.
#[derive(Debug, Clone, Default)]
pub(crate) struct Activity(Arc<AtomicU64>);

impl Activity {
    /// A request's head is complete.
    pub(crate) fn request_begins(&self) {
        self.0.fetch_add(4, Ordering::Relaxed);
    }

    /// Sets the phase. Only one task sets it, so that no update is lost.
    pub(crate) fn set(&self, phase: Phase) {
        let requests = self.0.load(Ordering::Relaxed) & !3;
        self.0.store(requests | phase as u64, Ordering::Relaxed);
    }

    fn get(&self) -> (Phase, u64) {
        let value = self.0.load(Ordering::Relaxed);
        let phase = match value & 3 {
            0 => Phase::Head,
            1 => Phase::Body,
            _ => Phase::Run,
        };
        (phase, value >> 2)
    }
}

/// A timer that runs only while something waits.
#[derive(Debug, Default)]
struct Clock {
    timer: Option<Pin<Box<Sleep>>>,
    waiting_since: Option<Instant>,
}

impl Clock {
    fn moved(&mut self) {
        self.waiting_since = None;
    }

    /// Fails when the deadline that `deadline` makes of the start of this standstill has passed.
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        deadline: impl FnOnce(Instant) -> Instant,
    ) -> Poll<io::Result<T>> {
        let deadline = deadline(*self.waiting_since.get_or_insert_with(Instant::now));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct TimedStream<S> {
    stream: S,
    activity: Activity,
    head_time: Duration,
    idle_time: Duration,
    stall_time: Duration,
    read: Clock,
    write: Clock,
    /// When the first byte of the head has come that is being received, and how many requests had
    /// begun by then.
    head: Option<(Instant, u64)>,
}

impl<S> TimedStream<S> {
    pub(crate) fn new(stream: S, activity: Activity, limits: &Limits) -> Self {
        Self {
            stream,
            activity,
            head_time: limits.head_time_max,
            idle_time: limits.idle_time_max,
            stall_time: limits.stall_time_max,
            read: Clock::default(),
            write: Clock::default(),
            head: None,
        }
    }

    fn poll_read_clock(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (phase, requests) = self.activity.get();
        let head = self.head.filter(|(_, begun)| phase == Phase::Head && *begun == requests);
        self.head = head;
        let time = match phase {
            Phase::Head if requests == 0 => self.head_time,
            Phase::Head => self.idle_time,
            Phase::Body => self.stall_time,
            Phase::Run => {
                self.read.moved();
                return Poll::Pending;
            }
        };
        let head_time = self.head_time;
        self.read.poll(context, |since| head.map_or(since + time, |(first, _)| first + head_time))
    }

    fn or_stalled<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.write.moved();
            return result;
        }
        let time = self.stall_time;
        self.write.poll(context, |since| since + time)
    }

    /// A long answer goes out while the connection counts as waiting for a request: its bytes are no
    /// idleness. (Flushing is: it happens whenever anything happens.)
    fn wrote(&mut self, result: &Poll<io::Result<usize>>) {
        if result.is_ready() {
            self.read.moved();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if result.is_pending() {
            return self.poll_read_clock(context);
        }
        self.read.moved();
        let (phase, requests) = self.activity.get();
        let begins = self.head.is_none_or(|(_, begun)| begun != requests);
        if phase == Phase::Head && begins && buffer.filled().len() > filled {
            self.head = Some((Instant::now(), requests));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&result);
        self.or_stalled(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        self.wrote(&result);
        self.or_stalled(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        self.or_stalled(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.or_stalled(context, result)
    }
}
