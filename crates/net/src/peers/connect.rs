//! A connection to a peer: socket, TLS with exactly that peer, HTTP/2; each step with a deadline.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use quack_types::NodeId;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::h2_io;
use crate::tls::{ALPN_PEER, chain_of};
use crate::{Endpoint, PeerLimits, Tls};

/// A connection that must be driven, and the way to make requests on it.
pub(super) struct Connected {
    pub requests: SendRequest<Bytes>,
    pub connection: Connection<TlsStream<TcpStream>, Bytes>,
    /// What the peer has proved itself with.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Connects. The error is for people: what was tried, and what it met.
pub(super) async fn connect(
    tls: &Tls,
    node: &NodeId,
    endpoint: &Endpoint,
    limits: &PeerLimits,
) -> Result<Connected, String> {
    let time = limits.connect_time_max;
    let socket = step(time, "no connection", socket(endpoint)).await.map_err(|text| at(endpoint, &text))?;
    let stream = step(time, "no TLS", tls.connect(socket, node)).await.map_err(|text| at(endpoint, &text))?;
    if stream.get_ref().1.alpn_protocol() != Some(ALPN_PEER) {
        return Err(at(endpoint, "the server there does not speak the peer protocol (no HTTP/2)"));
    }
    let chain = chain_of(stream.get_ref().1.peer_certificates());
    let mut builder = Builder::new();
    builder
        .initial_window_size(h2_io::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(h2_io::CONNECTION_WINDOW_BYTES)
        .max_frame_size(h2_io::PIECE_BYTES)
        .max_header_list_size(h2_io::HEAD_BYTES_MAX)
        .max_send_buffer_size(h2_io::SEND_BUFFER_BYTES)
        .enable_push(false);
    let handshake = async { builder.handshake(stream).await.map_err(io::Error::other) };
    let (requests, connection) =
        step(time, "no HTTP/2", handshake).await.map_err(|text| at(endpoint, &text))?;
    Ok(Connected { requests, connection, chain })
}

fn at(endpoint: &Endpoint, text: &str) -> String {
    format!("{endpoint}: {text}")
}

async fn step<T>(time: Duration, name: &str, step: impl Future<Output = io::Result<T>>) -> Result<T, String> {
    match timeout(time, step).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(format!("{name}: {error}")),
        Err(_) => Err(format!("{name}: not within {} ms", time.as_millis())),
    }
}

/// The first address of the host that takes a connection.
async fn socket(endpoint: &Endpoint) -> io::Result<TcpStream> {
    let mut refused = None;
    for address in tokio::net::lookup_host((endpoint.host(), endpoint.port())).await? {
        match TcpStream::connect(address).await {
            Ok(socket) => {
                // A message is written whole: waiting for more only delays it.
                socket.set_nodelay(true)?;
                return Ok(socket);
            }
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| io::Error::other("the name has no address")))
}
