//! Takes sockets and runs a task for each.
//!
//! What is spoken on a socket is the business of [`serve`]: one day it looks at the first byte to
//! tell TLS from HTTP, and the loop stays as it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::dispatch::Dispatcher;
use crate::http::Handler;
use crate::stream::{Activity, TimedStream};

/// How long to wait when the system has no sockets to give. Closing ones come back meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What all connections of a server share.
pub(crate) struct Connections {
    pub dispatcher: Arc<Dispatcher>,
    /// One permit for each connection that may be open.
    permits: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
    bodies_bytes: Arc<AtomicUsize>,
    /// Becomes true when the server stops.
    stopping: watch::Sender<bool>,
}

/// Counts a connection as long as it is open.
struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(dispatcher.limits().connections_max)),
            dispatcher,
            open: Arc::default(),
            bodies_bytes: Arc::default(),
            stopping: watch::Sender::new(false),
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// No new connection; those that are open finish the request that they are at.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until no connection is open. Only after [`stop`](Self::stop).
    pub(crate) async fn closed(&self) {
        let all = self.dispatcher.limits().connections_max.try_into().unwrap_or(u32::MAX);
        // Fails when the semaphore is closed, which nobody does.
        drop(self.permits.acquire_many(all).await);
    }

    /// The loop. Ends when the server stops; the listener closes with it.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut stopping = self.stopping.subscribe();
        loop {
            let next = async {
                // A place first: whoever has none waits in the system's queue.
                let permit = self.permits.clone().acquire_owned().await.map_err(io::Error::other)?;
                let (socket, _) = listener.accept().await?;
                io::Result::Ok((permit, socket))
            };
            tokio::select! {
                biased;
                () = stopped(&mut stopping) => return,
                next = next => match next {
                    Ok((permit, socket)) => self.spawn(permit, socket),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>, permit: OwnedSemaphorePermit, socket: TcpStream) {
        self.open.fetch_add(1, Ordering::Relaxed);
        let open = Open(self.open.clone());
        let connections = self.clone();
        tokio::spawn(async move {
            connections.serve(socket).await;
            drop((open, permit));
        });
    }

    /// Speaks HTTP/1.1 on a socket until one side closes it.
    async fn serve(&self, socket: TcpStream) {
        // Answers are written whole: waiting for more to send only delays them.
        let _ = socket.set_nodelay(true);
        let limits = self.dispatcher.limits();
        let activity = Activity::default();
        let stream = TimedStream::new(socket, activity.clone(), limits);
        let handler = Handler::new(self.dispatcher.clone(), activity, self.bodies_bytes.clone());
        let connection = http1::Builder::new()
            .max_buf_size(limits.head_bytes_max)
            .max_header_size(limits.head_bytes_max)
            // The stream below has its own clocks.
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service_fn(|request| handler.answer(request)));
        let mut connection = std::pin::pin!(connection);
        let mut stopping = self.stopping.subscribe();
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stopped(&mut stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "a connection has ended");
        }
    }
}

/// Waits until the server stops, or is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
