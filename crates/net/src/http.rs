//! HTTP/1.1: which path does what, how bodies are read, how errors look.
//!
//! Works on any stream of bytes, so that TLS can be put underneath. The paths, the status codes
//! and the headers are those of the stock server 1.5.5.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use crate::body::Segments;
use crate::dispatch::{self, Dispatcher};
use crate::h2_io::PEER_PATH;
use crate::session::lock;
use crate::strangers::Stranger;
use crate::stream::{Activity, Phase};

/// The path that takes messages.
const PATH: &str = "/quack";
/// What a browser sees.
const GREETING: &str = "This is a DuckDB Quack RPC endpoint. Use ATTACH 'quack:...' to connect here.\n";
/// What a peer sees that comes the wrong way.
const NOT_FOR_PEERS: &str = "the nodes of a cluster speak HTTP/2 over TLS with certificates of the cluster; this connection is a client's\n";
/// Carries the reason of a refusal, in the JSON of DuckDB's exceptions.
const REASON: HeaderName = HeaderName::from_static("exception_what");
/// A message may grow so long before it must have named a session. A CONNECTION_REQUEST with the
/// longest token fits.
const START_BYTES_MAX: usize = 256 << 10;
/// A body that is too large is received and thrown away up to this many times the limit, since
/// clients send all before they read the refusal.
const OVERSIZE_FACTOR: u64 = 4;

/// Where a client is, and whether it speaks plain HTTP.
#[derive(Debug)]
pub(crate) struct Caller {
    from: IpAddr,
    plain: bool,
    /// Until it has shown the token, or a session.
    stranger: Mutex<Option<Stranger>>,
}

impl Caller {
    pub(crate) fn plain(from: SocketAddr, stranger: Stranger) -> Self {
        Self { from: from.ip().to_canonical(), plain: true, stranger: Mutex::new(Some(stranger)) }
    }

    pub(crate) fn over_tls(from: SocketAddr, stranger: Stranger) -> Self {
        Self { from: from.ip().to_canonical(), plain: false, stranger: Mutex::new(Some(stranger)) }
    }

    /// Where it is.
    pub(crate) fn from(&self) -> IpAddr {
        self.from
    }

    /// The client has shown the token, or a session that only those know who have shown it.
    pub(crate) fn is_known(&self) {
        drop(lock(&self.stranger).take());
    }
}

/// Answers the requests of one connection.
pub(crate) struct Handler {
    dispatcher: Arc<Dispatcher>,
    activity: Activity,
    /// Bytes of bodies that are held at this moment, of all connections.
    bodies_bytes: Arc<AtomicUsize>,
    caller: Caller,
    /// The answer to everything, if this connection may not be.
    refusal: Option<&'static str>,
}

/// Why a body was not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unreceived {
    /// The client went away, or sent no valid HTTP.
    Broken,
    TooLarge,
    TooSlow,
    /// All clients together hold too much.
    Busy,
    /// Long before it has named a session.
    Unknown,
}

impl Unreceived {
    fn of(error: &hyper::Error) -> Self {
        let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
        match cause {
            Some(cause) if cause.kind() == io::ErrorKind::TimedOut => Unreceived::TooSlow,
            _ => Unreceived::Broken,
        }
    }
}

/// Accounts for a body as long as it is held.
struct BodyBytes {
    total: Arc<AtomicUsize>,
    held: usize,
}

impl BodyBytes {
    fn grow(&mut self, bytes: usize, max: usize) -> bool {
        let before = self.total.fetch_add(bytes, Ordering::Relaxed);
        self.held += bytes;
        before + bytes <= max
    }
}

impl Drop for BodyBytes {
    fn drop(&mut self) {
        self.total.fetch_sub(self.held, Ordering::Relaxed);
    }
}

impl Handler {
    pub(crate) fn new(
        dispatcher: Arc<Dispatcher>,
        activity: Activity,
        bodies_bytes: Arc<AtomicUsize>,
        caller: Caller,
        refusal: Option<&'static str>,
    ) -> Self {
        Self { dispatcher, activity, bodies_bytes, caller, refusal }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Segments>, Infallible> {
        self.activity.request_begins();
        let browsers = self.dispatcher.browsers();
        let on_loopback = self.caller.plain && self.caller.from.is_loopback();
        if let Err(text) = browsers.check(&request, on_loopback) {
            tracing::warn!(from = %self.caller.from, "a web page, or a client that names another host, is refused");
            return Ok(forbidden(text));
        }
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut response = match (request.method(), request.uri().path()) {
            (_, path) if path.starts_with(PEER_PATH) => forbidden(NOT_FOR_PEERS),
            (&Method::POST, PATH) if self.refusal.is_some() => self.refused(request.into_body()).await,
            _ if self.refusal.is_some() => forbidden(self.refusal.unwrap_or_default()),
            (&Method::POST, PATH) => self.message(request.into_body()).await,
            (&Method::OPTIONS, PATH) => preflight(),
            (&Method::GET | &Method::HEAD, "/") => greeting(),
            _ => status(StatusCode::NOT_FOUND),
        };
        browsers.permit(origin.as_ref(), response.headers_mut());
        self.activity.set(Phase::Head);
        Ok(response)
    }

    async fn message(&self, body: Incoming) -> Response<Segments> {
        self.activity.set(Phase::Body);
        let mut held = BodyBytes { total: self.bodies_bytes.clone(), held: 0 };
        let limit = self.dispatcher.limits().body_time_max;
        let received = tokio::time::timeout(limit, self.receive(body, &mut held)).await;
        let message = match received.unwrap_or(Err(Unreceived::TooSlow)) {
            Ok(message) => message,
            Err(reason) => return self.unreceived(reason),
        };
        self.activity.set(Phase::Run);
        match self.dispatcher.answer(&self.caller, message).await {
            Ok(segments) => answer(segments),
            Err(error) => {
                tracing::debug!(%error, "a client has sent something that is not a message");
                refusal(StatusCode::INTERNAL_SERVER_ERROR, error.exception_type(), &error.to_string())
            }
        }
    }

    /// Tells a client why it is not served, in the protocol: the stock client shows no more of an HTTP error than its
    /// status. A body of ordinary size is received, so that the client is there to read the answer.
    async fn refused(&self, body: Incoming) -> Response<Segments> {
        self.activity.set(Phase::Body);
        let mut held = BodyBytes { total: self.bodies_bytes.clone(), held: 0 };
        let limit = self.dispatcher.limits().body_time_max;
        let _ = tokio::time::timeout(limit, self.receive(body, &mut held)).await;
        let text = self.refusal.unwrap_or_default();
        tracing::warn!(text, "a client is refused");
        closing(answer(dispatch::refusal(text)))
    }

    async fn receive(&self, body: Incoming, held: &mut BodyBytes) -> Result<Bytes, Unreceived> {
        let limits = self.dispatcher.limits();
        let mut body = std::pin::pin!(body);
        let announced = body.size_hint().lower();
        if announced > limits.body_bytes_max as u64 * OVERSIZE_FACTOR {
            return Err(Unreceived::TooLarge);
        }
        let mut message = BytesMut::new();
        let mut known = false;
        let mut received = 0_u64;
        while let Some(frame) = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await {
            let Ok(data) = frame.map_err(|error| Unreceived::of(&error))?.into_data() else { continue };
            received += data.len() as u64;
            let is_oversized = announced.max(received) > limits.body_bytes_max as u64;
            if is_oversized && known {
                // Thrown away from here on.
                message = BytesMut::new();
                if received > limits.body_bytes_max as u64 * OVERSIZE_FACTOR {
                    return Err(Unreceived::TooLarge);
                }
                continue;
            }
            if !held.grow(data.len(), limits.bodies_bytes_max) {
                return Err(Unreceived::Busy);
            }
            message.extend_from_slice(&data);
            if !known && message.len() > START_BYTES_MAX {
                known = self.dispatcher.may_be_long(&Bytes::copy_from_slice(&message[..1024]));
                if !known {
                    return Err(Unreceived::Unknown);
                }
                if !is_oversized {
                    // Known to be worth it: no more growing step by step.
                    message.reserve((announced as usize).saturating_sub(message.len()));
                }
            }
        }
        if received > limits.body_bytes_max as u64 {
            return Err(Unreceived::TooLarge);
        }
        Ok(message.freeze())
    }

    fn unreceived(&self, reason: Unreceived) -> Response<Segments> {
        let refuse = |status, text: &str| refusal(status, "Connection", text);
        let response = match reason {
            Unreceived::Broken => refuse(StatusCode::BAD_REQUEST, "the request body is broken off"),
            Unreceived::TooSlow => refuse(StatusCode::REQUEST_TIMEOUT, "the message took too long"),
            Unreceived::Unknown => {
                let text = "a large message that belongs to no connection";
                refuse(StatusCode::PAYLOAD_TOO_LARGE, text)
            }
            // What an honest client can run into is told as an error of its statement: the stock client
            // shows no more of an HTTP error than its status.
            Unreceived::TooLarge => answer(dispatch::refusal(&format!(
                "the message is larger than the {} bytes that are accepted here: send fewer rows, or a \
                 shorter text, at a time",
                self.dispatcher.limits().body_bytes_max
            ))),
            Unreceived::Busy => answer(dispatch::refusal(
                "the server holds too many large messages at this moment: try again",
            )),
        };
        tracing::warn!(?reason, "a message was not received");
        // What is left of the body is not going to be read.
        closing(response)
    }
}

/// A message of the protocol.
fn answer(segments: Vec<Bytes>) -> Response<Segments> {
    let mut response = Response::new(Segments::from(segments));
    let kind = HeaderValue::from_static("application/vnd.duckdb");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// A refusal of something that no client of ours asks for.
fn forbidden(text: &'static str) -> Response<Segments> {
    let mut response = Response::new(Segments::from(text));
    *response.status_mut() = StatusCode::FORBIDDEN;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    closing(response)
}

fn closing(mut response: Response<Segments>) -> Response<Segments> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn status(status: StatusCode) -> Response<Segments> {
    let mut response = Response::new(Segments::default());
    *response.status_mut() = status;
    response
}

fn greeting() -> Response<Segments> {
    let mut response = Response::new(Segments::from(GREETING));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// What a browser asks before it sends messages of a page. Whether that may be is said by [`Browsers`](crate::browser).
fn preflight() -> Response<Segments> {
    let mut response = status(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, POST, OPTIONS");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    response
}

/// A refusal with an empty body and its reason in a header, as the stock server has it.
fn refusal(code: StatusCode, exception_type: &str, message: &str) -> Response<Segments> {
    let json = format!(
        "{{\"exception_type\":{},\"exception_message\":{}}}",
        json_string(exception_type),
        json_string(message)
    );
    let mut response = status(code);
    if let Ok(value) = HeaderValue::from_str(&json) {
        response.headers_mut().insert(REASON, value);
    }
    response
}

/// A JSON string of ASCII alone, since it stands in a header.
fn json_string(text: &str) -> String {
    let mut json = String::from('"');
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte @ (b'"' | b'\\')) => json.extend(['\\', char::from(byte)]),
            Ok(byte @ 0x20..0x7f) => json.push(char::from(byte)),
            _ => json.push_str(&format!("\\u{unit:04x}")),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_json_that_fits_into_a_header() {
        assert_eq!(json_string("a \"b\" \\ \n ü 🦆"), r#""a \"b\" \\ \u000a \u00fc \ud83e\udd86""#);
        let response = refusal(StatusCode::BAD_REQUEST, "X", "line\r\nEvil: header");
        assert_eq!(
            response.headers()[&REASON],
            r#"{"exception_type":"X","exception_message":"line\u000d\u000aEvil: header"}"#
        );
    }
}
