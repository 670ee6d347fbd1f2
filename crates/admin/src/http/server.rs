//! `GET /health`, `/ready`, `/metrics` and `/status`, on a port of their own.
//!
//! The server answers from the [`Board`]: it never waits for the database. Connections are bounded in number, and each
//! in size and time; every request has a connection of its own, so that a silent client holds nothing for long.
//! The server requires no token: by default it listens at the loopback address; it changes nothing and shows no secret.
//! It refuses web pages, as the port of the node does.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use quack_net::Browsers;
use tokio::sync::{Semaphore, oneshot};

use crate::Error;
use crate::status::{self, Board, Probe};

/// Most connections at a time; further ones are closed at once. Probes and a few scrapers need a handful.
const CONNECTIONS_MAX: usize = 64;
/// Longest time of a connection, from its first byte to the end of the answer.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);
/// Largest request head; the HTTP library does not work with less.
const HEAD_BYTES_MAX: usize = 8192;
/// How long to wait when no connection can be accepted, such as when file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What there is to ask for.
const PAGES: &str = "GET /health, /ready, /metrics or /status\n";

/// The admin face. It ends when it is dropped.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AdminServer {
    /// Listens at a host and a port (0 takes a free one) and answers with what is on the board.
    pub fn start(host: &str, port: u16, board: Arc<Board>) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address: format!("{host}:{port}"), source };
        let addresses: Vec<_> = (host, port).to_socket_addrs().map_err(failed)?.collect();
        let listener = TcpListener::bind(addresses.as_slice()).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let face = Arc::new(Face { board, browsers: Browsers::new(&[], &[host.to_owned()]) });
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, face) => {}
                }
            });
        };
        let thread = quack_types::thread::builder("quack-admin").spawn(run).map_err(failed)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The send fails only when the thread has already ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the admin face has panicked");
        }
    }
}

/// What all connections share.
struct Face {
    board: Arc<Board>,
    browsers: Browsers,
}

async fn accept(listener: TcpListener, face: Arc<Face>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "no health and no metrics: the socket cannot be used"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection for health or metrics was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        let face = face.clone();
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request: Request<Incoming>| {
                let response = answer(&request, &face, from.ip().to_canonical().is_loopback());
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(HEAD_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            // An error means only that the client went away, or never sent a request.
            let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
        });
    }
}

fn answer(request: &Request<Incoming>, face: &Face, from_loopback: bool) -> Response<Full<Bytes>> {
    if let Err(text) = face.browsers.check(request, from_loopback) {
        return page(StatusCode::FORBIDDEN, "text/plain; charset=utf-8", text.to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", PAGES.to_owned());
        refused.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let view = face.board.view(Instant::now());
    match request.uri().path() {
        "/health" => probe(&status::health(&view)),
        "/ready" => probe(&status::ready(&view)),
        "/metrics" => {
            page(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", status::metrics(&view))
        }
        "/status" => {
            let code = if view.stale { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
            page(code, "application/json", status::status_json(&view).to_string() + "\n")
        }
        _ => page(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", PAGES.to_owned()),
    }
}

fn probe(probe: &Probe) -> Response<Full<Bytes>> {
    let code = if probe.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    page(code, "text/plain; charset=utf-8", format!("{}\n", probe.reason))
}

fn page(code: StatusCode, content_type: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}
