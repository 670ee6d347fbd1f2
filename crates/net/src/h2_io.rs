//! HTTP/2 as both sides of the peer face use it: settings, bodies in and out, signs of life.
//!
//! Source: RFC 9113. Flow control is the only back-pressure: a body is sent as far as the receiver has given credit,
//! and credit is given back as bytes are taken from the body.

use std::future::poll_fn;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{Ping, PingPong, RecvStream, SendStream};
use tokio::time::{Instant, sleep, timeout};

use crate::PeerLimits;

/// Where messages go, in the peer protocol's version 1.
pub(crate) const MESSAGES_PATH: &str = "/quack/peer/1/messages";
/// Where calls go; the method follows.
pub(crate) const CALL_PATH: &str = "/quack/peer/1/call/";
/// What all paths of the peer protocol begin with.
pub(crate) const PEER_PATH: &str = "/quack/peer/";
/// How long the caller is going to wait, in milliseconds.
pub(crate) const DEADLINE_HEADER: &str = "quack-deadline-ms";

/// Credit of one stream in bytes: what may be under way. Enough for 40 MB/s over half the globe (100 ms).
pub(crate) const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Most streams of a connection at a time: one for messages, the others for calls.
pub(crate) const STREAMS_MAX: u32 = 32;
/// Credit of a connection: that of all its streams, so that one that is not read holds up no other.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * (STREAMS_MAX + 1);
/// Largest piece of a body. Larger ones than HTTP/2's 16 KiB save work; small enough for calls to get in between.
pub(crate) const PIECE_BYTES: u32 = 256 << 10;
/// Largest head of a request or an answer.
pub(crate) const HEAD_BYTES_MAX: u32 = 16 << 10;
/// What may lie in a stream's buffer beyond what the socket takes.
pub(crate) const SEND_BUFFER_BYTES: usize = 1 << 20;
/// Longest text of a refusal.
pub(crate) const TEXT_BYTES_MAX: usize = 16 << 10;

/// Why a body was not received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreceived {
    #[error("it has more than {0} bytes")]
    TooLong(usize),
    #[error(transparent)]
    Broken(#[from] h2::Error),
}

/// Sends bytes as the receiver gives credit for them. Without the end of the body, unless `end` is true.
pub(crate) async fn send_all(
    stream: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    end: bool,
) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let mut credit = stream.capacity();
        if credit == 0 {
            let granted = poll_fn(|context| stream.poll_capacity(context)).await;
            credit = granted.ok_or(h2::Error::from(h2::Reason::STREAM_CLOSED))??;
        }
        let piece = bytes.split_to(credit.min(bytes.len()));
        let last = end && bytes.is_empty();
        stream.send_data(piece, last)?;
        if last {
            return Ok(());
        }
    }
    if end { stream.send_data(Bytes::new(), true) } else { Ok(()) }
}

/// Receives a whole body of at most so many bytes.
pub(crate) async fn receive_all(body: &mut RecvStream, bytes_max: usize) -> Result<Bytes, Unreceived> {
    let mut received = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        if received.len() + data.len() > bytes_max {
            return Err(Unreceived::TooLong(bytes_max));
        }
        body.flow_control().release_capacity(data.len())?;
        if received.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        received.extend_from_slice(&data);
    }
    Ok(received.freeze())
}

/// Receives a text that is for people, cut where it is too long.
pub(crate) async fn receive_text(body: &mut RecvStream) -> String {
    let mut text = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        let room = TEXT_BYTES_MAX - text.len();
        text.extend_from_slice(&data[..data.len().min(room)]);
        if text.len() == TEXT_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Asks the other side for signs of life; returns why the connection counts as broken.
pub(crate) async fn keep_alive(
    ping: Option<PingPong>,
    limits: &PeerLimits,
    measured: impl Fn(Duration),
) -> String {
    // There is one at the first request for it, which this is.
    let Some(mut ping) = ping else { return std::future::pending().await };
    loop {
        let start = Instant::now();
        match timeout(limits.ping_time_max, ping.ping(Ping::opaque())).await {
            Ok(Ok(_)) => measured(start.elapsed()),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return format!("no sign of life for {} ms", limits.ping_time_max.as_millis()),
        }
        sleep(limits.ping_interval).await;
    }
}
