//! Floods of HTTP/2 frames, from connections that have proved nothing and from nodes that are not admitted.

#![allow(clippy::unwrap_used)]

mod cluster;
mod common;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::*;
use rustls::pki_types::ServerName;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What the server may take of a flood, and what lies in the buffers of two sockets by then. Without a bound, a server takes
/// more than twice as much of cheap frames in the time that a connection has to prove something.
const TAKEN_MAX: usize = 3 << 20;
/// Between two writes, so that little lies in the buffers.
const PAUSE: Duration = Duration::from_millis(1);
const TIME_MAX: Duration = Duration::from_secs(30);

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `:method POST`, `:scheme https`, `:path /`, in HPACK's static table.
const HEAD: &[u8] = &[0x83, 0x87, 0x84];

/// A flood by its name: its next frames, each time with the number of the turn.
type Flood = (&'static str, fn(u32) -> Vec<u8>);

const FLOODS: &[Flood] = &[
    ("settings", |_| frame(SETTINGS, 0, 0, &[])),
    ("pings", |_| frame(PING, 0, 0, &[0; 8])),
    ("requests that are reset", |turn| {
        let stream = 2 * turn + 1;
        let begun = frame(HEADERS, END_HEADERS, stream, HEAD);
        [begun, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    }),
    ("requests", |turn| frame(HEADERS, END_HEADERS | END_STREAM, 2 * turn + 1, HEAD)),
    ("a head without end", |turn| match turn {
        0 => frame(HEADERS, 0, 1, HEAD),
        // A literal field that is not indexed: a name and a value of one character each.
        _ => frame(CONTINUATION, 0, 1, &[0, 1, b'a', 1, b'b'].repeat(1000)),
    }),
    ("bodies without bytes", |turn| match turn {
        0 => frame(HEADERS, END_HEADERS, 1, HEAD),
        _ => frame(DATA, 0, 1, &[]),
    }),
    ("credit", |_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
];

/// How much the server takes until it closes the connection.
fn taken(server: SocketAddr, flood: fn(u32) -> Vec<u8>) -> usize {
    let name = ServerName::try_from("any").unwrap();
    let connection = rustls::ClientConnection::new(client_config(None, &["h2"]), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, TcpStream::connect(server).unwrap());
    stream.sock.set_write_timeout(Some(TIME_MAX)).unwrap();
    let begun = Instant::now();
    let mut next = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let mut taken = 0;
    for turn in 0_u32.. {
        next.extend(flood(turn));
        if next.len() < 16 << 10 && turn % 1000 < 999 {
            continue;
        }
        if stream.write_all(&next).is_err() {
            return taken;
        }
        taken += next.len();
        next.clear();
        std::thread::sleep(PAUSE);
        assert!(begun.elapsed() < TIME_MAX, "the server has taken {taken} bytes, and takes more");
    }
    unreachable!("all streams of a connection are used up")
}

#[test]
fn a_flood_of_a_stranger_is_over_after_some_kilobytes() {
    let (_, nodes) = cluster(&["a", "b"]);
    let b = &nodes[1];
    for (name, flood) in FLOODS {
        let taken = taken(b.server.local_address(), *flood);
        println!("{name}: {taken} bytes");
        assert!(taken < TAKEN_MAX, "{name}: {taken} bytes");
    }
    assert!(nodes[0].connected(), "nodes are connected as before");
    let answer = nodes[0].peers().call(&id("b"), "who", Bytes::new(), TIME_MAX);
    assert_eq!(answer.unwrap(), "a");
}

#[test]
fn a_node_that_is_not_admitted_and_takes_no_refusal_is_let_go() {
    let ca = Ca::new();
    let b = Node::start(&ca, "b");
    b.recorder.banned.lock().unwrap().insert(id("a"));
    let (certificate, key) = ca.issue(&Wish::node("a"));
    let config = client_config(Some((&certificate, &key)), &["h2"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Answers signs of life, and gives no credit for the body of an answer.
    let requests = runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(b.server.local_address()).await.unwrap();
        let name = ServerName::try_from("any").unwrap();
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket).await.unwrap();
        let builder = h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream).await;
        let (mut requests, connection) = builder.unwrap();
        tokio::spawn(connection);
        let request = to_messages().method("POST").body(()).unwrap();
        let sent = requests.send_request(request, false).unwrap();
        (requests, sent)
    });
    wait_until("it is let go", || b.server.open_sockets() == 0);
    drop(requests);
}
