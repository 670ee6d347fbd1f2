//! Silent connections beside peers and honest clients, and nodes that must not stay, on real sockets.

#![allow(clippy::unwrap_used)]

mod cluster;
mod common;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use cluster::*;
use common::Client;
use http::StatusCode;
use quack_net::{Limits, Tls};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

/// More than all places of a server.
const SILENT: usize = 1_100;
const WAIT: Duration = Duration::from_secs(5);
/// What an answer may take beside them: it takes some milliseconds, and machines that run tests are busy.
const USUAL: Duration = Duration::from_secs(1);

/// Connections from one address, another one than that of everything else here, that send `first` and then nothing.
async fn silent(server: SocketAddr, first: &[u8]) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..SILENT {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 77], 0).into()).unwrap();
        let mut socket = socket.connect(server).await.unwrap();
        // The server may have closed it already.
        let _ = socket.write_all(first).await;
        sockets.push(socket);
    }
    sockets
}

#[test]
fn silent_connections_delay_neither_peers_nor_clients() {
    let (_, nodes) = cluster(&["a", "b"]);
    let b = &nodes[1];
    let runtime = Runtime::new().unwrap();
    // Nothing, the beginning of TLS, the beginning of HTTP.
    for first in [&b""[..], b"\x16\x03\x01\x02\0\x01\0\x01", b"POST /quack HTTP/1.1\r\n"] {
        let sockets = runtime.block_on(silent(b.server.local_address(), first));
        let begun = Instant::now();
        // Over a connection of its own, with a handshake.
        let answer = nodes[0].peers().call_at(&id("b"), b.server.endpoint(), "who", Bytes::new(), WAIT);
        assert_eq!(answer.unwrap(), "a");
        let peer = begun.elapsed();
        Client::new(b.server.local_address()).open();
        let client = begun.elapsed() - peer;
        println!("beside {SILENT} connections: a peer {peer:?}, a client {client:?}");
        assert!(peer < USUAL && client < USUAL, "{peer:?} {client:?}");
        assert!(b.server.open_sockets() < 300, "{}", b.server.open_sockets());
        drop(sockets);
    }
    assert!(b.server.strangers_closed() > SILENT as u64);
    assert!(nodes[0].connected(), "standing connections stay");
}

#[test]
fn connections_of_known_clients_do_not_have_to_go() {
    let b = Node::start_with(&Ca::new(), "b", |config| config.limits = Limits::default());
    let address = b.server.local_address();
    let mut client = Client::new(address);
    let session = client.open();
    let mut other = Client::new(address);
    other.sql(&session, "SELECT 1").response();
    // From the same address as those.
    let strangers: Vec<_> = (0..200).map(|_| Client::new(address)).collect();
    thread::sleep(Duration::from_millis(100));
    client.sql(&session, "SELECT 1").response();
    other.sql(&session, "SELECT 1").response();
    drop(strangers);
}

#[test]
fn a_connection_ends_when_its_certificate_expires() {
    let ca = Ca::new();
    let until = SystemTime::now() + Duration::from_secs(4);
    let short = tempfile::tempdir().unwrap();
    let wish = Wish { until: Some(until), ..Wish::node("a") };
    let tls = Tls::load(ca.files(short.path(), &wish), &id("a")).unwrap();
    let nodes = [Node::start_with(&ca, "a", |config| config.tls = Some(tls)), Node::start(&ca, "b")];
    introduce(&nodes);
    assert_eq!(nodes[0].peers().call(&id("b"), "who", Bytes::new(), WAIT).unwrap(), "a");
    wait_until("the connection to a ends", || nodes[1].last_error("a").contains("expired"));
    wait_until("the connection from a ends", || !nodes[0].connected());
    assert!(SystemTime::now() >= until);
}

#[test]
fn a_node_that_speaks_tls_1_2_is_refused() {
    let ca = Ca::new();
    let b = Node::start(&ca, "b");
    let (certificate, key) = ca.issue(&Wish::node("a"));
    let config = client_config_of(&[&rustls::version::TLS12], Some((&certificate, &key)), &["h2"]);
    let raw = RawPeer::connect_with(b.server.local_address(), config);
    let (status, text) = raw.request(to_messages(), &[], true).unwrap();
    assert_eq!((status, text.as_str()), (StatusCode::FORBIDDEN, "nodes speak TLS 1.3 with each other"));
}
